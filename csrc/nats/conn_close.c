/* conn_close.c -- the ends of a connection, and what is kept until then. Any thread.
 *
 * Two holders share a naq_conn: its owner, and libnats, whose
 * callbacks may still come for a moment after a close; its last one, "closed", lets go.
 *
 * libnats holds a connection's lock through each attempt to reconnect, so closing one that has lost
 * its server can take as long as connecting: that is left to a thread of its own. */
#include "nats/conn.h"

#include <nats/nats.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/thread.h"
#include "nats/conn_state.h"
#include "nats/tls.h"

enum { CLOSE_FLUSH_MS = 1000 };

void naq_conn_let_go(naq_conn *c) {
    if (atomic_fetch_sub(&c->holders, 1) > 1) return;
    naq_outbox_clear(c);
    naq_events_destroy(&c->events);
    naq_conn_cluster_free(c->cluster);
    free(c->denied);
    pthread_cond_destroy(&c->more_denied);
    pthread_mutex_destroy(&c->closing);
    pthread_mutex_destroy(&c->telling);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

bool naq_conn_end_as(naq_conn *c, naq_conn_end end) {
    int open = NAQ_CONN_OPEN;
    return atomic_compare_exchange_strong(&c->end, &open, (int)end);
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

enum { NOT_ASKED, ASKED, SAID };

/* libnats says "closed" later, on a thread of its own, and frees with us what c still has. An exit
 * waits for that: its collector of messages would end before. */
static void ask_to_close(naq_conn *c) {
    int not_asked = NOT_ASKED;
    naq_thread_expected();
    if (!atomic_compare_exchange_strong(&c->closed, &not_asked, ASKED)) naq_thread_unexpected();
    natsConnection_Close(c->nc);
}

void naq_conn_said_closed(naq_conn *c) {
    bool awaited = atomic_exchange(&c->closed, SAID) == ASKED;
    naq_conn_let_go(c);
    if (awaited) naq_thread_unexpected();
}

/* One at a time: a shut may still be at it when the last holder drops. */
static void close_now(naq_conn *c, bool for_good) {
    pthread_mutex_lock(&c->closing);
    if (c->nc != NULL) ask_to_close(c);
    if (c->nc != NULL && for_good) {
        naq_mailbox_free_all(c->mailboxes); /* nothing arrives for them any more */
        naq_graves_free_all(c->graves);
        natsConnection_Destroy(c->nc);
        c->nc = NULL;
    }
    pthread_mutex_unlock(&c->closing);
    naq_conn_let_go(c);
}

static void *shut_apart(void *arg) {
    close_now(arg, false);
    naq_tls_leave_thread();
    return NULL;
}

static void *drop_apart(void *arg) {
    close_now(arg, true);
    naq_tls_leave_thread();
    return NULL;
}

void naq_conn_shut(naq_conn *c) {
    if (c->pid != getpid() || !naq_conn_end_as(c, NAQ_CONN_SHUT)) return;
    atomic_fetch_add(&c->holders, 1);
    if (!naq_conn_lost(c) || !naq_thread_apart(shut_apart, c)) close_now(c, false);
    naq_events_add(&c->events, NAQ_EVENT_CLOSED, NAQ_DEBUG, "closed the connection to %s",
                   c->servers);
}

void naq_conn_drop(naq_conn *c) {
    if (c == NULL || c->pid != getpid()) return; /* after a fork there is nothing to close */
    (void)naq_conn_end_as(c, NAQ_CONN_DROPPED);
    if (!naq_conn_lost(c) || !naq_thread_apart(drop_apart, c)) close_now(c, true);
}

bool naq_conn_lost(const naq_conn *c) {
    return atomic_load(&c->lost);
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
    if (atomic_load(&c->unsaid) && !naq_conn_lost(c) && naq_conn_up(c))
        (void)naq_conn_flush(c, timeout_ms, &ignored);
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
