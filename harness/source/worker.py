"""The Alembic side of belay: runs in the project's own interpreter, driven by worker.c.

Started as `python worker.py FD` in the project's folder; FD is a socket. One JSON object a line in
each direction; stdout and stderr stay free for what the project prints. The first line sent is the
handshake. Requests and their answers:

    load      reads the configuration and the revisions; comes first
    open      runs env.py once and stays inside its run_migrations(); from then on:
      step      applies or takes back one revision, committed
      current   the revisions in the version table
      stamp     the version table says that exactly these are applied
      reset     statements that put the session back
      drift     what autogenerate would still produce
      close     lets env.py finish
    straight  one env.py run over a list of revisions, in the project's own transactions
    sql       the same offline: what env.py would send
    url       the URL that env.py connects to
    revision  writes a new revision file

An answer is {"ok": true, ...} or {"ok": false, "error": {...}}. After a failed step env.py has ended
with the exception, as it does under Alembic itself, and the next request must be another `open`.

Runs on Python 3.7 and newer, Alembic 1.8 and newer, SQLAlchemy 1.4 and 2.
"""

import ast
import faulthandler
import importlib
import importlib.util
import io
import json
import os
import platform
import re
import signal
import sys
import threading
import time
import traceback

PROTOCOL = 1


class Refused(Exception):
    """The project cannot be used as it is; the message says why, the hint what to do."""

    def __init__(self, message, hint=None):
        super().__init__(message)
        self.hint = hint


class Cancelled(BaseException):
    """belay asked to stop."""


class Connecting(BaseException):
    """env.py is about to connect, where it must not."""


class Channel:
    def __init__(self, fd):
        os.set_inheritable(fd, False)
        self.reader = os.fdopen(fd, "rb")
        self.writer = os.fdopen(os.dup(fd), "wb")
        self.pid = os.getpid()

    def check(self):
        if os.getpid() != self.pid:
            os._exit(0)  # a child that env.py forked must not speak for its parent

    def send(self, message):
        self.check()
        text = json.dumps(message, ensure_ascii=False, default=str).replace("\\u0000", "\ufffd")
        self.writer.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self.writer.flush()

    def receive(self):
        self.check()
        line = self.reader.readline()
        if not line:
            # belay is gone: nothing may go on without it
            os._exit(0)
        return json.loads(line.decode("utf-8"))


def flush():
    """What the project printed must not be lost when the process is killed."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass  # the project may have put anything there


# --- what went wrong, in terms of the project ------------------------------------------------------


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


LIBRARIES = []  # the folders of Alembic and SQLAlchemy, wherever they are installed


def is_of_project(path):
    """Not of a library, not of belay, not made by exec()."""
    return not (path.startswith("<") or "site-packages" in path or "dist-packages" in path
                or "/lib/python" in path or path == __file__
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
    found = database_error(exc)
    if found:
        error.update(found, statement=found["statement"] or last_sql)
    elif isinstance(exc, Refused):
        error.update(refused=True, hint=exc.hint)
    elif isinstance(exc, SyntaxError) and exc.filename:
        error.update(message="syntax error: %s" % exc.msg, file=exc.filename,
                     line=exc.lineno or 0, column=exc.offset or 0)
    elif type(exc).__module__.split(".")[0] != "alembic":
        error["message"] = "%s: %s" % (type(exc).__name__, str(exc).strip())
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
    """The stack from the project's first line on: not how belay and Alembic came to it."""
    tb = exc.__traceback__
    while tb and not is_of_project(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    entry = tb
    while tb and os.path.basename(tb.tb_frame.f_code.co_filename) == "env.py":
        tb = tb.tb_next
    while tb and not is_of_project(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    lines = traceback.format_exception(type(exc), exc, tb or entry, chain=False)
    return "".join(lines)[-8000:]


# --- the revisions ---------------------------------------------------------------------------------


CONSTANT = (ast.Constant,) + ((ast.Str, ast.Ellipsis) if sys.version_info < (3, 8) else ())


def body_kind(function):
    """empty: a docstring, pass, ... and nothing else; code otherwise."""
    for node in function.body:
        if isinstance(node, ast.Pass):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, CONSTANT):
            continue
        if isinstance(node, ast.Return) and node.value is None:
            continue
        return "code"
    return "empty"


def functions_of(path):
    """{"upgrade": {"line": .., "body": ..}, "downgrade": ..} as the file writes them at top level."""
    with open(path, "rb") as f:
        tree = ast.parse(f.read(), path)
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in ("upgrade", "downgrade"):
            found[node.name] = {"line": node.lineno, "body": body_kind(node)}
    return found


def as_list(value):
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def script_row(script):
    module = script.module
    written = functions_of(script.path) if script.path.endswith(".py") else {}
    functions = {}
    for name in ("upgrade", "downgrade"):
        if callable(getattr(module, name, None)):
            # imported, or made by a decorator or a helper: there, but not written here
            functions[name] = written.get(name) or {"line": 0, "body": "code"}
    doc = (script.doc or "").strip().splitlines()
    return {
        "id": script.revision,
        "parents": as_list(script.down_revision),
        "depends_on": as_list(getattr(module, "depends_on", None)),
        "labels": as_list(getattr(module, "branch_labels", None)),
        "title": doc[0] if doc else "",
        "file": script.path,
        "upgrade": functions.get("upgrade"),
        "downgrade": functions.get("downgrade"),
    }


# --- the project -----------------------------------------------------------------------------------

POSTGRES_DIALECTS = ("postgresql", "postgres")
# parameters of libpq that asyncpg takes under another name; what is not here it does not know
ASYNCPG_PARAMETERS = {"host": "host", "port": "port", "sslmode": "ssl", "password": "password",
                      "connect_timeout": "timeout"}
URL_VARIABLE = re.compile(r"""(?:environ(?:\.get)?|getenv|env|config)\s*[\[(]\s*["']([A-Za-z_][A-Za-z0-9_]*)["']""")


class Project:
    def __init__(self):
        self.config = None
        self.script = None
        self.env_text = ""
        self.url_names = []
        self.originals = dict(os.environ)
        self.original_url = None
        self.default_driver = None
        self.last_sql = None   # what ran last since the step began
        self.plain = True      # nothing that ran since can have changed a setting of the session
        self.proof = None      # (sql, answer) that every new connection must give, or None
        self.open = {}         # DBAPI connections by id, for cancelling and for leftovers
        self.offline = False   # nothing may be connected to
        self.watching = False

    # -- configuration and revisions

    def load(self, request):
        from alembic.script.revision import RevisionMap

        path = os.path.abspath(request["config"])
        self.config, self.script = self.configure(path, request)
        databases = self.config.get_main_option("databases")
        if databases:
            raise Refused("this project migrates several databases in one run (databases = %s)"
                          % databases, "belay works on one database: give each a section of its own "
                          "with its script_location, and name it with -n")
        with open(os.path.join(self.script.dir, "env.py"), encoding="utf-8",
                  errors="replace") as f:
            self.env_text = f.read()
        # in an order of their own, not the file system's
        scripts = sorted(self.script._load_revisions(), key=lambda script: script.path)
        # the map is built when it is first needed: not from files read a second time
        self.script.revision_map = RevisionMap(lambda: iter(scripts))
        self.url_names = ["DATABASE_URL"]
        for name in request.get("url_env", []) + URL_VARIABLE.findall(self.env_text):
            if name not in self.url_names and (name in request.get("url_env", [])
                                               or re.search(r"(?i)ur[li]$|dsn$", name)):
                self.url_names.append(name)
        self.original_url = self.config.get_main_option("sqlalchemy.url")
        self.default_driver = self.driver()
        return {"revisions": [script_row(s) for s in scripts], "script_location": self.script.dir,
                "driver": self.default_driver, "version_table": self.version_table()}

    def configure(self, path, request):
        """Config and ScriptDirectory, from the folder that script_location is right in."""
        from alembic.config import Config
        from alembic.script import ScriptDirectory
        from argparse import Namespace

        name = request.get("section") or "alembic"
        arguments = Namespace(x=list(request.get("x", [])) or None, name=name, config=path,
                              raiseerr=None, revision="heads", sql=False, tag=None)
        toml = os.path.basename(path) == "pyproject.toml"
        last = None
        for folder in dict.fromkeys((request["dir"], os.path.dirname(path))):
            os.chdir(folder)
            if toml:
                try:
                    config = Config(None, toml_file=path, ini_section=name, cmd_opts=arguments)
                except TypeError:
                    raise Refused("this Alembic does not read pyproject.toml",
                                  "upgrade to Alembic 1.16 or newer, or write an alembic.ini")
            else:
                config = Config(path, ini_section=name, cmd_opts=arguments)
                if not config.file_config.has_section(name):
                    sections = [s for s in config.file_config.sections()
                                if config.file_config.has_option(s, "script_location")]
                    raise Refused("there is no section [%s] in %s" % (name, path),
                                  "sections with a script_location: %s; -n names one"
                                  % (", ".join(sections) or "none"))
            try:
                script = ScriptDirectory.from_config(config)
                if os.path.isfile(os.path.join(script.dir, "env.py")):
                    return config, script
                raise Refused("there is no env.py in %s" % os.path.abspath(script.dir),
                              "script_location in %s should name the folder that holds it" % path)
            except Exception as e:
                last = last or e
        raise last

    def version_table(self):
        """[name, schema] as far as env.py writes them out."""
        found = {}
        try:
            for node in ast.walk(ast.parse(self.env_text)):
                if isinstance(node, ast.keyword) and node.arg in ("version_table",
                                                                  "version_table_schema"):
                    value = getattr(node.value, "value", getattr(node.value, "s", None))
                    if isinstance(value, str):
                        found[node.arg] = value
        except SyntaxError:
            pass  # running it will say so
        return [found.get("version_table", "alembic_version"), found.get("version_table_schema")]

    # -- the URL

    def driver(self):
        """The driver name the project uses (postgresql+asyncpg), as far as it can be seen unrun."""
        for text in ([os.environ.get(name) for name in self.url_names]
                     + [self.config.get_main_option("sqlalchemy.url")]):
            name = driver_name(text)
            if name:
                return name
        found = re.search(r"\b((?:postgresql|sqlite)\+\w+)://", self.env_text)
        return found.group(1) if found else None

    def driver_for(self, dialect):
        """The driver to reach a database of this dialect with."""
        name = self.default_driver
        if name and (name.split("+")[0] in POSTGRES_DIALECTS) == (dialect == "postgresql"):
            dialect = name
        is_async = re.search(r"async_engine|AsyncEngine|asyncio", self.env_text)
        if "+" in dialect or not is_async:
            return dialect
        drivers = ("aiosqlite",) if dialect == "sqlite" else ("asyncpg", "psycopg")
        for driver in drivers:
            if importlib.util.find_spec(driver):
                return "%s+%s" % (dialect, driver)
        return dialect

    def use_url(self, url):
        """Points every usual way of finding the database at url."""
        if url is None:
            text = self.original_url
            if text is not None:
                self.config.set_main_option("sqlalchemy.url", text.replace("%", "%%"))
            for name in self.url_names:
                os.environ.pop(name, None)
                if name in self.originals:
                    os.environ[name] = self.originals[name]
            return
        dialect = "sqlite" if url.startswith("sqlite") else "postgresql"
        usual = self.driver_for(dialect)
        text = url_for(url, usual)
        self.config.set_main_option("sqlalchemy.url", text.replace("%", "%%"))
        for name in self.url_names:
            # a program that rewrites the URL it is given expects the form that it is usually given
            own = driver_name(self.originals.get(name))
            same = own and (own.split("+")[0] in POSTGRES_DIALECTS) == (dialect == "postgresql")
            os.environ[name] = url_for(url, own) if same else text

    # -- connections

    def watch(self):
        """Notes the SQL that runs, and makes every new connection prove where it leads."""
        if self.watching:
            return
        from sqlalchemy import event
        from sqlalchemy.engine import Engine
        from sqlalchemy.pool import Pool

        @event.listens_for(Engine, "before_cursor_execute")
        def note(conn, cursor, statement, parameters, context, executemany):
            self.last_sql = statement
            self.plain = self.plain and is_plain(statement, conn.dialect.name == "postgresql")

        @event.listens_for(Engine, "do_connect")
        def connecting(dialect, record, cargs, cparams):
            if self.offline:
                raise Connecting()

        @event.listens_for(Pool, "connect")
        def connected(dbapi_connection, record):
            self.open[id(dbapi_connection)] = dbapi_connection
            self.prove(dbapi_connection)
            record.info["belay"] = self.proof

        @event.listens_for(Pool, "close")
        @event.listens_for(Pool, "close_detached")
        def closed(dbapi_connection, *record):
            self.open.pop(id(dbapi_connection), None)

        self.watching = True

    def prove(self, dbapi_connection, url=None):
        if not self.proof:
            return
        sql, answer = self.proof
        row = None
        try:
            cursor = dbapi_connection.cursor()
            try:
                cursor.execute(sql)
                row = cursor.fetchone()
            finally:
                cursor.close()
        except Exception:
            pass  # a database that cannot answer is another one
        finally:
            dbapi_connection.rollback()
        if row and row[0] == answer:
            return
        if row and row[0] == "" and "pragma" in sql:
            return  # an SQLite database in memory: nobody else's
        raise Refused("env.py connects to another database than the scratch database it was given",
                      "take the URL from config.get_main_option(\"sqlalchemy.url\"), or from an "
                      "environment variable that url_env in belay.yaml names")

    def cancel(self):
        """In a thread: what keeps the main thread inside a driver."""
        for connection in list(self.open.values()):
            driver = getattr(connection, "driver_connection", connection)
            stop = getattr(driver, "cancel", None) or getattr(driver, "interrupt", None)
            try:
                if stop:
                    stop()
            except Exception:
                pass  # the process is killed soon


def driver_name(text):
    """postgresql+asyncpg, of a URL; None where there is none that belay knows."""
    found = re.match(r"(\w+)(\+\w+)?:", text or "")
    if found and found.group(1) in POSTGRES_DIALECTS + ("sqlite",):
        return found.group(0)[:-1]
    return None


def url_for(url, driver):
    """The URL as that driver takes it."""
    scheme, rest = url.split("://", 1)
    if driver.endswith("+asyncpg"):
        rest, _, query = rest.partition("?")
        pairs = [pair.partition("=") for pair in query.split("&") if pair]
        known = ["%s=%s" % (ASYNCPG_PARAMETERS[k], v) for k, _, v in pairs
                 if k in ASYNCPG_PARAMETERS]
        rest += "?" + "&".join(known) if known else ""
    return "%s://%s" % (driver, rest)


# --- env.py ----------------------------------------------------------------------------------------


def settle(context):
    """Commits underneath SQLAlchemy: some env.py files begin a transaction of their own around
    run_migrations(), and belay must see each step from another session."""
    context.connection.connection.commit()


def fetch(context, sql):
    cursor = context.connection.connection.cursor()
    try:
        cursor.execute(sql)
        return ["" if value is None else str(value) for value in cursor.fetchone()]
    finally:
        cursor.close()


# which session of the server it is, so that belay can end it when this process cannot
BACKEND = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()"
PLAIN = re.compile(r"(?is)\s*(create\s+(?!temp|local|global)|alter|drop|comment|insert|update|delete)\b[^;]*;?\s*$")


def is_plain(statement, postgres):
    """True when the statement cannot have changed a setting of the session."""
    return bool(PLAIN.match(statement)) if postgres else "pragma" not in statement.lower()


class Run:
    """One run of env.py, with what happens inside its run_migrations()."""

    def __init__(self, project, channel, request):
        self.project = project
        self.channel = channel
        self.request = request
        self.context = None
        self.reached = False
        self.pending = None    # the script of a step that has not been answered
        self.raised = None     # what that step raised, should env.py swallow it

    def configure(self, env, original, own_transactions):
        def configure(*args, **kw):
            if not own_transactions:
                kw["transaction_per_migration"] = True
            original(*args, **kw)
            context = self.context = env.get_context()
            connection = context.connection
            if connection is None or context.as_sql:
                return
            if connection.info.get("belay") != self.project.proof:
                try:
                    self.project.prove(connection.connection)
                except Refused as e:
                    raise Refused("%s: it uses %s" % (e, redacted(connection.engine.url)), e.hint)
        return configure

    def execute(self, migrations, own_transactions=False, **options):
        from alembic.runtime.environment import EnvironmentContext

        options.setdefault("destination_rev", "heads")
        env = EnvironmentContext(self.project.config, self.project.script, fn=migrations, **options)
        with env:
            # env.py calls alembic.context, which looks the name up on this instance
            env.configure = self.configure(env, env.configure, own_transactions)
            try:
                self.project.script.run_env()
            except SystemExit as e:
                raise Refused("env.py ends the process (exit status %s)" % e.code,
                              "it must return after context.run_migrations()")
            except Refused as e:
                if ": it uses " not in str(e):
                    raise Refused(str(e) + used_url(e), e.hint)
                raise

    def step(self, request):
        from alembic.runtime.migration import MigrationStep

        script = self.project.script.get_revision(request["revision"])
        make = (MigrationStep.upgrade_from_script if request["direction"] == "up"
                else MigrationStep.downgrade_from_script)
        step = make(self.project.script.revision_map, script)
        original = step.migration_fn

        def migration_fn(**kw):
            try:
                return original(**kw)
            except BaseException as e:
                self.raised = e
                raise

        migration_fn.__name__ = original.__name__  # "Running upgrade a -> b" in offline SQL
        step.migration_fn = migration_fn
        self.pending, self.raised = script, None
        self.project.last_sql, self.project.plain = None, True
        return step

    def step_error(self, error):
        """The step's own exception, whether env.py passed it on or not."""
        cause = self.raised or error or Refused("env.py left run_migrations() in the middle of a step")
        return describe(cause, os.path.realpath(self.pending.path), self.project.last_sql)

    # -- held open

    def hold(self):
        error = None
        try:
            self.execute(self.serve, dont_mutate=bool(self.request.get("readonly")))
        except Exception as e:
            error = e
        if self.pending is not None:
            answer = {"ok": False, "error": self.step_error(error)}
        elif not self.reached:
            cause = error or Refused("env.py ended without calling context.run_migrations()")
            answer = {"ok": False, "error": describe(cause)}
        elif error is not None:
            answer = {"ok": False, "error": describe(error)}
        else:
            answer = {"ok": True}
        # connections that the project keeps in a pool: belay ends the process to be rid of them
        answer["left_open"] = len(self.project.open)
        return answer

    def serve(self, heads, context):
        settle(context)
        self.reached = True
        state_sql = self.request.get("state_sql")
        answer = {"ok": True, "version_table": context.version_table,
                  "version_schema": context.version_table_schema}
        if state_sql:
            answer["state"] = fetch(context, state_sql)
            settle(context)
        if context.dialect.name == "postgresql":
            answer["backend"] = fetch(context, BACKEND)
            settle(context)
        flush()
        self.channel.send(answer)
        while True:
            request = self.channel.receive()
            op = request["op"]
            if op == "close":
                return
            if op == "step":
                start = time.monotonic()
                # which enum types exist: SQLAlchemy asks once for a run, and a run of Alembic's own
                # never comes back up
                getattr(context.impl, "memo", {}).clear()
                yield self.step(request)
                settle(context)
                self.pending = None
                answer = {"ok": True, "seconds": time.monotonic() - start}
                if state_sql and not self.project.plain:
                    answer["state"] = fetch(context, state_sql)
                    settle(context)
            else:
                try:
                    answer = self.serve_other(op, request, context)
                    settle(context)
                except Exception as e:
                    answer = {"ok": False, "error": describe(e)}
            flush()
            self.channel.send(answer)

    def serve_other(self, op, request, context):
        if op == "current":
            return {"ok": True, "heads": list(context.get_current_heads())}
        if op == "drift":
            return {"ok": True, "operations": drift(context)}
        if op == "reset":
            cursor = context.connection.connection.cursor()
            try:
                for sql in request["sql"]:
                    cursor.execute(sql)
            finally:
                cursor.close()
            return {"ok": True}
        if op == "stamp":
            stamp(self.project.script, context, request["revisions"])
            return {"ok": True}
        return {"ok": False, "error": {"message": "unknown request %s" % op}}

    # -- in one go

    def straight(self):
        def migrations(heads, context):
            for n, revision in enumerate(self.request["revisions"], 1):
                # belay knows where the process was, should it die
                self.channel.send({"begun": n})
                yield self.step({"revision": revision, "direction": "up"})
            self.pending = None

        error = None
        try:
            self.execute(migrations, own_transactions=True)
        except Exception as e:
            error = e
        answer = {"ok": error is None and self.raised is None, "left_open": len(self.project.open)}
        if not answer["ok"]:
            if self.pending is not None:
                answer["in_step"] = True
                answer["error"] = self.step_error(error)
            else:
                answer["error"] = describe(error or self.raised)
        return answer

    def sql(self):
        def migrations(heads, context):
            for revision in self.request["revisions"]:
                yield self.step({"revision": revision, "direction": self.request["direction"]})
            self.pending = None

        out = self.project.config.output_buffer = io.StringIO()
        self.project.offline = True
        try:
            self.execute(migrations, own_transactions=True, as_sql=True,
                         starting_rev=self.request["current"] or None)
        except Connecting:
            raise Refused("env.py connects to a database where only SQL is asked for",
                          "give it the offline branch that \"alembic init\" writes: "
                          "if context.is_offline_mode(): ...")
        except Exception as e:
            if self.pending is not None:
                return {"ok": False, "error": self.step_error(e)}
            raise
        finally:
            self.project.offline = False
        return {"ok": True, "sql": out.getvalue()}

    def url(self):
        """What env.py connects to: it is stopped when it says so, or when it is about to."""
        found = []

        def look(*args, **kw):
            found.append(kw.get("url"))
            raise Connecting()

        self.configure = lambda env, original, own_transactions: look
        self.project.offline = True
        try:
            self.execute(lambda heads, context: [], as_sql=True)
        except Connecting as e:
            found.append(connecting_url(e))
        finally:
            self.project.offline = False
        url = next((u for u in found if u is not None), None)
        if url is not None and not isinstance(url, str):
            url = url.render_as_string(hide_password=False)
        return {"ok": True, "url": url}


def connecting_url(exc):
    """The URL of the engine in whose connecting exc was raised, or None."""
    for frame, _ in traceback.walk_tb(exc.__traceback__):
        engine = frame.f_locals.get("self")
        if getattr(engine, "url", None) is not None and hasattr(engine, "dialect"):
            return engine.url
    return None


def used_url(exc):
    url = connecting_url(exc)
    return ": it uses " + redacted(url) if url is not None else ""


def stamp(script, context, revisions):
    from alembic.runtime.migration import HeadMaintainer

    context._ensure_version_table(purge=True)
    maintainer = HeadMaintainer(context, ())
    if revisions:
        for step in script._stamp_revs(tuple(revisions), ()):
            maintainer.update_to_step(step)


# --- models and database ---------------------------------------------------------------------------


def drift(context):
    """What autogenerate would write, as one line an operation; None without models."""
    metadata = context.opts.get("target_metadata")
    if metadata is None:
        return None
    from alembic.autogenerate import produce_migrations

    operations = produce_migrations(context, metadata).upgrade_ops
    return [describe_diff(d) for d in flatten(operations.as_diffs()) if not is_of_belay(d)]


def flatten(diffs):
    for d in diffs:
        if isinstance(d, list):
            for inner in flatten(d):
                yield inner
        else:
            yield d


def is_of_belay(diff):
    """Of the schema that belay's own tracker keeps in a scratch database."""
    item = diff[1]
    schema = getattr(getattr(item, "table", item), "schema", None)
    return schema == "belay_tracker" or item == "belay_tracker"


def describe_diff(diff):
    kind = diff[0]
    if kind in ("add_table", "remove_table"):
        return "%s %s" % (kind, diff[1].fullname)
    if kind in ("add_column", "remove_column"):
        table = diff[2] if not diff[1] else "%s.%s" % (diff[1], diff[2])
        return "%s %s.%s %s" % (kind, table, diff[3].name, diff[3].type)
    if kind.startswith("modify_"):
        table = diff[2] if not diff[1] else "%s.%s" % (diff[1], diff[2])
        return "%s %s.%s: %s -> %s" % (kind, table, diff[3], plain(diff[5]), plain(diff[6]))
    item = diff[1]
    table = getattr(getattr(item, "table", None), "fullname", None)
    columns = ", ".join(str(getattr(c, "name", c)) for c in getattr(item, "columns", []) or [])
    return "%s %s%s%s" % (kind, getattr(item, "name", None) or "(unnamed)",
                          " on " + table if table else "", " (%s)" % columns if columns else "")


def plain(value):
    arg = getattr(value, "arg", value)
    return str(getattr(arg, "text", arg))


# --- new revisions ---------------------------------------------------------------------------------


def new_revision(project, request):
    """`alembic revision` or, with several parents, `alembic merge`."""
    from alembic import command

    project.config.stdout = io.StringIO()
    arguments = {"message": request["message"], "rev_id": request.get("id"),
                 "branch_label": request.get("branch_label")}
    parents = request.get("parents", [])
    if len(parents) > 1:
        made = command.merge(project.config, parents, **arguments)
    else:
        made = command.revision(project.config, autogenerate=request.get("autogenerate", False),
                                head=parents[0] if parents else "base", splice=bool(parents),
                                depends_on=request.get("depends_on") or None, **arguments)
    scripts = made if isinstance(made, (list, tuple)) else [made]
    return {"ok": True, "made": [{"id": s.revision, "file": s.path} for s in scripts if s]}


# --- the loop --------------------------------------------------------------------------------------


def hello():
    versions = {"ok": True, "protocol": PROTOCOL, "python": platform.python_version(),
                "executable": sys.executable}
    for name in ("alembic", "sqlalchemy"):
        try:
            module = importlib.import_module(name)
            versions[name] = module.__version__
            LIBRARIES.append(os.path.dirname(module.__file__) + os.sep)
        except Exception as e:
            versions["ok"] = False
            versions["error"] = {"message": "cannot import %s: %s" % (name, e)}
            break
    return versions


def obey_signals(project):
    """SIGTERM: stop the statement that runs. SIGUSR1: write to stderr where the process is."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def stop(*_):
        raise Cancelled()

    def watch():
        while os.read(reader, 1):
            project.cancel()

    signal.signal(signal.SIGTERM, stop)
    # written to at once, while the handler above waits until the driver returns
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=watch, daemon=True).start()
    faulthandler.register(signal.SIGUSR1, file=sys.__stderr__, all_threads=False, chain=False)


def answer_to(project, channel, request):
    op = request["op"]
    if op == "load":
        return dict(project.load(request), ok=True)
    proof = request.get("proof")
    project.proof = (proof["query"], proof["answer"]) if proof else None
    project.use_url(request.get("url"))
    project.watch()
    if op == "open":
        return Run(project, channel, request).hold()
    if op == "straight":
        return Run(project, channel, request).straight()
    if op == "sql":
        return Run(project, channel, request).sql()
    if op == "url":
        return Run(project, channel, request).url()
    if op == "revision":
        return new_revision(project, request)
    return {"ok": False, "error": {"message": "unknown request %s" % op}}


def main():
    channel = Channel(int(sys.argv[1]))
    # a migration imports what lies in its project, never what lies beside this file; and what the
    # project calls "alembic" must not hide Alembic
    del sys.path[0]
    channel.send(hello())
    sys.path.insert(0, "")
    project = Project()
    obey_signals(project)
    while True:
        request = channel.receive()
        try:
            answer = answer_to(project, channel, request)
        except Exception as e:
            answer = {"ok": False, "error": describe(e)}
        except SystemExit as e:
            answer = {"ok": False, "error": {"message": "the project ends the process (exit status %s)"
                                                        % e.code}}
        flush()
        channel.send(answer)


if __name__ == "__main__":
    main()
