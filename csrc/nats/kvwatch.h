/* kvwatch.h -- a bucket watched: what stands in it, then every change, in the stream's order.
 *
 * One thread at a time, but for naq_kv_watch_end(). The server pushes to an ordered consumer: a
 * gap, a silence or a reconnect makes a new one that begins behind what was seen, so nothing is
 * lost that the bucket still has (a bucket with history 1 keeps the last value of a key). What
 * nobody takes waits here up to a bound, then on the server, which is told by flow control. Expired
 * keys make no event. */
#ifndef NAQ_NATS_KVWATCH_H
#define NAQ_NATS_KVWATCH_H

#include "nats/conn.h"

typedef struct naq_kv_watch naq_kv_watch;

typedef struct naq_kv_watch_options {
    bool history;      /* all revisions that the bucket keeps, not only the last of each key */
    bool updates_only; /* only what is written from now on */
    bool ignore_deletes;
    bool headers_only; /* no values */
    int64_t slice_ms;  /* how often a long wait looks after its connection; 0: every 250 ms */
    /* Of the server, two of which may stay out; 0: 3 s. On a cluster 5 s at most. Each is a wake.
     */
    int64_t heartbeat_ms;
} naq_kv_watch_options;

typedef enum naq_kv_operation {
    NAQ_KV_PUT,
    NAQ_KV_DELETE,
    NAQ_KV_PURGE,
    NAQ_KV_UP_TO_DATE, /* all that stood in the bucket has come; no key. Not with updates_only */
    NAQ_KV_RESET /* the bucket was made anew or lost its memory: what was seen is void, and it is
                    read again from the beginning; no key */
} naq_kv_operation;

typedef struct naq_kv_event {
    naq_kv_operation operation;
    const char *key; /* this and value: valid until the next call */
    const void *value;
    size_t len;
    uint64_t revision;
    int64_t created_us;
} naq_kv_event;

/* [blocks] filter as in naq_kv_check_filter(). Holds a reference of its own on c. */
naq_status naq_kv_watch_open(naq_kv_watch **out, naq_conn *c, const char *bucket,
                             const char *filter, const naq_kv_watch_options *o, naq_err *err);
/* [blocks] The next event within timeout_ms; 0: one that is here already. NAQ_TIMEOUT, also while
 * the connection is away; NAQ_CLOSED when that was closed for all or given up; NAQ_CONFIGURATION
 * when the bucket is gone. */
naq_status naq_kv_watch_next(naq_kv_watch *w, int64_t timeout_ms, naq_kv_event *event,
                             naq_err *err);
/* Any thread: next() returns at once, with NAQ_CLOSED, now and ever after. */
void naq_kv_watch_end(naq_kv_watch *w);
/* [blocks a moment] NULL is fine. */
void naq_kv_watch_close(naq_kv_watch *w);
/* The same for finalizers: never waits for the network; the server removes the consumer itself. */
void naq_kv_watch_drop(naq_kv_watch *w);

#endif
