/* json.h -- a strict JSON scanner over bytes: no allocation, no tree.
 *
 * The envelope finds its members with it, the codec builds Lua values with it. Strict as RFC 8259:
 * one value, valid UTF-8, no trailing commas, no control characters in strings, \u surrogates in
 * pairs, depth at most NAQ_JSON_DEPTH. Slices point into the caller's text and live as long as it.
 */
#ifndef NAQ_BASE_JSON_H
#define NAQ_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
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

/* Nothing but white space follows. */
naq_status naq_json_end(naq_json *j, naq_err *err);

/* A string slice (with its quotes) as bytes, escapes resolved, appended to out. */
naq_status naq_json_unescape(naq_slice string, naq_buf *out, naq_err *err);

/* A number slice as a double (correctly rounded), and whether it is an integer of 64 bits. */
bool naq_json_int(naq_slice number, long long *out);
double naq_json_double(naq_slice number);

#endif
