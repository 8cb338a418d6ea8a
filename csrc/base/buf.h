/* buf.h -- a growing byte buffer, and the few ways the core writes JSON into one.
 *
 * Appending never fails to the caller's face: an allocation that fails sets `failed` and all later
 * appends do nothing, so a writer checks once, at the end. Not thread-safe; one owner. */
#ifndef NAQ_BASE_BUF_H
#define NAQ_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct naq_buf {
    char *data; /* NULL while nothing was written; never NUL-terminated */
    size_t len;
    size_t cap;
    bool failed; /* out of memory: data is incomplete and must not be used */
} naq_buf;

void naq_buf_free(naq_buf *b);  /* back to empty; may be used again */
void naq_buf_clear(naq_buf *b); /* length 0, memory kept */

/* Make room for n more bytes and return where they go, or NULL. The caller adds to len itself. */
char *naq_buf_reserve(naq_buf *b, size_t n);

/* Inline, so that the length of a literal is known where it is written: a record is thirty of
 * these. */
static inline void naq_buf_put(naq_buf *b, const void *bytes, size_t n) {
    char *to = b->cap - b->len >= n && !b->failed ? b->data + b->len : naq_buf_reserve(b, n);
    if (to == NULL || n == 0) return;
    memcpy(to, bytes, n);
    b->len += n;
}
static inline void naq_buf_puts(naq_buf *b, const char *text) {
    naq_buf_put(b, text, strlen(text));
}
static inline void naq_buf_putc(naq_buf *b, char c) {
    if (b->len < b->cap && !b->failed)
        b->data[b->len++] = c;
    else
        naq_buf_put(b, &c, 1);
}
void naq_buf_int(naq_buf *b, int64_t n);
/* Microseconds as seconds with six digits after the point: how times stand in JSON. */
void naq_buf_time(naq_buf *b, int64_t us);
void naq_buf_printf(naq_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so that an error message
 * with anything in it can always be recorded; job values go through the codec, which refuses them.
 */
void naq_buf_json_string(naq_buf *b, const char *s, size_t n);

/* Length of the well-formed UTF-8 sequence that begins at s (n bytes, at least 1), or 0: no
 * overlong forms, no surrogates, nothing above U+10FFFF. */
size_t naq_utf8_length(const unsigned char *s, size_t n);

#endif
