/* conn.c -- opening a connection: the only place that does. Reconnecting is libnats' business.
 *
 * libnats bounds each step of connecting to one server, and looking up a name not at all. So it
 * connects on a thread of its own, which is given up on when the time is over: what it still opens
 * then, it closes itself. */
#include <nats/nats.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/patience.h"
#include "base/thread.h"
#include "nats/conn_state.h"
#include "nats/diagnose.h"
#include "nats/nstatus.h"
#include "nats/tls.h"

enum { LOOK_MS = 250, CHALLENGES = 3 };

/* The process that first called libnats; its threads live there and nowhere else. */
static atomic_int library_pid;

naq_status naq_conn_fork_check(naq_err *err) {
    int none = 0, me = (int)getpid();
    if (atomic_compare_exchange_strong(&library_pid, &none, me) || none == me) return NAQ_OK;
    return naq_fail(err, NAQ_FORKED,
                    "process %d was forked from %d after that had connected to NATS: connect only "
                    "after the fork",
                    me, none);
}

bool naq_conn_library_here(void) {
    return atomic_load(&library_pid) == (int)getpid();
}

/* With a seed a connect answers the server's challenge with a signature, and libnats 3.4.1 sends an
 * empty one when its first byte is 0, once in 256 times. Another try has another challenge. (When
 * libnats reconnects by itself it tries again, too, and gives up after the second refusal.) */
int naq_conn_connect(natsConnection **out, natsOptions *options, const naq_conn_options *o,
                     int64_t timeout_ms) {
    int tries = o->creds_file != NULL || o->nkey_seed_file != NULL ? CHALLENGES : 1;
    natsStatus s;
    do {
        naq_tls_begin(timeout_ms);
        s = natsConnection_Connect(out, options);
        naq_tls_end();
    } while (s == NATS_CONNECTION_AUTH_FAILED && --tries > 0);
    return (int)s;
}

naq_status naq_conn_dial(natsConnection **out, natsOptions *options, const naq_conn_options *o,
                         naq_err *err) {
    int64_t begun = naq_mono_ms();
    int s = naq_conn_connect(out, options, o, naq_conn_timeout_of(o));
    if (s == NATS_OK) return NAQ_OK;
    return naq_diagnose(o, (natsStatus)s, naq_mono_ms() - begun, err);
}

/* One attempt, shared by who waits and the thread that connects. */
typedef struct attempt {
    pthread_mutex_t mu; /* guards done, abandoned */
    pthread_cond_t ended;
    bool done, abandoned;

    bool apart; /* the thread that connects does nothing else */
    naq_conn_settings *settings;
    natsOptions *options;
    naq_conn *conn;
    naq_status status;
    naq_err err;
} attempt;

static void attempt_free(attempt *a) {
    natsOptions_Destroy(a->options);
    naq_conn_settings_free(a->settings);
    pthread_cond_destroy(&a->ended);
    pthread_mutex_destroy(&a->mu);
    free(a);
}

static void *connect_apart(void *arg) {
    attempt *a = arg;
    const naq_conn_options *o = naq_conn_settings_peek(a->settings);
    a->status = naq_conn_dial(&a->conn->nc, a->options, o, &a->err);
    if (a->status == NAQ_OK) {
        atomic_store(&a->conn->max_payload, natsConnection_GetMaxPayload(a->conn->nc));
        naq_conn_learn(a->conn);
    } else {
        naq_conn_let_go(a->conn); /* a connection that never was calls no "closed" */
        naq_conn_let_go(a->conn);
        a->conn = NULL;
    }
    if (a->apart) naq_tls_leave_thread();
    pthread_mutex_lock(&a->mu);
    a->done = true;
    bool abandoned = a->abandoned;
    pthread_cond_signal(&a->ended);
    pthread_mutex_unlock(&a->mu);
    if (abandoned) {
        naq_conn_drop(a->conn);
        attempt_free(a);
    }
    return NULL;
}

static attempt *attempt_new(const naq_conn_options *o, naq_err *err) {
    attempt *a = calloc(1, sizeof *a);
    naq_conn *c = calloc(1, sizeof *c);
    naq_conn_settings *settings = naq_conn_settings_new(o);
    if (a == NULL || c == NULL || settings == NULL) {
        free(a);
        free(c);
        naq_conn_settings_free(settings);
        (void)naq_fail(err, NAQ_CONNECTION, "opening a connection: out of memory");
        return NULL;
    }
    c->pid = getpid();
    atomic_init(&c->holders, 2);
    pthread_mutex_init(&c->mu, NULL);
    naq_cond_init(&c->more_denied);
    pthread_mutex_init(&c->closing, NULL);
    pthread_mutex_init(&c->telling, NULL);
    naq_events_init(&c->events);
    naq_conn_servers_public(o, c->servers, sizeof c->servers);
    pthread_mutex_init(&a->mu, NULL);
    naq_cond_init(&a->ended);
    a->settings = settings;
    a->conn = c;
    return a;
}

/* How long the whole may take: each server has its time, and one look at why it failed. */
static int64_t limit_ms(const naq_conn_options *o) {
    int64_t limit = 0;
    for (const char *const *s = naq_conn_servers_of(o); *s != NULL; s++)
        limit += naq_conn_timeout_of(o) + LOOK_MS;
    for (const char *const *s = o->further; s != NULL && *s != NULL; s++)
        limit += naq_conn_timeout_of(o) + LOOK_MS;
    return o->open_within_ms > 0 && o->open_within_ms < limit ? o->open_within_ms : limit;
}

naq_status naq_conn_open(naq_conn **out, const naq_conn_options *o, naq_err *err) {
    natsOptions *options = NULL;
    naq_status status = naq_conn_options_make(&options, o, err);
    if (status != NAQ_OK) return status;
    attempt *a = attempt_new(o, err);
    if (a == NULL) {
        natsOptions_Destroy(options);
        return err->status;
    }
    a->options = options;
    naq_conn *c = a->conn;
    natsStatus s = naq_conn_watch(options, c);
    if (s != NATS_OK) {
        naq_from_nats(err, s, 0, "opening a connection to %s", c->servers);
        naq_conn_let_go(c);
        naq_conn_let_go(c);
        attempt_free(a);
        return err->status;
    }

    int64_t limit = limit_ms(o);
    int64_t end = naq_mono_ms() + limit;
    a->apart = true;
    if (!naq_thread_apart(connect_apart, a)) {
        a->apart = false;
        (void)connect_apart(a);
    }
    pthread_mutex_lock(&a->mu);
    for (int64_t left = limit; !a->done && left > 0; left = naq_patience_left(end)) {
        struct timespec until = naq_cond_deadline(naq_patience_slice(left));
        (void)pthread_cond_timedwait(&a->ended, &a->mu, &until);
    }
    a->abandoned = !a->done;
    bool abandoned = a->abandoned;
    pthread_mutex_unlock(&a->mu);
    if (abandoned) {
        char servers[256];
        naq_conn_servers_public(o, servers, sizeof servers);
        return naq_fail(err, NAQ_TIMEOUT, "no answer from %s in %lld ms", servers,
                        (long long)limit);
    }
    status = a->status;
    if (status == NAQ_OK)
        *out = a->conn;
    else
        *err = a->err;
    attempt_free(a);
    return status;
}
