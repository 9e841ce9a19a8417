"""Alembic: the climb of a check against bare Alembic, its command line, and pytest-alembic."""

import glob
import os
import shutil
import statistics
import subprocess
import sys
import time

from alembic_history import revision_id, write_alembic
from measure import Sample, cpu, in_turn, ratio, run, seconds

HERE = os.path.dirname(os.path.abspath(__file__))

# How pytest-alembic's documentation says a project uses it.
CONFTEST = '''\
import os
import pytest
import sqlalchemy


@pytest.fixture
def alembic_engine():
    return sqlalchemy.create_engine(os.environ["DATABASE_URL"])
'''
UP_DOWN = "from pytest_alembic.tests import test_up_down_consistency\n"


def imports(python, *modules):
    return subprocess.run([python, "-c", "import " + ", ".join(modules)], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def interpreter():
    """The first that has Alembic with a driver for PostgreSQL; None with the reason printed."""
    for python in (shutil.which("python3"), sys.executable, "/usr/bin/python3"):
        if python and imports(python, "alembic", "psycopg2"):
            return python
    print("\nAlembic: not measured: no python3 here has it and psycopg2")
    return None


def server_cpu(data):
    """What a PostgreSQL server has spent so far, in seconds: its own time and that of sessions that
    have ended."""
    with open(f"{data}/postmaster.pid", encoding="ascii") as f:
        pid = int(f.readline())
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return sum(int(x) for x in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class AlembicBench:
    def __init__(self, bench, python, engine):
        self.bench = bench
        self.python = python
        self.engine = engine
        self.n = bench.args.revisions
        self.project = f"{bench.folder}/alembic_{engine}"
        self.count = 0
        write_alembic(self.project, self.n)
        with open(f"{self.project}/conftest.py", "w", encoding="utf-8") as f:
            f.write(CONFTEST)
        with open(f"{self.project}/test_migrations.py", "w", encoding="utf-8") as f:
            f.write(UP_DOWN)

    def with_database(self, measured):
        """Calls measured(url) on a new database; the sample with the server's time in it."""
        self.count += 1
        if self.engine == "sqlite":
            path = f"{self.bench.folder}/alembic_{self.count}.db"
            sample = measured(f"sqlite:///{path}")
            for left in glob.glob(f"{path}*"):
                os.unlink(left)
            return sample
        name = f"alembic_{self.count}"
        self.bench.psql(f"create database {name}")
        sample = self.with_server(
            lambda: measured(f"postgresql://belay@/{name}?host={self.bench.socket}"))
        self.bench.psql(f"drop database {name}")
        return sample

    def with_server(self, measured):
        before = self.settled_cpu()
        sample = measured()
        sample.cpu += self.settled_cpu() - before
        return sample

    def settled_cpu(self):
        """The server counts a session when it has ended, which is a moment after its client."""
        time.sleep(0.3)
        return server_cpu(f"{self.bench.socket}/data")

    def floor(self, steps):
        return self.with_database(lambda url: run(
            [self.python, f"{HERE}/alembic_floor.py", self.project, url, steps]))

    def climb(self):
        argv = [self.bench.climb, self.project, self.engine, self.python]
        if self.engine == "sqlite":
            return run(argv)
        return self.with_server(lambda: run(argv + [self.bench.url("postgres")]))

    def check(self):
        """With its private server and its second thread, as people run it."""
        return run([self.bench.belay, "check", self.project, "--engine", self.engine, "--quiet",
                    "--python", self.python])

    def pytest(self):
        return self.with_database(lambda url: run(
            [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_migrations.py"],
            cwd=self.project, env=dict(os.environ, DATABASE_URL=url)))

    def command_line(self, sample_size):
        """Each verb a process: up, down, up of some revisions, as many as there are."""
        picked = range(0, self.n, max(1, self.n // sample_size))

        def steps(url):
            config = f"{self.project}/cli.ini"
            with open(config, "w", encoding="utf-8") as f:
                f.write(f"[alembic]\nscript_location = migrations\nsqlalchemy.url = {url}\n")
            alembic = [self.python, "-m", "alembic.config", "-c", "cli.ini"]
            spent, used = 0.0, 0.0
            for i in picked:
                if i:
                    run(alembic + ["upgrade", revision_id(i - 1)], cwd=self.project)
                for verb in (["upgrade", revision_id(i)],
                             ["downgrade", revision_id(i - 1) if i else "base"],
                             ["upgrade", revision_id(i)]):
                    one = run(alembic + verb, cwd=self.project)
                    spent += one.seconds
                    used += one.cpu
            return Sample(spent * self.n / len(picked), used * self.n / len(picked))

        # the server's share cannot be told from that of the steps in between
        sample = self.with_database(steps)
        return len(picked), sample

    def table(self):
        kinds = {
            "floor: up, down, up": lambda: self.floor("round"),
            "floor: the steps of a check": lambda: self.floor("check"),
            "belay: up, down, up, all compared": self.climb,
            "belay check, all of it": self.check,
        }
        pytest = imports(self.python, "pytest", "pytest_alembic")
        if pytest:
            kinds["pytest-alembic, up-down test"] = self.pytest
        samples = in_turn(kinds, self.bench.args.runs)
        first = samples["floor: up, down, up"]
        print(f"\n| Alembic on {self.engine}, {self.n} revisions | median | times up, down, up "
              "| CPU | times its CPU |\n|---|---|---|---|---|")
        for kind, s in samples.items():
            # the private server of a whole check is not counted, so neither is the rest of it
            whole = kind == "belay check, all of it" and self.engine != "sqlite"
            print(f"| {kind} | {seconds(s)} | {ratio(s, first)} "
                  f"| {'' if whole else cpu(s)} | {'' if whole else ratio(s, first, 'cpu')} |")
        picked, one = self.command_line(5)
        floor = statistics.median(s.seconds for s in first)
        print(f"| alembic upgrade, downgrade, upgrade ({picked} revisions, times "
              f"{self.n / picked:g}) | {one.seconds:.0f} s | {one.seconds / floor:.0f} | | |")
        if not pytest:
            print(f"\npytest-alembic: not measured: {self.python} cannot import it")


def bench_alembic(bench):
    python = interpreter()
    for engine in ("sqlite", "postgres") if python else ():
        AlembicBench(bench, python, engine).table()
