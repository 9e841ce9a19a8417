#include "harness/source/sql_format.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void file_name_release(struct file_name *n)
{
    free(n->version);
    free(n->title);
    memset(n, 0, sizeof(*n));
}

char *plain_number(const char *digits)
{
    if (!*digits || digits[strspn(digits, "0123456789")])
        return xstrdup(digits);
    while (digits[0] == '0' && digits[1])
        digits++;
    return xstrdup(digits);
}

static size_t count_digits(const char *s)
{
    return strspn(s, "0123456789");
}

static void fill_name(struct file_name *ret, const char *version, size_t nversion,
                      const char *title, size_t ntitle)
{
    ret->version = xstrndup(version, nversion);
    while (ntitle && strchr("_-. ", *title)) {
        title++;
        ntitle--;
    }
    ret->title = xstrndup(title, ntitle);
    ret->up = ret->down = true;
}

/* 20240101120000_name.sql; dbmate asks for digits alone. */
static bool name_dbmate(const char *name, struct file_name *ret)
{
    size_t digits = count_digits(name);
    if (!digits || !str_ends(name, ".sql"))
        return false;
    fill_name(ret, name, digits, name + digits, strlen(name) - digits - 4);
    return true;
}

/* 00001_name.sql; 0 is taken by goose itself. */
static bool name_goose(const char *name, struct file_name *ret)
{
    size_t digits = count_digits(name);
    if (name[digits] != '_' || strspn(name, "0") == digits)
        return false;
    return name_dbmate(name, ret);
}

/* 1_name.up.sql; projects with a reader of their own write V0001.Name.up.sql. */
static bool name_golang_migrate(const char *name, struct file_name *ret)
{
    bool up = str_ends(name, ".up.sql"), down = str_ends(name, ".down.sql");
    const char *version = name + (name[0] == 'V' || name[0] == 'v');
    size_t digits = count_digits(version);
    if (!digits || (!up && !down) || !strchr("_.", version[digits]))
        return false;
    const char *end = name + strlen(name) - strlen(up ? ".up.sql" : ".down.sql");
    const char *title = version + digits;
    fill_name(ret, version, digits, title, end > title ? (size_t)(end - title) : 0);
    ret->up = up;
    ret->down = down;
    return true;
}

/* 2024-01-01-120000_name; the version is what stands before the first "_", without dashes. */
static bool name_diesel(const char *name, struct file_name *ret)
{
    size_t n = strcspn(name, "_"), kept = 0;
    if (name[0] == '.')
        return false;
    fill_name(ret, name, n, name + n, strlen(name) - n);
    for (const char *c = ret->version; *c; c++)
        if (*c != '-')
            ret->version[kept++] = *c;
    ret->version[kept] = '\0';
    return true;
}

static bool name_belay(const char *name, struct file_name *ret)
{
    if (!str_ends(name, ".sql") || name[0] == '.')
        return false;
    /* the id is in the header */
    fill_name(ret, "", 0, name, strlen(name) - 4);
    return true;
}

/*
 * The version tables are made as each tool makes its own, so that belay and the tool can take turns
 * on a database. belay_version has a row for every applied revision, not for the heads alone: one
 * row comes or goes with a step whatever the graph looks like, and what was left out can be seen.
 */
const struct sql_format sql_formats[] = {
    {
        .name = "belay",
        .layout = LAYOUT_FILE,
        .looks_like = "NAME.sql with \"-- revision: ID\" (belay)",
        .parse_name = name_belay,
        .is_marker = is_belay_marker,
        .markers = "\"-- revision: ID\", then \"-- upgrade\" and \"-- downgrade\"",
        .by_file_name = true,
        .transactions = TRANSACTION_SECTION,
        .without_transaction = "write \"-- upgrade transaction:false\" (or downgrade)",
        .parse = parse_belay,
        .table =
            {
                .name = "belay_version",
                .qualified = true,
                .create_postgres = "create table if not exists {table} (revision text primary key)",
                .create_sqlite = "create table if not exists {table} (revision text primary key)",
                .up = "insert into {table} (revision) values ({version})",
                .down = "delete from {table} where revision = {version}",
                .select = "select revision from {table}",
            },
    },
    {
        .name = "dbmate",
        .layout = LAYOUT_FILE,
        .looks_like = "20240101120000_NAME.sql with \"-- migrate:up\" (dbmate)",
        .parse_name = name_dbmate,
        .is_marker = is_dbmate_marker,
        .markers = "\"-- migrate:up\" and \"-- migrate:down\"",
        .stray = true,
        .by_file_name = true,
        .transactions = TRANSACTION_SECTION,
        .without_transaction = "write \"-- migrate:up transaction:false\" (or down)",
        .parse = parse_dbmate,
        .table =
            {
                .name = "schema_migrations",
                .qualified = true,
                .create_postgres =
                    "create table if not exists {table} (version varchar primary key)",
                .create_sqlite =
                    "create table if not exists {table} (version varchar(128) primary key)",
                .up = "insert into {table} (version) values ({version})",
                .down = "delete from {table} where version = {version}",
                .select = "select version from {table}",
            },
    },
    {
        .name = "golang-migrate",
        .layout = LAYOUT_PAIR,
        .looks_like = "1_NAME.up.sql (golang-migrate)",
        .parse_name = name_golang_migrate,
        .stray = true,
        .numbers = true,
        .transactions = TRANSACTION_IMPLICIT,
        .without_transaction = "put the statement alone into a revision of its own",
        .table =
            {
                .name = "schema_migrations",
                .qualified = true,
                .create_postgres = "create table if not exists {table} "
                                   "(version bigint not null primary key, dirty boolean not null)",
                .create_sqlite =
                    "create table if not exists {table} (version uint64,dirty bool);"
                    " create unique index if not exists version_unique on {table} (version)",
                .select = "select version, dirty from {table}",
            },
    },
    {
        .name = "goose",
        .layout = LAYOUT_FILE,
        .looks_like = "00001_NAME.sql with \"-- +goose Up\" (goose)",
        .parse_name = name_goose,
        .is_marker = is_goose_marker,
        .markers = "\"-- +goose Up\" and \"-- +goose Down\"",
        .stray = true,
        .numbers = true,
        .transactions = TRANSACTION_SECTION,
        .without_transaction = "write \"-- +goose NO TRANSACTION\" at the top of the file",
        .parse = parse_goose,
        .table =
            {
                .name = "goose_db_version",
                .create_postgres = "create table if not exists {table} ("
                                   "id integer primary key generated by default as identity, "
                                   "version_id bigint not null, is_applied boolean not null, "
                                   "tstamp timestamp not null default now());"
                                   " insert into {table} (version_id, is_applied)"
                                   " select 0, true where not exists (select from {table})",
                .create_sqlite = "create table if not exists {table} ("
                                 "id integer primary key autoincrement, "
                                 "version_id integer not null, is_applied integer not null, "
                                 "tstamp timestamp default (datetime('now')));"
                                 " insert into {table} (version_id, is_applied)"
                                 " select 0, true where not exists (select 1 from {table})",
                .up = "insert into {table} (version_id, is_applied) values ({version}, true)",
                .down = "delete from {table} where version_id = {version}",
                .select = "select version_id, is_applied from {table} order by id desc",
            },
    },
    {
        .name = "diesel",
        .layout = LAYOUT_FOLDER,
        .looks_like = "2024-01-01-120000_NAME/up.sql (diesel)",
        .parse_name = name_diesel,
        .stray = true,
        .transactions = TRANSACTION_SECTION,
        .without_transaction = "write \"run_in_transaction = false\" into its metadata.toml",
        .keeps_search_path = true,
        .table =
            {
                .name = "__diesel_schema_migrations",
                .create_postgres = "create table if not exists {table} "
                                   "(version varchar(50) primary key not null, "
                                   "run_on timestamp not null default current_timestamp)",
                .create_sqlite = "create table if not exists {table} "
                                 "(version varchar(50) primary key not null, "
                                 "run_on timestamp not null default current_timestamp)",
                .up = "insert into {table} (version) values ({version})",
                .down = "delete from {table} where version = {version}",
                .select = "select version from {table}",
            },
    },
    {.name = NULL},
};
