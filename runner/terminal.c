#include "runner/terminal.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "harness/base/cleanup.h"

struct terminal terminal_for(FILE *stream, const char *color)
{
    struct terminal t = {.width = 80};
    int fd = fileno(stream);
    bool tty = isatty(fd);
    struct winsize size;
    if (tty && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
        t.width = size.ws_col < 40 ? 40 : size.ws_col > 120 ? 120 : size.ws_col;
    t.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;

    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    if (str_eq(color, "always"))
        t.color = true;
    else if (!str_eq(color, "never"))
        t.color = tty && !(no_color && *no_color) && term && strcmp(term, "dumb") != 0;
    return t;
}

void style_add(struct str *s, const struct terminal *t, enum style style, const char *text)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "",   [STYLE_BOLD] = "1",    [STYLE_DIM] = "2",   [STYLE_RED] = "31",
        [STYLE_GREEN] = "32", [STYLE_YELLOW] = "33", [STYLE_BLUE] = "34",
    };
    if (t->color && style != STYLE_PLAIN && *text)
        str_addf(s, "\033[%sm%s\033[0m", codes[style], text);
    else
        str_add(s, text);
}

/* The code point of the n bytes at p, which are one UTF-8 character. */
static wchar_t code_point(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    switch (n) {
    case 1:
        return u[0];
    case 2:
        return (wchar_t)((u[0] & 0x1f) << 6 | (u[1] & 0x3f));
    case 3:
        return (wchar_t)((u[0] & 0x0f) << 12 | (u[1] & 0x3f) << 6 | (u[2] & 0x3f));
    default:
        return (wchar_t)((u[0] & 0x07) << 18 | (u[1] & 0x3f) << 12 | (u[2] & 0x3f) << 6 |
                         (u[3] & 0x3f));
    }
}

/* Columns of the character at p; *ret_n is its length in bytes. */
static int char_width(const char *p, size_t *ret_n)
{
    size_t n = utf8_char_length(p, strnlen(p, 4));
    *ret_n = n ? n : 1;
    if (n <= 1)
        return 1;
    int width = wcwidth(code_point(p, n));
    return width < 0 ? 1 : width; /* the C locale knows no other characters: count one */
}

int text_width(const char *text)
{
    int width = 0;
    for (size_t n; *text; text += n)
        width += char_width(text, &n);
    return width;
}

void text_fit(struct str *s, const struct terminal *t, const char *text, int width, bool pad)
{
    int total = text_width(text);
    if (total > width) {
        const char *mark = t->utf8 ? "…" : "...";
        int room = width - (t->utf8 ? 1 : 3), used = 0;
        size_t n;
        for (int w; (w = char_width(text, &n)) + used <= room; used += w, text += n)
            str_addn(s, text, n);
        if (room >= 0)
            str_add(s, mark);
        total = used + (t->utf8 ? 1 : 3);
    } else {
        str_add(s, text);
    }
    for (; pad && total < width; total++)
        str_addc(s, ' ');
}

void text_wrap(struct str *s, const struct terminal *t, const char *text, int column, int indent)
{
    bool first = true;
    while (*text) {
        size_t blank = strspn(text, " \n");
        text += blank;
        size_t n = strcspn(text, " \n");
        if (n == 0)
            break;
        _cleanup_free_ char *raw = xstrndup(text, n);
        _cleanup_free_ char *word = text_printable(raw);
        int width = text_width(word);
        if (!first && column + 1 + width > t->width) {
            str_addf(s, "\n%*s", indent, "");
            column = indent;
        } else if (!first) {
            str_addc(s, ' ');
            column++;
        }
        str_add(s, word);
        column += width;
        text += n;
        first = false;
    }
}

void statement_add(struct str *out, const struct terminal *t, const char *statement, int max)
{
    _cleanup_free_ char *trimmed = xstrdup(statement + strspn(statement, " \t\r\n"));
    for (size_t n = strlen(trimmed); n && strchr(" \t\r\n", trimmed[n - 1]);)
        trimmed[--n] = '\0';
    for (const char *p = trimmed; *p; max--) {
        size_t n = strcspn(p, "\n");
        if (max == 0) {
            str_add(out, t->utf8 ? "    | …\n" : "    | ...\n");
            return;
        }
        _cleanup_free_ char *raw = xstrndup(p, n);
        _cleanup_free_ char *line = text_printable(raw);
        str_add(out, "    | ");
        text_fit(out, t, line, t->width - 6, false);
        str_addc(out, '\n');
        p += n + (p[n] == '\n');
    }
}

void trace_add(struct str *s, const char *trace)
{
    while (*trace) {
        size_t n = strcspn(trace, "\n");
        _cleanup_free_ char *raw = xstrndup(trace, n);
        _cleanup_free_ char *line = text_printable(raw);
        str_addf(s, "    %s\n", line);
        trace += n + (trace[n] == '\n');
    }
}

void error_print_trace(const struct err *err)
{
    _cleanup_str_ struct str s = {0};
    trace_add(&s, err->trace ? err->trace : "");
    fflush(stdout);
    fputs(str_get(&s), stderr);
}

void error_print(const struct err *err)
{
    struct terminal t = terminal_for(stderr, NULL);
    _cleanup_str_ struct str s = {0};
    style_add(&s, &t, STYLE_RED, "belay:");
    str_addc(&s, ' ');
    /* a message that names the file itself needs no place, unless there is a line to tell */
    if (err->file && (err->line || !err->message || !strstr(err->message, err->file))) {
        _cleanup_free_ char *file = text_printable(err->file);
        str_add(&s, file);
        if (err->line)
            str_addf(&s, ":%d", err->line);
        if (err->line && err->column)
            str_addf(&s, ":%d", err->column);
        str_add(&s, ": ");
    }
    _cleanup_free_ char *message = text_printable(err->message ? err->message : "unknown error");
    str_add(&s, message);
    if (*err->sqlstate)
        str_addf(&s, " (SQLSTATE %s)", err->sqlstate);
    str_addc(&s, '\n');
    if (err->statement && err->file && !str_ends(err->file, ".sql"))
        statement_add(&s, &t, err->statement, STATEMENT_LINES);
    if (err->detail) {
        str_add(&s, "  ");
        text_wrap(&s, &t, err->detail, 2, 2);
        str_addc(&s, '\n');
    }
    if (err->hint) {
        style_add(&s, &t, STYLE_BOLD, "hint:");
        str_addc(&s, ' ');
        text_wrap(&s, &t, err->hint, 6, 6);
        str_addc(&s, '\n');
    }
    fflush(stdout); /* so that the order is right when both go to one place */
    fputs(str_get(&s), stderr);
}

void warning_print(const char *fmt, ...)
{
    struct terminal t = terminal_for(stderr, NULL);
    va_list ap;
    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    _cleanup_free_ char *message = text_printable(text);
    _cleanup_str_ struct str s = {0};
    style_add(&s, &t, STYLE_YELLOW, "warning:");
    str_addf(&s, " %s\n", message);
    fflush(stdout);
    fputs(str_get(&s), stderr);
}
