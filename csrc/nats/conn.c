/* conn.c -- one ordinary connection: opened, asked, closed. Any thread.
 *
 * Reconnecting is libnats' business. Two holders share a naq_conn: its owner, and libnats, whose
 * callbacks may still come for a moment after a close; its last one, "closed", lets go. */
#include "nats/conn.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/greeting.h"
#include "base/log.h"
#include "nats/inbox.h"
#include "nats/mailbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum { GREETING_MS = 1000, CLOSE_FLUSH_MS = 1000 };

struct naq_conn {
    natsConnection *nc;
    pid_t pid;
    atomic_int holders;
    atomic_bool unsaid; /* published, and nothing heard from the server since */
    atomic_bool closing;
    atomic_int reconnects;
    char servers[256]; /* for messages */

    pthread_mutex_t mu; /* guards the rest; a leaf: nothing is called while it is held */
    char denied[256];
    uint64_t denials;
    naq_mailbox *mailboxes; /* idle ones */
    naq_grave *graves;      /* subscriptions ended by finalizers */
    naq_server_info known;  /* what the greeting of server known.id said */
    int cluster_size;
};

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
    pthread_mutex_destroy(&c->mu);
    free(c);
}

static void on_closed(natsConnection *nc, void *closure) {
    (void)nc;
    let_go(closure);
}

static void on_disconnected(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    if (!atomic_load(&c->closing))
        naq_log(NAQ_WARNING, "nats: lost the connection to %s", c->servers);
}

static void on_reconnected(natsConnection *nc, void *closure) {
    (void)nc;
    naq_conn *c = closure;
    atomic_fetch_add(&c->reconnects, 1);
    naq_log(NAQ_INFO, "nats: connected to %s again", c->servers);
}

/* Refused subjects come here, beside the request that then hears nothing. */
static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus s, void *closure) {
    (void)sub;
    naq_conn *c = closure;
    const char *text = NULL;
    (void)natsConnection_GetLastError(nc, &text);
    if (s == NATS_NOT_PERMITTED || (text != NULL && strstr(text, "ermissions") != NULL)) {
        pthread_mutex_lock(&c->mu);
        c->denials++;
        (void)snprintf(c->denied, sizeof c->denied, "%s", text != NULL ? text : "");
        pthread_mutex_unlock(&c->mu);
    }
    naq_log(NAQ_WARNING, "nats: %s: %s", c->servers,
            text != NULL && text[0] != '\0' ? text : natsStatus_GetText(s));
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
    if (s == NATS_OK) s = natsOptions_SetErrorHandler(options, on_error, c);
    return s;
}

naq_status naq_conn_dial(natsConnection **out, natsOptions *options, const naq_conn_options *o,
                         naq_err *err) {
    natsStatus s = natsConnection_Connect(out, options);
    if (s == NATS_OK) return NAQ_OK;
    char servers[256];
    naq_conn_servers_public(o, servers, sizeof servers);
    if (s == NATS_TIMEOUT)
        return naq_fail(
            err, NAQ_TIMEOUT, "no answer from %s in %lld ms", servers,
            (long long)(o->connection_timeout_ms > 0 ? o->connection_timeout_ms : 5000));
    return naq_from_nats(err, s, 0, "cannot connect to %s", servers);
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

void naq_conn_drop(naq_conn *c) {
    if (c == NULL || c->pid != getpid()) return; /* after a fork there is nothing to close */
    natsConnection *nc = c->nc;
    atomic_store(&c->closing, true);
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

/* The part of a server's URL that may be printed, and its host and port. */
static void split_url(const char *url, char *public, size_t size, char host[256], char port[8]) {
    const char *rest = strstr(url, "://");
    int scheme = rest != NULL ? (int)(rest + 3 - url) : 0;
    rest = url + scheme;
    const char *at = strrchr(rest, '@');
    if (at != NULL) rest = at + 1;
    (void)snprintf(public, size, "%.*s%s", scheme, url, rest);
    const char *colon = strrchr(rest, ':');
    const char *bracket = strchr(rest, ']');
    size_t n = colon != NULL && (bracket == NULL || colon > bracket) ? (size_t)(colon - rest)
                                                                     : strlen(rest);
    (void)snprintf(port, 8, "%.7s", rest[n] == ':' ? rest + n + 1 : "4222");
    if (rest[0] == '[' && bracket != NULL) {
        rest++;
        n -= 2;
    }
    (void)snprintf(host, 256, "%.*s", (int)n, rest);
}

static int count_strings(naq_slice array) {
    int quotes = 0;
    for (size_t i = 0; i < array.len; i++)
        quotes += array.at[i] == '"';
    return quotes / 2; /* addresses hold no escapes */
}

static void read_greeting(const naq_buf *greeting, naq_server_info *info, int *cluster_size) {
    naq_slice all = {greeting->data, greeting->len};
    naq_reply_text(all, "server_id", info->id, sizeof info->id);
    naq_reply_text(all, "server_name", info->name, sizeof info->name);
    naq_reply_text(all, "version", info->version, sizeof info->version);
    naq_reply_text(all, "cluster", info->cluster, sizeof info->cluster);
    int urls = count_strings(naq_reply_member(all, "connect_urls"));
    *cluster_size = info->cluster[0] != '\0' && urls > 1 ? urls : 1;
}

void naq_conn_server_id(naq_conn *c, char *out, size_t size) {
    if (natsConnection_GetConnectedServerId(c->nc, out, size) != NATS_OK) out[0] = '\0';
}

/* Asks the server once and remembers by its id, which is new each time it starts. */
static void look(naq_conn *c, naq_server_info *info, int *cluster_size) {
    char url[256] = "", id[64], host[256], port[8];
    naq_conn_server_id(c, id, sizeof id);
    pthread_mutex_lock(&c->mu);
    bool known = id[0] != '\0' && strcmp(id, c->known.id) == 0;
    *info = c->known;
    *cluster_size = c->cluster_size;
    pthread_mutex_unlock(&c->mu);
    if (known) return;

    memset(info, 0, sizeof *info);
    *cluster_size = 1;
    if (natsConnection_GetConnectedUrl(c->nc, url, sizeof url) != NATS_OK) return;
    split_url(url, info->url, sizeof info->url, host, port);
    naq_buf greeting = {0};
    if (naq_greeting_read(host, port, GREETING_MS, &greeting))
        read_greeting(&greeting, info, cluster_size);
    naq_buf_free(&greeting);
    bool same = strcmp(info->id, id) == 0; /* else a balancer gave us another server */
    if (!same) {
        info->name[0] = info->version[0] = '\0';
        (void)snprintf(info->id, sizeof info->id, "%s", id);
    }
    pthread_mutex_lock(&c->mu);
    if (same) {
        c->known = *info;
        c->cluster_size = *cluster_size;
    }
    pthread_mutex_unlock(&c->mu);
}

void naq_conn_info(naq_conn *c, naq_server_info *out) {
    int cluster_size;
    look(c, out, &cluster_size);
    out->max_payload = naq_conn_max_payload(c);
}

int naq_conn_cluster_size(naq_conn *c) {
    naq_server_info info;
    int n;
    look(c, &info, &n);
    return n;
}

naq_status naq_conn_rtt(naq_conn *c, int64_t *us, naq_err *err) {
    int64_t begin = naq_wall_us();
    naq_status status = naq_conn_flush(c, 5000, err);
    if (status == NAQ_OK) *us = naq_wall_us() - begin;
    return status;
}

naq_status naq_conn_flush(naq_conn *c, int64_t timeout_ms, naq_err *err) {
    atomic_store(&c->unsaid, false);
    natsStatus s = natsConnection_FlushTimeout(c->nc, timeout_ms);
    if (s == NATS_OK) return NAQ_OK;
    atomic_store(&c->unsaid, true);
    return naq_from_nats(err, s, 0, "%s", c->servers);
}

bool naq_conn_up(naq_conn *c) {
    return natsConnection_Status(c->nc) == NATS_CONN_STATUS_CONNECTED;
}

bool naq_conn_dead(naq_conn *c) {
    return natsConnection_IsClosed(c->nc);
}

int naq_conn_reconnects(naq_conn *c) {
    return atomic_load(&c->reconnects);
}

int64_t naq_conn_max_payload(naq_conn *c) {
    return natsConnection_GetMaxPayload(c->nc);
}

static naq_status request_failed(naq_conn *c, natsStatus s, const char *subject, int64_t timeout_ms,
                                 uint64_t mark, naq_err *err) {
    if (s == NATS_NO_RESPONDERS && strncmp(subject, "$JS.", 4) == 0)
        return naq_fail(err, NAQ_NO_JETSTREAM,
                        "%s: JetStream is not enabled there or for this "
                        "account (nobody answers %s)",
                        c->servers, subject);
    if (s == NATS_NO_RESPONDERS)
        return naq_fail(err, NAQ_CONNECTION, "%s: nobody answers %s", c->servers, subject);
    if (s == NATS_TIMEOUT && naq_conn_denied(c, mark, subject, err)) return err->status;
    if (s == NATS_TIMEOUT)
        return naq_fail(err, NAQ_TIMEOUT, "%s: no answer to %s in %lld ms", c->servers, subject,
                        (long long)timeout_ms);
    return naq_from_nats(err, s, 0, "%s: %s", c->servers, subject);
}

static natsStatus make_message(natsMsg **m, const char *subject, const void *data, size_t len,
                               const naq_conn_header *headers, size_t n) {
    natsStatus s = natsMsg_Create(m, subject, NULL, data != NULL ? data : "", (int)len);
    for (size_t i = 0; s == NATS_OK && i < n; i++)
        s = natsMsgHeader_Set(*m, headers[i].name, headers[i].value);
    return s;
}

naq_status naq_conn_ask(naq_conn *c, const char *subject, const void *data, size_t len,
                        const naq_conn_header *headers, size_t n, int64_t timeout_ms,
                        naq_conn_answer **answer, naq_err *err) {
    uint64_t mark = naq_conn_denials(c);
    natsMsg *m = NULL;
    natsStatus s = make_message(&m, subject, data, len, headers, n);
    if (s == NATS_OK) s = natsConnection_RequestMsg(answer, c->nc, m, timeout_ms);
    naq_status status = NAQ_OK;
    if (s != NATS_OK)
        status = request_failed(c, s, subject, timeout_ms, mark, err);
    else
        atomic_store(&c->unsaid, false); /* the server has read all that was sent before */
    natsMsg_Destroy(m);
    return status;
}

const char *naq_conn_answer_peek(naq_conn_answer *a, size_t *len) {
    *len = (size_t)natsMsg_GetDataLength(a);
    return natsMsg_GetData(a);
}

void naq_conn_answer_headers(naq_conn_answer *a,
                             void (*visit)(void *ctx, const char *name, const char *value),
                             void *ctx) {
    const char **names = NULL, *value = NULL;
    int n = 0;
    if (natsMsgHeader_Keys(a, &names, &n) != NATS_OK) return;
    for (int i = 0; i < n; i++)
        if (natsMsgHeader_Get(a, names[i], &value) == NATS_OK) visit(ctx, names[i], value);
    free(names);
}

void naq_conn_answer_free(naq_conn_answer *a) {
    natsMsg_Destroy(a);
}

naq_status naq_conn_request(naq_conn *c, const char *subject, const void *data, size_t len,
                            int64_t timeout_ms, naq_buf *answer, naq_err *err) {
    naq_conn_answer *m = NULL;
    naq_status status = naq_conn_ask(c, subject, data, len, NULL, 0, timeout_ms, &m, err);
    if (status != NAQ_OK) return status;
    naq_buf_put(answer, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
    natsMsg_Destroy(m);
    if (answer->failed)
        return naq_fail(err, NAQ_TOO_LARGE, "the answer to %s: out of memory", subject);
    return NAQ_OK;
}

naq_status naq_conn_send(naq_conn *c, const char *subject, const void *data, size_t len,
                         const naq_conn_header *headers, size_t n, naq_err *err) {
    natsMsg *m = NULL;
    atomic_store(&c->unsaid, true);
    natsStatus s = make_message(&m, subject, data, len, headers, n);
    if (s == NATS_OK) s = natsConnection_PublishMsg(c->nc, m);
    naq_status status = NAQ_OK;
    if (s != NATS_OK) status = naq_from_nats(err, s, 0, "publishing to %s", subject);
    natsMsg_Destroy(m);
    return status;
}

naq_status naq_conn_publish(naq_conn *c, const char *subject, const void *data, size_t len,
                            naq_err *err) {
    atomic_store(&c->unsaid, true);
    natsStatus s = natsConnection_Publish(c->nc, subject, data != NULL ? data : "", (int)len);
    if (s != NATS_OK) return naq_from_nats(err, s, 0, "publishing to %s", subject);
    return NAQ_OK;
}

const char *naq_libnats_version(void) {
    return nats_GetVersion();
}
