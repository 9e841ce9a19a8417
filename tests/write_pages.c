/* Writes the pages of rich results into a folder, for tests/test_pages.py: write_pages FOLDER */
#include <stdio.h>

#include "harness/base/cleanup.h"
#include "harness/base/file.h"
#include "runner/report_rehearsal.h"
#include "tests/rich_results.h"

static void write_page(const char *folder, const char *name, struct str *page)
{
    _cleanup_free_ char *path = xasprintf("%s/%s.html", folder, name);
    _cleanup_err_ struct err err = {0};
    if (file_replace(path, str_get(page), page->len, 0644, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    str_clear(page);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    const struct report_options o = {
        .fail_on = SEVERITY_ERROR, .exit_code = 1, .command = "belay check migrations --quick"};
    _cleanup_str_ struct str out = {0};
    _cleanup_(check_result_release) struct check_result check;
    _cleanup_(rehearsal_release) struct rehearsal rehearsal;
    _cleanup_(rich_deploy_release) struct rich_deploy back, done, held;
    rich_check(&check);
    rich_rehearsal(&rehearsal);
    rich_deploy(DEPLOY_OUTCOME_RESTORED, &back);
    rich_deploy(DEPLOY_OUTCOME_DONE, &done);
    rich_deploy(DEPLOY_OUTCOME_LOCKED, &held);
    report_html(&check, &o, &out);
    write_page(argv[1], "check", &out);
    report_rehearsal_html(&rehearsal, &o, &out);
    write_page(argv[1], "rehearse", &out);
    report_deploy_html(&back.report, &o, &out);
    write_page(argv[1], "deploy-restored", &out);
    report_deploy_html(&done.report, &o, &out);
    write_page(argv[1], "deploy-done", &out);
    report_deploy_html(&held.report, &o, &out);
    write_page(argv[1], "deploy-locked", &out);
    return 0;
}
