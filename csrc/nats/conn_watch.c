/* conn_watch.c -- what libnats tells about a connection, on threads of its own: as events, and what
 * the server refused. */
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/conn_state.h"

void naq_conn_quiet(naq_conn *c, bool quiet) {
    atomic_store(&c->quiet, quiet);
}

static naq_level loud(naq_conn *c, naq_level level) {
    return atomic_load(&c->quiet) ? NAQ_DEBUG : level;
}

static void on_closed(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    if (naq_conn_end_as(c, NAQ_CONN_GIVEN_UP))
        naq_events_add(&c->events, NAQ_EVENT_CLOSED, loud(c, NAQ_WARNING),
                       "gave up reconnecting to %s", c->servers);
    naq_conn_said_closed(c);
}

static void on_disconnected(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    if (atomic_load(&c->end) != NAQ_CONN_OPEN) return; /* we closed it: no attempt follows */
    atomic_store(&c->lost, true);
    naq_events_add(&c->events, NAQ_EVENT_DISCONNECTED, loud(c, NAQ_WARNING),
                   "lost the connection to %s", c->servers);
}

static void on_reconnected(natsConnection *nc, void *closure) {
    naq_conn *c = closure;
    atomic_store(&c->max_payload, natsConnection_GetMaxPayload(nc));
    naq_conn_learn(c);
    naq_outbox_send(c); /* from here on it is not lost any more */
    naq_graves_settle(c);
    atomic_fetch_add(&c->reconnects, 1);
    pthread_mutex_lock(&c->telling);
    for (naq_conn_listener *l = c->listeners; l != NULL; l = l->next)
        l->reconnected(l->ctx);
    pthread_mutex_unlock(&c->telling);
    naq_events_add(&c->events, NAQ_EVENT_RECONNECTED, loud(c, NAQ_INFO), "connected to %s again",
                   c->servers);
}

void naq_conn_listen(naq_conn *c, naq_conn_listener *l) {
    pthread_mutex_lock(&c->telling);
    l->next = c->listeners;
    c->listeners = l;
    pthread_mutex_unlock(&c->telling);
}

void naq_conn_unlisten(naq_conn *c, naq_conn_listener *l) {
    pthread_mutex_lock(&c->telling);
    naq_conn_listener **at = &c->listeners;
    while (*at != NULL && *at != l)
        at = &(*at)->next;
    if (*at != NULL) *at = l->next;
    pthread_mutex_unlock(&c->telling);
}

static void on_lame_duck(natsConnection *nc, void *closure) {
    naq_conn *c = closure;
    char url[256];
    (void)nc;
    naq_conn_url(c, url, sizeof url);
    naq_events_add(&c->events, NAQ_EVENT_LAME_DUCK, loud(c, NAQ_WARNING),
                   "%s is about to shut down (lame duck mode)", url[0] != '\0' ? url : c->servers);
}

/* The cluster has got another server, or it told us only now. */
static void on_discovered(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn_learn(closure);
}

void naq_conn_bounded_add(naq_conn *c, naq_conn_bounded *b) {
    pthread_mutex_lock(&c->mu);
    b->next = c->bounded;
    b->at = &c->bounded;
    if (b->next != NULL) b->next->at = &b->next;
    c->bounded = b;
    pthread_mutex_unlock(&c->mu);
}

void naq_conn_bounded_remove(naq_conn *c, naq_conn_bounded *b) {
    pthread_mutex_lock(&c->mu);
    if (b->at != NULL) {
        *b->at = b->next;
        if (b->next != NULL) b->next->at = b->at;
        b->at = NULL;
    }
    pthread_mutex_unlock(&c->mu);
}

static void too_slow(naq_conn *c, const natsSubscription *sub) {
    char which[300] = "a subscription"; /* one of naq's own, or over by now */
    pthread_mutex_lock(&c->mu);
    for (const naq_conn_bounded *b = c->bounded; b != NULL; b = b->next)
        if (b->sub == sub)
            (void)snprintf(which, sizeof which, "the subscription to %s", b->subject);
    pthread_mutex_unlock(&c->mu);
    naq_events_add(&c->events, NAQ_EVENT_SLOW_CONSUMER, NAQ_WARNING,
                   "%s: %s is too slow, messages are dropped", c->servers, which);
}

/* Refused subjects come here, beside the request that then hears nothing; and consumers that are
 * too slow. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    if (s == NATS_SLOW_CONSUMER) {
        too_slow(c, sub);
        return;
    }
    /* libnats leaves this error's own text to this thread. natsConnection_GetLastError() has the
     * connection's newest one, in memory that its reader writes meanwhile. */
    natsStatus of = NATS_OK;
    const char *text = nats_GetLastError(&of);
    if (of != s || text == NULL || text[0] == '\0') text = natsStatus_GetText(s);
    if (strstr(text, "ermissions") != NULL) naq_conn_note_denial(c, text);
    naq_events_add(&c->events, NAQ_EVENT_ERROR, NAQ_WARNING, "%s: %s", c->servers, text);
}

struct naq_events *naq_conn_events_peek(naq_conn *c) {
    return &c->events;
}

int64_t naq_conn_await(naq_conn *c, int64_t ms) {
    int64_t end = naq_mono_ms() + ms, left = ms;
    while (left > 0) {
        uint64_t seen = naq_events_last(&c->events);
        if (!naq_conn_lost(c) || atomic_load(&c->end) != NAQ_CONN_OPEN) return left;
        (void)naq_events_wait(&c->events, seen, naq_patience_slice(left));
        left = naq_patience_left(end);
    }
    return 0;
}

natsStatus naq_conn_watch(natsOptions *options, naq_conn *c) {
    natsStatus s = natsOptions_SetClosedCB(options, on_closed, c);
    if (s == NATS_OK) s = natsOptions_SetDisconnectedCB(options, on_disconnected, c);
    if (s == NATS_OK) s = natsOptions_SetReconnectedCB(options, on_reconnected, c);
    if (s == NATS_OK) s = natsOptions_SetDiscoveredServersCB(options, on_discovered, c);
    if (s == NATS_OK) s = natsOptions_SetLameDuckModeCB(options, on_lame_duck, c);
    if (s == NATS_OK) s = natsOptions_SetErrorHandler(options, on_error, c);
    return s;
}
