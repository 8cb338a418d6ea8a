/* buf.c -- the growing byte buffer under envelopes, records and encoded values. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void naq_buf_free(naq_buf *b) {
    free(b->data);
    memset(b, 0, sizeof *b);
}

void naq_buf_clear(naq_buf *b) {
    b->len = 0;
    b->failed = false;
}

char *naq_buf_reserve(naq_buf *b, size_t n) {
    if (b->failed) return NULL;
    if (b->cap - b->len < n) {
        size_t cap = b->cap < 128 ? 256 : b->cap * 2;
        if (cap < b->len + n) cap = b->len + n;
        char *data = realloc(b->data, cap);
        if (data == NULL) {
            b->failed = true;
            return NULL;
        }
        b->data = data;
        b->cap = cap;
    }
    return b->data + b->len;
}

void naq_buf_int(naq_buf *b, int64_t n) {
    char digits[24];
    size_t at = sizeof digits;
    uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do {
        digits[--at] = (char)('0' + u % 10);
        u /= 10;
    } while (u != 0);
    if (n < 0) digits[--at] = '-';
    naq_buf_put(b, digits + at, sizeof digits - at);
}

void naq_buf_time(naq_buf *b, int64_t us) {
    naq_buf_int(b, us / 1000000);
    char fraction[7] = {'.'};
    uint32_t rest = (uint32_t)(us % 1000000);
    for (int i = 6; i > 0; i--, rest /= 10)
        fraction[i] = (char)('0' + rest % 10);
    naq_buf_put(b, fraction, sizeof fraction);
}

void naq_buf_printf(naq_buf *b, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *to = n < 0 ? NULL : naq_buf_reserve(b, (size_t)n + 1);
    if (to != NULL) {
        (void)vsnprintf(to, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

/* Follows the table of well-formed sequences in the Unicode standard. */
size_t naq_utf8_length(const unsigned char *s, size_t n) {
    unsigned char c = s[0];
    if (c < 0x80) return 1;
    size_t len = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
    if (c < 0xC2 || c > 0xF4 || n < len) return 0;
    for (size_t i = 1; i < len; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if ((c == 0xE0 && s[1] < 0xA0) || (c == 0xED && s[1] > 0x9F)) return 0;
    if ((c == 0xF0 && s[1] < 0x90) || (c == 0xF4 && s[1] > 0x8F)) return 0;
    return len;
}

void naq_buf_json_string(naq_buf *b, const char *s, size_t n) {
    naq_buf_putc(b, '"');
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t len = naq_utf8_length((const unsigned char *)s + i, n - i);
        if (c == '"' || c == '\\') {
            naq_buf_putc(b, '\\');
            naq_buf_putc(b, (char)c);
        } else if (c == '\n') {
            naq_buf_puts(b, "\\n");
        } else if (c < 0x20 || c == 0x7F) {
            naq_buf_printf(b, "\\u%04x", c);
        } else if (len == 0) {
            naq_buf_puts(b, "\xEF\xBF\xBD");
        } else {
            naq_buf_put(b, s + i, len);
        }
        i += len == 0 ? 1 : len;
    }
    naq_buf_putc(b, '"');
}
