/* A Django project on both engines, checked through commands as docs/commands.md shows them. */
#include "harness/engine/engine.h"
#include "tests/belay_run.h"
#include "tests/migration_folder.h"
#include "tests/suite.h"

static const char settings[] =
    "import os\n"
    "from urllib.parse import urlsplit, unquote, parse_qs\n"
    "url = urlsplit(os.environ['DATABASE_URL'])\n"
    "if url.scheme == 'sqlite':\n"
    "    database = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': unquote(url.path)[1:]}\n"
    "else:\n"
    "    database = {'ENGINE': 'django.db.backends.postgresql', 'NAME': url.path[1:],\n"
    "                'USER': url.username, 'PASSWORD': url.password or '',\n"
    "                'HOST': url.hostname or parse_qs(url.query)['host'][0],\n"
    "                'PORT': url.port or ''}\n"
    "DATABASES = {'default': database}\n"
    "SECRET_KEY = 'x'\n"
    "INSTALLED_APPS = ['shop']\n"
    "DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'\n";

static const char migration[] = "from django.db import migrations, models\n"
                                "class Migration(migrations.Migration):\n"
                                "    dependencies = [%s]\n"
                                "    operations = [%s]\n";

static void write_migration(const char *dir, const char *name, const char *needs,
                            const char *operation)
{
    _cleanup_free_ char *path = xasprintf("shop/migrations/%s.py", name);
    _cleanup_str_ struct str text = {0};
    for (const char *m = migration; *m; m++) {
        bool place = m[0] == '%' && m[1] == 's';
        if (place)
            str_add(&text, strstr(m + 1, "%s") ? needs : operation);
        else
            str_addc(&text, *m);
        m += place;
    }
    folder_write(dir, path, str_get(&text), text.len);
}

static struct run check_django(const struct engine *e, const char *reverse)
{
    static const struct file files[] = {
        {"manage.py", "import os, sys\n"
                      "os.environ['DJANGO_SETTINGS_MODULE'] = 'settings'\n"
                      "from django.core.management import execute_from_command_line\n"
                      "execute_from_command_line(sys.argv)\n"},
        {"settings.py", settings},
        {"shop/__init__.py", ""},
        {"shop/migrations/__init__.py", ""},
        {"belay.yaml", "command:\n"
                       "  list: /usr/bin/python3 manage.py showmigrations --plan\n"
                       "  up: /usr/bin/python3 manage.py migrate {app} {name}\n"
                       "  down: /usr/bin/python3 manage.py migrate {app} {previous_in_app}\n"
                       "  up_all: /usr/bin/python3 manage.py migrate\n"
                       "  file: \"{app}/migrations/{name}.py\"\n"
                       "  version_tables: [django_migrations]\n"},
        {NULL, NULL}};
    _cleanup_folder_ char *dir = folder_new();
    folder_fill(dir, files);
    write_migration(dir, "0001_initial", "",
                    "migrations.CreateModel('Item', [('id', models.AutoField(primary_key=True)), "
                    "('name', models.CharField(max_length=20))])");
    _cleanup_free_ char *sql =
        xasprintf("migrations.RunSQL('create index item_name on shop_item (name)', "
                  "reverse_sql='%s')",
                  reverse);
    write_migration(dir, "0002_index", "('shop', '0001_initial')", sql);
    _cleanup_free_ char *args = xasprintf("check --engine %s %s", engine_name(e), dir);
    return belay_run("/", (const char *[]){"PYTHONDONTWRITEBYTECODE=1", NULL}, args);
}

static void has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in:\n%s", part, text);
}

START_TEST(a_clean_django_project_has_no_findings)
{
    _cleanup_run_ struct run r = check_django(engines[_i], "drop index item_name");
    ck_assert_msg(r.r.status == 0, "%s%s", r.out, r.errors);
    has(r.out, "shop.0002_index");
    has(r.out, "straight run: equal");
}
END_TEST

START_TEST(an_index_that_django_leaves_behind_is_found)
{
    _cleanup_run_ struct run r = check_django(engines[_i], "select 1");
    ck_assert_msg(r.r.status == 1, "%s%s", r.out, r.errors);
    has(r.out, "shop.0002_index: downgrade-leaves-trace");
    has(r.out, "shop/migrations/0002_index.py");
    has(r.out, "item_name");
    has(r.out, "1 error");
}
END_TEST

static bool has_django(void)
{
    _cleanup_proc_result_ struct proc_result r = {0};
    _cleanup_err_ struct err err = {0};
    const char *const argv[] = {"/usr/bin/python3", "-c", "import django, psycopg2", NULL};
    return proc_run(&(struct proc_options){.argv = argv}, &r, &err) == 0 && r.status == 0;
}

int main(void)
{
    if (!getenv("BELAY_BIN"))
        return suite_skip("BELAY_BIN does not name the program");
    if (!has_django())
        return suite_skip("/usr/bin/python3 has no Django with psycopg2");
    Suite *s = suite_create("django");
    SUITE_ADD_LOOP(s, a_clean_django_project_has_no_findings, 2);
    SUITE_ADD_LOOP(s, an_index_that_django_leaves_behind_is_found, 2);
    return suite_run(s);
}
