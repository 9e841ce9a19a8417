#include "backup/postgres_child.h"

#include <stdlib.h>
#include <string.h>

#include "harness/base/file.h"
#include "harness/engine/url.h"

int pg_child_init(struct pg_child *c, const char *url, struct err *err)
{
    _cleanup_conninfo_ struct conninfo info = {0};
    if (conninfo_parse(url, &info, err) < 0)
        return -1;
    if (conninfo_get(&info, "sslpassword")) {
        err_set(err, ERR_ENV, "sslpassword in the URL cannot be handed to pg_dump or pg_restore");
        return err_hint(err, "use a key file without a passphrase");
    }
    const char *password = conninfo_get(&info, "password");
    c->password = password ? xasprintf("PGPASSWORD=%s", password) : NULL;
    conninfo_set(&info, "password", NULL);
    c->url = conninfo_url(&info);
    return 0;
}

void pg_child_release(struct pg_child *c)
{
    if (c->password)
        explicit_bzero(c->password, strlen(c->password));
    free(c->password);
    free(c->url);
    *c = (struct pg_child){0};
}

/* The options of the URL replace those of the environment, so ours go into the URL. */
static char *with_options(const struct pg_child *c, const char *options, struct err *err)
{
    _cleanup_conninfo_ struct conninfo info = {0};
    if (conninfo_parse(c->url, &info, err) < 0)
        return NULL;
    const char *old = conninfo_get(&info, "options");
    if (!old)
        old = getenv("PGOPTIONS");
    _cleanup_free_ char *all = xasprintf("%s%s%s", old ? old : "", old ? " " : "", options);
    conninfo_set(&info, "options", all);
    return conninfo_url(&info);
}

int pg_child_run(const struct pg_child *c, const char *const *argv, const char *options,
                 const char *doing, const struct backup_control *control, struct str *ret_output,
                 struct err *err)
{
    size_t n = 0;
    while (argv[n])
        n++;
    _cleanup_free_ char *url = options ? with_options(c, options, err) : xstrdup(c->url);
    if (!url)
        return -1;
    _cleanup_free_ const char **all = xcalloc(n + 4, sizeof(*all));
    memcpy(all, argv, n * sizeof(*all));
    all[n++] = "--no-password";
    all[n++] = "--dbname";
    all[n++] = url;
    const char *env[] = {"LC_ALL=C", c->password, NULL};
    _cleanup_proc_result_ struct proc_result r = {0};
    if (proc_run(&(struct proc_options){.argv = all,
                                        .env = env,
                                        .cancel_fd = control ? control->cancel_fd : NULL},
                 &r, err) < 0)
        return -1;
    if (r.status != 0) {
        err_set(err, ERR_ENV, "%s failed %s", path_base(argv[0]), doing);
        err->detail = str_take(&r.errors);
        if (strstr(err->detail, "max_locks_per_transaction"))
            err_hint(err, PG_LOCK_TABLE_HINT);
        return -1;
    }
    if (ret_output) {
        *ret_output = r.output;
        r.output = (struct str){0};
    }
    return 0;
}
