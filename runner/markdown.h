/* What the short Markdown reports have in common. */
#ifndef BELAY_MARKDOWN_H
#define BELAY_MARKDOWN_H

#include "runner/report.h"

/* Text of any bytes, as <code>. */
void markdown_code(struct str *out, const char *text);
/* Text of any bytes, lines of it, between fences. */
void markdown_fenced(struct str *out, const char *language, const char *text);
/* What failed: message, place, statement and hint, whole or cut. */
void markdown_failure(struct str *out, const struct err *e);
/* Why there is no verdict; nothing for NULL. */
void markdown_stopped(struct str *out, const struct err *why);
/* What is not waived, each folded behind a line; no more than a comment has room for. */
void markdown_findings(struct str *out, const struct check_result *r);

#endif
