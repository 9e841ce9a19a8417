"""An Alembic project: its configuration, revisions, URL and connections. Part of worker.py."""

import ast
import importlib.util
import inspect
import io
import os
import re
import sys

from belay_worker_errors import Refused


class Connecting(BaseException):
    """env.py is about to connect, where it must not."""


class Elsewhere(Refused):
    """env.py ignores the URL it is given."""

    def __init__(self, used=""):
        super().__init__("env.py connects to another database than the scratch database it was "
                         "given" + used,
                         "take the URL from config.get_main_option(\"sqlalchemy.url\"), or from an "
                         "environment variable that url_env in belay.yaml names")


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
PLAIN = re.compile(r"(?is)\s*(create\s+(?!temp|local|global)|alter|drop|comment|insert|update|delete)\b[^;]*;?\s*$")


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
        self.database = None   # name of the one that the project is pointed at
        self.open = {}         # DBAPI connections by id, for cancelling and for leftovers
        self.offline = False   # nothing may be connected to
        self.session = None    # the connection of a step that is watched,
        self.others = False    # and whether statements ran through another one
        self.observed = None   # who is told of statements
        self.notices = []      # what the server said besides, since the step began
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
        last = None
        for folder in dict.fromkeys((request["dir"], os.path.dirname(path))):
            os.chdir(folder)
            config = self.read_config(Config, path, name, arguments)
            try:
                script = ScriptDirectory.from_config(config)
                if os.path.isfile(os.path.join(script.dir, "env.py")):
                    return config, script
                raise Refused("there is no env.py in %s" % os.path.abspath(script.dir),
                              "script_location in %s should name the folder that holds it" % path)
            except Exception as e:
                last = last or e
        raise last

    def read_config(self, Config, path, name, arguments):
        """As the alembic command does: an .ini file and the pyproject.toml beside it make one."""
        ini, toml = path, "pyproject.toml"
        if os.path.basename(path) == "pyproject.toml":
            ini, toml = ("alembic.ini" if os.path.isfile("alembic.ini") else None), path
        options = {"ini_section": name, "cmd_opts": arguments}
        if "toml_file" in inspect.signature(Config.__init__).parameters:
            options["toml_file"] = toml
        elif toml == path:
            raise Refused("this Alembic does not read pyproject.toml",
                          "upgrade to Alembic 1.16 or newer, or write an alembic.ini")
        config = Config(ini, **options)
        sections = config.file_config.sections()
        if name not in sections and getattr(config, "toml_alembic_config", None):
            config.file_config.add_section(name)
        elif name not in sections:
            located = [s for s in sections if config.file_config.has_option(s, "script_location")]
            raise Refused("there is no section [%s] in %s" % (name, path),
                          "sections with a script_location: %s; -n names one"
                          % (", ".join(located) or "none"))
        return config

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
        # "import asyncio" alone says nothing: the word must be used
        is_async = re.search(r"async_engine|AsyncEngine|asyncio\.|asyncio import|async (def|with)",
                             self.env_text)
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
        self.database = os.path.basename(text.partition("?")[0])
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
            if self.session is not None and conn.connection is not self.session:
                self.others = True
            if self.observed is not None:
                self.observed.before()

        @event.listens_for(Engine, "after_cursor_execute")
        def ran(conn, cursor, statement, parameters, context, executemany):
            if self.observed is not None:
                self.observed.after(conn.connection, statement, cursor.rowcount, False)

        @event.listens_for(Engine, "handle_error")
        def refused(error):
            if self.observed is not None and error.statement is not None:
                self.observed.after(None, error.statement, -1, True)

        @event.listens_for(Engine, "do_connect")
        def connecting(dialect, record, cargs, cparams):
            if self.offline:
                raise Connecting()

        @event.listens_for(Pool, "connect")
        def connected(dbapi_connection, record):
            self.open[id(dbapi_connection)] = dbapi_connection
            listen_for_notices(dbapi_connection, self.notices)
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
        raise Elsewhere()

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


def is_plain(statement, postgres):
    """True when the statement cannot have changed a setting of the session."""
    return bool(PLAIN.match(statement)) if postgres else "pragma" not in statement.lower()


class Notices(list):
    """psycopg2's list of notices, which SQLAlchemy empties after each statement."""

    def __init__(self, kept):
        super().__init__()
        self.kept = kept

    def append(self, text):
        severity, _, message = text.splitlines()[0].partition(":")
        self.kept.append("%s: %s" % (severity, message.strip()))
        super().append(text)


def listen_for_notices(dbapi_connection, kept):
    """Adds what the server says besides its answers to `kept`, as "WARNING: careful"."""
    driver = getattr(dbapi_connection, "driver_connection", dbapi_connection)
    if hasattr(driver, "add_notice_handler"):  # psycopg 3
        driver.add_notice_handler(
            lambda d: kept.append("%s: %s" % (d.severity_nonlocalized, d.message_primary)))
    elif hasattr(driver, "add_log_listener"):  # asyncpg
        driver.add_log_listener(
            lambda _, m: kept.append("%s: %s" % (m.severity_en or m.severity, m.message)))
    elif hasattr(driver, "notices"):
        driver.notices = Notices(kept)


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
