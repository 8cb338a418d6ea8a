/* worker_state.h -- what a worker is made of: shared by worker.c (the turn) and worker_open.c (its
 * beginning and end), private to the two. */
#ifndef NAQ_RUN_WORKER_STATE_H
#define NAQ_RUN_WORKER_STATE_H

#include "run/control.h"
#include "run/credit.h"
#include "run/crew.h"
#include "run/doubt.h"
#include "run/gate.h"
#include "run/heartbeat.h"
#include "run/reload.h"
#include "run/scheduler.h"
#include "run/watchdog.h"
#include "run/worker.h"

enum { NAQ_SUBJECT_TEXT = 192 };

struct naq_worker {
    naq_worker_options o;
    char id[160], host[80];
    naq_conn *conn; /* ordinary: claims, retries, dead letters, heartbeats */
    naq_loop *loop; /* hot: jobs, records, acks, leases */
    naq_slots slots;
    naq_crew crew;
    naq_heartbeat heartbeat;
    naq_cancels cancels;
    naq_scheduler *scheduler; /* NULL: left out */
    naq_pull *pulls;          /* one per queue and priority, in that order */
    naq_watched *watched;     /* one a pull */
    int n_pulls;
    int64_t ack_wait_ms; /* the shortest of its consumers' */
    char record_subjects[NAQ_RESULT_CLASSES][96], notice_subject[96]; /* ends before the id */
    int signal_fd;                                                    /* -1: signals are not ours */

    naq_slot *fresh, *fresh_tail; /* delivered in this turn, not offered yet */
    int used;                     /* slots that are not free */
    int storing;
    long begun; /* jobs accepted, for max_jobs */
    naq_credit credit;
    naq_control control; /* settings of the queues */
    naq_quotas quotas;   /* this worker's share of their limits */
    naq_gate *gates;     /* one a queue */
    int n_gated;         /* queues that are paused or limited: nothing else costs anything */
    unsigned settings_version, policy_version;
    atomic_bool control_news; /* settings or quotas have changed */
    int64_t swept_ms, leases_ms, burst_look_ms;
    naq_doubt doubt;
    atomic_int stop; /* requests to stop: 1 drains */
    /* drain.c */
    int signals;            /* SIGINT and SIGTERM so far */
    bool quiet;             /* takes no jobs, may again */
    bool draining;          /* takes none any more */
    bool cutting_off;       /* and stops those that run */
    int64_t drain_until_ms; /* then it does */
    int64_t cut_ms;         /* when it last told them */
    int64_t cut_until_ms;   /* then those are left */
    int64_t came_late_ms;   /* while quiet or draining: when something was last given back */
    naq_reload reload;
    naq_worker_stats stats;
    atomic_bool consumers_wanted; /* one is gone: they have to be made again */
    atomic_bool repaired;         /* consumers were made again: pulls may be sent */
};

/* worker.c's, for worker_gates.c. */
void naq_worker_begin(naq_worker *w, naq_slot *slot); /* a delivered job is to be offered */
void naq_worker_give_back(naq_worker *w, naq_slot *slot, int64_t delay_ms);

/* worker_gates.c: queues that are paused or limited. I/O thread, but for _open and _close. */
naq_status naq_worker_open_gates(naq_worker *w, naq_err *err);
void naq_worker_close_gates(naq_worker *w);
/* Follow settings that changed; begin what was held; give back what was held for too long. */
void naq_worker_gates_turn(naq_worker *w, int64_t now);
/* A job of a gated queue was delivered: it begins, is held, or given back. */
void naq_worker_gate_delivered(naq_worker *w, naq_slot *slot);
void naq_worker_gates_want(naq_worker *w, int idle, int want, int64_t now);
/* All that is held goes back, nothing more is wanted. */
void naq_worker_gates_drain(naq_worker *w);
int64_t naq_worker_gates_deadline(naq_worker *w, int64_t now);

/* What drain.c needs of worker.c: what was delivered in this turn is offered to the crew; up to n
 * jobs that have not begun are given back. */
void naq_worker_offer(naq_worker *w);
/* Those of consumers first to last that were delivered in this turn and not offered yet. */
naq_slot *naq_worker_withdraw_fresh(naq_worker *w, int first, int last);
void naq_worker_withdraw(naq_worker *w, int n);

/* The loop's handlers. */
void naq_worker_delivered(void *ctx, naq_msg *m);
void naq_worker_answered(void *ctx, uint32_t token, const naq_answer *answer);
void naq_worker_unheard(void *ctx);
void naq_worker_pull_status(void *ctx, uint32_t token, int status, int64_t pending,
                            const char *text);
void naq_worker_restored(void *ctx);
bool naq_worker_busy(void *ctx);
void naq_worker_signalled(void *ctx);

#endif
