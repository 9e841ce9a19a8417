#include "harness/engine/pgpooler.h"

#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "harness/base/str.h"

static int session_of(struct db *db, int *ret, struct err *err)
{
    _cleanup_free_ char *pid = NULL;
    if (db_query_text(db, "select pg_backend_pid()", NULL, 0, &pid, err) < 0)
        return -1;
    *ret = atoi(pid);
    return 0;
}

static int refuse(struct err *err)
{
    err_set(
        err, ERR_ENV,
        "a connection pooler that gives no client a session of its own stands between belay and "
        "the server");
    return err_hint(err, "name the server itself, or a pool in session mode");
}

/*
 * A second client begins a transaction: it gets the session that the first one has just given back,
 * or the first one is handed around itself.
 */
int pg_refuse_pooler(struct db *db, const char *url, struct err *err)
{
    _cleanup_db_ struct db *second = NULL;
    _cleanup_err_ struct err ignored = {0};
    int first, other, again;
    if (session_of(db, &first, err) < 0)
        return -1;
    if (first == PQbackendPID(db_handle(db))) /* a pooler answers with a number of its own */
        return 0;
    if (db_open(&engine_postgres, url, DB_OPEN_DEFAULT, &second, err) < 0)
        return -1;
    if (db_run(second, "begin", DB_RUN_WHOLE, NULL, &ignored) < 0) /* single statements alone */
        return refuse(err);
    if (session_of(second, &other, err) < 0)
        return -1;
    for (int i = 0; i < 2 && other != first; i++) {
        if (session_of(db, &again, err) < 0)
            return -1;
        if (again != first)
            return refuse(err);
    }
    return other == first ? refuse(err) : 0;
}
