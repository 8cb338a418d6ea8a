/* reply.h -- reading what JetStream's API answers: one JSON object. Any thread; never blocks.
 *
 * Slices point into the answer and live as long as it. */
#ifndef NAQ_NATS_REPLY_H
#define NAQ_NATS_REPLY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

/* The member `name` of an object; a slice with at NULL when it has none, or is no valid object. */
naq_slice naq_reply_member(naq_slice object, const char *name);
int64_t naq_reply_int(naq_slice object, const char *name, int64_t fallback);
/* A string member, unescaped, cut to size; "" when there is none. */
void naq_reply_text(naq_slice object, const char *name, char *out, size_t size);

/* err_code of an error answer with its description, 0 of any other answer. */
int naq_reply_error(naq_slice answer, char *description, size_t size);

/* Microseconds since the epoch of "2026-11-21T04:05:06.789012345Z", 0 of what is none. */
int64_t naq_reply_time(const char *text);

/* A stored message, as STREAM.MSG.GET answers it. */
typedef struct naq_stored {
    naq_buf subject;
    naq_buf data;
    naq_buf headers; /* "NATS/1.0\r\nName: value\r\n...", or empty */
    uint64_t sequence;
    int64_t time_us;
} naq_stored;

/* The `message` member of a MSG.GET answer; buffers are appended to and are the caller's. False
 * when it is not one, or memory ran out. */
bool naq_reply_stored(naq_slice answer, naq_stored *out);
void naq_stored_free(naq_stored *s);
/* The value of a header in s->headers; a slice with at NULL when there is none. */
naq_slice naq_stored_header(const naq_stored *s, const char *name);

#endif
