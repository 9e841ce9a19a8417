/*
 * SQL folders: what the formats are, how a revision's text is cut into what the format's own tool
 * would send, and what the folder holds. Private to harness/source.
 *
 * sql_format.c has the table of formats, sql_section.c cuts texts, sql_folder.c reads folders,
 * sql_migrator.c runs what they found, sql_offline.c writes it down instead, and sql_writer.c makes
 * new files.
 */
#ifndef BELAY_SQL_FORMAT_H
#define BELAY_SQL_FORMAT_H

#include "harness/source/source_impl.h"

/* One query, as the tool sends it. */
struct chunk {
    char *sql;
    int line; /* 1-based line of its first character in the file */
};

/* One direction of a revision. */
struct section {
    bool present;
    bool empty;          /* nothing but white space and comments */
    bool no_transaction; /* the file asks for none */
    char *file;
    int line; /* of the first statement; of the section when it is empty */
    struct chunk *chunks;
    size_t n, cap;
};

struct script {
    struct revision *revision;
    char *version; /* as the version table holds it */
    struct section up, down;
};

/* The parts of a file's or folder's name. */
struct file_name {
    char *version; /* as written */
    char *title;
    bool up, down; /* the directions that a file of this name holds */
};
void file_name_release(struct file_name *n);

enum sql_layout {
    LAYOUT_FILE,   /* both directions in one file */
    LAYOUT_PAIR,   /* name.up.sql and name.down.sql */
    LAYOUT_FOLDER, /* name/up.sql and name/down.sql */
};

enum sql_transactions {
    TRANSACTION_SECTION,  /* one around the section and its row in the version table */
    TRANSACTION_IMPLICIT, /* around the section on SQLite; PostgreSQL's own around several
                             statements sent as one. The version table is written apart */
};

struct version_table {
    const char *name;
    bool qualified; /* PostgreSQL: in the schema that was current when the session began */
    const char *create_postgres, *create_sqlite; /* when it is missing */
    /* {table} and {version} are replaced; NULL where the table holds one row, the last version */
    const char *up, *down;
    const char *select;
};

struct sql_format {
    const char *name;
    enum sql_layout layout;
    const char *looks_like; /* for messages: what was looked for */
    bool (*parse_name)(const char *name, struct file_name *ret);
    /* A line of the file shows the format; NULL when the names alone do. */
    bool (*is_marker)(const char *line, size_t len);
    const char *markers; /* for messages */
    bool stray;          /* .sql files that the tool skips may lie about; see is_stray() */
    bool numbers;        /* versions are numbers: 7 and 007 are one */
    bool by_file_name;   /* the order is that of the file names, else that of the versions */
    enum sql_transactions transactions;
    const char *without_transaction; /* how to ask for none, for hints */
    bool keeps_search_path;          /* the tool puts search_path back itself */
    int (*parse)(struct script *s, const char *path, const char *text, struct err *err);
    struct version_table table;
};

extern const struct sql_format sql_formats[]; /* ends with name NULL */

/* The number without leading zeros, or a copy of what is none. The caller owns it. */
char *plain_number(const char *digits);

/* ---- sql_section.c ---- */

/* Cuts text, the whole of path, into the sections of s. LAYOUT_FILE. */
int parse_belay(struct script *s, const char *path, const char *text, struct err *err);
int parse_dbmate(struct script *s, const char *path, const char *text, struct err *err);
int parse_goose(struct script *s, const char *path, const char *text, struct err *err);
bool is_belay_marker(const char *line, size_t len);
bool is_dbmate_marker(const char *line, size_t len);
bool is_goose_marker(const char *line, size_t len);

/* The id in the header of a file of belay's own format: the caller owns it, NULL when there is
 * none. */
char *belay_revision_id(const char *text);

/* Makes text, the whole of path, the section. */
void section_whole(struct section *s, const char *path, const char *text);
void section_release(struct section *s);

/* Calls is_marker for each line until one is. */
bool any_line(const char *text, bool (*is_marker)(const char *line, size_t len));

/* ---- sql_hint.c ---- */

/* Counts constructs that only one engine has; call for every text, then judge. */
struct engine_signs {
    unsigned sqlite, postgres;
};
void engine_signs_read(struct engine_signs *signs, const char *sql);
const struct engine *engine_signs_judge(const struct engine_signs *signs, const char *dir);

/* ---- sql_folder.c ---- */

struct sql_source {
    struct source base;
    const struct sql_format *format;
    struct script *scripts; /* in the order they were added to the graph */
    size_t n, cap;
    struct script **by_position; /* by revision->position */
};

/* ---- sql_offline.c ---- */

/* A statement of struct version_table with its places filled in. The caller owns it. */
char *version_expand(const char *template, const char *table, const char *version);

/* What records a step in the version table, without a last semicolon; dirty is golang-migrate's.
 * The caller owns it. */
char *version_record(const struct sql_source *s, const char *table, const struct script *script,
                     enum step_direction direction, bool dirty);

/* source_sql() */
int sql_offline(const struct source *s, const struct engine *e, const struct revisions *list,
                enum step_direction direction, char **ret, struct err *err);

/* ---- sql_writer.c ---- */

/* source_new_revision() */
int sql_new_revision(const struct source *s, const struct new_revision *n, char **ret_id,
                     struct strv *ret_files, struct err *err);

/* ---- sql_migrator.c ---- */

extern const struct source_ops sql_source_ops;

/* Releases what sql_source_open() made. */
void sql_source_free(struct source *s);

#endif
