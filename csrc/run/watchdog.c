/* watchdog.c -- pending and nothing delivered: said, and asked again. */
#include "run/watchdog.h"

#include "base/log.h"
#include "nats/stream.h"

enum {
    BEYOND_HELP_MS = 60000, /* a second finding within this time */
    AT_REST_MS = 40000      /* until one that had nothing is looked at again: it costs wakes */
};

void naq_watchdog_note(naq_watched *w, const naq_pull *p, int64_t now_ms) {
    bool waiting = p->credit > 0;
    bool waited = atomic_exchange_explicit(&w->waiting, waiting, memory_order_relaxed);
    if (!waiting || !waited ||
        p->delivered_ms > atomic_load_explicit(&w->since_ms, memory_order_relaxed))
        atomic_store_explicit(&w->since_ms, now_ms, memory_order_relaxed);
}

bool naq_watchdog_stuck(naq_watched *w) {
    return atomic_load_explicit(&w->stuck, memory_order_relaxed) &&
           atomic_exchange(&w->stuck, false);
}

bool naq_watchdog_look(naq_watched *w, const naq_pull *pulls, int n, naq_conn *conn,
                       const char *stream, int64_t now_ms) {
    bool found = false;
    for (int i = 0; i < n; i++) {
        int64_t silent_ms = now_ms - atomic_load(&w[i].since_ms);
        bool at_rest = w[i].rest_ms > 0 && now_ms - w[i].rest_ms < AT_REST_MS;
        if (!atomic_load(&w[i].waiting) || silent_ms < NAQ_WATCHDOG_MS || at_rest) continue;
        naq_consumer_info info;
        naq_err err;
        /* consumer names never change after open: the only field read here */
        naq_status status = naq_consumer_look(conn, stream, pulls[i].consumer, &info, &err);
        w[i].rest_ms = status == NAQ_OK && info.pending == 0 ? now_ms : 0;
        if (status != NAQ_OK || info.pending == 0) continue;
        bool again = w[i].found_ms > 0 && now_ms - w[i].found_ms < BEYOND_HELP_MS;
        w[i].found_ms = again ? 0 : now_ms;
        naq_log(NAQ_WARNING,
                "consumer %s: unhealthy: %lld pending and nothing delivered for %lld s; %s",
                pulls[i].consumer, (long long)info.pending, (long long)(silent_ms / 1000),
                again ? "it is made anew" : "asking again");
        /* Asked again and still nothing: after several kills in a row 2.9.10's consumer may wait
         * for ever to redeliver messages that are gone from the stream. A new one begins with what
         * is there. */
        if (again && naq_consumer_delete(conn, stream, pulls[i].consumer, &err) != NAQ_OK)
            naq_log(NAQ_WARNING, "%s (%s)", err.message, naq_status_code(err.status));
        atomic_store(&w[i].stuck, true);
        found = true;
    }
    return found;
}
