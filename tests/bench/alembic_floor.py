"""The floor of the Alembic benchmark: the steps in one env.py run, and nothing looked at.

    alembic_floor.py FOLDER URL STEPS

Runs in the project's interpreter. STEPS is
    round     each revision up, down and up again
    check     the steps of a whole check: the above, then all of them down, then all of them up
Each step commits; the last upgrades run in one transaction, as the project's env.py has it.
"""

import os
import sys

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep
from alembic.script import ScriptDirectory


def main():
    folder, url, kind = sys.argv[1:]
    os.chdir(folder)
    config = Config("alembic.ini")
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    revisions = list(reversed(list(script.walk_revisions())))

    def up(revision):
        return MigrationStep.upgrade_from_script(script.revision_map, revision)

    def down(revision):
        return MigrationStep.downgrade_from_script(script.revision_map, revision)

    def stepwise(heads, context):
        for revision in revisions:
            yield up(revision)
            yield down(revision)
            yield up(revision)
        if kind == "check":
            for revision in reversed(revisions):
                yield down(revision)

    def straight(heads, context):
        for revision in revisions:
            yield up(revision)

    def run(steps, each_commits):
        with EnvironmentContext(config, script, fn=steps, destination_rev="heads") as env:
            original = env.configure

            def configure(*args, **kw):
                if each_commits:
                    kw["transaction_per_migration"] = True
                original(*args, **kw)

            env.configure = configure
            script.run_env()

    run(stepwise, True)
    if kind == "check":
        run(straight, False)


if __name__ == "__main__":
    main()
