/*
 * What a kind of source gives to source.c, which calls it for everybody; for harness/source only.
 */
#ifndef BELAY_SOURCE_IMPL_H
#define BELAY_SOURCE_IMPL_H

#include "harness/source/source.h"

struct source_ops {
    /* Each follows the function of the same name in source.h. */
    void (*free)(struct source *s);
    int (*own_url)(const struct source *s, char **ret, struct err *err); /* NULL: there is none */
    int (*migrator_open)(const struct source *s, const struct engine *e, const char *url,
                         unsigned db_flags, const struct db_proof *proof, struct migrator **ret,
                         struct err *err);
    void (*close)(struct migrator *m);
    void (*watch)(struct migrator *m); /* NULL: what a step touches is never known */
    void (*observe)(struct migrator *m, const struct migrator_observer *o); /* NULL: it cannot */
    bool (*rolled_back)(struct migrator *m);                                /* NULL: never known */
    const char *(*backend)(struct migrator *m);                             /* NULL: never known */
    char *(*data_version)(struct migrator *m); /* SQLite's, in its session; NULL: never known */
    int (*prepare)(struct migrator *m, const struct strv *statements,
                   struct err *err);      /* NULL: it cannot */
    struct db *(*db)(struct migrator *m); /* NULL: it has no session that belay can use */
    const struct sqlite_rows *(*schema_rows)(const struct migrator *m); /* NULL: never known */
    int (*step)(struct migrator *m, const struct revision *r, enum step_direction direction,
                bool keep_session, struct step_result *ret, struct err *err);
    int (*straight)(struct migrator *m, const struct revisions *list, size_t *ret_done,
                    struct step_result *ret, struct err *err);
    int (*current)(struct migrator *m, struct strv *ret, struct err *err);
    int (*stamp)(struct migrator *m, const struct revisions *heads, struct err *err);
    int (*drift)(struct migrator *m, struct strv *ret, struct err *err); /* NULL: no models */
    void (*cancel)(struct migrator *m);
    int (*sql)(const struct source *s, const struct engine *e, const struct revisions *list,
               enum step_direction direction, char **ret, struct err *err);
    int (*new_revision)(const struct source *s, const struct new_revision *n, char **ret_id,
                        struct strv *ret_files, struct err *err);
};

/* For the kinds: a step begins to work in that transaction. */
int migrator_noted(struct migrator *m, const char *number, struct err *err);
/* A session is about to end by itself: it looks next, and versions[1] is to be what it sees. */
void migrator_look(struct migrator *m);

enum { MAX_VERSION_TABLES = 8 };

/* Every kind's source begins with this. */
struct source {
    const struct source_ops *ops;
    const char *format;
    char *dir;
    struct graph *graph;
    const char *version_tables[MAX_VERSION_TABLES + 1];
    const struct engine *engine_hint;
    struct strv skipped;
    char *runtime; /* or NULL */
};

/* Every kind's migrator begins with this. */
struct migrator {
    const struct source *source;
    int (*noted)(void *data, const char *number, struct err *err); /* migrator_on_transaction() */
    void *noted_data;
    void (*look)(void *data); /* migrator_guard(); NULL: it has looked */
    void *look_data;
    char *versions[2]; /* before and after; NULL: not known */
};

/* ---- the kinds ---- */

/* An SQL folder; format NULL: whatever its contents show. */
int sql_source_open(const char *dir, const char *format, struct source **ret, struct err *err);

/* The configuration file that makes the folder an Alembic project, or NULL. The caller owns it. */
char *alembic_find_config(const struct source_options *o);
/* The same one folder further down; *ret is NULL when there is none, several are ERR_CONFIG. */
int alembic_find_below(const char *dir, char **ret, struct err *err);
int alembic_source_open(const struct source_options *o, const char *config, struct source **ret,
                        struct err *err);

/* o->command. `list` runs on a scratch database of its own. */
int command_source_open(const struct source_options *o, struct source **ret, struct err *err);

#endif
