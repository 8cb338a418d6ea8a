/* browse.h -- the messages of a stream, page by page, in its order. Blocks; any thread but libnats'
 * own.
 *
 * Each page is read by an ephemeral consumer that begins at a sequence and goes with the page, so
 * nothing is held between pages, neither here nor at the server, and a page costs the same wherever
 * in the stream it is. Not for work queues, which refuse a second consumer. */
#ifndef NAQ_NATS_BROWSE_H
#define NAQ_NATS_BROWSE_H

#include "nats/conn.h"

typedef struct naq_browse {
    const char *stream;
    const char *filter; /* subjects */
    uint64_t from;      /* the first sequence looked at; 0: from the beginning */
    int64_t since_us;   /* with from 0: the first message stored then or later; 0: no matter when */
    int limit;          /* messages */
} naq_browse;

typedef struct naq_browsed {
    const char *subject;
    const char *data;
    size_t len;
    uint64_t sequence;
    int64_t stored_us;
} naq_browsed;

/* False: enough for this page; the message is part of it. */
typedef bool (*naq_browse_visit)(void *ctx, const naq_browsed *m);

/* visit() for each message of the page, on the caller's thread. *next: where the next page begins,
 * 0 when there is none. NAQ_KEY_NOT_FOUND: no such stream. */
naq_status naq_browse_page(naq_conn *c, const naq_browse *b, naq_browse_visit visit, void *ctx,
                           uint64_t *next, naq_err *err);

#endif
