/*
 * A page to look at and to hand around: self-contained, without scripts, light and dark, for a phone, a
 * screen and paper. What check, rehearse and deploy have in common on it.
 *
 *     page_begin(out, "belay check: blog");
 *     page_verdict(out, mark, "clean");              opens <header>
 *     page_line(out, "blog", parts, n);
 *     str_add(out, "</header>\n");
 *     page_findings(out, result);
 *     page_end(out, command);
 *
 * All text that comes from a project or a database goes through page_text() or page_element(): any
 * bytes, each line made harmless, escaped.
 */
#ifndef BELAY_PAGE_H
#define BELAY_PAGE_H

#include "runner/report.h"

void page_begin(struct str *out, const char *title);
/* command: gives the same again, or NULL. */
void page_end(struct str *out, const char *command);

void page_verdict(struct str *out, enum mark mark, const char *verdict);
/* Why there is no verdict. */
void page_stopped(struct str *out, const struct err *why);
/* "<name> · part · part"; parts may be NULL. */
void page_line(struct str *out, const char *name, const char *const *parts, size_t n);
void page_findings(struct str *out, const struct check_result *r);

void page_text(struct str *out, const char *text);
/* <element>text</element>; the class may be NULL. */
void page_element(struct str *out, const char *element, const char *class, const char *text);
void page_mark(struct str *out, enum mark mark);
/* summary is markup, text is not. */
void page_folded(struct str *out, const char *summary, const char *text);
/* A section with what an error says. */
void page_failure(struct str *out, const char *heading, const struct err *e);

/* A list of terms and what they are; term is markup, text is not. */
struct page_term {
    const char *term, *text;
};
void page_term(struct str *out, const char *term, const char *text);
void page_term_list(struct str *out, const struct page_term *terms, size_t n);

/* A bar from and until, in seconds, on an axis that is `all` long; what was there is never invisible. */
void page_bar(struct str *out, const char *class, double from, double until, double all,
              const char *title);
/* An item of <ol class="revisions">: what, its bar, how long. item: its class, or NULL. */
void page_bar_line(struct str *out, const char *item, const char *what, const char *class,
                   double from, double until, double all);

#endif
