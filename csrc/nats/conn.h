/* conn.h -- one connection to NATS: options, opening, what is known about the server.
 *
 * conn.c is the only file that opens a connection, which spec/unit/layers_spec.lua checks.
 * Everything that outlives a call holds a naq_conn through pool.h (shared) or has one of its own
 * opened with naq_conn_dial() (the worker's hot connection). */
#ifndef NAQ_NATS_CONN_H
#define NAQ_NATS_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

enum { NAQ_RECONNECT_NEVER = -1 };

/* All strings borrowed for the duration of a call; NULL: not set. Zero numbers: the default. */
typedef struct naq_conn_options {
    const char *const *servers; /* NULL-terminated; NULL: nats://127.0.0.1:4222 */
    const char *name;           /* "naq" */
    const char *user, *password, *token, *creds_file, *nkey_seed_file;
    bool tls;
    const char *ca_file, *cert_file, *key_file;
    bool tls_skip_verify;
    int64_t connection_timeout_ms; /* 5000 */
    int64_t reconnect_wait_ms;     /* 250, backing off to 1000 */
    int max_reconnect;             /* 0: for ever; NAQ_RECONNECT_NEVER */
    int64_t ping_interval_ms;      /* 20000 */
    int max_pings_out;             /* 2 */
    int64_t open_within_ms;        /* all servers together; 0: connection_timeout_ms for each */
    int pool_size;                 /* 4: connections at most with the same key, see pool.h */
    /* More servers of the cluster, learned from it: NULL or NULL-terminated, no part of a key. */
    const char *const *further;
    bool kept; /* naq_pool_close() leaves its key alone: what a worker stands on */
} naq_conn_options;

typedef struct naq_conn naq_conn;

typedef struct naq_server_info {
    char url[256]; /* without user, password or token */
    char id[64];   /* changes each time the server starts */
    char name[128];
    char version[32];
    char cluster[128]; /* "" when it is not one */
    int64_t max_payload;
} naq_server_info;

/* [blocks] Open an ordinary connection (libnats' own threads, SendAsap). NAQ_CONNECTION, NAQ_AUTH,
 * NAQ_TIMEOUT with a sentence naming the servers without their secrets. */
naq_status naq_conn_open(naq_conn **out, const naq_conn_options *o, naq_err *err);
/* [blocks a moment] Flushes, then closes. NULL is fine. */
void naq_conn_close(naq_conn *c);
/* The same without the flush: never waits for the network (for finalizers). */
void naq_conn_drop(naq_conn *c);
/* Close it under all who hold it: what they are waiting for fails, and naq_conn_check() answers
 * NAQ_CLOSED from now on. They still have to let it go. Never waits for the network. */
void naq_conn_shut(naq_conn *c);
/* NAQ_FORKED when another process opened c, NAQ_CLOSED when it was shut or given up: every use
 * starts with this. */
naq_status naq_conn_check(const naq_conn *c, naq_err *err);

/* What happens to the connection by itself, see events.h. Lives as long as c. */
struct naq_events *naq_conn_events_peek(naq_conn *c);
/* Nobody uses it: what happens to it is worth no line in the log but for debugging. */
void naq_conn_quiet(naq_conn *c, bool quiet);

/* A subscription that libnats bounds. Its word that one is too slow comes later, on a thread of its
 * own, and by then the subscription may be destroyed: it is looked up among these, not touched. */
typedef struct naq_conn_bounded {
    const void *sub;
    const char *subject; /* lives as long as this is known */
    struct naq_conn_bounded *next, **at;
} naq_conn_bounded;

void naq_conn_bounded_add(naq_conn *c, naq_conn_bounded *b);
/* Before the subscription is destroyed. One that was never added is fine. */
void naq_conn_bounded_remove(naq_conn *c, naq_conn_bounded *b);

struct __natsConnection;
struct __natsOptions;
struct __natsConnection *naq_conn_nats_peek(naq_conn *c); /* for the other files of csrc/nats */

/* natsOptions filled from o, everything but event loop and callbacks. The caller destroys it. */
naq_status naq_conn_options_make(struct __natsOptions **out, const naq_conn_options *o,
                                 naq_err *err);
/* [blocks] Connect with these options, which were made from o: a natsStatus; when it fails,
 * libnats' last error is this thread's. For naq_conn_dial() and what explains its failures. */
int naq_conn_connect(struct __natsConnection **out, struct __natsOptions *options,
                     const naq_conn_options *o, int64_t timeout_ms);

/* [blocks] The call behind every connection of the process: options made from o, with the caller's
 * event loop and callbacks. *out is the caller's. Errors as naq_conn_open. */
naq_status naq_conn_dial(struct __natsConnection **out, struct __natsOptions *options,
                         const naq_conn_options *o, naq_err *err);

/* A deep copy that outlives the caller's strings, and a key that is equal for equal servers and
 * credentials (a pool key; contains secrets, never print it). */
typedef struct naq_conn_settings naq_conn_settings;
naq_conn_settings *naq_conn_settings_new(const naq_conn_options *o);
void naq_conn_settings_free(naq_conn_settings *s);
const naq_conn_options *naq_conn_settings_peek(const naq_conn_settings *s);
const char *naq_conn_settings_key_peek(const naq_conn_settings *s);

/* Of o, or the default where it says nothing. */
const char *const *naq_conn_servers_of(const naq_conn_options *o);
int64_t naq_conn_timeout_of(const naq_conn_options *o);
/* Before which the round-th attempt, from 1, to connect again is made. */
int64_t naq_conn_backoff_ms(const naq_conn_options *o, int round);

/* "nats://127.0.0.1:4222" or a list of them, joined by ", ", user info removed: safe to print. */
void naq_conn_servers_public(const naq_conn_options *o, char *out, size_t size);

/* [blocks a moment, the first time for each server] name, version and cluster are read from the
 * greeting of a second, short connection, because libnats 3.4 keeps them to itself; "" where that
 * does not work. */
/* "3.4.1": the library that is loaded, not the one built against. */
const char *naq_libnats_version(void);

void naq_conn_info(naq_conn *c, naq_server_info *out);
/* Of the server connected to, without its secrets; "" while there is none; not blocking. */
void naq_conn_url(naq_conn *c, char *out, size_t size);
/* The id of the server connected to, "" while there is none; not blocking. */
void naq_conn_server_id(naq_conn *c, char *out, size_t size);
/* The servers that the cluster told of, with those that were configured, without their secrets:
 * NULL-terminated, for `further`; NULL when none are known. Not blocking. */
char **naq_conn_cluster(naq_conn *c);
void naq_conn_cluster_free(char **servers); /* NULL is fine */
bool naq_conn_clustered(naq_conn *c);       /* it knows of more than one; not blocking */
/* How many servers the cluster has; 1 when it is not one. [blocks] as naq_conn_info. */
int naq_conn_cluster_size(naq_conn *c);
naq_status naq_conn_rtt(naq_conn *c, int64_t timeout_ms, int64_t *us, naq_err *err); /* [blocks] */
bool naq_conn_up(naq_conn *c);         /* connected right now; not blocking */
bool naq_conn_lost(const naq_conn *c); /* has no server now; never waits, known a moment late */
/* A flush has been without an answer a moment ago: whoever only tidies up waits for no other. */
bool naq_conn_mute(const naq_conn *c);
/* [blocks] Until it has a server, or is closed: what is left of the time, 0 when it is over.
 * libnats holds the connection's lock while it tries to reconnect, so whatever has a time of its
 * own waits here first. */
int64_t naq_conn_await(naq_conn *c, int64_t ms);
bool naq_conn_dead(naq_conn *c);      /* closed for good: reconnecting was given up; not blocking */
int naq_conn_reconnects(naq_conn *c); /* how often it was lost and restored; not blocking */
int64_t naq_conn_max_payload(naq_conn *c);

/* Told after each reconnect, on libnats' thread: not to block. Linked in by listen, borrowed until
 * unlisten, after which it is not called any more. */
typedef struct naq_conn_listener {
    void (*reconnected)(void *ctx);
    void *ctx;
    struct naq_conn_listener *next;
} naq_conn_listener;
void naq_conn_listen(naq_conn *c, naq_conn_listener *l);
void naq_conn_unlisten(naq_conn *c, naq_conn_listener *l); /* idempotent */

/* "connected", "reconnecting", "closed" ...; not blocking. */
const char *naq_conn_state_name(naq_conn *c);
typedef struct naq_conn_counts {
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes;
} naq_conn_counts;
void naq_conn_count(naq_conn *c, naq_conn_counts *out);

/* [blocks] One request and its answer. On NAQ_OK the answer's bytes are appended to answer. status
 * header 503 (no responders): NAQ_NO_JETSTREAM for $JS. subjects, else NAQ_CONNECTION. */
naq_status naq_conn_request(naq_conn *c, const char *subject, const void *data, size_t len,
                            int64_t timeout_ms, naq_buf *answer, naq_err *err);
/* [buffers] Core NATS publish, no answer. While the connection is lost too, up to outbox.h's bound:
 * then it is sent when the server is back. */
naq_status naq_conn_publish(naq_conn *c, const char *subject, const void *data, size_t len,
                            naq_err *err);

/* The same with headers and, for what is asked, the whole answer. */
typedef struct naq_conn_header {
    const char *name, *value;
} naq_conn_header;
typedef struct __natsMsg naq_conn_answer;
naq_status naq_conn_send(naq_conn *c, const char *subject, const void *data, size_t len,
                         const naq_conn_header *headers, size_t n, naq_err *err);
naq_status naq_conn_ask(naq_conn *c, const char *subject, const void *data, size_t len,
                        const naq_conn_header *headers, size_t n, int64_t timeout_ms,
                        naq_conn_answer **answer, naq_err *err);
const char *naq_conn_answer_peek(naq_conn_answer *a, size_t *len);
void naq_conn_answer_free(naq_conn_answer *a);

/* [blocks a moment] Flush what was published and not answered for since, if there is any. */
void naq_conn_settle(naq_conn *c, int64_t timeout_ms);
/* [blocks] Until the server has taken everything published so far. */
naq_status naq_conn_flush(naq_conn *c, int64_t timeout_ms, naq_err *err);

/* What the server refused. It tells so beside the request, which then only times out: take the mark
 * before, and ask with it after a timeout. NAQ_PERMISSION in err when subject was refused since, as
 * one to publish to or (_sub) to subscribe to; that one [blocks] up to wait_ms for the word of it.
 */
uint64_t naq_conn_denials(naq_conn *c);
bool naq_conn_denied(naq_conn *c, uint64_t mark, const char *subject, naq_err *err);
bool naq_conn_denied_sub(naq_conn *c, uint64_t mark, const char *subject, int64_t wait_ms,
                         naq_err *err);

/* The idle mailboxes of mailbox.h, which alone calls these. Take answers NULL when there is none.
 */
struct naq_mailbox *naq_conn_mailbox_take(naq_conn *c);
void naq_conn_mailbox_put(naq_conn *c, struct naq_mailbox *box);

/* The subscriptions that inbox.h's naq_unsubscribe_later() ended, which alone calls these. Take
 * empties the list. */
struct naq_grave *naq_conn_graves_take(naq_conn *c);
void naq_conn_graves_put(naq_conn *c, struct naq_grave *grave);

/* The servers as they may be printed; lives as long as c. */
const char *naq_conn_servers_peek(const naq_conn *c);
/* The process that opened c. */
int naq_conn_pid(const naq_conn *c);
/* Whether this is the process that used libnats first; false as well when none has. */
bool naq_conn_library_here(void);
/* NAQ_FORKED when libnats was first used by another process than this one; from now on it is this
 * one's when it was nobody's. */
naq_status naq_conn_fork_check(naq_err *err);

#endif
