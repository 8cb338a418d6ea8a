/* consume.c -- L3 and L4: what a worker does to a job without any queue in it, as fast as plain C
 * on libnats goes. One thread, libnats in event-loop mode, overlapped pulls of 256.
 *
 *   L3: pull -> ack
 *   L4: pull -> publish the record, expecting that none exists -> ack when that publish is acked
 *
 * Publishes go out with a reply subject below an inbox of our own, whose last token is the slot
 * that holds the job; so an ack costs one table look-up. */
#include "baseline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"

enum { BATCH = 256, READ_BATCH = 8192, WINDOW = 2048, WRITE_AT = 256, DEAD_AT = 512 };

static natsConnection *nc;
static natsSubscription *sub;
static int epoll_fd, socket_fd;
static bool want_write, polling_write;
static char inbox[80];
static size_t inbox_len;
static char pull_subject[SUBJECT_MAX], pull_reply[96], pull_request[96];
static int batch = BATCH;
static bool with_records, reading_only;
static bool all_heard;
static long wanted, fetched, finished, credit;
static int in_flight, unsent;

static natsMsg *slots[WINDOW];
static int free_slots[WINDOW], n_free;

/* natsMsg_Destroy hands to libnats' collector thread and may wake it: in one go that happens once.
 */
static natsMsg *dead[DEAD_AT];
static int n_dead;

static void bury(natsMsg *m) {
    dead[n_dead++] = m;
    if (n_dead < DEAD_AT) return;
    while (n_dead)
        natsMsg_Destroy(dead[--n_dead]);
}

static natsStatus loop_attach(void **user_data, void *loop, natsConnection *c, natsSock s) {
    (void)loop;
    *user_data = c;
    socket_fd = s;
    struct epoll_event e = {.events = EPOLLIN};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s, &e) == 0 ? NATS_OK : NATS_ERR;
}

static natsStatus loop_read(void *user_data, bool add) {
    (void)user_data;
    (void)add;
    return NATS_OK;
}

static natsStatus loop_write(void *user_data, bool add) {
    (void)user_data;
    want_write = add; /* when to write is decided in run() */
    return NATS_OK;
}

static natsStatus loop_detach(void *user_data) {
    (void)user_data;
    return NATS_OK;
}

static void connect_loop(void) {
    natsOptions *o = NULL;
    epoll_fd = epoll_create1(0);
    check(natsOptions_Create(&o), "options");
    check(natsOptions_SetURL(o, option("url", "nats://127.0.0.1:4222")), "url");
    check(natsOptions_SetMaxPendingMsgs(o, 1 << 20), "options");
    check(natsOptions_SetSendAsap(o, true), "options");
    check(natsOptions_SetAllowReconnect(o, false), "options");
    check(natsOptions_SetEventLoop(o, &epoll_fd, loop_attach, loop_read, loop_write, loop_detach),
          "event loop");
    check(natsConnection_Connect(&nc, o), "connect");
    natsOptions_Destroy(o);

    natsInbox *ib = NULL;
    char wildcard[96];
    check(natsInbox_Create(&ib), "inbox");
    snprintf(inbox, sizeof inbox, "%s", ib);
    inbox_len = strlen(inbox);
    snprintf(wildcard, sizeof wildcard, "%s.*", inbox);
    check(natsConnection_SubscribeSync(&sub, nc, wildcard), "subscribe");
    check(natsSubscription_SetPendingLimits(sub, -1, -1), "subscribe");
    natsInbox_Destroy(ib);
    snprintf(pull_request, sizeof pull_request,
             "{\"batch\":%d,\"expires\":20000000000,\"idle_heartbeat\":5000000000}", batch);
    snprintf(pull_reply, sizeof pull_reply, "%s.p", inbox);
}

static void write_now(void) {
    natsConnection_ProcessWriteEvent(nc);
    unsent = 0;
    if (want_write == polling_write) return;
    /* The socket is full: epoll tells when it takes more. */
    struct epoll_event e = {.events = want_write ? EPOLLIN | EPOLLOUT : EPOLLIN};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, socket_fd, &e);
    polling_write = want_write;
}

static void pull(void) {
    while (credit <= batch && fetched + credit < wanted &&
           (reading_only || in_flight + credit + batch <= WINDOW)) {
        check(natsConnection_PublishRequest(nc, pull_subject, pull_reply, pull_request,
                                            (int)strlen(pull_request)),
              "pull");
        credit += batch;
        unsent++;
    }
}

static void ack(natsMsg *m) {
    /* not natsMsg_Ack: it needs a JetStream subscription */
    check(natsConnection_Publish(nc, natsMsg_GetReply(m), "+ACK", 4), "ack");
    unsent++;
}

static void on_job(natsMsg *m) {
    credit--;
    fetched++;
    if (!with_records) {
        if (!reading_only) ack(m);
        bury(m);
        finished++;
        return;
    }
    char subject[SUBJECT_MAX] = RESULTS_SUBJECT, reply[96], record[RECORD_MAX];
    int slot = free_slots[--n_free];
    slots[slot] = m;
    in_flight++;
    int64_t started = naq_wall_us();
    const char *id = strrchr(natsMsg_GetSubject(m), '.') + 1;
    strcpy(subject + sizeof RESULTS_SUBJECT - 1, id);
    memcpy(reply, inbox, inbox_len);
    reply[inbox_len] = '.';
    reply[inbox_len + 1] = 'k';
    reply[inbox_len + 2] = (char)('A' + (slot >> 8));
    reply[inbox_len + 3] = (char)('A' + (slot >> 4 & 15));
    reply[inbox_len + 4] = (char)('A' + (slot & 15));
    reply[inbox_len + 5] = '\0';
    int len = record_write(record, started, naq_wall_us());
    natsMsg *out = NULL;
    check(natsMsg_Create(&out, subject, reply, record, len), "record");
    check(natsMsgHeader_Set(out, "Nats-Expected-Last-Subject-Sequence", "0"), "record");
    check(natsConnection_PublishMsg(nc, out), "record");
    bury(out);
    unsent++;
}

static void on_inbox(natsMsg *m) {
    const char *token = natsMsg_GetSubject(m) + inbox_len + 1;
    const char *status = NULL;
    if (token[0] == 'k') {
        if (strncmp(natsMsg_GetData(m), "{\"stream\"", 9) != 0)
            die("a record was refused: %s", natsMsg_GetData(m));
        int slot = (token[1] - 'A') << 8 | (token[2] - 'A') << 4 | (token[3] - 'A');
        ack(slots[slot]);
        bury(slots[slot]);
        free_slots[n_free++] = slot;
        in_flight--;
        finished++;
    } else if (token[0] == 'e') {
        all_heard = true;
    } else if (natsMsgHeader_Get(m, "Status", &status) == NATS_OK && strcmp(status, "100") != 0) {
        credit = 0; /* a pull ran out: ask again */
    }
    bury(m);
}

static void read_all(void) {
    uint64_t n = 0;
    natsMsg *m = NULL;
    natsConnection_ProcessReadEvent(nc);
    check(natsSubscription_QueuedMsgs(sub, &n), "inbox");
    while (n-- && natsSubscription_NextMsg(&m, sub, 0) == NATS_OK) {
        if (strncmp(natsMsg_GetSubject(m), inbox, inbox_len) == 0)
            on_inbox(m);
        else
            on_job(m);
        if (unsent >= WRITE_AT && !polling_write) write_now();
    }
    pull();
}

/* Asks for something the server answers after all the acks before it: a socket closed with unread
 * input on it is reset, and what the server had not read by then is lost. */
static void ask_for_end(void) {
    char reply[96];
    snprintf(reply, sizeof reply, "%s.e", inbox);
    check(natsConnection_PublishRequest(nc, "$JS.API.INFO", reply, "", 0), "last request");
}

static void consume(void) {
    connect_loop();
    for (n_free = 0; n_free < WINDOW; n_free++)
        free_slots[n_free] = n_free;
    pull();
    for (bool asked = false; !all_heard;) {
        struct epoll_event e = {0};
        if (finished >= wanted && !asked) {
            ask_for_end();
            asked = true;
        }
        int n = epoll_wait(epoll_fd, &e, 1, 0);
        if (n == 0) { /* nothing to read: write what there is, then sleep */
            if (want_write && !polling_write) write_now();
            n = epoll_wait(epoll_fd, &e, 1, 10000);
            if (n == 0) die("nothing arrived for 10 s; %ld of %ld done", finished, wanted);
        }
        if (e.events & EPOLLOUT) write_now();
        if (e.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) read_all();
    }
}

int cmd_consume(bool records) {
    with_records = records;
    wanted = option_long("n", 100000);
    natsConnection *setup = connect_plain(true);
    consumers_ensure(jetstream(setup));
    natsConnection_Destroy(setup);
    snprintf(pull_subject, sizeof pull_subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", JOBS_STREAM,
             consumer_name());
    consume();
    printf("n=%ld\n", finished);
    return 0;
}

int cmd_read_bucket(void) {
    static const char name[] = "read_bucket";
    wanted = option_long("n", 100000);
    reading_only = true;
    batch = READ_BATCH;
    natsConnection *setup = connect_plain(true);
    jsCtx *js = jetstream(setup);
    double made = mono();
    bucket_consumer(js, name, option_long("bucket", 0));
    double t = mono();
    snprintf(pull_subject, sizeof pull_subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", DELAYED_STREAM,
             name);
    consume();
    double end = mono();
    check(js_DeleteConsumer(js, DELAYED_STREAM, name, NULL, NULL), "delete the consumer");
    printf("n=%ld made_ms=%.0f read_ms=%.0f\n", finished, (t - made) * 1e3, (end - t) * 1e3);
    return 0;
}
