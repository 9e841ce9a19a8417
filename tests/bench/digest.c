/*
 * What digests cost: lines of COPY in MB/s of CPU time, and the reading of many small tables, of one
 * among them, and of a large one, in milliseconds (elapsed, the best of some).
 *
 *     ninja -C build-rel tests/bench_digest && build-rel/tests/bench_digest
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "harness/data/digest.h"
#include "harness/engine/scratch.h"

static double cpu_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void measure(const char *what, const char *line, size_t columns)
{
    static const char *const names[] = {"id",     "user_id", "title",   "body",    "created_at",
                                        "active", "score",   "comment", "address", "note"};
    struct digest_sum sum;
    struct str scratch = {0};
    struct err err = {0};
    const size_t len = strlen(line), n = 200 * 1000 * 1000 / len;
    digest_sum_init(&sum, names, columns);
    double start = cpu_seconds();
    for (size_t i = 0; i < n; i++) {
        if (digest_sum_copy_row(&sum, line, len, &scratch, &err) < 0) {
            fprintf(stderr, "%s: %s\n", what, err.message);
            exit(1);
        }
    }
    double seconds = cpu_seconds() - start;
    printf("%-8s %3zu bytes a row  %5.0f MB/s  %3.0f ns a row\n", what, len,
           (double)n * (double)len / 1e6 / seconds, seconds / (double)n * 1e9);
    digest_sum_release(&sum);
    str_release(&scratch);
}

static double elapsed_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(int r, const struct err *err)
{
    if (r == 0)
        return;
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void measure_read(const char *what, struct db *db, const char *name, int times)
{
    struct err err = {0};
    struct strv names = {0};
    double best = 1e9;
    if (name)
        strv_add(&names, name);
    for (int i = 0; i < times; i++) {
        struct digest_set set = {0};
        double start = elapsed_seconds();
        check(digest_read(db, name ? &names : NULL, &(struct digest_options){.keep = true}, &set,
                          &err),
              &err);
        double seconds = elapsed_seconds() - start;
        best = seconds < best ? seconds : best;
        digest_set_release(&set);
    }
    printf("%-8s %-30s %8.3f ms\n", engine_name(db_engine(db)), what, best * 1e3);
    strv_release(&names);
}

static void measure_engine(const struct engine *e)
{
    struct scratch_pool *pool;
    struct scratch *scratch;
    struct db *db;
    struct err err = {0};
    check(scratch_pool_open(e, &(struct scratch_options){0}, &pool, &err), &err);
    check(scratch_new(pool, &scratch, &err), &err);
    check(db_open(e, scratch_url(scratch), DB_OPEN_SCRATCH, &db, &err), &err);
    struct str sql = {0};
    str_add(&sql, "begin;");
    for (int i = 0; i < 1000; i++) {
        str_addf(&sql,
                 "create table t%d (id int primary key, a text, b text, c int, d int, e text);", i);
        for (int k = 0; k < 6; k++)
            str_addf(&sql, "insert into t%d values (%d, 'some text', null, 4, 5, 'more');", i, k);
    }
    str_add(&sql, "commit");
    check(db_run(db, sql.p, DB_RUN_WHOLE, NULL, &err), &err);
    const char *one = e == &engine_sqlite ? "t500" : "public.t500";
    measure_read("1000 tables of 6 rows", db, NULL, 5);
    measure_read("one of them", db, one, 20);
    check(db_run(db,
                 "insert into t500 with recursive n(i) as (select 10 union all select i + 1 from"
                 " n where i < 1000000) select i, 'the text of row ' || i, null, i, 7, 'x' from n",
                 DB_RUN_WHOLE, NULL, &err),
          &err);
    measure_read("one of a million rows", db, one, 3);
    str_release(&sql);
    db_close(db);
    scratch_free(scratch);
    scratch_pool_close(pool);
}

int main(void)
{
    static char wide[4000];
    memset(wide, 'x', sizeof(wide) - 1);
    memcpy(wide, "123456\t7890\tA title\t", 20);
    measure("typical",
            "123456\t7890\tA title of usual length\tthe body of a post, some sentences long, as "
            "people write them\t2024-02-03 04:05:06.789012+00\tt\t12.50\t\\N\t12 Some Street, "
            "Some Town\t\\N\n",
            10);
    measure("narrow", "123456\t7890\t42\n", 3);
    measure("escapes", "123456\t7890\ta\\tb\\\\c\t\\N\tline one\\nline two\\nline three\n", 5);
    measure("wide", wide, 4);
    for (size_t i = 0; engines[i]; i++)
        measure_engine(engines[i]);
    return 0;
}
