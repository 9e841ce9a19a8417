"""The Alembic side of belay: runs in the project's own interpreter, driven by worker.c.

Started as `python worker.py FD` in the project's folder; FD is a socket. One JSON object a line in
each direction; stdout and stderr stay free for what the project prints. The first line sent is the
handshake. Requests and their answers:

    load      reads the configuration and the revisions; comes first
    open      runs env.py once and stays inside its run_migrations(); from then on:
      step      applies or takes back one revision, committed; tells the rows of sqlite_schema
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

import faulthandler
import importlib
import json
import os
import platform
import signal
import sys
import threading

# The rest lies beside this file, under names that no project has. Python has put the folder into the
# path, unless it was told not to (PYTHONSAFEPATH). Nothing is written there.
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True

from belay_worker_errors import LIBRARIES, describe
from belay_worker_project import Project, new_revision
from belay_worker_run import Run

sys.dont_write_bytecode = bytecode

PROTOCOL = 1


class Cancelled(BaseException):
    """belay asked to stop."""


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

    def answer(self, message):
        """Sends it, after what the project printed: that must not be lost when the process is killed."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # the project may have put anything there
        self.send(message)

    def receive(self):
        self.check()
        line = self.reader.readline()
        if not line:
            # belay is gone: nothing may go on without it
            os._exit(0)
        return json.loads(line.decode("utf-8"))


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
    sys.path[:] = [p for p in sys.path if not p or os.path.realpath(p) != HERE]
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
        channel.answer(answer)


if __name__ == "__main__":
    main()
