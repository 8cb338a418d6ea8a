/* stragglers.h -- jobs in buckets that are closed: put there by a producer whose clock is far
 * behind, or found there after a long stop. Their buckets are opened again. I/O thread only; never
 * blocks. */
#ifndef NAQ_RUN_STRAGGLERS_H
#define NAQ_RUN_STRAGGLERS_H

#include "run/bucket.h"

enum { NAQ_STRAGGLERS_EVERY_MS = 3600 * 1000 };

typedef struct naq_stragglers {
    naq_buckets *buckets;
    naq_errands *errands;
    int64_t every_ms, next_ms; /* next_ms: INT64_MAX while it looks */
} naq_stragglers;

void naq_stragglers_init(naq_stragglers *s, naq_buckets *buckets, naq_errands *errands,
                         int64_t every_ms);
void naq_stragglers_look(naq_stragglers *s, int64_t at_ms); /* not later than then */
void naq_stragglers_turn(naq_stragglers *s, int64_t now_ms);

#endif
