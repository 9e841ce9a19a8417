"""Tells belay of each statement of a step: see migrator_observe() in source.h. Part of worker.py."""

import sys
import time


class Observed:
    """What one step sends through SQLAlchemy, while its upgrade or downgrade runs."""

    def __init__(self, project, context, request, path, channel):
        self.project = project
        self.context = context
        self.look = request.get("look")
        self.path = path
        self.channel = channel
        self.wait = request.get("wait")
        self.begun = None

    def begin(self):
        self.session = self.context.connection.connection
        self.project.observed = self

    def end(self):
        self.project.observed = None

    def before(self):
        self.begun = time.monotonic()

    def line(self):
        """Where in the revision's file the statement comes from; 0: it does not."""
        frame = sys._getframe(2)
        while frame is not None:
            if frame.f_code.co_filename == self.path:
                return frame.f_lineno
            frame = frame.f_back
        return 0

    def after(self, connection, statement, rows, failed):
        ended = time.monotonic()
        if self.begun is None:
            return
        told = {"text": statement, "line": self.line(), "begin": self.begun, "end": ended,
                "rows": rows, "failed": failed}
        self.begun = None
        if self.look and not failed and connection is self.session:
            told["seen"] = self.ask()
        self.channel.send({"statement": told})
        if self.wait:
            self.channel.receive()

    def ask(self):
        cursor = self.session.cursor()
        try:
            cursor.execute(self.look)
            return cursor.fetchone()[0]
        except Exception:
            return None  # the next statement meets it too
        finally:
            cursor.close()
