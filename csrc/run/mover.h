/* mover.h -- releases delayed jobs and retries that are due: the delayed store's consumer, shared
 * by all workers, read on the hot connection. I/O thread only.
 *
 * What is not due yet is given back with a delay and comes again when it is. A job is moved by
 * publishing it to its queue under its own Msg-Id and acking it when that is stored: a mover that
 * dies between the two is repeated by another, and the server knows the Msg-Id. */
#ifndef NAQ_RUN_MOVER_H
#define NAQ_RUN_MOVER_H

#include "nats/pull.h"

enum { NAQ_MOVER_MOVES = 256, NAQ_MOVER_TOKEN = 1u << 31 };

typedef struct naq_move {
    naq_msg *msg; /* NULL: free */
    uint16_t generation;
    int64_t sent_ms;
} naq_move;

typedef struct naq_mover {
    naq_loop *loop;
    const char *prefix;
    naq_pull pull;
    naq_move moves[NAQ_MOVER_MOVES]; /* published, not answered */
    int n_moves;
    int64_t swept_ms; /* when those without an answer were last looked for */
} naq_mover;

void naq_mover_init(naq_mover *m, naq_loop *loop, const char *prefix, uint16_t pull_index);
void naq_mover_delivered(naq_mover *m, naq_msg *msg);
void naq_mover_answered(naq_mover *m, uint32_t token, const naq_answer *answer);
void naq_mover_want(naq_mover *m, int64_t now_ms);
void naq_mover_reset(naq_mover *m); /* after a reconnect: what was in flight is delivered again */

#endif
