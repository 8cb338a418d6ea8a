/* conn.c -- one ordinary connection: opened, watched, closed. Any thread.
 *
 * Reconnecting is libnats' business. Two holders share a naq_conn: its owner, and libnats, whose
 * callbacks may still come for a moment after a close; its last one, "closed", lets go. */
#include "nats/conn.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "nats/conn_state.h"
#include "nats/diagnose.h"
#include "nats/nstatus.h"
#include "nats/tls.h"

enum { CLOSE_FLUSH_MS = 1000 };

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

static void let_go(naq_conn *c) {
    if (atomic_fetch_sub(&c->holders, 1) > 1) return;
    naq_events_destroy(&c->events);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

/* Only the first end counts. */
static bool end_as(naq_conn *c, naq_conn_end end) {
    int open = NAQ_CONN_OPEN;
    return atomic_compare_exchange_strong(&c->end, &open, (int)end);
}

static bool is_open(naq_conn *c) {
    return atomic_load(&c->end) == NAQ_CONN_OPEN;
}

static void on_closed(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    if (end_as(c, NAQ_CONN_GIVEN_UP))
        naq_events_add(&c->events, NAQ_EVENT_CLOSED, "gave up reconnecting to %s", c->servers);
    let_go(c);
}

static void on_disconnected(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    if (is_open(c))
        naq_events_add(&c->events, NAQ_EVENT_DISCONNECTED, "lost the connection to %s", c->servers);
}

static void on_reconnected(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    atomic_fetch_add(&c->reconnects, 1);
    naq_events_add(&c->events, NAQ_EVENT_RECONNECTED, "connected to %s again", c->servers);
}

static void on_lame_duck(natsConnection *nc, void *closure) {
    naq_conn *c = closure;
    char url[256];
    if (natsConnection_GetConnectedUrl(nc, url, sizeof url) != NATS_OK) url[0] = '\0';
    const char *at = strrchr(url, '@'); /* what stands before it is secret */
    naq_events_add(&c->events, NAQ_EVENT_LAME_DUCK, "%s is about to shut down (lame duck mode)",
                   url[0] == '\0' ? c->servers
                   : at != NULL   ? at + 1
                                  : url);
}

/* Refused subjects come here, beside the request that then hears nothing; and consumers that are
 * too slow. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure) {
    naq_conn *c = closure;
    const char *text = NULL;
    (void)natsConnection_GetLastError(nc, &text);
    if (s == NATS_SLOW_CONSUMER) {
        const char *subject = natsSubscription_GetSubject(sub);
        naq_conn_slow(c, subject != NULL ? subject : "?");
        return;
    }
    if (s == NATS_NOT_PERMITTED || (text != NULL && strstr(text, "ermissions") != NULL)) {
        pthread_mutex_lock(&c->mu);
        c->denials++;
        (void)snprintf(c->denied, sizeof c->denied, "%s", text != NULL ? text : "");
        pthread_mutex_unlock(&c->mu);
    }
    naq_events_add(&c->events, NAQ_EVENT_ERROR, "%s: %s", c->servers,
                   text != NULL && text[0] != '\0' ? text : natsStatus_GetText(s));
}

void naq_conn_slow(naq_conn *c, const char *subject) {
    naq_events_add(&c->events, NAQ_EVENT_SLOW_CONSUMER,
                   "%s: the subscription to %s is too slow, messages are dropped", c->servers,
                   subject);
}

struct naq_events *naq_conn_events_peek(naq_conn *c) {
    return &c->events;
}

uint64_t naq_conn_denials(naq_conn *c) {
    pthread_mutex_lock(&c->mu);
    uint64_t n = c->denials;
    pthread_mutex_unlock(&c->mu);
    return n;
}

bool naq_conn_denied(naq_conn *c, uint64_t mark, const char *subject, naq_err *err) {
    char text[sizeof c->denied];
    pthread_mutex_lock(&c->mu);
    bool since = c->denials != mark;
    memcpy(text, c->denied, sizeof text);
    pthread_mutex_unlock(&c->mu);
    /* The server quotes the subject in its own words, with or without case changes. */
    if (!since || strcasestr(text, subject) == NULL) return false;
    (void)naq_fail(err, NAQ_PERMISSION, "%s does not allow this user to use %s", c->servers,
                   subject);
    return true;
}

static natsStatus set_callbacks(natsOptions *options, naq_conn *c) {
    natsStatus s = natsOptions_SetClosedCB(options, on_closed, c);
    if (s == NATS_OK) s = natsOptions_SetDisconnectedCB(options, on_disconnected, c);
    if (s == NATS_OK) s = natsOptions_SetReconnectedCB(options, on_reconnected, c);
    if (s == NATS_OK) s = natsOptions_SetLameDuckModeCB(options, on_lame_duck, c);
    if (s == NATS_OK) s = natsOptions_SetErrorHandler(options, on_error, c);
    return s;
}

naq_status naq_conn_dial(natsConnection **out, natsOptions *options, const naq_conn_options *o,
                         naq_err *err) {
    int64_t begun = naq_mono_ms();
    naq_tls_begin(naq_conn_timeout_of(o));
    natsStatus s = natsConnection_Connect(out, options);
    naq_tls_end();
    if (s == NATS_OK) return NAQ_OK;
    return naq_diagnose(o, s, naq_mono_ms() - begun, err);
}

naq_status naq_conn_open(naq_conn **out, const naq_conn_options *o, naq_err *err) {
    natsOptions *options = NULL;
    naq_status status = naq_conn_options_make(&options, o, err);
    if (status != NAQ_OK) return status;
    naq_conn *c = calloc(1, sizeof *c);
    if (c == NULL) {
        natsOptions_Destroy(options);
        return naq_fail(err, NAQ_CONNECTION, "opening a connection: out of memory");
    }
    c->pid = getpid();
    atomic_init(&c->holders, 2);
    pthread_mutex_init(&c->mu, NULL);
    naq_events_init(&c->events);
    naq_conn_servers_public(o, c->servers, sizeof c->servers);
    natsStatus s = set_callbacks(options, c);
    status = s == NATS_OK ? naq_conn_dial(&c->nc, options, o, err)
                          : naq_from_nats(err, s, 0, "opening a connection to %s", c->servers);
    if (status == NAQ_OK) {
        *out = c;
    } else {
        let_go(c); /* a connection that never was calls no "closed" */
        let_go(c);
    }
    natsOptions_Destroy(options);
    return status;
}

naq_status naq_conn_check(const naq_conn *c, naq_err *err) {
    if (c->pid != getpid())
        return naq_fail(err, NAQ_FORKED,
                        "this connection was opened by process %d, before a fork: connect again "
                        "in process %d, and only there",
                        (int)c->pid, (int)getpid());
    switch (atomic_load(&c->end)) {
    case NAQ_CONN_OPEN:
        return NAQ_OK;
    case NAQ_CONN_GIVEN_UP:
        return naq_fail(err, NAQ_CLOSED, "%s: reconnecting was given up: connect again",
                        c->servers);
    default:
        return naq_fail(err, NAQ_CLOSED,
                        "%s: this connection was closed for the whole process: connect again",
                        c->servers);
    }
}

void naq_conn_shut(naq_conn *c) {
    if (c->pid != getpid() || !end_as(c, NAQ_CONN_SHUT)) return;
    natsConnection_Close(c->nc);
    naq_events_add(&c->events, NAQ_EVENT_CLOSED, "closed the connection to %s", c->servers);
}

void naq_conn_drop(naq_conn *c) {
    if (c == NULL || c->pid != getpid()) return; /* after a fork there is nothing to close */
    natsConnection *nc = c->nc;
    (void)end_as(c, NAQ_CONN_DROPPED);
    natsConnection_Close(nc);
    naq_mailbox_free_all(c->mailboxes); /* after the close: nothing arrives for them any more */
    naq_graves_free_all(c->graves);
    natsConnection_Destroy(nc);
    let_go(c);
}

naq_mailbox *naq_conn_mailbox_take(naq_conn *c) {
    pthread_mutex_lock(&c->mu);
    naq_mailbox *box = c->mailboxes;
    if (box != NULL) c->mailboxes = box->next;
    pthread_mutex_unlock(&c->mu);
    return box;
}

void naq_conn_mailbox_put(naq_conn *c, naq_mailbox *box) {
    pthread_mutex_lock(&c->mu);
    box->next = c->mailboxes;
    c->mailboxes = box;
    pthread_mutex_unlock(&c->mu);
}

naq_grave *naq_conn_graves_take(naq_conn *c) {
    pthread_mutex_lock(&c->mu);
    naq_grave *all = c->graves;
    c->graves = NULL;
    pthread_mutex_unlock(&c->mu);
    return all;
}

void naq_conn_graves_put(naq_conn *c, naq_grave *grave) {
    pthread_mutex_lock(&c->mu);
    grave->next = c->graves;
    c->graves = grave;
    pthread_mutex_unlock(&c->mu);
}

void naq_conn_settle(naq_conn *c, int64_t timeout_ms) {
    naq_err ignored;
    if (atomic_load(&c->unsaid) && naq_conn_up(c)) (void)naq_conn_flush(c, timeout_ms, &ignored);
}

void naq_conn_close(naq_conn *c) {
    if (c != NULL && c->pid == getpid()) naq_conn_settle(c, CLOSE_FLUSH_MS);
    naq_conn_drop(c);
}

natsConnection *naq_conn_nats_peek(naq_conn *c) {
    return c->nc;
}

const char *naq_conn_servers_peek(const naq_conn *c) {
    return c->servers;
}

int naq_conn_pid(const naq_conn *c) {
    return (int)c->pid;
}
