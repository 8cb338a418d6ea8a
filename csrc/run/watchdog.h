/* watchdog.h -- notices a consumer that has work and delivers none, though it was asked.
 *
 * A pull that goes silent is pull.c's business. This is about the rest: heartbeats come, jobs are
 * pending, credit is out, and nothing is delivered (a pull parked at max_ack_pending, a server at
 * fault). It is told as unhealthy, and the consumer is asked anew. */
#ifndef NAQ_RUN_WATCHDOG_H
#define NAQ_RUN_WATCHDOG_H

#include <stdatomic.h>

#include "nats/pull.h"

enum { NAQ_WATCHDOG_MS = 10000 };

/* One a consumer: written by the I/O thread, read by the heartbeat's. */
typedef struct naq_watched {
    atomic_bool waiting;   /* credit is out */
    atomic_llong since_ms; /* since when nothing came: the last delivery, or when credit went out */
    int64_t found_ms;  /* when it was last found stuck, 0: not lately; naq_watchdog_look()'s own */
    int64_t rest_ms;   /* the same for having nothing to deliver */
    atomic_bool stuck; /* set by naq_watchdog_look(), cleared by the I/O thread that acts on it */
} naq_watched;

/* I/O thread, every turn: cheap. */
void naq_watchdog_note(naq_watched *w, const naq_pull *p, int64_t now_ms);
/* I/O thread: whether this consumer was found stuck since the last call. */
bool naq_watchdog_stuck(naq_watched *w);

/* [blocks] Heartbeat's thread: look at every consumer that was silent for NAQ_WATCHDOG_MS. True
 * when one is stuck; logged once per finding. */
bool naq_watchdog_look(naq_watched *w, const naq_pull *pulls, int n, naq_conn *conn,
                       const char *stream, int64_t now_ms);

#endif
