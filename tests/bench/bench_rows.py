"""What rows cost: the same history without any, with the default, and with many in each table."""

import os
import statistics

from measure import cpu, in_turn, peak, ratio, run, seconds

SIZES = (10, 1000, 100000)
UNTOUCHED = (10, 500)
CHANGES = 60


def write_untouched(folder, tables, changes):
    """A first revision that makes so many tables, and others that change one further table."""
    os.makedirs(folder)
    steps = [("".join(f"create table other_{i} (id integer primary key, name text);\n"
                      for i in range(tables)) + "create table item (id integer primary key);",
              "drop table item;\n" + "".join(f"drop table other_{i};\n" for i in range(tables)))]
    steps += [(f"alter table item add column c_{i} integer;",
               f"alter table item drop column c_{i};") for i in range(changes)]
    for i, (up, down) in enumerate(steps):
        with open(f"{folder}/{20240101000000 + i}_step.sql", "w", encoding="utf-8") as f:
            f.write(f"-- migrate:up\n{up}\n\n-- migrate:down\n{down}\n")


def bench_untouched(bench, engine):
    """What a revision costs beside tables that hold rows and that it does not touch."""
    folders = {}
    for tables in UNTOUCHED:
        for changes in (0, CHANGES):
            folders[tables, changes] = f"{bench.folder}/{engine}_{tables}_{changes}"
            write_untouched(folders[tables, changes], tables, changes)
    samples = in_turn({(rows, *key): lambda rows=rows, folder=folder: check(bench, engine, folder, rows)
                       for rows in (0, None) for key, folder in folders.items()},
                      bench.args.runs, warm=False)
    print(f"| {engine}, a further revision beside | `--rows 0`, processor time | with rows |")
    print("|---|---|---|")
    for tables in UNTOUCHED:
        each = [statistics.median(b.cpu - a.cpu for a, b in zip(samples[rows, tables, 0],
                                                                samples[rows, tables, CHANGES]))
                / CHANGES for rows in (0, None)]
        print(f"| {tables} tables | {1000 * each[0]:.1f} ms | {1000 * each[1]:.1f} ms |")
    print()


def check(bench, engine, history, rows):
    argv = [bench.belay, "check", history, "--engine", engine, "--quiet"]
    return run(argv + ([] if rows is None else ["--rows", str(rows)]))


def bench_rows(bench, write_history):
    args = bench.args
    history, short = f"{bench.folder}/rows", f"{bench.folder}/rows_short"
    write_history(history, args.revisions)
    write_history(short, 6)
    for engine in ("sqlite", "postgres"):
        samples = in_turn({rows: lambda rows=rows: check(bench, engine, history, rows)
                           for rows in (0, None)}, args.runs)
        print(f"| {engine}, {args.revisions} revisions | median | processor time | times without "
              "| its processor time |")
        print("|---|---|---|---|---|")
        for rows, name in ((0, "`--rows 0`"), (None, "rows in every table")):
            print(f"| {name} | {seconds(samples[rows])} | {cpu(samples[rows])} "
                  f"| {ratio(samples[rows], samples[0])} "
                  f"| {ratio(samples[rows], samples[0], 'cpu')} |")
        print()
    for engine in ("sqlite", "postgres"):
        samples = in_turn({rows: lambda rows=rows: check(bench, engine, short, rows)
                           for rows in SIZES}, args.runs)
        print(f"| {engine}, 6 revisions, 2 tables | median | peak memory |")
        print("|---|---|---|")
        for rows in SIZES:
            print(f"| {rows:,} rows a table | {seconds(samples[rows])} | {peak(samples[rows])} |")
        print()
    for engine in ("sqlite", "postgres"):
        bench_untouched(bench, engine)
