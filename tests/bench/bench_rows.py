"""What rows cost: the same history without any, with the default, and with many in each table."""

from measure import cpu, in_turn, peak, ratio, run, seconds

SIZES = (10, 1000, 100000)


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
        print(f"| {engine}, {args.revisions} revisions | median | processor time | times without |")
        print("|---|---|---|---|")
        for rows, name in ((0, "`--rows 0`"), (None, "rows in every table")):
            print(f"| {name} | {seconds(samples[rows])} | {cpu(samples[rows])} "
                  f"| {ratio(samples[rows], samples[0])} |")
        print()
    for engine in ("sqlite", "postgres"):
        samples = in_turn({rows: lambda rows=rows: check(bench, engine, short, rows)
                           for rows in SIZES}, args.runs)
        print(f"| {engine}, 6 revisions, 2 tables | median | peak memory |")
        print("|---|---|---|")
        for rows in SIZES:
            print(f"| {rows:,} rows a table | {seconds(samples[rows])} | {peak(samples[rows])} |")
        print()
