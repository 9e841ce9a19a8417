"""Bundles: backup and restore against pg_dump and pg_restore, and against SQLite's own ways."""

import os
import shutil
import sqlite3
import subprocess
import time

from bench_alembic import server_cpu
from measure import cpu, in_turn, peak, ratio, run, seconds

# Rows to the megabyte, about; the orders hold most of them, in the order of their key.
ORDERS, EVENTS, USERS = 5000, 850, 170

FILL_POSTGRES = """
create table users (id int primary key, name text not null, email text unique,
  created timestamptz not null);
insert into users select i, 'user ' || i, 'user' || i || '@example.com',
  timestamptz '2020-01-01' + i * interval '1 min' from generate_series(1, {users}) i;
create temp table notes as select k, (select string_agg((array['please','deliver','after','noon',
  'to','the','back','door','gift','wrap','fragile','call','before','arrival','leave','with',
  'neighbour','invoice','attached','second','floor','ring','twice','do','not','bend','express',
  'standard','parcel','returned','damaged','box'])[1 + ((k * 2654435761 + w * w * 40503) >> (w % 13)::int)
  % 32], ' ') from generate_series(1, 4 + k % 12) w) as t from generate_series(0::bigint, 19999) k;
create table orders (id bigint primary key, user_id int not null references users,
  created timestamptz not null, amount numeric(10,2) not null, status text not null, note text,
  details jsonb);
insert into orders select i, 1 + (i * 7919) % {users}, timestamptz '2021-01-01' + i * interval '7 s',
  ((i * 104729) % 1000000) / 100.0, (array['new','paid','shipped','returned'])[1 + i % 4],
  case when i % 5 > 0 then t end,
  jsonb_build_object('sku', 'sku-' || (i * 31) % 9999, 'qty', i % 17, 'gift', i % 11 = 0)
  from generate_series(1::bigint, {orders}) i join notes on k = (i * 7919) % 20000 order by i;
create index on orders (user_id);
create index on orders (created);
create table events (id bigserial primary key, order_id bigint, kind text, at timestamptz);
insert into events (order_id, kind, at) select 1 + i % {orders},
  (array['view','click','buy'])[1 + i % 3], timestamptz '2022-01-01' + i * interval '3 s'
  from generate_series(1, {events}) i;
vacuum analyze;
"""


def size_of(path):
    if os.path.isdir(path):
        return sum(size_of(os.path.join(path, name)) for name in os.listdir(path))
    return os.path.getsize(path)


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.unlink(path)


def megabytes(n):
    return f"{n / 2**20:.0f} MB"


class Fresh:
    """Runs that write `path`, which is removed before each; what is there after the last is kept."""

    def __init__(self, path, server=None):
        self.path = path
        self.server = server  # data folder of the server whose time counts, too

    def run(self, argv):
        remove(self.path)
        before = self.settled_cpu()
        sample = run(argv)
        sample.cpu += self.settled_cpu() - before
        return sample

    def settled_cpu(self):
        if not self.server:
            return 0
        time.sleep(0.3)  # the server counts a session when it has ended
        return server_cpu(self.server)


def table(title, samples, paths=None):
    names = list(samples)
    against = names[1:]
    print(f"\n| {title} | median | CPU, with the server's | "
          + "".join(f"times {n} | " for n in against)
          + ("size | " if paths else "") + "peak memory |")
    print("|---" * (4 + len(against) + bool(paths)) + "|")
    for name in names:
        s = samples[name]
        print(f"| {name} | {seconds(s)} | {cpu(s)} | "
              + "".join(f"{ratio(s, samples[n])} | " for n in against)
              + (f"{megabytes(size_of(paths[name]))} | " if paths else "") + f"{peak(s)} |")


class PostgresBench:
    def __init__(self, bench):
        self.bench = bench
        self.data = f"{bench.socket}/data"
        self.url = bench.url("shop")
        self.restored = False

    def fill(self):
        n = self.bench.args.megabytes
        self.bench.psql("create database shop")
        sql = FILL_POSTGRES.format(orders=ORDERS * n, events=EVENTS * n, users=USERS * n)
        subprocess.run(["psql", "-q", "-X", "-v", "ON_ERROR_STOP=1", "-d", self.url],
                       input=sql.encode(), check=True)
        out = subprocess.run(["psql", "-X", "-At", "-d", self.url, "-c",
                              "select pg_database_size('shop'), pg_table_size('orders')"],
                             check=True, capture_output=True, text=True).stdout.strip().split("|")
        print(f"\nPostgreSQL: a database of {megabytes(int(out[0]))}, "
              f"{megabytes(int(out[1]))} of it in one table; -j2 everywhere")

    def backup(self):
        f = self.bench.folder
        paths = {"belay backup": f"{f}/shop.belay", "pg_dump -Fd -j2": f"{f}/shop.dir",
                 "pg_dump -Fc -Z0 piped into zstd -T2": f"{f}/shop.zst"}
        argv = [
            [self.bench.belay, "backup", self.url, "-j", "2", "-q", "-o", f"{f}/shop.belay"],
            [f"{self.bench.bindir}/pg_dump", "-Fd", "-j2", "-f", f"{f}/shop.dir", "-d", self.url],
            ["bash", "-c", f"set -o pipefail; '{self.bench.bindir}/pg_dump' -Fc -Z0 -d '{self.url}'"
                           f" | zstd -q -T2 -f -o '{f}/shop.zst'"],
        ]
        kinds = {name: (lambda a=a, p=p: Fresh(p, self.data).run(a))
                 for (name, p), a in zip(paths.items(), argv)}
        table("backup", in_turn(kinds, self.bench.args.runs), paths)

    def in_new_database(self, argv):
        if self.restored:
            self.bench.psql("drop database shop_back")
        self.restored = True
        if argv[0].endswith("pg_restore"):
            self.bench.psql("create database shop_back template template0")
        return Fresh("/nonexistent", self.data).run(argv)

    def restore(self):
        f, to = self.bench.folder, self.bench.url("shop_back")
        kinds = {
            "belay restore": lambda: self.in_new_database(
                [self.bench.belay, "restore", f"{f}/shop.belay", "--to", to, "-j", "2", "-q"]),
            "pg_restore -j2": lambda: self.in_new_database(
                [f"{self.bench.bindir}/pg_restore", "-j2", "-d", to, f"{f}/shop.dir"]),
        }
        table("restore", in_turn(kinds, self.bench.args.runs))
        self.bench.psql("drop database shop_back")


def fill_sqlite(path, n):
    words = ("please deliver after noon to the back door gift wrap fragile call before arrival leave "
             "with neighbour invoice attached second floor").split()
    notes = [" ".join(words[(k * 2654435761 + w * w * 40503 >> w % 13) % len(words)]
                      for w in range(4 + k % 12)) for k in range(20000)]
    with sqlite3.connect(path) as db:
        db.execute("create table orders (id integer primary key, user_id int, created text, "
                   "amount real, status text, note text)")
        db.executemany("insert into orders values (?, ?, ?, ?, ?, ?)", (
            (i, i * 7919 % 100000, f"2021-{1 + i % 12:02}-{1 + i % 28:02}", i * 104729 % 1000000 / 100,
             ("new", "paid", "shipped", "returned")[i % 4], notes[i * 7919 % 20000])
            for i in range(n * 7000)))
        db.execute("create index orders_user on orders (user_id)")
    db.close()


def bench_sqlite(bench):
    f = bench.folder
    database = f"{f}/shop.db"
    fill_sqlite(database, bench.args.megabytes)
    print(f"\nSQLite: a database of {megabytes(size_of(database))}")
    paths = {"belay backup": f"{f}/lite.belay", ".backup and zstd -T2": f"{f}/lite.backup.zst",
             "VACUUM INTO and zstd -T2": f"{f}/lite.vacuum.zst"}
    copy = f"{f}/lite.copy"

    def squeezed(statement, path):
        return ["bash", "-c", f"rm -f '{copy}'; sqlite3 '{database}' \"{statement}\""
                              f" && zstd -q -T2 --rm -f -o '{path}' '{copy}'"]

    argv = [
        [bench.belay, "backup", database, "-j", "2", "-q", "-o", paths["belay backup"]],
        squeezed(f".backup '{copy}'", paths[".backup and zstd -T2"]),
        squeezed(f"vacuum into '{copy}'", paths["VACUUM INTO and zstd -T2"]),
    ]
    kinds = {name: (lambda a=a, p=p: Fresh(p).run(a)) for (name, p), a in zip(paths.items(), argv)}
    table("backup", in_turn(kinds, bench.args.runs), paths)
    for path in list(paths.values()) + [database]:
        remove(path)


def bench_backup(bench):
    load = os.getloadavg()
    print(f"\nBundles; load of the machine when it begins: {load[0]:.1f}")
    pg = PostgresBench(bench)
    pg.fill()
    pg.backup()
    pg.restore()
    bench.psql("drop database shop")
    for name in ("shop.belay", "shop.dir", "shop.zst"):
        remove(f"{bench.folder}/{name}")
    bench_sqlite(bench)
    print(f"\nload when it ends: {os.getloadavg()[0]:.1f}")
