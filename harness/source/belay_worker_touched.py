"""Which tables a step touches: see touched.h. Part of worker.py."""

import sqlite3

WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE,
          sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_DROP_TABLE,
          sqlite3.SQLITE_CREATE_VTABLE, sqlite3.SQLITE_DROP_VTABLE)


class Touched:
    """What one step touches; value stays None where that cannot be known."""

    def __init__(self, project, context, request, fetch, send):
        self.project = project
        self.context = context
        self.request = request  # on PostgreSQL the statements that mark and tell
        self.fetch = fetch
        self.send = send
        self.value = None
        self.tables = None

    def begin(self):
        self.project.session = self.context.connection.connection
        self.project.others = False
        if self.context.dialect.name == "postgresql":
            self.fetch(self.context, self.request["mark"])
            if "transaction" in self.request:
                # before anything runs: belay must know it should this process die
                number = self.fetch(self.context, self.request["transaction"])[0]
                self.send({"transaction": number})
            return
        try:
            # every time: only this makes the driver compile again the statements that it has kept
            self.project.session.set_authorizer(self.authorize)
            self.tables = set()
        except Exception:
            pass  # a driver that has none, or runs SQLite in another thread

    def end(self):
        if self.project.others:  # statements through another connection
            return
        if self.context.dialect.name == "postgresql":
            self.value = self.fetch(self.context, self.request["tell"])[0]
        elif self.tables is not None:
            self.value = sorted(self.tables - {"sqlite_master"})

    def forget(self):
        """After the step: a driver may not be able to take the authorizer away again."""
        self.project.session = self.tables = None

    def authorize(self, action, first, second, database, trigger):
        if self.tables is None:
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_ALTER_TABLE:
            database, first = first, second
        elif action not in WRITES:
            return sqlite3.SQLITE_OK
        if database == "main" and first:
            self.tables.add(first)
        return sqlite3.SQLITE_OK
