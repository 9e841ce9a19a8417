#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "harness/base/cleanup.h"
#include "runner/cli.h"
#include "runner/interrupt.h"
#include "runner/terminal.h"

#define O(name) OPTION_BIT(OPT_##name)
#define COMMON (O(COLOR) | O(CONFIG) | O(HELP) | O(QUIET) | O(VERBOSE))

#define CHECK                                                                                      \
    (O(BASELINE) | O(ENGINE) | O(KEEP_SCRATCH) | O(LATEST) | O(MIN_REVISION) | O(QUICK) |          \
     O(ROWS) | O(SCRATCH_URL) | O(SEED) | O(SINCE) | O(URL))
/* Source folders and their format, for the version tables that a snapshot leaves out. */
#define SOURCE                                                                                     \
    (O(ALEMBIC_CONFIG) | O(DIR) | O(FORMAT) | O(ISOLATION) | O(PYTHON) | O(SECTION) | O(TIMEOUT) | \
     O(X_ARG))

static const char check_help[] =
    "DIR is the folder of the migrations, or one above it (migrations, db/migrations\n"
    "and the like are found); the current folder when left out. Everything runs on\n"
    "scratch databases; --url is read for its engine and never connected to.\n"
    "\n"
    "--format names the format of the migrations where the files do not show it\n"
    "(alembic, belay, dbmate, golang-migrate, goose, diesel), and that of the report\n"
    "(text, json, junit, sarif, markdown, html). --output FILE takes the report\n"
    "format before it, or the one that its name shows (.txt, .json, .xml, .sarif,\n"
    ".md, .html); text still goes to stdout unless another report does:\n"
    "\n"
    "  belay check --format goose --output report.xml\n"
    "\n"
    "Exit 0: nothing found from --fail-on (error) upwards; 1: findings; 2: usage,\n"
    "configuration, or migrations that cannot be read; 3: no verdict, because the\n"
    "environment failed or a signal came.\n";

static const char run_help[] =
    "A scenario is a folder with a scenario.yaml, which holds the keys of belay.yaml\n"
    "and a few of its own:\n"
    "\n"
    "  title: a downgrade forgets an index\n"
    "  dir: migrations                  # this is the default\n"
    "  engines: [sqlite, postgres]\n"
    "  expect:                          # these findings and no others\n"
    "    - finding: downgrade-leaves-trace\n"
    "      revision: \"0002\"             # an id or the beginning of one\n"
    "      object: index *_author_idx\n"
    "\n"
    "With steps (upgrade, downgrade, sql, check, expect and more) these run on one\n"
    "scratch database instead; docs/scenarios.md has the language.\n"
    "\n"
    "A folder above scenarios runs all of them. Exit 0: all as expected; 1: some\n"
    "differ; 3: some could not run.\n";

/* What every verb on the user's own database takes. */
#define DATABASE (COMMON | SOURCE | O(URL))
/* And those that compare with a scratch database. */
#define COMPARE (O(BASELINE) | O(SCRATCH_URL))

#define TARGETS                                                                                    \
    "TARGET is a revision's id or the beginning of one, head, heads, base, +2, -1,\n"              \
    "ID+1, ID-1, or a branch: label@head, label@-1. Nothing is ever chosen for you:\n"             \
    "where a target could mean two revisions, it is an error that names them.\n"

static const char upgrade_help[] =
    TARGETS "\n"
            "The database is --url, DATABASE_URL or \"url:\" in belay.yaml. Each step is\n"
            "committed, recorded in the project's own version table, and printed with its\n"
            "time. A database with tables and no version table is refused, with a proposal.\n"
            "\n"
            "--sql prints the SQL instead and needs no database: TARGET from base, or\n"
            "FROM:TO.\n"
            "\n"
            "Exit 0: done; 1: a step failed, or the database does not fit the revisions;\n"
            "2: usage; 3: no connection, a lock, a signal.\n";

static const char downgrade_help[] =
    TARGETS "\n"
            "TARGET stays applied; what follows it is taken back. -1 takes the last revision\n"
            "back, base all of them. Downgrades that do not exist are found out before\n"
            "anything is taken back.\n"
            "\n"
            "--sql prints the SQL of FROM:TO instead and needs no database.\n";

static const char stamp_help[] =
    TARGETS "\n"
            "Writes into the version table that TARGET and all before it are applied, and\n"
            "runs nothing. The schema must be that of TARGET (a scratch database is upgraded\n"
            "to it and compared), or --force says that it does not matter.\n"
            "\n"
            "--detect compares with every revision and stamps the one that fits; when several\n"
            "fit, or none does, they are listed and nothing is stamped.\n";

static const char revision_help[] =
    "Writes the files of a new revision the way the project's tool does, and checks\n"
    "it at once on scratch databases (--no-check leaves that out). --autogenerate is\n"
    "for Alembic. --branch-label, --depends-on and several heads are for Alembic and\n"
    "belay's own format.\n";

static const char history_help[] =
    "Newest first. RANGE is FROM:TO, either may be left out; current stands for what\n"
    "the database is at. --verbose shows more of each revision, --format json\n"
    "everything.\n";

static const char backup_help[] =
    "URL is the database, else --url, DATABASE_URL or the project's own. The bundle\n"
    "is one file with schema, rows, digests and a manifest (docs/bundles.md), written\n"
    "to --output FILE; into the folder --output DIR or --bundles DIR (belay-bundles)\n"
    "it is named DATABASE-REVISION-TIME.belay. Its path goes to stdout. An existing\n"
    "file is never replaced; until it is whole there is no file of that name.\n"
    "\n"
    "Exit 0: done; 2: usage; 3: no connection, something that cannot be read, a full\n"
    "disk, a signal: there is no bundle.\n";

static const char verify_help[] =
    "Reads every byte: structure, hashes, rows, and the digests that the stored rows\n"
    "come to. --drill restores the bundle into a scratch database and compares schema\n"
    "and digests with what was recorded (for SQLite that is always done).\n"
    "\n"
    "Exit 0: good; 1: damaged, or not a bundle; 2: usage, or a key that cannot be\n"
    "used; 3: no verdict.\n";

static const char restore_help[] =
    "Nothing is destroyed first. The bundle is loaded beside the target and compared\n"
    "with its manifest; only then it takes the target's place, in one transaction.\n"
    "What was there is kept as NAME_before_restore_TIME. --to may name an existing\n"
    "database, an empty one, or one that does not exist yet. --no-owner (PostgreSQL)\n"
    "needs none of the roles that the bundle names.\n"
    "\n"
    "Exit 0: done; 2: usage, or a damaged bundle; 3: it could not be done: the target\n"
    "is as it was.\n";

static const char bundles_help[] =
    "DIR, else --bundles DIR, else belay-bundles; newest first.\n"
    "\n"
    "--prune removes what neither --keep-last nor --keep-days keeps, of each database\n"
    "for itself; without --prune they only mark what would go. The newest bundle that\n"
    "stays is verified first, and a good one is never removed when no other is known\n"
    "to be good. What cannot be read is never removed.\n"
    "\n"
    "Exit 0: all can be read; 1: some are damaged.\n";

static const char seed_help[] =
    "For a scratch or development database: every table that is empty gets rows,\n"
    "some ordinary, some as extreme as the schema allows. Tables that hold rows and\n"
    "version tables are left alone. All of it is one transaction. \"rows:\" in\n"
    "belay.yaml gives rows of your own. The same seed makes the same rows.\n"
    "\n"
    "On a terminal you type the database's name first; elsewhere --yes is needed.\n"
    "\n"
    "Exit 0: no table is empty any more; 1: some could not be filled; 2: usage, or\n"
    "not confirmed; 3: no connection, or the database cannot be written to.\n";

#define VERSION_TABLES "With --dir or the format of a source, its version tables are left out.\n"

static const char deploy_help[] =
    "The upgrade that puts the database back: takes a bundle, verifies it, upgrades\n"
    "and checks. When anything fails it goes back by the least destructive way that\n"
    "is proved to give the old database again: nothing was committed, the revisions'\n"
    "own downgrades, the bundle restored beside and swapped in.\n"
    "\n"
    "Checked after the upgrade: the revision, the schema against a scratch database\n"
    "upgraded the same way, constraints and indexes, --probe. With a COMMAND after\n"
    "--, belay becomes it once the database is ready (for containers):\n"
    "\n"
    "  belay deploy --wait 60s -- uvicorn app:app\n"
    "\n"
    "An application may go on writing. Before the bundle's rows take the place of the\n"
    "live ones, belay looks for what others have committed since: --lost-writes=stop\n"
    "leaves everything as it is, export writes it to SQL files beside the bundle,\n"
    "accept gives it up. --fence (PostgreSQL) keeps everybody else out meanwhile.\n"
    "\n"
    "The journal in --bundles knows what was decided: \"belay recover\", or the next\n"
    "deploy, finishes one that was cut off. That folder must outlive the container.\n"
    "\n"
    "Exit 0: at the target; 1: the database or the project does not fit; 3: nothing\n"
    "was changed; 4: the upgrade failed and the database is back, proved; 5: a\n"
    "person must look; 6: another deploy holds the lock.\n";

static const char rehearse_help[] =
    "The evening before the deploy: how long each revision takes on your data, what\n"
    "it locks and for how long others would wait, how much room it needs, and whether\n"
    "the downgrade brings every row back. Runs on a copy; what --from names is only\n"
    "read.\n"
    "\n"
    "  belay rehearse --from postgresql://app@db/app --max-blocked 2s\n"
    "\n"
    "--to is the target revision (head). --max-blocked, --max-duration and\n"
    "--max-growth are budgets, mostly kept in belay.yaml. --format text or json.\n"
    "\n"
    "\"mask:\" in belay.yaml keeps values of people out of the copy. \"queries:\", or\n"
    "--queries-from URL: what the running application asks, prepared at every stop.\n"
    "--sample PERCENT copies a part of the rows, with every foreign key intact.\n"
    "docs/rehearse.md says what is measured, and how.\n"
    "\n"
    "Exit 0: nothing found from --fail-on (error) upwards; 1: findings; 2: usage, or\n"
    "the copy does not fit the revisions; 3: no verdict.\n";

#define DEPLOY                                                                                     \
    (O(ALLOW_DRIFT) | O(BUNDLES) | O(DEADLINE) | O(DRILL) | O(ENCRYPT_TO) | O(FENCE) | O(JOBS) |   \
     O(LEVEL) | O(LOCK_RETRIES) | O(LOCK_TIMEOUT) | O(LOST_WRITES) | O(PATIENCE) | O(PROBE) |      \
     O(PROBE_TIMEOUT) | O(REQUIRE_CHECK) | O(STATEMENT_TIMEOUT) | O(TWIN) | O(WAIT))

const struct command commands[] = {
    {"check", cmd_check, "[DIR]", 0, 1, "prove that every revision goes up, down and up again",
     check_help, COMMON | CHECK | SOURCE | O(FAIL_ON) | O(GIT_BASE) | O(OUTPUT) | O(RECORD), true},
    {"run", cmd_run, "SCENARIO...", 1, -1, "check scenarios against what they expect", run_help,
     O(COLOR) | O(ENGINE) | O(QUIET) | O(SCRATCH_URL) | O(VERBOSE), false},
    {"upgrade", cmd_upgrade, "[TARGET]", 0, 1, "apply revisions to the database, up to head",
     upgrade_help, DATABASE | COMPARE | O(ENGINE) | O(SQL), true},
    {"downgrade", cmd_downgrade, "TARGET", 1, 1, "take revisions back", downgrade_help,
     DATABASE | COMPARE | O(ENGINE) | O(SQL), true},
    {"deploy", cmd_deploy, "[-- COMMAND...]", 0, -1,
     "back up, upgrade, check; put the database back when it fails", deploy_help,
     DATABASE | COMPARE | DEPLOY | O(DRY_RUN) | O(OUTPUT) | O(TO), true},
    {"rehearse", cmd_rehearse, "[DIR]", 0, 1,
     "run the pending revisions on a copy of production, measured", rehearse_help,
     COMMON | SOURCE | O(BIG_TABLE) | O(FAIL_ON) | O(FROM) | O(JOBS) | O(KEY) | O(LOCK_TIMEOUT) |
         O(LONG_LOCK) | O(MAX_BLOCKED) | O(MAX_DURATION) | O(MAX_GROWTH) | O(OUTPUT) |
         O(QUERIES_FROM) | O(REQUIRE_MASKING) | O(SAMPLE) | O(SCRATCH_URL) | O(SEED) | O(TO),
     true},
    {"recover", cmd_recover, "", 0, 0, "finish a deploy that was cut off",
     "Ends as the deploy itself would have: complete, or back and proved, or exit 5\n"
     "with what a person must know.\n",
     DATABASE | COMPARE | DEPLOY | O(OUTPUT), true},
    {"status", cmd_status, "", 0, 0, "show running and past deploys", NULL,
     COMMON | O(BUNDLES) | O(FORMAT), true},
    {"current", cmd_current, "", 0, 0, "show what the database is at",
     "Tells three states apart: empty, tables without a version table (then the\n"
     "revision whose schema they have is looked for), and tracked. --format json.\n"
     "Exit 0: empty or tracked; 1: the database does not fit the revisions.\n",
     DATABASE | COMPARE, true},
    {"history", cmd_history, "[RANGE]", 0, 1, "list the revisions", history_help,
     DATABASE | O(INDICATE_CURRENT) | O(REV_RANGE), true},
    {"heads", cmd_heads, "", 0, 0, "list the revisions that nothing follows", NULL, COMMON | SOURCE,
     true},
    {"branches", cmd_branches, "", 0, 0, "list where branches begin", NULL, COMMON | SOURCE, true},
    {"show", cmd_show, "REV", 1, 1, "show one revision", TARGETS, COMMON | SOURCE, true},
    {"stamp", cmd_stamp, "[TARGET...]", 0, -1, "say what is applied, without running it",
     stamp_help, DATABASE | COMPARE | O(DETECT) | O(FORCE), true},
    {"sql", cmd_sql, "[FROM:TO]", 0, 1, "print the SQL of an upgrade or downgrade",
     "From base to head when left out. Needs no database; --engine says which SQL\n"
     "where the migrations do not show it.\n",
     DATABASE | O(ENGINE), true},
    {"revision", cmd_revision, "", 0, 0, "write a new revision and check it", revision_help,
     DATABASE | COMPARE | O(AUTOGENERATE) | O(BRANCH_LABEL) | O(DEPENDS_ON) | O(ENGINE) |
         O(FAIL_ON) | O(HEAD) | O(MESSAGE) | O(NO_CHECK) | O(REV_ID),
     true},
    {"merge", cmd_merge, "[REV...]", 0, -1, "write a revision that joins heads, and check it",
     "All heads when none is named. For Alembic and belay's own format.\n",
     DATABASE | COMPARE | O(BRANCH_LABEL) | O(ENGINE) | O(FAIL_ON) | O(MESSAGE) | O(NO_CHECK) |
         O(REV_ID),
     true},
    {"backup", cmd_backup, "[URL]", 0, 1, "write a database into a bundle", backup_help,
     DATABASE | O(BUNDLES) | O(ENCRYPT_TO) | O(JOBS) | O(LEVEL) | O(OUTPUT), true},
    {"verify", cmd_verify, "BUNDLE", 1, 1, "check every byte of a bundle", verify_help,
     COMMON | O(DRILL) | O(FORMAT) | O(JOBS) | O(KEY) | O(SCRATCH_URL), true},
    {"restore", cmd_restore, "BUNDLE", 1, 1, "make a database what a bundle holds", restore_help,
     COMMON | O(JOBS) | O(KEY) | O(NO_OWNER) | O(TO), true},
    {"bundles", cmd_bundles, "[DIR]", 0, 1, "list bundles, remove old ones", bundles_help,
     COMMON | O(BUNDLES) | O(FORMAT) | O(JOBS) | O(KEEP_DAYS) | O(KEEP_LAST) | O(KEY) | O(PRUNE),
     true},
    {"diff", cmd_diff, "A B", 2, 2, "show what differs between two schemas",
     "A and B are database URLs, snapshot files, bundles, SQLite files, or - for a\n"
     "snapshot on stdin. --format text or json.\n" VERSION_TABLES "Exit 0: equal; 1: different.\n",
     COMMON | SOURCE | O(KEY) | O(OUTPUT), true},
    {"snapshot", cmd_snapshot, "[URL]", 0, 1, "write the schema of a database as JSON",
     "URL may be a bundle too. Without URL: --url, BELAY_URL, DATABASE_URL or\n"
     "belay.yaml.\n" VERSION_TABLES,
     COMMON | SOURCE | O(KEY) | O(OUTPUT) | O(URL), true},
    {"seed", cmd_seed, "URL", 1, 1, "fill the empty tables of a database with rows", seed_help,
     COMMON | SOURCE | O(ROWS) | O(SEED) | O(YES), true},
    {"init", cmd_init, "[DIR]", 0, 1, "write a commented belay.yaml",
     "An existing file is never overwritten.\n", O(ENGINE) | O(FORMAT) | O(URL), false},
    {"doctor", cmd_doctor, "[DIR]", 0, 1, "say what is found here, and what is missing",
     "Exit 0: belay check can run; 3: something that it needs is missing.\n",
     O(COLOR) | O(CONFIG) | SOURCE | O(ENGINE) | O(SCRATCH_URL) | O(URL), true},
    {"version", cmd_version, "", 0, 0, "show the version of belay and of its libraries", NULL, 0,
     false},
    {"help", cmd_help, "[COMMAND]", 0, 1, "show this list, or what one command does", NULL, 0,
     false},
    {0},
};

int cmd_help(struct cli *cli, struct err *err)
{
    const struct command *c = cli->args.n ? command_find(cli->args.v[0]) : NULL;
    if (cli->args.n && !c) {
        err_set(err, ERR_USAGE, "unknown command \"%s\"", cli->args.v[0]);
        return err_hint(err, "\"belay help\" lists the commands");
    }
    _cleanup_free_ char *text = c ? cli_help_command(c) : cli_help();
    fputs(text, stdout);
    return EXIT_CLEAN;
}

static int run(int argc, char **argv, struct err *err)
{
    _cleanup_(cli_release) struct cli cli = {0};
    if (cli_parse(&cli, argc, argv, err) < 0)
        return -1;
    if (settings_on(&cli.settings, OPT_VERSION) && !cli.command) {
        puts("belay " BELAY_VERSION);
        return EXIT_CLEAN;
    }
    if (settings_on(&cli.settings, OPT_HELP)) {
        _cleanup_free_ char *text = cli.command ? cli_help_command(cli.command) : cli_help();
        fputs(text, stdout);
        return EXIT_CLEAN;
    }
    if (!cli.command) {
        _cleanup_free_ char *text = cli_help();
        fputs(text, stderr);
        return EXIT_USAGE;
    }
    if (cli_load(&cli, err) < 0 || interrupt_install(err) < 0)
        return -1;
    int code = cli.command->run(&cli, err);
    if (code < 0 && settings_on(&cli.settings, OPT_VERBOSE))
        error_print_trace(err);
    return code;
}

/* A pipe whose reader has seen enough, as in `belay history | head`. */
static bool is_closed_pipe(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && p.revents & POLLERR;
}

int main(int argc, char **argv)
{
    setlocale(LC_CTYPE, "");  /* for widths of characters; numbers stay as in C */
    signal(SIGPIPE, SIG_IGN); /* a lost server or a closed pager is an error value, not a death */

    _cleanup_err_ struct err err = {0};
    int code = run(argc, argv, &err);
    if (code < 0) {
        error_print(&err);
        code = exit_code_for(err.code);
    }
    bool lost = fflush(stdout) != 0 || ferror(stdout);
    if (lost && code == EXIT_CLEAN && !is_closed_pipe(STDOUT_FILENO)) {
        err_set(&err, ERR_ENV, "cannot write to stdout");
        error_print(&err);
        return EXIT_ENVIRONMENT;
    }
    return code;
}
