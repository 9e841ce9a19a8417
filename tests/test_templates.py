#!/usr/bin/env python3
"""ci/templates: what can be said about them without Docker, Kubernetes or a forge. Speaks TAP.

The YAML is read, every shell text is given to `sh -n` and shellcheck, and every command of belay's is tried with
--help in the place of running it, which refuses options that are none.
"""

import os
import re
import shutil
import subprocess
import sys

SOURCE = os.environ["BELAY_SOURCE_DIR"]
BELAY = os.environ["BELAY_BIN"]
TEMPLATES = os.path.join(SOURCE, "ci", "templates")

try:
    import yaml
except ImportError:
    print("1..0 # SKIP python3-yaml is not installed")
    sys.exit(0)


def load(name):
    with open(os.path.join(TEMPLATES, name), encoding="utf-8") as f:
        return yaml.safe_load(f)


def scripts(name):
    """(shell text, or argv) for each command in it."""
    if name == "compose.yaml":
        app = load(name)["services"]["app"]
        yield app["entrypoint"][2].replace("$$", "$")
    elif name == "kubernetes-job.yaml":
        yield load(name)["spec"]["template"]["spec"]["containers"][0]["command"]
    elif name == "github-actions.yaml":
        for job in load(name)["jobs"].values():
            yield from (step["run"] for step in job["steps"] if "run" in step)
    elif name == "gitlab-ci.yaml":
        for job in load(name).values():
            if isinstance(job, dict):
                yield from job["script"] + job.get("after_script", [])
    else:
        with open(os.path.join(TEMPLATES, name), encoding="utf-8") as f:
            yield re.search(r"^ExecStart=(.*)$", f.read(), re.M).group(1).split()


def run(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, check=False, **more)


def faults(name):
    seen = 0
    for script in scripts(name):
        if isinstance(script, str):
            commands = [c.split() for c in re.findall(r"^\s*(?:exec )?belay ([^|\n]*?)(?: \|\||$)", script, re.M)]
            r = run("sh", "-n", "-c", script)
            if r.returncode:
                yield f"{script}: {r.stderr}"
            if shutil.which("shellcheck"):
                r = run("shellcheck", "--shell=sh", "-", input=script)
                if r.returncode:
                    yield r.stdout
        else:
            commands = [script[1:]]
        for c in commands:
            seen += 1
            end = c.index("--") if "--" in c else len(c)
            r = run(BELAY, *c[:end], "--help")
            if r.returncode:
                yield f"belay {' '.join(c)}: {r.stderr}"
    if not seen:
        yield "no command of belay's in it"


def main():
    names = sorted(os.listdir(TEMPLATES))
    print(f"1..{len(names)}")
    for n, name in enumerate(names, 1):
        found = list(faults(name))
        print("not ok" if found else "ok", n, "-", name)
        for text in found:
            print("#", text.replace("\n", "\n# "))


main()
