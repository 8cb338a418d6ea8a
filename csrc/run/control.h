/* control.h -- the settings of a worker's queues as they stand in NATS, followed as they change.
 *
 * A thread of its own watches the bucket <prefix>_control: whatever is written there is known here
 * a moment later, without asking again and again. While the server is away what was known last
 * holds. */
#ifndef NAQ_RUN_CONTROL_H
#define NAQ_RUN_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/service.h"
#include "nats/conn.h"
#include "nats/kvwatch.h"
#include "run/setting.h"

/* What the leases of a queue's limits are told; see quota.h. On the watching thread. */
typedef void (*naq_control_leases)(void *ctx, int queue, const char *kind,
                                   const naq_kv_event *event, bool live);

typedef struct naq_control {
    naq_conn *conn;
    const char *prefix;
    const char *const *queues;
    const naq_setting *files; /* one a queue: what the worker's configuration says */
    int n_queues;
    void (*changed)(void *ctx); /* on the watching thread: something to look at */
    naq_control_leases leases;
    void *ctx;

    naq_service service;
    naq_kv_watch *watch;
    atomic_bool ending;
    atomic_uint version;  /* goes up with each change */
    atomic_uint policies; /* and this with each that concerns the policy of jobs */
    pthread_mutex_t mu;   /* guards records, watch */
    struct naq_known *records;
    bool live; /* the watching thread: what comes now is happening now */
} naq_control;

/* [blocks] Fill in the fields up to ctx before. Returns when all that stands in the bucket is
 * known, so that a worker never begins a job that a setting forbids. */
naq_status naq_control_open(naq_control *c, naq_err *err);
/* Begin to end: nothing more is followed. Any thread; close need not wait then. */
void naq_control_leave(naq_control *c);
/* [blocks a moment] Safe on a zeroed struct. */
void naq_control_close(naq_control *c);

/* Any thread: what holds for a queue now. */
naq_setting naq_control_setting(naq_control *c, int queue);
unsigned naq_control_version(naq_control *c);

/* Any thread: {"<queue>":{...}}, the policies that are set in NATS; nothing when none is. And how
 * often they have changed. */
void naq_control_policies(void *control, naq_buf *out);
unsigned naq_control_policy_version(naq_control *c);

#endif
