"""The copy that a rehearsal runs on, against pg_dump piped into pg_restore, on one server."""

import os

from bench_backup import Fresh, PostgresBench, table
from measure import in_turn, run


class CopyBench(PostgresBench):
    def write_project(self):
        """One revision that does nothing and is said to be applied: a rehearsal of it is the copy alone."""
        self.folder = f"{self.bench.folder}/copied"
        os.makedirs(self.folder)
        with open(f"{self.folder}/1_x.sql", "w", encoding="utf-8") as f:
            f.write("-- migrate:up\nselect 1;\n-- migrate:down\nselect 1;\n")
        run([self.bench.belay, "stamp", "1", "--force", "--dir", self.folder, "--url", self.url])

    def belay(self):
        return Fresh("/nonexistent", self.data).run(
            [self.bench.belay, "rehearse", self.folder, "--from", self.url, "--scratch-url",
             self.bench.url("postgres"), "-j", "2", "-q"])

    def piped(self):
        tools = self.bench.bindir
        return self.in_new_database(
            ["bash", "-c", f"set -o pipefail; '{tools}/createdb' -h '{self.bench.socket}' -U belay "
                           f"-T template0 shop_back && '{tools}/pg_dump' -Fc -Z0 -d '{self.url}' | "
                           f"'{tools}/pg_restore' -d '{self.bench.url('shop_back')}'"])


def bench_copy(bench):
    load = os.getloadavg()
    print(f"\nThe copy of a rehearsal; load of the machine when it begins: {load[0]:.1f}")
    pg = CopyBench(bench)
    pg.fill()
    pg.write_project()
    table("copy", in_turn({"belay rehearse, nothing pending": pg.belay,
                           "pg_dump piped into pg_restore": pg.piped}, bench.args.runs))
    bench.psql("drop database shop_back")
    bench.psql("drop database shop")
