/* worker_state.h -- what a worker is made of: shared by worker.c (the turn) and worker_open.c (its
 * beginning and end), private to the two. */
#ifndef NAQ_RUN_WORKER_STATE_H
#define NAQ_RUN_WORKER_STATE_H

#include "run/credit.h"
#include "run/crew.h"
#include "run/doubt.h"
#include "run/heartbeat.h"
#include "run/mover.h"
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
    naq_mover mover;
    naq_pull *pulls;      /* one per queue and priority, in that order */
    naq_watched *watched; /* one a pull */
    int n_pulls;
    int64_t ack_wait_ms; /* the shortest of its consumers' */
    char record_subjects[NAQ_RESULT_CLASSES][96], notice_subject[96]; /* ends before the id */
    int signal_fd;                                                    /* -1: signals are not ours */

    naq_slot *fresh, *fresh_tail; /* delivered in this turn, not offered yet */
    int used;                     /* slots that are not free */
    int storing;
    long begun; /* jobs accepted, for max_jobs */
    naq_credit credit;
    int64_t swept_ms, leases_ms, burst_look_ms;
    naq_doubt doubt;
    atomic_int stop; /* requests to stop: 1 drains */
    int signals;
    bool draining;
    int64_t drain_until_ms;
    int64_t came_late_ms; /* while draining: when something was last given back */
    naq_worker_stats stats;
    atomic_bool consumers_wanted; /* one is gone: they have to be made again */
    atomic_bool repaired;         /* consumers were made again: pulls may be sent */
};

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
