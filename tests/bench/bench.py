"""The measurements behind ci/bench, which builds the programs and calls this.

Everything that is compared runs in turn, round after round, so that a machine that slows down slows
all alike; a table shows medians. Times are those of whole processes, peaks are resident memory of
the process alone (for PostgreSQL that leaves the server out).
"""

import argparse
import contextlib
import os
import platform
import shutil
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile

from bench_alembic import bench_alembic
from bench_backup import bench_backup
from bench_copy import bench_copy
from bench_deploy import bench_deploy
from bench_rehearse import bench_rehearse
from bench_rows import bench_rows
from measure import Sample, in_turn, peak, ratio, run, seconds


def write_history(folder, revisions):
    """A dbmate folder: tables with foreign keys and indexes, each revision changing one table."""
    os.makedirs(folder)
    for i in range(revisions):
        k = i // 3
        table = f"item_{k:04}"
        if i % 3 == 0:
            parent = f" references item_{k - 1:04} (id) on delete cascade" if k else ""
            up = (f"create table {table} (\n"
                  "    id integer primary key,\n"
                  f"    parent_id integer{parent},\n"
                  "    name varchar(80) not null default '',\n"
                  "    amount integer not null check (amount >= 0)\n"
                  ");\n"
                  f"create index {table}_parent_idx on {table} (parent_id);")
            down = f"drop table {table};"
        elif i % 3 == 1:
            up = (f"alter table {table} add column note text;\n"
                  f"create index {table}_name_idx on {table} (name, amount);")
            down = (f"drop index {table}_name_idx;\n"
                    f"alter table {table} drop column note;")
        else:
            up = f"create unique index {table}_note_key on {table} (note) where amount > 0;"
            down = f"drop index {table}_note_key;"
        path = os.path.join(folder, f"{20240101000000 + i}_step_{i}.sql")
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"-- migrate:up\n{up}\n\n-- migrate:down\n{down}\n")


@contextlib.contextmanager
def postgres(folder):
    """A server of the benchmark's own, set up like belay's private one; yields its socket folder."""
    bindirs = [os.path.dirname(os.path.realpath(p)) for p in [shutil.which("postgres")] if p]
    root = "/usr/lib/postgresql"
    if os.path.isdir(root):
        bindirs += [f"{root}/{v}/bin" for v in
                    sorted(os.listdir(root), key=lambda v: int(v) if v.isdigit() else 0,
                           reverse=True)]
    bindir = next(d for d in bindirs if os.path.exists(f"{d}/initdb"))
    prefix = []
    os.makedirs(folder, mode=0o700)
    if os.geteuid() == 0:  # the server refuses to run as root
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]
    data = f"{folder}/data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "check": True, "cwd": "/"}
    subprocess.run(prefix + [f"{bindir}/initdb", "-D", data, "-U", "belay", "-A", "trust", "-N",
                             "-E", "UTF8", "--locale=C.UTF-8"], **quiet)
    settings = (f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off "
                "-c synchronous_commit=off -c full_page_writes=off -c autovacuum=off")
    # Stops the server when the pipe closes: however the benchmark ends, SIGKILL included.
    guardian = subprocess.Popen(
        ["sh", "-c", 'cat; "$@"; rm -rf "$0"', folder] + prefix
        + [f"{bindir}/pg_ctl", "-D", data, "-m", "immediate", "stop"], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", start_new_session=True)
    try:
        subprocess.run(prefix + [f"{bindir}/pg_ctl", "-D", data, "-w", "-o", settings,
                                 "-l", f"{folder}/log", "start"], **quiet)
        yield folder, bindir
    finally:
        guardian.stdin.close()
        guardian.wait()


class Bench:
    def __init__(self, args, folder, socket, bindir):
        self.args = args
        self.folder = folder
        self.socket = socket
        self.bindir = bindir
        self.belay = os.path.abspath(f"{args.build}/runner/belay")
        self.climb = os.path.abspath(f"{args.build}/tests/bench_climb")
        self.floor = os.path.abspath(f"{args.build}/tests/bench_floor")
        self.count = 0

    def url(self, database):
        return f"postgresql://belay@/{database}?host={self.socket}"

    def psql(self, sql):
        subprocess.run(["psql", "-q", "-X", "-d", self.url("postgres"), "-c", sql],
                       check=True)

    def run_floor(self, engine, history, steps):
        self.count += 1
        if engine == "sqlite":
            path = f"{self.folder}/floor_{self.count}.db"
            sample = run([self.floor, engine, path, history, steps])
            os.unlink(path)
            return sample
        self.psql(f"create database floor_{self.count}")
        sample = run([self.floor, engine, self.url(f"floor_{self.count}"), history, steps])
        self.psql(f"drop database floor_{self.count}")
        return sample

    def run_belay(self, engine, history, scratch):
        # the floor has no rows either: what they cost is a table of its own
        argv = [self.belay, "check", history, "--engine", engine, "--quiet", "--rows", "0"]
        if scratch:
            argv += ["--scratch-url", self.url("postgres")]
        return run(argv)

    def against_floor(self, engine, history, n):
        """Rows of (what, median sample, ratio to the same steps)."""
        kinds = {
            "floor: up, down, up": lambda: self.run_floor(engine, history, "round"),
            "floor: the steps of a check": lambda: self.run_floor(engine, history, "check"),
        }
        if engine == "sqlite":
            kinds["belay check"] = lambda: self.run_belay(engine, history, False)
        else:
            kinds["belay check, same server"] = lambda: self.run_belay(engine, history, True)
            kinds["belay check, private server"] = lambda: self.run_belay(engine, history, False)
        samples = in_turn(kinds, self.args.runs)
        print(f"\n| {engine}, {n} revisions | median | times up, down, up | times all steps |")
        print("|---|---|---|---|")
        first, second = (samples[k] for k in list(kinds)[:2])
        for kind, s in samples.items():
            print(f"| {kind} | {seconds(s)} | {ratio(s, first)} | {ratio(s, second)} |")
        return samples

    def growth(self, engine, small, few, large, many):
        scratch = engine == "postgres"
        kinds = {
            few: lambda: self.run_belay(engine, small, scratch),
            many: lambda: self.run_belay(engine, large, scratch),
        }
        kinds[few]()  # warm; the large one takes long enough without
        samples = in_turn(kinds, max(1, self.args.runs // 2), warm=False)
        floors = {n: self.run_floor(engine, folder, "check") for n, folder in
                  ((few, small), (many, large))}
        print(f"\n| {engine} | time | a revision | floor, a revision | peak memory |")
        print("|---|---|---|---|---|")
        for n, s in samples.items():
            each = statistics.median(x.seconds for x in s) / n
            print(f"| {n} revisions | {seconds(s)} | {1000 * each:.2f} ms "
                  f"| {1000 * floors[n].seconds / n:.2f} ms | {peak(s)} |")

    def dbmate(self, program, history, n):
        """dbmate knows no single step up: the folder is filled one revision at a time."""
        names = sorted(os.listdir(history))

        def steps():
            self.count += 1
            database = f"dbmate_{self.count}"
            folder = f"{self.folder}/{database}"
            os.makedirs(folder)
            self.psql(f"create database {database}")
            argv = [program, "--url", self.url(database), "--migrations-dir", folder,
                    "--no-dump-schema"]
            spent = 0.0
            for name in names:
                shutil.copy(f"{history}/{name}", folder)
                for verb in ("up", "rollback", "up"):
                    spent += run(argv + [verb]).seconds
            self.psql(f"drop database {database}")
            shutil.rmtree(folder)
            return Sample(spent)

        samples = in_turn({
            "dbmate up, rollback, up": steps,
            "belay check, private server": lambda: self.run_belay("postgres", history, False),
        }, max(1, self.args.runs // 2))
        print(f"\n| postgres, {n} revisions | median | a revision |\n|---|---|---|")
        for kind, s in samples.items():
            each = statistics.median(x.seconds for x in s) / n
            print(f"| {kind} | {seconds(s)} | {1000 * each:.1f} ms |")


def install_dbmate(folder):
    """The path of dbmate's program, or None with the reason printed."""
    if not shutil.which("npm"):
        print("\ndbmate: not measured: npm is not installed")
        return None
    done = subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix",
                           folder, "dbmate"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, check=False)
    for parent, _, files in os.walk(folder):
        # not the wrapper in .bin: Node's start would count against dbmate
        if "dbmate" in files and f"{os.sep}@dbmate{os.sep}" in parent + os.sep:
            return os.path.join(parent, "dbmate")
    print(f"\ndbmate: not measured: npm could not install it: {done.stderr.strip()[-200:]}")
    return None


def describe(bench):
    version = subprocess.run([f"{bench.bindir}/postgres", "--version"], capture_output=True,
                             text=True, check=True).stdout.split()[2]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    print(f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GB memory, PostgreSQL "
          f"{version}, SQLite {sqlite3.sqlite_version}, scratch databases on "
          f"{bench.folder.rsplit('/', 1)[0]}; medians of {bench.args.runs} runs in turn")


def sql_folders(bench):
    args = bench.args
    small, large = f"{bench.folder}/few", f"{bench.folder}/many"
    write_history(small, args.revisions)
    write_history(large, args.many)
    for engine in ("sqlite", "postgres"):
        bench.against_floor(engine, small, args.revisions)
    for engine in ("sqlite", "postgres"):
        bench.growth(engine, small, args.revisions, large, args.many)
    program = None if args.no_dbmate else install_dbmate(f"{bench.folder}/npm")
    if program:
        bench.dbmate(program, small, args.revisions)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--revisions", type=int, default=300)
    parser.add_argument("--many", type=int, default=3000)
    parser.add_argument("--no-dbmate", action="store_true")
    parser.add_argument("--only", choices=("sql", "rows", "alembic", "backup", "copy",
                                           "deploy", "rehearse"))
    parser.add_argument("--megabytes", type=int, default=1100, help="of the databases backed up")
    args = parser.parse_args()
    # a terminated benchmark stops what it runs and removes its folder, too
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("terminated"))

    tmpfs = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="belay-bench-", dir=tmpfs) as folder:
        os.chmod(folder, 0o755)
        with postgres(f"{folder}/server") as (socket, bindir):
            bench = Bench(args, folder, socket, bindir)
            describe(bench)
            if args.only in (None, "sql"):
                sql_folders(bench)
            if args.only in (None, "rows"):
                bench_rows(bench, write_history)
            if args.only in (None, "alembic"):
                bench_alembic(bench)
            if args.only in (None, "backup"):
                bench_backup(bench)
            if args.only in (None, "copy"):
                bench_copy(bench)
            if args.only in (None, "deploy"):
                bench_deploy(bench)
            if args.only in (None, "rehearse"):
                bench_rehearse(bench)


if __name__ == "__main__":
    main()
