/* drain.c -- signals, and the ways in which a worker stops taking jobs.
 *
 * What has not begun goes back at once, whichever way. A job that runs is waited for; when there is
 * no time left it is stopped as a limit would stop it, and its own thread takes its claim back and
 * returns it, so that a start that was cut off counts as none. */
#include "run/drain.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/stream.h"
#include "run/timekeeper.h"

enum {
    CALM_MS = 20,
    BURST_LOOK_MS = 50,
    CUT_AGAIN_MS = 50,                  /* a job that was just being taken is stopped then */
    CUT_OFF_MS = NAQ_CUT_OFF_MS + 1000, /* what is not back then is left */
};

static void put_back(naq_worker *w) {
    w->came_late_ms = naq_mono_ms();
    naq_worker_offer(w);
    naq_worker_withdraw(w, INT_MAX);
    naq_worker_gates_drain(w);
}

static void drain(naq_worker *w, naq_stopped why) {
    if (w->draining) return;
    w->draining = true;
    w->stats.why = why;
    naq_control_leave(&w->control);
    put_back(w);
    w->drain_until_ms = w->came_late_ms + w->o.shutdown_ms;
    naq_heartbeat_stopping(&w->heartbeat, true);
    if (why == NAQ_STOPPED_SIGNAL)
        naq_log(NAQ_INFO, "worker %s: draining, jobs that still run: %d", w->id, w->used);
}

/* Quiet */

static void be_quiet(naq_worker *w) {
    if (w->draining || w->quiet) return;
    w->quiet = true;
    put_back(w);
    naq_heartbeat_stopping(&w->heartbeat, true);
    naq_log(NAQ_INFO,
            "worker %s: quiet, jobs that still run: %d; SIGCONT has it go on, SIGTERM ends it",
            w->id, w->used);
}

static void go_on(naq_worker *w) {
    if (w->draining || !w->quiet) return;
    w->quiet = false;
    naq_heartbeat_stopping(&w->heartbeat, false);
    naq_log(NAQ_INFO, "worker %s: takes jobs again", w->id);
}

void naq_worker_signalled(void *ctx) {
    naq_worker *w = ctx;
    struct signalfd_siginfo info;
    while (read(w->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        switch (info.ssi_signo) {
        case SIGHUP:
            naq_reload_want(&w->reload);
            break;
        case SIGTSTP:
            be_quiet(w);
            break;
        case SIGCONT:
            go_on(w);
            break;
        default:
            w->signals++;
            break;
        }
    }
}

/* Draining */

/* Burst: nothing pending and nothing running, anywhere. Asked only while there is nothing to do
 * here. */
static bool nothing_left(naq_worker *w, int64_t now) {
    if (w->used > 0 || now - w->burst_look_ms < BURST_LOOK_MS) return false;
    w->burst_look_ms = now;
    char stream[96];
    (void)snprintf(stream, sizeof stream, "%s_jobs", w->o.prefix);
    for (int i = 0; i < w->n_pulls; i++) {
        naq_consumer_info info;
        naq_err err;
        if (w->gates[i / NAQ_PRIORITIES].paused) continue; /* nothing of it will run */
        if (naq_consumer_look(w->conn, stream, w->pulls[i].consumer, &info, &err) != NAQ_OK)
            return false;
        if (info.pending > 0 || info.ack_pending > 0) return false;
    }
    return true;
}

void naq_drain_look(naq_worker *w, int64_t now) {
    if (w->draining) return;
    if (atomic_load(&w->stop) > 0) drain(w, NAQ_STOPPED_STOP);
    if (w->signals > 0) drain(w, NAQ_STOPPED_SIGNAL);
    if (naq_crew_left(&w->crew) >= NAQ_LEFT_MAX) {
        naq_log(NAQ_ERROR, "worker %s: draining: %d threads hang in jobs that cannot be stopped",
                w->id, naq_crew_left(&w->crew));
        drain(w, NAQ_STOPPED_STUCK);
    }
    if (w->o.max_jobs > 0 && w->begun >= w->o.max_jobs && w->used == 0)
        drain(w, NAQ_STOPPED_MAX_JOBS);
    if (w->o.burst && !w->draining && nothing_left(w, now)) drain(w, NAQ_STOPPED_BURST);
}

/* Cutting off */

static void cut_off(naq_worker *w, int64_t now) {
    w->cutting_off = true;
    w->stats.why = w->signals > 1 ? NAQ_STOPPED_AT_ONCE : NAQ_STOPPED_TIMEOUT;
    w->cut_until_ms = now + CUT_OFF_MS;
    naq_log(NAQ_WARNING, "worker %s: cutting off jobs that still run: %d (%s)", w->id, w->used,
            w->signals > 1 ? "told to stop at once" : "the shutdown timeout is over");
}

/* Threads that did not come back, and records that no server took: others may have these jobs at
 * once even so. */
static void abandon(naq_worker *w) {
    for (uint32_t i = 0; i < w->slots.count; i++) {
        naq_slot *slot = &w->slots.all[i];
        if (slot->msg == NULL) continue;
        if (!slot->storing) w->stats.abandoned = true;
        naq_log(NAQ_WARNING, "job %s is given back %s", naq_msg_subject(slot->msg),
                slot->storing ? "and will be run again: it has ended, and its record was not stored"
                              : "while it still runs: it cannot be stopped");
        naq_loop_send(w->loop, slot->reply, "-NAK", 4);
        if (!slot->storing) continue; /* its thread still reads it */
        naq_loop_bury(w->loop, slot->msg);
        slot->msg = NULL;
    }
}

/* The server still has pulls of ours to serve. What it picks for us in the moment in which our
 * interest ends (naq_loop_quit) is dropped by it and waits for its lease; so that moment is chosen
 * when nothing comes: all that was asked for has come and was given back, or it has been quiet for
 * a while. */
static bool calm(naq_worker *w, int64_t now) {
    bool asked = false;
    for (int i = 0; i < w->n_pulls; i++)
        asked = asked || w->pulls[i].credit > 0;
    return !asked || now - w->came_late_ms >= CALM_MS || !naq_loop_connected(w->loop);
}

bool naq_drain_ended(naq_worker *w, int64_t now) {
    if (!w->draining) return false;
    if (w->used == 0 && calm(w, now)) return true;
    if (!w->cutting_off && w->signals < 2 && now < w->drain_until_ms) return false;
    if (w->used == 0) return false;
    if (!w->cutting_off) cut_off(w, now);
    if (now < w->cut_until_ms && w->signals < 3) {
        if (now - w->cut_ms >= CUT_AGAIN_MS) {
            w->cut_ms = now;
            naq_crew_cut_off(&w->crew);
        }
        return false;
    }
    abandon(w);
    return true;
}

int64_t naq_drain_deadline(const naq_worker *w) {
    if (w->cutting_off && w->used > 0) return w->cut_ms + CUT_AGAIN_MS;
    if (w->draining) return w->used == 0 ? w->came_late_ms + CALM_MS : w->drain_until_ms;
    return w->o.burst && w->used == 0 ? w->burst_look_ms + BURST_LOOK_MS : INT64_MAX;
}
