/* json.h -- a strict JSON scanner over bytes: no allocation, no tree.
 *
 * The envelope finds its members with it, the codec builds Lua values with it. Strict as RFC 8259:
 * one value, valid UTF-8, no trailing commas, no control characters in strings, \u surrogates in
 * pairs, depth at most NAQ_JSON_DEPTH. Slices point into the caller's text and live as long as it.
 * What is refused is NAQ_SERIALIZATION, "invalid JSON at byte N: ...", the first byte being 1. */
#ifndef NAQ_BASE_JSON_H
#define NAQ_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/number.h"
#include "base/status.h"

enum { NAQ_JSON_DEPTH = 128 };

typedef struct naq_slice {
    const char *at; /* NULL: absent */
    size_t len;
} naq_slice;

typedef enum naq_json_kind {
    NAQ_JSON_NULL,
    NAQ_JSON_FALSE,
    NAQ_JSON_TRUE,
    NAQ_JSON_NUMBER,
    NAQ_JSON_STRING,
    NAQ_JSON_ARRAY,
    NAQ_JSON_OBJECT
} naq_json_kind;

/* Where a scan stands. A plain struct so that it lives on the stack; fields are the scanner's. */
typedef struct naq_json {
    const char *at, *end, *start;
    int depth;
} naq_json;

void naq_json_begin(naq_json *j, const char *text, size_t len);

/* Validate one whole value from the current position and return its slice (white space around it
 * not included) and kind. NAQ_SERIALIZATION with the byte offset when it is not valid. */
naq_status naq_json_value(naq_json *j, naq_slice *value, naq_json_kind *kind, naq_err *err);

/* Step into an object: call naq_json_object first, then naq_json_member until it gives more ==
 * false. key is the raw text between the quotes (escapes unresolved); value the member's slice,
 * validated. */
naq_status naq_json_object(naq_json *j, naq_err *err);
naq_status naq_json_member(naq_json *j, bool first, bool *more, naq_slice *key, naq_slice *value,
                           naq_json_kind *kind, naq_err *err);

/* The same for an array. */
naq_status naq_json_array(naq_json *j, naq_err *err);
naq_status naq_json_element(naq_json *j, bool first, bool *more, naq_slice *value,
                            naq_json_kind *kind, naq_err *err);

/* Nothing but white space follows. */
naq_status naq_json_end(naq_json *j, naq_err *err);

/* A string slice (with its quotes) as bytes, escapes resolved, appended to out. */
naq_status naq_json_unescape(naq_slice string, naq_buf *out, naq_err *err);

/* A number slice as a double (correctly rounded), and whether it is an integer of 64 bits. */
bool naq_json_int(naq_slice number, long long *out);
double naq_json_double(naq_slice number);

/* Token by token, for who builds values while scanning. Each begins at the current position and
 * leaves it behind the token. */

/* The next byte that is not white space, not consumed; 0 at the end. */
static inline char naq_json_peek(naq_json *j) {
    const char *p = j->at;
    while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    j->at = p;
    return p < j->end ? *p : '\0';
}
/* Consume the next byte if it is c, which must not be 0. */
static inline bool naq_json_skip(naq_json *j, char c) {
    if (naq_json_peek(j) != c) return false;
    j->at++;
    return true;
}
/* After an element: true when a comma was consumed, false when `close` was; else refused. */
naq_status naq_json_more(naq_json *j, char close, bool *more, naq_err *err);
/* The text between the quotes, validated; escaped tells whether naq_json_resolve has work to do. */
naq_status naq_json_string(naq_json *j, naq_slice *raw, bool *escaped, naq_err *err);
naq_status naq_json_number(naq_json *j, naq_number *number, naq_err *err);
/* true, false or null */
naq_status naq_json_word(naq_json *j, naq_json_kind *kind, naq_err *err);
/* Enter an array or object whose bracket is next; what enters also leaves. */
naq_status naq_json_enter(naq_json *j, char open, naq_err *err);
void naq_json_leave(naq_json *j);

/* Resolve the escapes of a validated string's inside into out, which has room for raw.len bytes.
 * Returns the length, never more than raw.len. */
size_t naq_json_resolve(naq_slice raw, char *out);

/* Append a JSON string with its quotes. NULL when done; when s is not UTF-8, the first bad byte,
 * and then what was appended is to be thrown away. */
const char *naq_json_put_string(naq_buf *out, const char *s, size_t n);

#endif
