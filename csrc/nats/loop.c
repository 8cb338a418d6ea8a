/* loop.c -- libnats' event-loop mode on one thread, with one wildcard inbox.
 *
 * Why not libnats' own threads: a publish there is either a write(2) each (SendAsap) or waits for a
 * flusher that sleeps a millisecond, and every message crosses from the reader thread. Here
 * reading, publishing and writing are one thread's business, and latency and throughput come from
 * the same connection.
 *
 * libnats calls attach/read/write from other threads too: its timer (pings), its reconnect thread
 * (after which attach comes again, with a new socket). They only set flags and wake the I/O thread.
 * While the connection is lost libnats closes the socket, which takes it out of the epoll set. */
#include "nats/loop.h"

#include <errno.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/nstatus.h"

enum {
    WRITE_AT = 256, /* publishes buffered before a write in mid-turn */
    GRAVES = 512    /* messages destroyed at once */
};

/* What an epoll event is about. */
enum { ON_SOCKET, ON_WAKE, ON_WATCH };

struct naq_loop {
    natsConnection *nc;
    natsSubscription *inbox;
    naq_loop_handlers on;
    char prefix[64]; /* the inbox without its wildcard, with the last dot */
    size_t prefix_len;

    int epoll_fd, wake_fd;
    int socket_fd;        /* for EPOLL_CTL_MOD; -1 while detached */
    bool waiting_to_send; /* EPOLLOUT is set: the socket's buffer was full */
    atomic_bool sleeping;
    atomic_bool want_write;
    atomic_uint lost, restored; /* counted by libnats' callbacks */
    atomic_int holders;         /* its owner, and libnats until "closed" was called */
    unsigned seen_restored;
    pthread_t thread;
    bool has_thread; /* thread is known: set by the first turn */

    int64_t now_ms; /* one reading a turn serves all its messages */
    unsigned unsent;
    naq_msg *dead[GRAVES];
    unsigned n_dead;

    void (*watch_ready)(void *ctx);
    void *watch_ctx;
};

void naq_loop_wake(naq_loop *loop) {
    /* Exchange, so that of many wakers one pays for the system call. */
    if (!atomic_exchange(&loop->sleeping, false)) return;
    uint64_t one = 1;
    if (write(loop->wake_fd, &one, sizeof one) < 0) {
        /* The counter is full: it is readable, which is all we want. */
    }
}

/* libnats' side */

static natsStatus on_attach(void **user, void *loop_arg, natsConnection *nc, natsSock socket) {
    (void)nc;
    naq_loop *loop = loop_arg;
    *user = loop;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_SOCKET};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, socket, &e) != 0 &&
        (errno != EEXIST || epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, socket, &e) != 0))
        return NATS_SYS_ERROR;
    __atomic_store_n(&loop->socket_fd, socket, __ATOMIC_RELEASE);
    return NATS_OK;
}

static natsStatus on_read(void *user, bool add) {
    naq_loop *loop = user;
    if (!add) {
        int fd = __atomic_exchange_n(&loop->socket_fd, -1, __ATOMIC_ACQ_REL);
        if (fd >= 0) (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    }
    return NATS_OK;
}

static natsStatus on_write(void *user, bool add) {
    naq_loop *loop = user;
    atomic_store(&loop->want_write, add);
    if (add && !(loop->has_thread && pthread_equal(pthread_self(), loop->thread)))
        naq_loop_wake(loop);
    return NATS_OK;
}

static natsStatus on_detach(void *user) {
    return on_read(user, false);
}

static void on_lost(natsConnection *nc, void *arg) {
    (void)nc;
    naq_loop *loop = arg;
    atomic_fetch_add(&loop->lost, 1);
    naq_loop_wake(loop);
}

static void on_restored(natsConnection *nc, void *arg) {
    (void)nc;
    naq_loop *loop = arg;
    atomic_fetch_add(&loop->restored, 1);
    naq_loop_wake(loop);
}

/* libnats calls back from a thread of its own, "disconnected" even after natsConnection_Close() has
 * returned. Its last call is "closed"; the loop stays until then. */
static void let_go(naq_loop *loop) {
    if (atomic_fetch_sub(&loop->holders, 1) != 1) return;
    if (loop->wake_fd >= 0) close(loop->wake_fd);
    if (loop->epoll_fd >= 0) close(loop->epoll_fd);
    free(loop);
}

static void on_closed(natsConnection *nc, void *arg) {
    (void)nc;
    naq_loop_wake(arg); /* given up on: its owner is to look */
    let_go(arg);
}

/* Opening and closing */

static natsStatus attach_loop(naq_loop *loop, natsOptions *options) {
    natsStatus s = natsOptions_SetEventLoop(options, loop, on_attach, on_read, on_write, on_detach);
    if (s == NATS_OK) s = natsOptions_SetSendAsap(options, true);
    if (s == NATS_OK) s = natsOptions_SetMaxPendingMsgs(options, 1 << 20);
    if (s == NATS_OK) s = natsOptions_SetDisconnectedCB(options, on_lost, loop);
    if (s == NATS_OK) s = natsOptions_SetReconnectedCB(options, on_restored, loop);
    if (s == NATS_OK) s = natsOptions_SetClosedCB(options, on_closed, loop);
    return s;
}

static natsStatus open_inbox(naq_loop *loop) {
    natsInbox *inbox = NULL;
    natsStatus s = natsInbox_Create(&inbox);
    if (s != NATS_OK) return s;
    char wildcard[80];
    (void)snprintf(wildcard, sizeof wildcard, "%s.*", inbox);
    (void)snprintf(loop->prefix, sizeof loop->prefix, "%s.", inbox);
    loop->prefix_len = strlen(loop->prefix);
    natsInbox_Destroy(inbox);
    s = natsConnection_SubscribeSync(&loop->inbox, loop->nc, wildcard);
    if (s == NATS_OK) s = natsSubscription_SetPendingLimits(loop->inbox, -1, -1);
    return s;
}

naq_status naq_loop_open(naq_loop **out, const naq_conn_options *o,
                         const naq_loop_handlers *handlers, naq_err *err) {
    naq_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) return naq_fail(err, NAQ_CONNECTION, "hot connection: out of memory");
    loop->on = *handlers;
    loop->now_ms = naq_mono_ms();
    atomic_init(&loop->holders, 2);
    loop->socket_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    natsOptions *options = NULL;
    naq_status status = NAQ_OK;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_WAKE};
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &e) != 0) {
        status = naq_fail(err, NAQ_CONNECTION, "hot connection: %s", strerror(errno));
        goto done;
    }
    status = naq_conn_options_make(&options, o, err);
    if (status != NAQ_OK) goto done;
    natsStatus s = attach_loop(loop, options);
    if (s == NATS_OK) {
        status = naq_conn_dial(&loop->nc, options, o, err);
        if (status != NAQ_OK) goto done;
        s = open_inbox(loop);
    }
    if (s != NATS_OK) {
        status = naq_from_nats(err, s, 0, "hot connection");
        goto done;
    }
    *out = loop;
done:
    natsOptions_Destroy(options);
    if (status != NAQ_OK) naq_loop_close(loop, 0);
    return status;
}

static void bury_all(naq_loop *loop) {
    for (unsigned i = 0; i < loop->n_dead; i++)
        natsMsg_Destroy(loop->dead[i]);
    loop->n_dead = 0;
}

/* Flushing and closing wait for an answer that only a reader can get: they run on a thread of their
 * own while this one goes on reading. (Closing alone flushes too, but 3.4.1 not always; and from
 * this thread it waits out half a second for a PONG.) */
typedef struct closing {
    naq_loop *loop;
    int64_t flush_ms;
    atomic_bool over;
} closing;

static void *close_connection(void *arg) {
    closing *c = arg;
    if (c->flush_ms > 0) (void)natsConnection_FlushTimeout(c->loop->nc, c->flush_ms);
    natsConnection_Close(c->loop->nc);
    atomic_store(&c->over, true);
    return NULL;
}

static void close_and_read(naq_loop *loop, int64_t flush_ms) {
    closing c = {.loop = loop, .flush_ms = naq_loop_connected(loop) ? flush_ms : 0};
    pthread_t closer;
    if (pthread_create(&closer, NULL, close_connection, &c) != 0) {
        natsConnection_Close(loop->nc);
        return;
    }
    while (!atomic_load(&c.over)) {
        if (atomic_load(&loop->want_write)) natsConnection_ProcessWriteEvent(loop->nc);
        struct epoll_event e[4];
        int n = epoll_wait(loop->epoll_fd, e, 4, 1);
        for (int i = 0; i < n; i++)
            if (e[i].data.u32 == ON_SOCKET) natsConnection_ProcessReadEvent(loop->nc);
    }
    pthread_join(closer, NULL);
}

void naq_loop_close(naq_loop *loop, int64_t flush_ms) {
    if (loop == NULL) return;
    bury_all(loop);
    if (loop->nc != NULL) {
        close_and_read(loop, flush_ms);
        natsSubscription_Destroy(loop->inbox);
        natsConnection_Destroy(loop->nc);
    } else {
        let_go(loop); /* a connection that never was calls no "closed" */
    }
    let_go(loop);
}

naq_status naq_loop_watch(naq_loop *loop, int fd, void (*ready)(void *), void *ctx, naq_err *err) {
    loop->watch_ready = ready;
    loop->watch_ctx = ctx;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_WATCH};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
        return naq_fail(err, NAQ_INVALID, "watching descriptor %d: %s", fd, strerror(errno));
    return NAQ_OK;
}

bool naq_loop_connected(naq_loop *loop) {
    return natsConnection_Status(loop->nc) == NATS_CONN_STATUS_CONNECTED;
}

bool naq_loop_closed(naq_loop *loop) {
    return natsConnection_Status(loop->nc) == NATS_CONN_STATUS_CLOSED;
}

naq_status naq_loop_end(naq_loop *loop, naq_err *err) {
    const char *text = NULL;
    (void)natsConnection_GetLastError(loop->nc, &text);
    bool refused = text != NULL && strcasestr(text, "auth") != NULL;
    return naq_fail(err, refused ? NAQ_AUTH : NAQ_CONNECTION,
                    "the connection is gone for good, reconnecting was given up: %s",
                    text != NULL && text[0] != '\0' ? text : "no server came back in time");
}

void naq_loop_info(naq_loop *loop, naq_server_info *out) {
    memset(out, 0, sizeof *out);
    (void)natsConnection_GetConnectedServerId(loop->nc, out->id, sizeof out->id);
    out->max_payload = natsConnection_GetMaxPayload(loop->nc);
}

/* Publishing */

/* "<inbox>.<kind><token in hex>" */
static void reply_subject(naq_loop *loop, char kind, uint32_t token, char out[96]) {
    char *at = out;
    memcpy(at, loop->prefix, loop->prefix_len);
    at += loop->prefix_len;
    *at++ = kind;
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[(token >> shift) & 15];
    *at = '\0';
}

static naq_status publish(naq_loop *loop, const char *subject, uint32_t token, const char *header,
                          const char *value, const void *data, size_t len, naq_err *err) {
    char reply[96];
    reply_subject(loop, 'k', token, reply);
    natsStatus s;
    if (header == NULL) {
        s = natsConnection_PublishRequest(loop->nc, subject, reply, data, (int)len);
    } else {
        natsMsg *m = NULL;
        s = natsMsg_Create(&m, subject, reply, data, (int)len);
        if (s == NATS_OK) s = natsMsgHeader_Set(m, header, value);
        if (s == NATS_OK) s = natsConnection_PublishMsg(loop->nc, m);
        if (m != NULL) naq_loop_bury(loop, m);
    }
    if (s != NATS_OK) return naq_from_nats(err, s, 0, "publish to %s", subject);
    loop->unsent++;
    return NAQ_OK;
}

naq_status naq_loop_publish(naq_loop *loop, const char *subject, uint32_t token,
                            int64_t expected_seq, const void *data, size_t len, naq_err *err) {
    if (expected_seq < 0) return publish(loop, subject, token, NULL, NULL, data, len, err);
    char digits[24] = "0"; /* nearly always */
    if (expected_seq > 0) (void)snprintf(digits, sizeof digits, "%lld", (long long)expected_seq);
    return publish(loop, subject, token, "Nats-Expected-Last-Subject-Sequence", digits, data, len,
                   err);
}

naq_status naq_loop_publish_id(naq_loop *loop, const char *subject, uint32_t token,
                               const char *msg_id, const void *data, size_t len, naq_err *err) {
    return publish(loop, subject, token, "Nats-Msg-Id", msg_id, data, len, err);
}

bool naq_loop_ask(naq_loop *loop, const char *subject, uint32_t token, const void *data,
                  size_t len) {
    char reply[96];
    reply_subject(loop, 'a', token, reply);
    if (natsConnection_PublishRequest(loop->nc, subject, reply, data, (int)len) != NATS_OK)
        return false;
    loop->unsent++;
    return true;
}

void naq_loop_send(naq_loop *loop, const char *subject, const void *data, size_t len) {
    /* A send that fails is an ack or a renewal that did not arrive: the lease ends and the job's
     * record decides, as after any lost ack. */
    if (natsConnection_Publish(loop->nc, subject, data, (int)len) == NATS_OK) loop->unsent++;
}

void naq_loop_pull(naq_loop *loop, const char *next_subject, uint32_t token, const char *request,
                   size_t len) {
    char reply[96];
    reply_subject(loop, 'p', token, reply);
    if (natsConnection_PublishRequest(loop->nc, next_subject, reply, request, (int)len) == NATS_OK)
        loop->unsent++;
}

/* Reading */

/* The number behind "key": in a flat JSON text, or -1. Enough for JetStream's own short answers. */
static int64_t number_after(const char *text, size_t len, const char *key) {
    size_t klen = strlen(key);
    for (size_t i = 0; i + klen < len; i++)
        if (memcmp(text + i, key, klen) == 0) return strtoll(text + i + klen, NULL, 10);
    return -1;
}

static void read_answer(natsMsg *m, naq_answer *a) {
    const char *data = natsMsg_GetData(m);
    size_t len = (size_t)natsMsg_GetDataLength(m);
    memset(a, 0, sizeof *a);
    a->text = data;
    a->text_len = len;
    /* A PubAck that begins with its stream's name is good; an error begins with "error" or, with a
     * stream, carries it inside. natsMsg data is NUL-terminated by libnats. */
    if (len > 9 && memcmp(data, "{\"stream\"", 9) == 0) {
        a->duplicate = len > 60 && strstr(data, "\"duplicate\"") != NULL;
        const char *seq = strstr(data, "\"seq\":");
        a->sequence = seq != NULL ? strtoull(seq + 6, NULL, 10) : 0;
        return;
    }
    int64_t js = number_after(data, len, "\"err_code\":");
    a->js = js > 0 ? (int)js : 0;
    naq_err err;
    /* The text tells a second message of a subject from a full store. */
    a->status = naq_from_js(&err, a->js, data != NULL ? data : "", "publish");
}

static void read_pull_status(naq_loop *loop, natsMsg *m, uint32_t token) {
    const char *status = NULL, *text = NULL, *pending = NULL;
    if (natsMsgHeader_Get(m, "Status", &status) != NATS_OK) return;
    if (natsMsgHeader_Get(m, "Description", &text) != NATS_OK) text = "";
    if (natsMsgHeader_Get(m, "Nats-Pending-Messages", &pending) != NATS_OK) pending = NULL;
    loop->on.pull_status(loop->on.ctx, token, atoi(status),
                         pending != NULL ? strtoll(pending, NULL, 10) : -1, text);
}

static void dispatch(naq_loop *loop, natsMsg *m) {
    const char *subject = natsMsg_GetSubject(m);
    if (strncmp(subject, loop->prefix, loop->prefix_len) != 0) {
        loop->on.delivered(loop->on.ctx, m);
        return;
    }
    const char *token = subject + loop->prefix_len;
    uint32_t number = (uint32_t)strtoul(token + 1, NULL, 16);
    if (*token == 'k') {
        naq_answer answer;
        read_answer(m, &answer);
        loop->on.answered(loop->on.ctx, number, &answer);
    } else if (*token == 'p') {
        read_pull_status(loop, m, number);
    } else if (*token == 'a' && loop->on.replied != NULL) {
        loop->on.replied(loop->on.ctx, number, m);
    }
    naq_loop_bury(loop, m);
}

static void drain_inbox(naq_loop *loop) {
    natsMsg *m = NULL;
    natsStatus s;
    while ((s = natsSubscription_NextMsg(&m, loop->inbox, 0)) == NATS_OK ||
           s == NATS_NO_RESPONDERS) {
        /* libnats swallows a 503 and its subject with it: which publish it answers is not known. */
        if (s == NATS_OK)
            dispatch(loop, m);
        else
            loop->on.unheard(loop->on.ctx);
    }
}

/* The turn */

static void write_now(naq_loop *loop) {
    if (!atomic_load(&loop->want_write) || loop->waiting_to_send) return;
    natsConnection_ProcessWriteEvent(loop->nc);
    loop->unsent = 0;
    int fd = __atomic_load_n(&loop->socket_fd, __ATOMIC_ACQUIRE);
    if (atomic_load(&loop->want_write) && fd >= 0) {
        /* The kernel's buffer is full: let epoll tell when there is room. */
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = ON_SOCKET};
        loop->waiting_to_send = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &e) == 0;
    }
}

static void room_to_send(naq_loop *loop) {
    loop->waiting_to_send = false;
    int fd = __atomic_load_n(&loop->socket_fd, __ATOMIC_ACQUIRE);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_SOCKET};
    if (fd >= 0) (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &e);
    write_now(loop);
}

void naq_loop_write(naq_loop *loop) {
    write_now(loop);
}

void naq_loop_write_if_full(naq_loop *loop) {
    if (loop->unsent >= WRITE_AT) write_now(loop);
}

static void handle_events(naq_loop *loop, const struct epoll_event *e, int n) {
    for (int i = 0; i < n; i++) {
        if (e[i].data.u32 == ON_WAKE) {
            uint64_t count;
            if (read(loop->wake_fd, &count, sizeof count) < 0) {
                /* Somebody else's wake was read before: nothing to do. */
            }
        } else if (e[i].data.u32 == ON_WATCH) {
            loop->watch_ready(loop->watch_ctx);
        } else {
            if (e[i].events & EPOLLOUT) room_to_send(loop);
            if (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                natsConnection_ProcessReadEvent(loop->nc);
                drain_inbox(loop);
            }
        }
    }
}

int64_t naq_loop_now(naq_loop *loop) {
    return loop->now_ms;
}

void naq_loop_turn(naq_loop *loop, int64_t deadline_ms, bool idle) {
    if (!loop->has_thread) {
        loop->thread = pthread_self();
        loop->has_thread = true;
    }
    struct epoll_event e[8];
    /* Look without sleeping first: under load there is always something, and one write then
     * carries the whole turn's publishes. */
    int n = epoll_wait(loop->epoll_fd, e, 8, 0);
    if (n == 0) {
        write_now(loop);
        if (idle) {
            if (loop->n_dead > 0) bury_all(loop);
            int64_t left = deadline_ms - naq_mono_ms();
            atomic_store(&loop->sleeping, true);
            /* What another thread did before it could see us asleep must be seen here. */
            if ((atomic_load(&loop->want_write) && !loop->waiting_to_send) ||
                loop->on.busy(loop->on.ctx))
                left = 0;
            n = epoll_wait(loop->epoll_fd, e, 8, left < 0 ? 0 : left > 60000 ? 60000 : (int)left);
            atomic_store(&loop->sleeping, false);
        }
    } else if (loop->unsent >= WRITE_AT) {
        write_now(loop);
    }
    loop->now_ms = naq_mono_ms();
    if (n > 0) handle_events(loop, e, n);

    unsigned restored = atomic_load(&loop->restored);
    if (restored != loop->seen_restored) {
        loop->seen_restored = restored;
        loop->waiting_to_send = false;
        loop->on.restored(loop->on.ctx);
    }
}

/* What was published is read by the server before the end of the interest: libnats sends both in
 * order, and its drain is over when a PONG came and all before it was taken out here. */
void naq_loop_quit(naq_loop *loop, int64_t within_ms) {
    int64_t end_ms = naq_mono_ms() + within_ms;
    if (!naq_loop_connected(loop) || natsSubscription_Drain(loop->inbox) != NATS_OK) return;
    while (natsSubscription_DrainCompletionStatus(loop->inbox) == NATS_ILLEGAL_STATE &&
           naq_mono_ms() < end_ms && naq_loop_connected(loop)) {
        naq_loop_turn(loop, naq_mono_ms() + 1, true);
    }
    drain_inbox(loop);
    write_now(loop);
}

/* Messages */

const char *naq_msg_subject(naq_msg *m) {
    return natsMsg_GetSubject(m);
}

const char *naq_msg_reply(naq_msg *m) {
    const char *reply = natsMsg_GetReply(m);
    return reply != NULL ? reply : "";
}

const char *naq_msg_data(naq_msg *m) {
    return natsMsg_GetData(m);
}

size_t naq_msg_size(naq_msg *m) {
    return (size_t)natsMsg_GetDataLength(m);
}

const char *naq_msg_header(naq_msg *m, const char *name) {
    const char *value = NULL;
    return natsMsgHeader_Get(m, name, &value) == NATS_OK ? value : NULL;
}

void naq_loop_bury(naq_loop *loop, naq_msg *m) {
    if (loop->n_dead == GRAVES) bury_all(loop);
    loop->dead[loop->n_dead++] = m;
}
