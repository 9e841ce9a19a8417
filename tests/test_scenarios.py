#!/usr/bin/env python3
"""Every folder under scenarios/ on every engine it names, through `belay run`: one TAP point each.

Then an expectation that is not met, to see it fail, and the samples of README.md, to keep them true.
"""

import os
import re
import subprocess
import sys
import tempfile

BELAY = os.environ["BELAY_BIN"]
SOURCE = os.environ["BELAY_SOURCE_DIR"]


def engines(path):
    with open(path, encoding="utf-8") as f:
        return re.search(r"^engines: \[(.*)\]$", f.read(), re.MULTILINE)[1].split(", ")


def scenarios():
    for parent, folders, files in os.walk(os.path.join(SOURCE, "scenarios")):
        folders.sort()
        if "scenario.yaml" in files:
            for engine in engines(os.path.join(parent, "scenario.yaml")):
                yield os.path.relpath(parent, SOURCE), engine


def belay_run(folder, engine):
    return subprocess.run([BELAY, "run", folder, "--engine", engine], cwd=SOURCE, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)


def unmet_expectation_is_seen():
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/migrations")
        with open(f"{folder}/scenario.yaml", "w", encoding="utf-8") as f:
            f.write("title: clean, and said not to be\nengines: [sqlite]\n"
                    "expect:\n  - finding: downgrade-fails\n")
        with open(f"{folder}/migrations/1_a.sql", "w", encoding="utf-8") as f:
            f.write("-- migrate:up\ncreate table a (b integer);\n-- migrate:down\ndrop table a;\n")
        done = belay_run(folder, "sqlite")
        return done.returncode == 1 and "expected, not found: downgrade-fails" in done.stdout, done


# What a scenario expects after an upgrade to 1, and what is said when that is not so.
UNMET_STEPS = {
    "{rows: [{query: 'select 1, null', are: ['1|x']}]}": "row 1 is 1|NULL, expected 1|x",
    "{rows: [{query: 'select 1', are: []}]}": "1 rows, expected 0",
    "{rows: [{query: select x}]}": "no such column: x",
    "{objects: [table b]}": "there is no table b",
    "{objects: ['column a.b: type text']}": "there is no column a.b: type text",
    "{absent: ['column a.b: type int*']}": "there is column a.b: type int*, which should be absent",
    "{absent: [table a]}": "there is table a, which should be absent",
    "{revision: [base]}": "at 1, expected base",
    "{revision: ['2']}": "at 1, expected 2",
    "{snapshot: empty}": "differs from snapshot empty: + table a",
    "{findings: [{finding: upgrade-fails}]}": "expected, not found: upgrade-fails",
    "{}\n  - stamp: base\n  - expect: {revision: ['1']}": "at base, expected 1",
    "{}\n  - sql: nonsense": "syntax error",
    "{}\n  - preview: '1'": "preview: table a already exists",
    "{}\n  - revision: {message: more}\n  - expect: {revision: ['2']}": "at 1, expected 2",
    "{}\n  - downgrade: base\n  - upgrade: head": "found, not expected: downgrade-missing of 1",
    "{}\n  - downgrade: base": "found, not expected: downgrade-missing of 1",
    "{}\n  - check: yes": "found, not expected: downgrade-missing of 1",
}


def unmet_step_is_seen(expect):
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/migrations")
        with open(f"{folder}/scenario.yaml", "w", encoding="utf-8") as f:
            f.write("title: x\nengines: [sqlite]\nsteps:\n  - snapshot: empty\n"
                    f"  - upgrade: head\n  - expect: {expect}\n")
        with open(f"{folder}/migrations/1_a.sql", "w", encoding="utf-8") as f:
            f.write("-- migrate:up\ncreate table a (b integer);\n")
        done = belay_run(folder, "sqlite")
        kept = os.listdir(f"{folder}/migrations") == ["1_a.sql"]  # revisions go into a copy
        return done.returncode == 1 and UNMET_STEPS[expect] in done.stdout and kept, done


def without_numbers(text):
    """Times, their padding and versions differ from run to run."""
    return re.sub(r"private PostgreSQL .*|\s*\b\d+(\.\d+)? m?s\b", "", text).split()


def readme_samples():
    with open(os.path.join(SOURCE, "README.md"), encoding="utf-8") as f:
        return re.findall(r"in `(scenarios/[^`]*)`:\n\n    \$ belay (.*)\n((?:    .*\n|\n)*)",
                          f.read())


def readme_sample_is_true(folder, command, sample):
    done = subprocess.run([BELAY] + command.split(), cwd=os.path.join(SOURCE, folder), text=True,
                          encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=dict(os.environ, LC_ALL="C.UTF-8"), check=False)
    return without_numbers(done.stdout) == without_numbers(sample), done


def main():
    number = failed = 0

    def point(ok, name, done):
        nonlocal number, failed
        number += 1
        failed += not ok
        print(f"{'' if ok else 'not '}ok {number} - {name}", flush=True)
        if not ok:
            print("".join(f"# {line}\n" for line in done.stdout.splitlines())
                  + f"# exit status {done.returncode}", flush=True)

    for folder, engine in scenarios():
        done = belay_run(folder, engine)
        # a scenario may hold others below it
        met = done.returncode == 0 and " as expected" in done.stdout
        point(met, f"{folder} on {engine}", done)
    ok, done = unmet_expectation_is_seen()
    point(ok, "an expectation that is not met is seen", done)
    for expect, said in UNMET_STEPS.items():
        ok, done = unmet_step_is_seen(expect)
        point(ok, f"a step that is not met is seen: {said}", done)
    for sample in readme_samples():
        ok, done = readme_sample_is_true(*sample)
        point(ok, f"README.md shows what belay prints in {sample[0]}", done)
    print(f"1..{number}")
    return 1 if failed else 0


sys.exit(main())
