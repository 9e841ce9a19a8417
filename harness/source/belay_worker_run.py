"""Runs of env.py, with what happens inside its run_migrations(). Part of worker.py."""

import io
import os
import time
import traceback

from belay_worker_errors import Refused, describe, redacted
from belay_worker_observe import Observed
from belay_worker_project import Connecting, Elsewhere
from belay_worker_touched import Touched


def settle(context):
    """Commits underneath SQLAlchemy: some env.py files begin a transaction of their own around
    run_migrations(), and belay must see each step from another session."""
    context.connection.connection.commit()


def resume(context):
    """Begins again what settle() ended and SQLAlchemy takes for open: an env.py whose driver is in
    autocommit mode says BEGIN in a listener (SQLAlchemy's advice for SQLite), which without this
    would not hear of the transaction that the next step runs in."""
    connection = context.connection
    if connection.in_transaction():
        connection.dispatch.begin(connection)


def fetch(context, sql):
    cursor = context.connection.connection.cursor()
    try:
        cursor.execute(sql)
        return ["" if value is None else str(value) for value in cursor.fetchone()]
    finally:
        cursor.close()


# SQLite: another value when another session has changed the file
DATA_VERSION = "pragma data_version"
# which session of the server it is, so that belay can end it when this process cannot
BACKEND = "select pid, backend_start from pg_stat_activity where pid = pg_backend_pid()"


class SchemaRows:
    """The rows of sqlite_schema after each step, told as what changed since the last answer. This
    session knows the schema: belay's own would parse all of it again."""

    # the row without a type holds what the file's header says, see sqlite_rows.h
    SQL = ("select type, name, tbl_name, sql from main.sqlite_master where sql is not null union all"
           " select '', cast(user_version as text), cast(application_id as text), encoding"
           " from pragma_user_version, pragma_application_id, pragma_encoding")

    def __init__(self):
        self.slots = {}
        self.free = []

    def changes(self, context):
        """None when the project's own settings keep the rows from being read as text."""
        whole = not self.slots
        cursor = context.connection.connection.cursor()
        try:
            cursor.execute(self.SQL)
            rows = {tuple(row) for row in cursor.fetchall()}
        except Exception:
            return None
        finally:
            cursor.close()
        new = [row for row in rows if row not in self.slots]
        if not all(isinstance(value, str) for row in new for value in row):
            return None
        gone = []
        if len(self.slots) + len(new) > len(rows):
            gone = [self.slots.pop(row) for row in list(self.slots) if row not in rows]
        self.free.extend(gone)
        told = []
        for row in new:
            self.slots[row] = self.free.pop() if self.free else len(self.slots)
            told.append((self.slots[row],) + row)
        return {"whole": whole, "gone": gone, "new": told}


MAX_NOTICES = 100  # of a step: a loop may raise thousands


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
        self.schema_rows = SchemaRows()
        self.guard = False
        self.data_version = None  # as a step that failed has seen it

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
            except Exception as e:
                # where it cannot even connect to the database of its own
                url = connecting_url(e)
                if (self.project.proof and not self.reached and url is not None
                        and self.project.database not in (url.database or "")):
                    raise Elsewhere(used_url(e))
                raise

    def step(self, request, touched=None, context=None):
        from alembic.runtime.migration import MigrationStep

        script = self.project.script.get_revision(request["revision"])
        make = (MigrationStep.upgrade_from_script if request["direction"] == "up"
                else MigrationStep.downgrade_from_script)
        step = make(self.project.script.revision_map, script)
        original = step.migration_fn
        observe = request.get("observe")
        observed = (Observed(self.project, context, observe, script.module.__file__,
                             self.channel) if observe else None)

        def migration_fn(**kw):
            if touched:
                touched.begin()
            if observed:
                observed.begin()
            try:
                result = original(**kw)
            except BaseException as e:
                self.raised = e
                self.look()
                raise
            finally:
                if observed:
                    observed.end()
            if touched:
                touched.end()
            return result

        migration_fn.__name__ = original.__name__  # "Running upgrade a -> b" in offline SQL
        step.migration_fn = migration_fn
        self.pending, self.raised = script, None
        self.project.last_sql, self.project.plain = None, True
        return step

    def look(self):
        """Before a step that failed ends its session: have others written meanwhile? Belay looks first."""
        if not self.guard or self.context is None:
            return
        self.channel.send({"raised": True})
        self.channel.receive()
        try:
            self.data_version = fetch(self.context, DATA_VERSION)[0]
        except Exception:
            pass  # not known

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
            answer = {"ok": False, "error": self.step_error(error),
                      "data_version": self.data_version}
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
        self.channel.answer(answer)
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
                del self.project.notices[:]
                resume(context)
                watch = request.get("touched")
                self.guard, self.data_version = request.get("guard"), None
                touched = (Touched(self.project, context, watch, fetch, self.channel.send)
                           if watch else None)
                yield self.step(request, touched, context)
                settle(context)
                self.pending = None
                answer = {"ok": True, "seconds": time.monotonic() - start,
                          "notices": self.project.notices[:MAX_NOTICES]}
                if touched:
                    touched.forget()
                    answer["touched"] = touched.value
                if state_sql and not self.project.plain:
                    answer["state"] = fetch(context, state_sql)
                    settle(context)
                if request.get("schema"):
                    answer["schema"] = self.schema_rows.changes(context)
                    settle(context)
            else:
                try:
                    answer = self.serve_other(op, request, context)
                    settle(context)
                except Exception as e:
                    answer = {"ok": False, "error": describe(e)}
            self.channel.answer(answer)

    def serve_other(self, op, request, context):
        if op == "current":
            return {"ok": True, "heads": list(context.get_current_heads())}
        if op == "data_version":
            return {"ok": True, "data_version": fetch(context, DATA_VERSION)[0]}
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
