/*
 * Where revisions come from and how they are applied: an SQL folder (belay's own format, dbmate,
 * golang-migrate, goose, diesel), an Alembic project, or commands of the user's own.
 *
 *     struct source *s;
 *     source_open(&(struct source_options){.dir = "migrations"}, &s, err);
 *     const struct graph *g = source_graph(s);
 *
 *     struct migrator *m;
 *     migrator_open(s, engine, scratch_url, DB_OPEN_SCRATCH, &proof, &m, err);
 *     struct step_result r = {0};
 *     migrator_step(m, revision, STEP_UP, &r, err);
 *     step_result_release(&r);
 *     migrator_close(m);
 *
 * A source is read-only after source_open() and may serve several threads; a migrator is one
 * session on one database, used by one thread at a time.
 */
#ifndef BELAY_SOURCE_H
#define BELAY_SOURCE_H

#include "harness/base/str.h"
#include "harness/engine/engine.h"
#include "harness/source/graph.h"

struct source;
struct migrator;

/*
 * Commands for the shell, as `command:` of belay.yaml gives them; docs/commands.md says what they
 * must print, which {places} they may hold and what they find in the environment.
 */
struct command_options {
    const char *list, *up;
    const char *down;                  /* NULL: nothing has a downgrade */
    const char *current;               /* NULL: list marks what is applied */
    const char *up_all;                /* NULL: up, revision by revision */
    const char *file;                  /* pattern of the file of a revision; NULL: unknown */
    const struct strv *version_tables; /* of the tool: left out of comparisons; or NULL */
};

struct source_options {
    const char *dir;    /* the folder of the migrations, or one above it; NULL: the current one */
    const char *format; /* one of source_formats; NULL: what the contents show */
    /* for Alembic alone */
    const char *config_file; /* alembic.ini or pyproject.toml; NULL: $ALEMBIC_CONFIG, or in dir */
    const char *section;     /* as `alembic -n` takes it; NULL: "alembic" */
    const char *python;      /* the project's interpreter; NULL: the first that has Alembic */
    const struct strv *x;    /* as `alembic -x` takes them; or NULL */
    const struct strv *url_env; /* variables that env.py reads the URL from; or NULL */
    bool isolate_steps;         /* run env.py anew for every step */
    int timeout; /* seconds until the project's Python or command counts as hung; 0: a default */
    /* for commands alone */
    const struct command_options *command; /* NULL: an SQL folder or Alembic */
    const struct engine *engine;           /* what the commands migrate */
    const char *scratch_url; /* server for the scratch database that `list` sees, or NULL */
};

/* Opens the folder in the named format, or in the one that its contents show; nothing of the
 * options is kept. No migrations, two formats at once, files that cannot be read or lack their
 * markers: ERR_SOURCE or ERR_CONFIG with file, line and hint. */
int source_open(const struct source_options *o, struct source **ret, struct err *err);
void source_free(struct source *s);
DEFINE_CLEANUP(struct source *, source_free);
#define _cleanup_source_ _cleanup_(cleanup_source_free)

/* Every format that can be opened, NULL-terminated; the SQL formats follow after "alembic". For
 * `belay doctor` and --format. */
extern const char *const source_formats[];

const char *source_format(const struct source *s);
const char *source_dir(const struct source *s);
const struct graph *source_graph(const struct source *s);
/* Version tables in the form struct schema_options takes. NULL-terminated, owned by the source. */
const char *const *source_version_tables(const struct source *s);
/* The engine that the SQL itself shows (a construct only one engine has), else the one that the
 * folder is named after, or NULL: ask the user. */
const struct engine *source_engine_hint(const struct source *s);
/* The URL that the project itself connects to (Alembic's env.py knows it), password included. The
 * caller owns *ret; NULL when the project names none. */
int source_own_url(const struct source *s, char **ret, struct err *err);
/* True when the database has the source's version table, whatever is in it. */
int source_tracks(const struct source *s, struct db *db, bool *ret, struct err *err);
/* Numbered files between the revisions that belay cannot run (Go migrations): worth a word to the
 * user. */
const struct strv *source_skipped(const struct source *s);

/* What runs the revisions, where belay does not do it itself: "Python 3.11.2, Alembic 1.8.1,
 * SQLAlchemy 1.4.46 (/usr/bin/python3)"; or NULL. Owned by the source. */
const char *source_runtime(const struct source *s);

enum step_direction {
    STEP_UP,
    STEP_DOWN,
};

enum step_outcome {
    STEP_OK,
    STEP_FAILED,  /* err says where and why; the database is as the tool itself would leave it */
    STEP_MISSING, /* there is no downgrade */
    STEP_EMPTY,   /* the downgrade holds nothing to run; the version table was updated */
    STEP_IRREVERSIBLE, /* the downgrade raises on purpose; err holds its words */
};

/*
 * Which tables and sequences a step may have written rows of, rewritten, created or renamed: names
 * as the snapshot writes identities (a partition's root stands for it; SQLite: "sqlite_sequence"
 * when it was written directly). More than it really changed, version tables included; never fewer,
 * but for
 *     - tables that are gone: the snapshot tells
 *     - tables that moved to a new name with their schema: the snapshot has the new name
 *     - values whose text depends on something else (a renamed enum label, reg* types)
 *     - what constraint triggers that are deferred to the commit write, and other sessions
 */
struct step_touched {
    bool known; /* false: any table may have been */
    struct strv names;
};

struct step_result {
    enum step_outcome outcome;
    double seconds;
    struct err err;        /* for STEP_FAILED and STEP_IRREVERSIBLE: file, line, column, statement,
                              SQLSTATE, hint */
    bool transaction_open; /* the revision left a transaction open (it has been rolled back) */
    char *session_change; /* "role is now app", "search_path is now \"\"": what the revision changed
                             in its session and did not put back (it has been reset); or NULL */
    struct strv notices;  /* the server's notices and warnings, in order */
    struct step_touched touched; /* known only after migrator_watch(), of a step that worked */
};
void step_result_release(struct step_result *r);

/*
 * Opens a session and makes the version table when it is missing (not with DB_OPEN_READONLY). With
 * a proof the session must show that it is on that scratch database before anything is written;
 * proof NULL is for the verbs whose purpose is the user's own database.
 */
int migrator_open(const struct source *s, const struct engine *e, const char *url,
                  unsigned db_flags, const struct db_proof *proof, struct migrator **ret,
                  struct err *err);
/*
 * The same on the user's own database: the session must show that it is on the very database that
 * belay reaches by the URL.
 */
int migrator_open_own(const struct source *s, const struct engine *e, const char *url,
                      unsigned db_flags, struct migrator **ret, struct err *err);
void migrator_close(struct migrator *m);
DEFINE_CLEANUP(struct migrator *, migrator_close);

/*
 * From now on steps say what they touched, as far as it can be known: of steps in one transaction
 * (on SQLite: of all) that belay or Alembic runs. Not of migrator_straight(). Costs a fraction of a
 * millisecond a step.
 */
void migrator_watch(struct migrator *m);

/* One statement of a step, told after it ended. Valid during the call. */
struct statement_event {
    const char *text;
    const char *file;  /* where it is written, as far as known; or NULL */
    int line;          /* 1-based; 0: unknown */
    double begin, end; /* seconds of CLOCK_MONOTONIC */
    bool failed;
    long long rows;   /* that it wrote or gave, as its driver has it; -1: unknown */
    const char *seen; /* what struct migrator_observer.look gave after it; NULL: it was not asked */
};

struct migrator_observer {
    void *data;
    void (*statement)(void *data, const struct statement_event *e);
    /* A query of one text, run by the session itself after each statement that worked, before the
     * transaction ends: it sees what nobody else can. Must not fail. NULL: none. */
    const char *look;
    bool wait; /* statement() returns before the session goes on; else it may be called later */
};

/*
 * From now on each step tells of its statements. SQL folders run one by one what they would
 * otherwise send as one text, in the same transactions; texts that begin or end transactions
 * themselves stay whole. Alembic tells of what goes through SQLAlchemy. Commands tell nothing. The
 * observer is copied; what it points to must live until the migrator is closed.
 */
void migrator_observe(struct migrator *m, const struct migrator_observer *o);

/*
 * After a step that failed or was cancelled: whether all that it did was rolled back, as the server
 * knows of the transaction that the step began in. Ends that transaction where it still runs. Known
 * on PostgreSQL, after migrator_watch(), on a database that is no scratch database; false also when
 * the revision ended its transaction by itself, or the server cannot be asked.
 */
bool migrator_rolled_back(struct migrator *m);

/*
 * PostgreSQL, after migrator_watch(), on a database that is no scratch database: `noted` hears the number of the transaction
 * that a step works in, before it does anything there. -1 ends the step, with that error. A revision that ends its
 * transaction, or has none, works in others as well.
 */
void migrator_on_transaction(struct migrator *m,
                             int (*noted)(void *data, const char *number, struct err *err),
                             void *data);

/*
 * SQLite: whether another session has changed the file between migrator_guard() and migrator_alone(), as the migrator's
 * own session sees it; that of a step that failed may be closed by then, and looks when it fails. `look` is called
 * once, just before the second look: what it sees of the file is either the migrator's doing or told by migrator_alone().
 * False when it is not known.
 */
void migrator_guard(struct migrator *m, void (*look)(void *data), void *data);
bool migrator_alone(struct migrator *m);

/*
 * The server process that serves the migrator now: its id and when it started ("4711 2026-11-21
 * 05:57:35.123456+00"), so that it can be ended when this process cannot any more. NULL when it is
 * not known. Owned by the migrator, until its next step.
 */
const char *migrator_backend(struct migrator *m);

/*
 * Statements that every session of the migrator runs from now on before the steps: SET, mostly. ERR_ENV
 * where the migrator's sessions are not known to belay (commands).
 */
int migrator_prepare(struct migrator *m, const struct strv *statements, struct err *err);

/* The migrator's own session, to read through between steps; NULL when it is not belay's. */
struct db *migrator_db(struct migrator *m);

/*
 * The rows of sqlite_schema as the last step left them, where the migrator's own session has told
 * them, for schema_tracker_offer(); NULL when they are not known, or something else has run since.
 * Owned by the migrator, until its next step.
 */
struct sqlite_rows;
const struct sqlite_rows *migrator_schema_rows(const struct migrator *m);

/*
 * Applies or takes back one revision the way the format's own tool does, the version table
 * included. A failure of the revision is a result (returns 0); -1 is a failure of the environment:
 * connection lost, disk full, interrupted. With keep_session the session is left as the revision
 * changed it, as in a production run of several revisions; otherwise it is reset.
 */
int migrator_step(struct migrator *m, const struct revision *r, enum step_direction direction,
                  bool keep_session, struct step_result *ret, struct err *err);

/*
 * Applies all of the list in one go, in the transactions that the tool uses for several revisions,
 * and in one session. ret_done: how many were applied; the one after them is the one that ret->err
 * is about when ret->outcome is STEP_FAILED. -1 as for migrator_step().
 */
int migrator_straight(struct migrator *m, const struct revisions *list, size_t *ret_done,
                      struct step_result *ret, struct err *err);

/*
 * Every applied revision, as the version table says it: ids in graph order, then versions that the
 * graph does not know. (As `current` of the graph, set struct revisions.complete.) A database that
 * golang-migrate has marked dirty is ERR_SOURCE with the version and the way out.
 */
int migrator_current(struct migrator *m, struct strv *ret, struct err *err);

/* The same as revisions of the graph, and apart from them what it does not know; both are replaced. */
int migrator_applied(struct migrator *m, const struct graph *g, struct revisions *ret,
                     struct strv *ret_unknown, struct err *err);

/*
 * Makes the version table say that exactly these revisions and what they need are applied, and runs
 * nothing else; versions that the graph does not know go. Empty: base. golang-migrate's mark of a
 * dirty database is cleared.
 */
int migrator_stamp(struct migrator *m, const struct revisions *heads, struct err *err);

/*
 * What the project's models hold and the database does not, or the other way round: a line for each
 * operation that autogenerate would write, appended to ret. None where a source has no models.
 */
int migrator_drift(struct migrator *m, struct strv *ret, struct err *err);

/* Asks a step that runs in another thread, or is interrupted by a signal, to stop. */
void migrator_cancel(struct migrator *m);

/* ---- writing revisions and SQL ---- */

/*
 * The SQL that takes a database through the steps, version table included, without a database: what
 * `belay sql` prints. The list is in the order of the steps, as graph_upgrade_path() and
 * graph_downgrade_path() give it. The caller owns *ret. A missing downgrade, or a revision that
 * needs a database to know its SQL, is ERR_SOURCE.
 */
int source_sql(const struct source *s, const struct engine *e, const struct revisions *list,
               enum step_direction direction, char **ret, struct err *err);

struct new_revision {
    const char *message;             /* not empty */
    bool autogenerate;               /* from the difference between models and a database */
    const char *url;                 /* of that database; NULL: the project's own */
    const struct revisions *parents; /* none: a new base; several: a merge */
    const char *id;                  /* NULL: as the tool makes ids */
    const char *branch_label;        /* or NULL */
    const struct strv *depends_on;   /* ids or labels; or NULL */
};

/*
 * Writes the files of a new revision the way the tool does. ret_id: its id, owned by the caller;
 * ret_files: their paths. What the format cannot say (a merge where revisions form one line, an
 * autogenerate without models) is ERR_USAGE. Nothing is written on failure. The source must be
 * opened again to see it.
 */
int source_new_revision(const struct source *s, const struct new_revision *n, char **ret_id,
                        struct strv *ret_files, struct err *err);

#endif
