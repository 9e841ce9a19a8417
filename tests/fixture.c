#include "tests/fixture.h"

#include <string.h>

static struct scratch_pool *pools[2];

static size_t index_of(const struct engine *e)
{
    return e == &engine_sqlite ? 0 : 1;
}

struct scratch_pool *fixture_pool(const struct engine *e)
{
    return pools[index_of(e)];
}

void fixture_open(struct fixture *f, const struct engine *e)
{
    _cleanup_err_ struct err err = {0};
    memset(f, 0, sizeof(*f));
    ASSERT_OK(scratch_new(fixture_pool(e), &f->scratch, &err), &err);
    ASSERT_OK(db_open(e, scratch_url(f->scratch), DB_OPEN_SCRATCH, &f->db, &err), &err);
}

void fixture_close(struct fixture *f)
{
    db_close(f->db);
    scratch_free(f->scratch);
}

char *fixture_value(const struct engine *e, const char *url, const char *text)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_db_ struct db *db = NULL;
    char *value = NULL;
    ASSERT_OK(db_open(e, url, DB_OPEN_READONLY, &db, &err), &err);
    ASSERT_OK(db_query_text(db, text, NULL, 0, &value, &err), &err);
    return value;
}

int fixture_run(Suite *s)
{
    for (size_t i = 0; engines[i]; i++) {
        _cleanup_err_ struct err err = {0};
        if (scratch_pool_open(engines[i], &(struct scratch_options){0},
                              &pools[index_of(engines[i])], &err) < 0) {
            printf("Bail out! no scratch databases for %s: %s\n", engine_name(engines[i]),
                   err.message);
            return EXIT_FAILURE;
        }
    }
    int rc = suite_run(s);
    for (size_t i = 0; i < ARRAY_LEN(pools); i++)
        scratch_pool_close(pools[i]);
    return rc;
}
