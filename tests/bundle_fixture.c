#include "tests/bundle_fixture.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "harness/base/file.h"
#include "harness/base/proc.h"

char *dir_new(void)
{
    /* a bundle is synced: on tmpfs that is quick */
    const char *tmp = getenv("TMPDIR");
    if (!tmp)
        tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    char *dir = xasprintf("%s/belay-test-bundle-XXXXXX", tmp);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    return dir;
}

void dir_drop(char *dir)
{
    _cleanup_err_ struct err err = {0};
    ASSERT_OK(tree_remove(dir, &err), &err);
    free(dir);
}

void sample_manifest(struct manifest *m)
{
    _cleanup_err_ struct err err = {0};
    *m = (struct manifest){
        .engine = xstrdup("postgres"),
        .server = xstrdup("15.18"),
        .version = 150018,
        .database = xstrdup("app"),
        .encoding = xstrdup("UTF8"),
        .snapshot = snapshot_new("postgres", 150018),
    };
    ASSERT_OK(snapshot_finish(m->snapshot, &err), &err);
    strv_add(&m->revisions, "4f2a");
    m->digests.v = xcalloc(2, sizeof(*m->digests.v));
    m->digests.n = m->digests.cap = 2;
    m->digests.v[0] = (struct digest){.name = xstrdup("public.posts")};
    digest_sum_init(&m->digests.v[0].sum, (const char *[]){"id", "title"}, 2);
    m->digests.v[1] =
        (struct digest){.name = xstrdup("public.posts_id_seq"), .sequence = true, .next = -7};
}

char *sample_row(size_t i)
{
    return xasprintf("%zu\tthe title of post %zu is %zx\n", i, i, i * 2654435761u);
}

static int write_rows(struct part_writer *p, struct digest_sum *sum, size_t rows, size_t cut,
                      struct part_list *parts, struct err *err)
{
    _cleanup_str_ struct str scratch = {0};
    for (size_t i = 0; i < rows; i++) {
        _cleanup_free_ char *row = sample_row(i);
        if (i && i % cut == 0) {
            if (part_end(p, parts, err) < 0)
                return -1;
            part_begin(p, 1, i / cut + 1);
        }
        if (part_row(p, row, strlen(row), err) < 0 ||
            digest_sum_copy_row(sum, row, strlen(row), &scratch, err) < 0)
            return -1;
    }
    return part_end(p, parts, err);
}

int sample_write(const char *path, const char *key_file, size_t rows, size_t cut, struct err *err)
{
    static const char schema[] = "create table posts (id int, title text)";
    _cleanup_bundle_writer_ struct bundle_writer *w = NULL;
    _cleanup_part_writer_ struct part_writer *p = NULL;
    _cleanup_manifest_ struct manifest m = {0};
    _cleanup_(part_list_release) struct part_list parts = {0};
    size_t position, len = sizeof(schema) - 1;
    sample_manifest(&m);
    if (bundle_create(path, &(struct bundle_write_options){.key_file = key_file}, &w, err) < 0 ||
        part_writer_new(w, PART_LEVEL, &p, err) < 0 ||
        bundle_add(w, "schema/pre-data.sql", schema, len, len, 0, &position, err) < 0 ||
        write_rows(p, &m.digests.v[0].sum, rows, cut, &parts, err) < 0)
        return -1;
    bundle_object_part(manifest_object(&m, "schema", "pre-data"), position);
    struct bundle_object *o = manifest_object(&m, "table", "public.posts");
    o->columns = xstrdup("id, title");
    o->digest = 0;
    for (size_t i = 0; i < parts.n; i++)
        bundle_object_part(o, parts.v[i]);
    return bundle_finish(w, &m, err);
}

static int append(void *data, const void *bytes, size_t len, struct err *err)
{
    (void)err;
    str_addn(data, bytes, len);
    return 0;
}

int sample_read(const char *path, const char *key_file, struct str *ret, struct err *err)
{
    _cleanup_bundle_reader_ struct bundle_reader *r = NULL;
    _cleanup_part_reader_ struct part_reader *d = NULL;
    _cleanup_str_ struct str stored = {0};
    size_t i;
    int rc;
    if (bundle_open(path, key_file, &r, err) < 0 || part_reader_new(&d, err) < 0)
        return -1;
    while ((rc = bundle_next(r, &i, err)) > 0) {
        const struct bundle_member *m = &bundle_manifest(r)->members[i];
        if (bundle_read(r, &stored, err) < 0 ||
            (str_ends(m->name, ".zst") &&
             part_read(d, m, str_get(&stored), stored.len, append, ret, err) < 0))
            return -1;
    }
    return rc;
}

void key_write(const char *path, unsigned char byte)
{
    _cleanup_err_ struct err err = {0};
    char key[32];
    memset(key, byte, sizeof(key));
    ASSERT_OK(file_replace(path, key, sizeof(key), 0600, &err), &err);
}

size_t dir_count(const char *dir)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return n;
}

char *page_commands(const char *heading)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_free_ char *text = NULL,
                        *page = path_join(getenv("BELAY_SOURCE_DIR"), "docs/bundle-format.md");
    ASSERT_OK(file_read(page, &text, NULL, &err), &err);
    char *section = strstr(text, heading), *end;
    ck_assert_msg(section != NULL, "the page has no \"%s\"", heading);
    section++;
    if ((end = strstr(section, "\n## ")))
        *end = '\0';
    struct str commands = {0};
    for (char *save, *line = strtok_r(section, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save))
        if (str_starts(line, "    "))
            str_addf(&commands, "%s\n", line + 4);
    return str_take(&commands);
}

void page_run(const char *dir, const char *const *env, const char *commands)
{
    _cleanup_err_ struct err err = {0};
    _cleanup_proc_result_ struct proc_result r = {0};
    const char *argv[] = {"sh", "-euc", commands, NULL};
    ASSERT_OK(proc_run(&(struct proc_options){.argv = argv, .env = env, .dir = dir}, &r, &err),
              &err);
    ck_assert_msg(r.status == 0, "%s\n%s%s", commands, str_get(&r.output), str_get(&r.errors));
}
