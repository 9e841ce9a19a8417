"""What a rehearsal's observing costs: its upgrades against the same revisions applied bare.

Both sides run on equal copies, in turn. PostgreSQL's are databases of one server, so that its
settings are the same; the time of a revision is measured where it is applied, without connecting.
"""

import json
import os
import shutil
import sqlite3
import statistics
import subprocess
import time

from bench_backup import PostgresBench, fill_sqlite, megabytes, remove, size_of
from measure import Sample, ratio, run

# name, up, down, whether it runs in a transaction; on the tables of bench_backup
POSTGRES = [
    ("index", "create index orders_amount on orders (amount);", "drop index orders_amount;", True),
    ("index concurrently", "create index concurrently events_at on events (at);",
     "drop index concurrently events_at;", False),
    ("column with a default", "alter table orders add column source text not null default 'web';",
     "alter table orders drop column source;", True),
    ("backfill", "alter table events add column day date;\nupdate events set day = at::date;",
     "alter table events drop column day;", True),
    ("not null", "alter table events alter column day set not null;",
     "alter table events alter column day drop not null;", True),
    ("type change", "alter table events alter column kind type varchar(20) using lower(kind);",
     "alter table events alter column kind type text;", True),
    ("foreign key", "alter table events add constraint events_order foreign key (order_id)"
     " references orders;", "alter table events drop constraint events_order;", True),
]
SQLITE = [
    ("index", "create index orders_amount on orders (amount);", "drop index orders_amount;", True),
    ("column with a default", "alter table orders add column source text not null default 'web';",
     "alter table orders drop column source;", True),
    ("backfill", "alter table orders add column month text;\n"
     "update orders set month = substr(created, 1, 7);",
     "alter table orders drop column month;", True),
    ("table made anew", "create table placed (id integer primary key, user_id int not null,"
     " amount real);\ninsert into placed select id, user_id, amount from orders;",
     "drop table placed;", True),
]
VERSIONS = "create table schema_migrations (version varchar(128) primary key);"


class Rehearsal:
    def __init__(self, bench, engine, revisions):
        self.bench = bench
        self.revisions = revisions
        self.folder = f"{bench.folder}/rehearse-{engine}"
        os.makedirs(self.folder)
        for n, (name, up, down, whole) in enumerate(revisions, 1):
            option = "" if whole else " transaction:false"
            with open(f"{self.folder}/{n}_{name.replace(' ', '_')}.sql", "w",
                      encoding="utf-8") as f:
                f.write(f"-- migrate:up{option}\n{up}\n-- migrate:down{option}\n{down}\n")

    def text(self, n, begin="begin;"):
        """Revision n from 0, and its row of the version table, as the tool sends them."""
        _, up, _, whole = self.revisions[n]
        mark = f"insert into schema_migrations values ('{n + 1}');"
        return f"{begin}\n{up}\n{mark}\ncommit;\n" if whole else f"{up}\n{mark}\n"

    def observed(self, source, *args):
        """The whole rehearsal, and each revision's upgrade, downgrade and second upgrade."""
        report = f"{self.bench.folder}/rehearsal"
        # 1: the findings that such revisions bring about
        sample = run(["bash", "-c", f'"$@" >{report}; test $? -le 1', "belay", self.bench.belay,
                      "rehearse", self.folder, "--from", source, "--format", "json", *args])
        with open(report, encoding="utf-8") as f:
            said = json.load(f)
        steps = said["revisions"]
        if said["error"] or len(steps) != len(self.revisions):
            raise SystemExit(f"belay rehearse: {said['error']}, {len(steps)} revisions")
        return (sample, [Sample(s["up"]["seconds"]) for s in steps],
                Sample(said["decide"]["again_seconds"]))


class PostgresRehearsal(Rehearsal):
    def __init__(self, bench):
        super().__init__(bench, "postgres", POSTGRES)
        pg = PostgresBench(bench)
        pg.fill()
        self.url = pg.url
        subprocess.run(["psql", "-q", "-X", "-d", self.url, "-c", VERSIONS], check=True)
        # loaded as a copy is: never vacuumed, its statistics there
        bench.psql("create database shop_loaded template template0")
        to, tools = bench.url("shop_loaded"), bench.bindir
        run(["bash", "-c", f"set -o pipefail; '{tools}/pg_dump' -Fc -Z0 -d '{self.url}' | "
                           f"'{tools}/pg_restore' -d '{to}' && psql -q -X -d '{to}' -c analyze"])

    def rehearse(self):
        return self.observed(self.url, "--scratch-url", self.bench.url("postgres"), "-j", "2")

    def bare(self):
        self.bench.psql("create database shop_bare template shop_loaded")
        now = "select 'at', extract(epoch from clock_timestamp());\n"
        script = now + "".join(self.text(n) + now for n in range(len(self.revisions)))
        out = subprocess.run(["psql", "-q", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-d",
                              self.bench.url("shop_bare")], input=script, check=True, text=True,
                             capture_output=True).stdout
        at = [float(line[3:]) for line in out.splitlines() if line.startswith("at|")]
        self.bench.psql("drop database shop_bare")
        return [Sample(b - a) for a, b in zip(at, at[1:])]

    def close(self):
        self.bench.psql("drop database shop_loaded")
        self.bench.psql("drop database shop")


class SqliteRehearsal(Rehearsal):
    def __init__(self, bench):
        super().__init__(bench, "sqlite", SQLITE)
        self.path = f"{bench.folder}/rehearse.db"
        fill_sqlite(self.path, bench.args.megabytes)
        with sqlite3.connect(self.path) as db:
            db.execute(VERSIONS)
        db.close()
        print(f"\nSQLite: a database of {megabytes(size_of(self.path))}")

    def rehearse(self):
        return self.observed(self.path)

    def bare(self):
        copy = f"{self.path}.bare"
        shutil.copyfile(self.path, copy)
        db = sqlite3.connect(copy, isolation_level=None)
        # as belay opens a copy
        db.executescript("pragma synchronous = off; pragma journal_mode = memory;")
        at = [time.monotonic()]
        for n in range(len(self.revisions)):
            db.executescript(self.text(n, "begin immediate;"))
            at.append(time.monotonic())
        db.close()
        remove(copy)
        return [Sample(b - a) for a, b in zip(at, at[1:])]

    def close(self):
        remove(self.path)


def milliseconds(samples):
    return f"{1000 * statistics.median(s.seconds for s in samples):.0f} ms"


def total(steps):
    return Sample(sum(s.seconds for s in steps))


def measure(title, b):
    observed, bare = [], []
    for n in range(b.bench.args.runs):
        # who comes first changes, as what comes second may find the machine warmer
        for side in (("observed", "bare") if n % 2 == 0 else ("bare", "observed")):
            if side == "observed":
                observed.append(b.rehearse())
            else:
                bare.append(b.bare())
    print(f"\n| {title} | rehearsed | bare | times bare |\n|---|---|---|---|")
    for n, (name, *_) in enumerate(b.revisions):
        ours, floor = [o[1][n] for o in observed], [f[n] for f in bare]
        print(f"| {name} | {milliseconds(ours)} | {milliseconds(floor)} | {ratio(ours, floor)} |")
    floor = [total(f) for f in bare]
    for name, s in (("all upgrades", [total(o[1]) for o in observed]),
                    ("all again, unobserved", [o[2] for o in observed])):
        print(f"| {name} | {milliseconds(s)} | {milliseconds(floor)} | {ratio(s, floor)} |")
    whole = statistics.median(o[0].seconds for o in observed)
    print(f"\nthe whole rehearsal, with the copy, all comparisons and the way down: {whole:.2f} s")
    b.close()


def bench_rehearse(bench):
    print(f"\nRehearsals; load of the machine when it begins: {os.getloadavg()[0]:.1f}")
    measure("postgres", PostgresRehearsal(bench))
    measure("sqlite", SqliteRehearsal(bench))
    print(f"\nload when it ends: {os.getloadavg()[0]:.1f}")
