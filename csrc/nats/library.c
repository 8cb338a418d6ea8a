/* library.c -- opens libnats so that its collector stays out of the way.
 *
 * libnats frees every received message on a thread of its own and wakes it for each one. On busy
 * cores that thread then preempts the one that destroys, message by message: 0.4 switches a job
 * were measured. A thread under SCHED_BATCH does not preempt when it wakes; it runs when there is
 * time, and frees by the hundred. Threads inherit the policy of the one that creates them, so it is
 * put on around the opening. */
#include "nats/library.h"

#include <nats/nats.h>
#include <pthread.h>
#include <sched.h>

#include "base/thread.h"
#include "nats/nstatus.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static natsStatus opened;

static void open_once(void) {
    struct sched_param before, none = {0};
    int policy;
    bool batch = pthread_getschedparam(pthread_self(), &policy, &before) == 0 &&
                 policy == SCHED_OTHER &&
                 pthread_setschedparam(pthread_self(), SCHED_BATCH, &none) == 0;
    naq_nstatus_before_open();
    opened = nats_Open(-1);
    /* Its last error, which it keeps for each thread: 672 bytes left behind by each that ends. */
    naq_thread_at_end(nats_ReleaseThreadMemory);
    if (batch) pthread_setschedparam(pthread_self(), policy, &before);
}

naq_status naq_library_open(naq_err *err) {
    pthread_once(&once, open_once);
    if (opened == NATS_OK) return NAQ_OK;
    return naq_from_nats(err, opened, 0, "opening libnats");
}
