/* gate.h -- what may come in from one queue that is paused or limited, and how much of it is asked
 * for. I/O thread only.
 *
 *   nothing is free, for anybody -> nothing is asked for
 *   backlog known                -> slots and starts are leased first, then that many jobs asked
 * for nothing known to wait        -> one job of each priority is asked for, without; what comes is
 *                                   held until its slot and start are leased, or given back
 *
 * So no job is fetched ahead of a limit that is scarce, none waits here while another worker could
 * run it, and an idle queue costs nothing. Asked for is, of what is known to wait, what a
 * thread would take first (naq_turn_order). */
#ifndef NAQ_RUN_GATE_H
#define NAQ_RUN_GATE_H

#include "nats/pull.h"
#include "run/quota.h"
#include "run/setting.h"
#include "run/slot.h"

typedef struct naq_gate {
    naq_pull *pulls; /* its queue's, by priority */
    naq_quota *quota;
    bool paused;
    int concurrency; /* 0: no limit */
    double rate;
    int in_hand; /* jobs that count */
    naq_slot *held[NAQ_PRIORITIES], *held_tail[NAQ_PRIORITIES];
    int n_held;
    unsigned turns;
    bool told_idle; /* the quota, that there are slots to give back */
    int told_wants; /* slots that the quota was last told of */
} naq_gate;

static inline bool naq_gate_limited(const naq_gate *g) {
    return g->concurrency > 0 || g->rate > 0;
}

/* Count one job in, when the limits let it. */
bool naq_gate_admit(naq_gate *g, int64_t now_ms);
/* One that counted is gone. */
void naq_gate_left(naq_gate *g);

/* A delivered job that has to wait for its slot; and the next one of them to begin, NULL: none is
 * held. */
void naq_gate_hold(naq_gate *g, naq_slot *slot);
naq_slot *naq_gate_next_held(naq_gate *g);
/* One that has waited here too long, NULL: none. */
naq_slot *naq_gate_stale(naq_gate *g, int64_t now_ms);

/* Lease and ask: idle threads have nothing to do, want is what the worker would like to have under
 * way. True: the quota has something to do. */
bool naq_gate_want(naq_gate *g, int idle, int want, int64_t now_ms);
/* Nothing more is wanted; slots go back as jobs end. As naq_gate_want. */
bool naq_gate_close(naq_gate *g, int64_t now_ms);
/* When there may be something to do here next. */
int64_t naq_gate_deadline(const naq_gate *g, int64_t now_ms);

#endif
