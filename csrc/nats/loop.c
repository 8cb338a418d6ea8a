/* loop.c -- libnats' event-loop mode on one thread, with one wildcard inbox.
 *
 * Why not libnats' own threads: a publish there is either a write(2) each (SendAsap) or waits for a
 * flusher that sleeps a millisecond, and every message crosses from the reader thread. Here
 * reading, publishing and writing are one thread's business, and latency and throughput come from
 * the same connection.
 *
 * A connection that is lost is replaced by another one, see line.h; the inbox keeps its name. What
 * libnats calls from other threads only sets flags and wakes the I/O thread. */
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
#include "base/thread.h"
#include "nats/line.h"
#include "nats/nstatus.h"

enum {
    WRITE_AT = 256, /* publishes buffered before a write in mid-turn */
    GRAVES = 512,   /* messages destroyed at once */
    /* What an idle loop may keep undestroyed, so that not each heartbeat that comes wakes libnats'
     * collector as well. */
    IDLE_GRAVES = 128,
    IDLE_BYTES = 64 << 10,
    IDLE_MS = 150000,
    KEPT_BYTES = 8 << 20
};

/* Of the I/O thread. A wake that comes before it sleeps keeps it from sleeping. */
enum { AWAKE, ASLEEP, WOKEN };

/* What an epoll event is about. */
enum { ON_SOCKET, ON_WAKE, ON_WATCH, ON_INNER };

/* Sent while there was no line. */
typedef struct kept {
    struct kept *next;
    natsMsg *m;
} kept;

struct naq_loop {
    naq_lines *lines;
    naq_line *line; /* the present one, or the last that there was */
    natsSubscription *inbox;
    naq_loop_handlers on;
    char prefix[64]; /* the inbox without its wildcard, with the last dot */
    size_t prefix_len;

    int epoll_fd, wake_fd;
    bool waiting_to_send; /* EPOLLOUT is set: the socket's buffer was full */
    atomic_int sleep;
    kept *kept, **last_kept;
    size_t kept_bytes;

    int64_t now_ms; /* one reading a turn serves all its messages */
    unsigned unsent;
    naq_msg *dead[GRAVES];
    unsigned n_dead;
    size_t dead_bytes;
    int64_t buried_ms; /* when the first of them was put there */

    void (*watch_ready)(void *ctx);
    void *watch_ctx;
    naq_loop *inner; /* naq_loop_join() */
    bool mute;       /* naq_loop_quit() has waited for an answer in vain */
};

void naq_loop_wake(naq_loop *loop) {
    /* Exchange, so that of many wakers one pays for the system call. */
    if (atomic_exchange(&loop->sleep, WOKEN) != ASLEEP) return;
    uint64_t one = 1;
    if (write(loop->wake_fd, &one, sizeof one) < 0) {
        /* The counter is full: it is readable, which is all we want. */
    }
}

/* Opening and closing */

static void on_line(naq_lines *lines) {
    naq_loop_wake(lines->ctx);
}

static natsConnection *nc_of(const naq_loop *loop) {
    return loop->line->nc;
}

static natsStatus name_inbox(naq_loop *loop) {
    natsInbox *inbox = NULL;
    natsStatus s = natsInbox_Create(&inbox);
    if (s != NATS_OK) return s;
    (void)snprintf(loop->prefix, sizeof loop->prefix, "%s.", inbox);
    loop->prefix_len = strlen(loop->prefix);
    natsInbox_Destroy(inbox);
    return NATS_OK;
}

static natsStatus open_inbox(naq_loop *loop) {
    char wildcard[80];
    (void)snprintf(wildcard, sizeof wildcard, "%s*", loop->prefix);
    natsStatus s = natsConnection_SubscribeSync(&loop->inbox, nc_of(loop), wildcard);
    if (s == NATS_OK) s = natsSubscription_SetPendingLimits(loop->inbox, -1, -1);
    return s;
}

naq_status naq_loop_open(naq_loop **out, const naq_conn_options *o,
                         const naq_loop_handlers *handlers, naq_err *err) {
    naq_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) return naq_fail(err, NAQ_CONNECTION, "hot connection: out of memory");
    loop->on = *handlers;
    loop->now_ms = naq_mono_ms();
    loop->last_kept = &loop->kept;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    naq_status status = NAQ_OK;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_WAKE};
    if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &e) != 0)
        status = naq_fail(err, NAQ_CONNECTION, "hot connection: %s", strerror(errno));
    if (status == NAQ_OK)
        status = naq_lines_open(&loop->lines, &loop->line, o, loop->epoll_fd, ON_SOCKET, on_line,
                                loop, err);
    if (status == NAQ_OK) {
        natsStatus s = name_inbox(loop);
        if (s == NATS_OK) s = open_inbox(loop);
        if (s != NATS_OK) status = naq_from_nats(err, s, 0, "hot connection");
    }
    if (status == NAQ_OK)
        *out = loop;
    else
        naq_loop_close(loop, 0);
    return status;
}

static void bury_all(naq_loop *loop) {
    for (unsigned i = 0; i < loop->n_dead; i++)
        natsMsg_Destroy(loop->dead[i]);
    loop->n_dead = 0;
    loop->dead_bytes = 0;
}

static void bury_when_worth_it(naq_loop *loop) {
    if (loop->n_dead == 0) return;
    if (loop->n_dead >= IDLE_GRAVES || loop->dead_bytes >= IDLE_BYTES ||
        loop->now_ms - loop->buried_ms >= IDLE_MS)
        bury_all(loop);
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
    if (c->flush_ms > 0) (void)natsConnection_FlushTimeout(nc_of(c->loop), c->flush_ms);
    natsConnection_Close(nc_of(c->loop));
    naq_thread_leave();
    atomic_store(&c->over, true);
    return NULL;
}

static void close_and_read(naq_loop *loop, int64_t flush_ms) {
    bool hears = naq_loop_connected(loop) && !loop->mute;
    closing c = {.loop = loop, .flush_ms = hears ? flush_ms : 0};
    pthread_t closer;
    if (pthread_create(&closer, NULL, close_connection, &c) != 0) {
        natsConnection_Close(nc_of(loop));
        return;
    }
    while (!atomic_load(&c.over)) {
        if (atomic_load(&loop->line->want_write)) natsConnection_ProcessWriteEvent(nc_of(loop));
        struct epoll_event e[4];
        int n = epoll_wait(loop->epoll_fd, e, 4, 1);
        for (int i = 0; i < n; i++)
            if (e[i].data.u32 == ON_SOCKET) natsConnection_ProcessReadEvent(nc_of(loop));
    }
    pthread_join(closer, NULL);
}

static void forget_kept(naq_loop *loop) {
    while (loop->kept != NULL) {
        kept *k = loop->kept;
        loop->kept = k->next;
        natsMsg_Destroy(k->m);
        free(k);
    }
    loop->last_kept = &loop->kept;
    loop->kept_bytes = 0;
}

void naq_loop_close(naq_loop *loop, int64_t flush_ms) {
    if (loop == NULL) return;
    bury_all(loop);
    forget_kept(loop);
    if (loop->line != NULL) {
        close_and_read(loop, flush_ms);
        natsSubscription_Destroy(loop->inbox);
    }
    naq_lines_close(loop->lines); /* now nobody wakes us any more */
    naq_line_free(loop->line);
    if (loop->wake_fd >= 0) close(loop->wake_fd);
    if (loop->epoll_fd >= 0) close(loop->epoll_fd);
    free(loop);
}

naq_status naq_loop_watch(naq_loop *loop, int fd, void (*ready)(void *), void *ctx, naq_err *err) {
    loop->watch_ready = ready;
    loop->watch_ctx = ctx;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_WATCH};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
        return naq_fail(err, NAQ_INVALID, "watching descriptor %d: %s", fd, strerror(errno));
    return NAQ_OK;
}

naq_status naq_loop_join(naq_loop *loop, naq_loop *inner, naq_err *err) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = ON_INNER};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, inner->epoll_fd, &e) != 0)
        return naq_fail(err, NAQ_INVALID, "joining two connections: %s", strerror(errno));
    loop->inner = inner;
    return NAQ_OK;
}

bool naq_loop_connected(naq_loop *loop) {
    return natsConnection_Status(nc_of(loop)) == NATS_CONN_STATUS_CONNECTED;
}

bool naq_loop_closed(naq_loop *loop) {
    return atomic_load(&loop->lines->ended);
}

naq_status naq_loop_end(naq_loop *loop, naq_err *err) {
    *err = loop->lines->why;
    if (err->status != NAQ_AUTH) err->status = NAQ_CONNECTION;
    return err->status;
}

void naq_loop_info(naq_loop *loop, naq_server_info *out) {
    memset(out, 0, sizeof *out);
    (void)natsConnection_GetConnectedServerId(nc_of(loop), out->id, sizeof out->id);
    out->max_payload = natsConnection_GetMaxPayload(nc_of(loop));
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
        s = natsConnection_PublishRequest(nc_of(loop), subject, reply, data, (int)len);
    } else {
        natsMsg *m = NULL;
        s = natsMsg_Create(&m, subject, reply, data, (int)len);
        if (s == NATS_OK) s = natsMsgHeader_Set(m, header, value);
        if (s == NATS_OK) s = natsConnection_PublishMsg(nc_of(loop), m);
        if (m != NULL) naq_loop_bury(loop, m);
    }
    if (s == NATS_CONNECTION_CLOSED) return NAQ_OK; /* lost: as if it was, on its way */
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
    if (natsConnection_PublishRequest(nc_of(loop), subject, reply, data, (int)len) != NATS_OK)
        return false;
    loop->unsent++;
    return true;
}

static void keep(naq_loop *loop, const char *subject, const void *data, size_t len) {
    kept *k = loop->kept_bytes + len <= KEPT_BYTES ? calloc(1, sizeof *k) : NULL;
    if (k == NULL) return;
    if (natsMsg_Create(&k->m, subject, NULL, data, (int)len) != NATS_OK) {
        free(k);
        return;
    }
    *loop->last_kept = k;
    loop->last_kept = &k->next;
    loop->kept_bytes += len + sizeof *k;
}

void naq_loop_send(naq_loop *loop, const char *subject, const void *data, size_t len) {
    /* A send that fails is an ack or a renewal that did not arrive: the lease ends and the job's
     * record decides, as after any lost ack. */
    natsStatus s = natsConnection_Publish(nc_of(loop), subject, data, (int)len);
    if (s == NATS_OK) loop->unsent++;
    if (s == NATS_CONNECTION_CLOSED) keep(loop, subject, data, len);
}

void naq_loop_pull(naq_loop *loop, const char *next_subject, uint32_t token, const char *request,
                   size_t len) {
    char reply[96];
    reply_subject(loop, 'p', token, reply);
    if (natsConnection_PublishRequest(nc_of(loop), next_subject, reply, request, (int)len) ==
        NATS_OK)
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
    if (!atomic_load(&loop->line->want_write) || loop->waiting_to_send) return;
    natsConnection_ProcessWriteEvent(nc_of(loop));
    loop->unsent = 0;
    int fd = atomic_load(&loop->line->socket_fd);
    if (atomic_load(&loop->line->want_write) && fd >= 0) {
        /* The kernel's buffer is full: let epoll tell when there is room. */
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.u32 = ON_SOCKET};
        loop->waiting_to_send = epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &e) == 0;
    }
}

static void room_to_send(naq_loop *loop) {
    loop->waiting_to_send = false;
    int fd = atomic_load(&loop->line->socket_fd);
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
        } else if (e[i].data.u32 == ON_SOCKET) { /* else the inner one, whose turn comes anyway */
            if (e[i].events & EPOLLOUT) room_to_send(loop);
            if (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                natsConnection_ProcessReadEvent(nc_of(loop));
                drain_inbox(loop);
            }
        }
    }
}

int64_t naq_loop_now(naq_loop *loop) {
    return loop->now_ms;
}

/* The line was lost: nothing that was on its way arrives any more. */
static void change_line(naq_loop *loop) {
    naq_line *next = naq_line_take(loop->lines);
    if (next == NULL) {
        naq_lines_dial(loop->lines, loop->line);
        return;
    }
    natsSubscription_Destroy(loop->inbox);
    loop->inbox = NULL;
    naq_line_free(loop->line);
    loop->line = next;
    loop->waiting_to_send = false;
    loop->unsent = 0;
    if (open_inbox(loop) != NATS_OK) return; /* lost again already: over, or soon */
    for (kept *k = loop->kept; k != NULL; k = k->next)
        if (natsConnection_PublishMsg(next->nc, k->m) == NATS_OK) loop->unsent++;
    forget_kept(loop);
    loop->on.restored(loop->on.ctx);
}

/* False: it was woken before, or has something to write that there is room for. What another thread
 * did before it could see us asleep must be seen here. */
static bool lies_down(naq_loop *loop) {
    int awake = AWAKE;
    bool asleep = atomic_compare_exchange_strong(&loop->sleep, &awake, ASLEEP);
    return asleep && (!atomic_load(&loop->line->want_write) || loop->waiting_to_send);
}

static int sleep_until(naq_loop *loop, int64_t deadline_ms, struct epoll_event *e, int most) {
    bury_when_worth_it(loop);
    if (loop->inner != NULL) bury_when_worth_it(loop->inner);
    int64_t left = deadline_ms - naq_mono_ms();
    bool may = lies_down(loop);
    if (loop->inner != NULL) may = lies_down(loop->inner) && may;
    if (!may || loop->on.busy(loop->on.ctx)) left = 0;
    int n = epoll_wait(loop->epoll_fd, e, most, left < 0 ? 0 : left > 60000 ? 60000 : (int)left);
    atomic_store(&loop->sleep, AWAKE);
    if (loop->inner != NULL) atomic_store(&loop->inner->sleep, AWAKE);
    return n;
}

void naq_loop_turn(naq_loop *loop, int64_t deadline_ms, bool idle) {
    struct epoll_event e[8];
    /* Look without sleeping first: under load there is always something, and one write then
     * carries the whole turn's publishes. */
    int n = epoll_wait(loop->epoll_fd, e, 8, 0);
    if (n == 0) {
        write_now(loop);
        if (loop->inner != NULL) write_now(loop->inner);
        if (idle) n = sleep_until(loop, deadline_ms, e, 8);
    } else if (loop->unsent >= WRITE_AT) {
        write_now(loop);
    }
    loop->now_ms = naq_mono_ms();
    if (n > 0) handle_events(loop, e, n);
    if (loop->inner != NULL) naq_loop_turn(loop->inner, 0, false);

    if (atomic_load(&loop->line->over)) change_line(loop);
}

/* What was published is read by the server before the end of the interest: libnats sends both in
 * order, and its drain is over when a PONG came and all before it was taken out here. */
void naq_loop_quit(naq_loop *loop, int64_t within_ms) {
    int64_t end_ms = naq_mono_ms() + within_ms;
    if (!naq_loop_connected(loop) || natsSubscription_Drain(loop->inbox) != NATS_OK) return;
    while (natsSubscription_DrainCompletionStatus(loop->inbox) == NATS_ILLEGAL_STATE &&
           !loop->mute && naq_loop_connected(loop)) {
        naq_loop_turn(loop, naq_mono_ms() + 1, true);
        loop->mute = naq_mono_ms() >= end_ms;
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
    if (loop->n_dead == 0) loop->buried_ms = loop->now_ms;
    loop->dead_bytes += naq_msg_size(m);
    loop->dead[loop->n_dead++] = m;
}
