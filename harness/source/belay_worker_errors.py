"""What went wrong in a project, in its own terms: part of worker.py."""

import ast
import os
import sys
import traceback

HERE = os.path.dirname(__file__)
LIBRARIES = []  # the folders of Alembic and SQLAlchemy, wherever they are installed


class Refused(Exception):
    """The project cannot be used as it is; the message says why, the hint what to do."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


def redacted(url):
    """A URL as text without its password, whatever type it has."""
    try:
        from sqlalchemy.engine import make_url

        return make_url(url).render_as_string(hide_password=True)
    except AttributeError:
        return repr(make_url(url))  # SQLAlchemy 1.3 and older hide it in repr()
    except Exception:
        return "<unreadable url>"


def database_error(exc):
    """The driver's exception inside exc or its causes, as members of `error`; None without one."""
    seen = set()
    statement = None
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        statement = statement or getattr(exc, "statement", None)
        driver = getattr(exc, "orig", None)
        if driver is None and (getattr(exc, "pgcode", None) or getattr(exc, "sqlstate", None)):
            driver = exc  # through a driver's own cursor
        if driver is not None:
            inner = getattr(driver, "__cause__", None) or driver
            diag = getattr(driver, "diag", None)
            message = getattr(diag, "message_primary", None) or str(inner) or str(driver)
            return {
                "database": True,
                "message": message.strip(),
                "sqlstate": (getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
                             or getattr(inner, "sqlstate", None)),
                "detail": getattr(diag, "message_detail", None) or getattr(inner, "detail", None),
                "hint": getattr(diag, "message_hint", None) or getattr(inner, "hint", None),
                "statement": statement,
                "disconnected": bool(getattr(exc, "connection_invalidated", False)),
            }
        exc = exc.__cause__ or exc.__context__
    return None


def is_of_project(path):
    """Not of a library, not of belay, not made by exec()."""
    return not (path.startswith("<") or "site-packages" in path or "dist-packages" in path
                or "/lib/python" in path or os.path.dirname(path) == HERE
                or any(path.startswith(folder) for folder in LIBRARIES))


def frame_in(exc, path):
    """The innermost line of exc's traceback in the file, and whether that line itself raised."""
    found = None
    last = None
    for frame, line in traceback.walk_tb(exc.__traceback__):
        last = os.path.realpath(frame.f_code.co_filename)
        if last == path:
            found = line
    return found, found is not None and last == path


def raises_on_purpose(exc, path):
    """True when exc comes from a `raise` that the downgrade reaches whatever the database holds."""
    line, direct = frame_in(exc, path)
    if not direct:
        return False
    try:
        with open(path, "rb") as f:
            tree = ast.parse(f.read())
    except (OSError, SyntaxError, ValueError):
        return False
    if isinstance(exc, NotImplementedError):
        return True
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name == "downgrade":
            return any(isinstance(node, ast.Raise) and node.lineno <= line
                       <= (getattr(node, "end_lineno", None) or node.lineno)
                       for node in function.body)
    return False


def describe(exc, path=None, last_sql=None):
    """An exception as the `error` member of an answer; path is the revision file it came from."""
    error = {"message": str(exc).strip() or type(exc).__name__}
    found = None if isinstance(exc, Refused) else database_error(exc)
    if found:
        error.update(found, statement=found["statement"] or last_sql)
    elif isinstance(exc, Refused):
        error.update(refused=True, hint=exc.hint)
    elif isinstance(exc, SyntaxError) and exc.filename:
        error.update(message="syntax error: %s" % exc.msg, file=exc.filename,
                     line=exc.lineno or 0, column=exc.offset or 0)
    elif type(exc).__module__.split(".")[0] != "alembic":
        error["message"] = "%s: %s" % (type(exc).__name__, str(exc).strip())
        if isinstance(exc, ImportError):
            error["hint"] = ("this is %s: --python names another interpreter, and prepend_sys_path in "
                             "Alembic's configuration the folder of the project's own modules"
                             % sys.executable)
    elif str(exc).startswith("Target database is not up to date"):
        error.update(message="the database is not at head, and autogenerate compares the models "
                             "with it", hint="\"belay upgrade\" first")
    if path and "file" not in error:
        line = frame_in(exc, path)[0]
        if line:
            error.update(file=path, line=line)
            error["on_purpose"] = not found and raises_on_purpose(exc, path)
    if "file" not in error:
        for frame, line in traceback.walk_tb(exc.__traceback__):
            name = frame.f_code.co_filename
            if is_of_project(name):
                name = os.path.realpath(name)
                error.update(file=name, line=line)
    error["traceback"] = short_stack(exc)
    return error


def short_stack(exc):
    """The stack from the project's first line on, without how belay and Alembic came to it and
    where they went from there."""
    tb = exc.__traceback__
    while tb and not is_of_project(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    entry = tb
    while tb and os.path.basename(tb.tb_frame.f_code.co_filename) == "env.py":
        tb = tb.tb_next
    while tb and not is_of_project(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    lines, left_out = ["Traceback (most recent call last):\n"], 0
    for frame in traceback.extract_tb(tb or entry):
        if is_of_project(frame.filename):
            lines += say_left_out(left_out) + traceback.format_list([frame])
            left_out = 0
        else:
            left_out += 1
    lines += say_left_out(left_out) + traceback.format_exception_only(type(exc), exc)
    return "".join(lines)[-8000:]


def say_left_out(n):
    return ["  (%d %s of libraries)\n" % (n, "frame" if n == 1 else "frames")] if n else []
