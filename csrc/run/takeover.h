/* takeover.h -- what a new leader does first: every consumer of the delayed store goes, so that
 * whoever read before reads no more, then reading begins at the oldest bucket that was not closed.
 * I/O thread only; never blocks. */
#ifndef NAQ_RUN_TAKEOVER_H
#define NAQ_RUN_TAKEOVER_H

#include "run/bucket.h"
#include "run/stragglers.h"

typedef struct naq_takeover {
    naq_buckets *buckets;
    naq_errands *errands;
    naq_stragglers *stragglers;
    const char *prefix;
    int deleting;      /* answers to come */
    bool busy, failed; /* failed: leading makes no sense now */
    bool begun;        /* the buckets have been */
} naq_takeover;

void naq_takeover_begin(naq_takeover *t, naq_buckets *buckets, naq_errands *errands,
                        naq_stragglers *stragglers, const char *prefix);
/* Consumers that are not ours again: while we lead there must not be any. */
void naq_takeover_again(naq_takeover *t);

#endif
