/*
 * Revisions of an SQL folder as one text, with what their tool adds: its version table and its
 * transactions.
 */
#include "harness/source/sql_format.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "harness/engine/pgsplit.h"

/* ---- the version table ---- */

char *version_expand(const char *template, const char *table, const char *version)
{
    struct str s = {0};
    while (*template) {
        if (str_starts(template, "{table}")) {
            str_add(&s, table);
            template += strlen("{table}");
        } else if (str_starts(template, "{version}")) {
            _cleanup_free_ char *quoted = quote_with(version, '\'');
            str_add(&s, quoted);
            template += strlen("{version}");
        } else {
            str_addc(&s, *template ++);
        }
    }
    return str_take(&s);
}

/* golang-migrate keeps one row: the last version and whether it was left half done. */
static char *single_row(const struct sql_source *s, const char *table, const struct script *script,
                        enum step_direction direction, bool dirty)
{
    const char *version = script->version;
    if (direction == STEP_DOWN)
        version = script == s->scripts ? NULL : script[-1].version;
    /* the tool truncates; what one sees is the same, and deleting one row is far cheaper */
    if (!version && !dirty)
        return xasprintf("delete from %s", table);
    return xasprintf(
        "begin; delete from %s; insert into %s (version, dirty) values (%s, %s); commit", table,
        table, version ? version : "-1", dirty ? "true" : "false");
}

char *version_record(const struct sql_source *s, const char *table, const struct script *script,
                     enum step_direction direction, bool dirty)
{
    const struct version_table *t = &s->format->table;
    if (!t->up)
        return single_row(s, table, script, direction, dirty);
    return version_expand(direction == STEP_UP ? t->up : t->down, table, script->version);
}

/* ---- the text ---- */

/* Statements end in a semicolon, on a line of its own where a comment may come before it. */
static void add_chunk(struct str *out, const char *sql)
{
    size_t n = strlen(sql);
    while (n && strchr(" \t\r\n", sql[n - 1]))
        n--;
    sql += strspn(sql, "\r\n");
    if (!sql[sql_skip_blank(sql)]) { /* comments alone */
        str_addf(out, "%.*s\n", (int)n, sql);
        return;
    }
    size_t last_line = n;
    while (last_line && sql[last_line - 1] != '\n')
        last_line--;
    bool ends = n && sql[n - 1] == ';' && !memmem(sql + last_line, n - last_line, "--", 2);
    str_addn(out, sql, n);
    str_add(out, ends ? "\n" : "\n;\n");
}

/* Several statements that a server would run as one: written down, they need a transaction. */
static bool needs_transaction(const struct section *section)
{
    static const char *const own[] = {"begin", "start", "commit", "end", NULL};
    size_t n = 0;
    bool has_own = false;
    for (size_t i = 0; i < section->n; i++) {
        _cleanup_statements_ struct statements all = {0};
        pg_split(section->chunks[i].sql, &all);
        n += all.n;
        for (size_t k = 0; k < all.n; k++)
            for (size_t w = 0; own[w]; w++) {
                const char *p = section->chunks[i].sql + all.v[k].start;
                size_t len = strlen(own[w]);
                has_own |= strncasecmp(p, own[w], len) == 0 && strchr(" \t\r\n;", p[len]);
            }
    }
    return n > 1 && !has_own;
}

static bool mentions(const struct section *section, const char *word)
{
    for (size_t i = 0; i < section->n; i++)
        if (strcasestr(section->chunks[i].sql, word))
            return true;
    return false;
}

static void add_step(const struct sql_source *s, const struct engine *e,
                     const struct script *script, const struct section *section,
                     enum step_direction direction, struct str *out)
{
    const struct sql_format *f = s->format;
    const char *table = f->table.name;
    bool implicit = f->transactions == TRANSACTION_IMPLICIT;
    bool transaction =
        implicit ? e == &engine_sqlite || needs_transaction(section) : !section->no_transaction;
    _cleanup_free_ char *record = version_record(s, table, script, direction, false);
    const struct revision *r = script->revision;
    str_addf(out, "\n-- %s %s%s%s\n\n", direction == STEP_UP ? "upgrade" : "downgrade", r->id,
             *r->title ? ": " : "", r->title);
    if (transaction)
        str_add(out, "begin;\n");
    for (size_t i = 0; i < section->n; i++)
        add_chunk(out, section->chunks[i].sql);
    if (transaction && implicit)
        str_add(out, "commit;\n");
    /* the table's schema is known to a session only; what the revision set would hide it */
    if (e == &engine_postgres && mentions(section, "search_path"))
        str_add(out, "reset search_path;\n");
    str_addf(out, "%s;\n", record);
    if (transaction && !implicit)
        str_add(out, "commit;\n");
}

int sql_offline(const struct source *base, const struct engine *e, const struct revisions *list,
                enum step_direction direction, char **ret, struct err *err)
{
    const struct sql_source *s = (const struct sql_source *)base;
    const struct version_table *t = &s->format->table;
    _cleanup_str_ struct str out = {0};
    _cleanup_free_ char *create =
        version_expand(e == &engine_postgres ? t->create_postgres : t->create_sqlite, t->name, "");
    str_addf(&out, "%s;\n", create);
    for (size_t i = 0; i < list->n; i++) {
        const struct revision *r = list->v[i];
        const struct script *script = s->by_position[r->position];
        const struct section *section = direction == STEP_UP ? &script->up : &script->down;
        if (!section->present) {
            err_set(err, ERR_SOURCE, "revision %s has no downgrade", r->id);
            err_hint(err, "write it, or stop above %s", r->id);
            return err_at(err, r->file, 0, 0);
        }
        add_step(s, e, script, section, direction, &out);
    }
    *ret = str_take(&out);
    return 0;
}
