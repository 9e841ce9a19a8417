#include "harness/base/printable.h"

#include <string.h>

size_t utf8_char_length(const char *p, size_t n)
{
    for (size_t len = 1; len <= 4 && len <= n; len++)
        if (utf8_valid(p, len, NULL))
            return len;
    return 0;
}

static bool is_control(const char *p, size_t n)
{
    unsigned char c = (unsigned char)*p;
    if (c < 0x20 || c == 0x7f)
        return true;
    /* C1 controls; and the marks that turn the direction of text around */
    return (n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0) ||
           (n == 3 && memcmp(p, "\u202a", 3) >= 0 && memcmp(p, "\u202e", 3) <= 0);
}

void str_add_printable(struct str *s, const char *text, size_t n)
{
    for (const char *p = text, *end = text + n; p < end;) {
        size_t len = utf8_char_length(p, (size_t)(end - p));
        if (*p == '\n')
            str_add(s, "\\n");
        else if (*p == '\t')
            str_add(s, "\\t");
        else if (*p == '\r')
            str_add(s, "\\r");
        else if (len == 0 || is_control(p, len))
            for (size_t i = 0; i < (len ? len : 1); i++)
                str_addf(s, "\\x%02x", (unsigned char)p[i]);
        else
            str_addn(s, p, len);
        p += len ? len : 1;
    }
}

char *text_printable(const char *text)
{
    struct str s = {0};
    str_add_printable(&s, text, strlen(text));
    return str_take(&s);
}
