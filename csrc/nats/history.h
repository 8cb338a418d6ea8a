/* history.h -- a job's failed attempts, kept small enough to travel with it. Any thread; never
 * blocks.
 *
 * They stand in the payload of the next hop, in a dead letter and in the record, always as the
 * member `attempts`, oldest first. What is left out is said: a traceback becomes "(cut)", and
 * `attempts_cut` counts the attempts that are gone. */
#ifndef NAQ_NATS_HISTORY_H
#define NAQ_NATS_HISTORY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/status.h"

enum { NAQ_ATTEMPTS_KEPT = 20, NAQ_HISTORY_BYTES = 64 * 1024 };

typedef struct naq_history {
    naq_slice before; /* the attempts so far, a JSON array; at NULL: none */
    int64_t cut;      /* how many were left out of it already */
    naq_slice latest; /* one more, a JSON object; at NULL: none */
} naq_history;

/* Append "attempts":[...] and, where some are gone, ,"attempts_cut":n. The latest NAQ_ATTEMPTS_KEPT
 * of them are kept as far as max_bytes reach: from the newest to the oldest each is written whole,
 * else without its traceback, else it and all older ones are left out. The newest is always there.
 * NAQ_SERIALIZATION when `before` is no array. */
naq_status naq_history_put(naq_buf *out, const naq_history *h, size_t max_bytes, naq_err *err);

#endif
