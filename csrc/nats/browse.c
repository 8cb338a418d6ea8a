/* browse.c -- one page of a stream by one ephemeral consumer. Caller's thread. */
#include "nats/browse.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "nats/delivery.h"
#include "nats/inbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

/* Messages may be a megabyte each: what is on its way at once is kept small. */
enum { BATCH = 64, SILENCE_MS = 3000, CREATE_MS = 10000, LOST_MS = 5000, TRIES = 5 };

typedef struct page {
    naq_conn *c;
    const naq_browse *b;
    naq_browse_visit visit;
    void *ctx;
    uint64_t seen; /* the last sequence visited */
    int left;      /* messages that still fit */
    bool full;     /* visit() said so, or `left` is used up */
    bool more;     /* the stream has further ones */
} page;

static void put_start(const page *p, naq_buf *out) {
    uint64_t from = p->seen > 0 ? p->seen + 1 : p->b->from;
    if (from == 0 && p->b->since_us > 0) {
        time_t seconds = (time_t)(p->b->since_us / 1000000);
        struct tm tm;
        char text[40];
        gmtime_r(&seconds, &tm);
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm);
        naq_buf_printf(out, "\"by_start_time\",\"opt_start_time\":\"%s\"", text);
    } else if (from > 1) {
        naq_buf_printf(out, "\"by_start_sequence\",\"opt_start_seq\":%" PRIu64, from);
    } else {
        naq_buf_puts(out, "\"all\"");
    }
}

static naq_status create(page *p, char *name, size_t size, int64_t *pending, naq_err *err) {
    char subject[192], text[256];
    naq_buf request = {0}, answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s", p->b->stream);
    naq_buf_printf(&request,
                   "{\"stream_name\":\"%s\",\"config\":{\"filter_subject\":", p->b->stream);
    naq_buf_json_string(&request, p->b->filter, strlen(p->b->filter));
    naq_buf_puts(&request, ",\"deliver_policy\":");
    put_start(p, &request);
    naq_buf_puts(&request, ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
                           "\"max_deliver\":-1,\"mem_storage\":true,\"num_replicas\":1,"
                           "\"inactive_threshold\":30000000000}}");
    naq_status status =
        naq_conn_request(p->c, subject, request.data, request.len, CREATE_MS, &answer, err);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, text, sizeof text) : 0;
    if (js == NAQ_JS_STREAM_NOT_FOUND)
        status = naq_fail(err, NAQ_KEY_NOT_FOUND, "stream %s: not there", p->b->stream);
    else if (js != 0)
        status = naq_from_js(err, js, text, "reading stream %s", p->b->stream);
    if (status == NAQ_OK) {
        naq_reply_text(a, "name", name, size);
        *pending = naq_reply_int(a, "num_pending", 0);
    }
    naq_buf_free(&request);
    naq_buf_free(&answer);
    return status;
}

typedef enum verdict { MORE, DONE, SILENT } verdict;

static verdict take(page *p, natsMsg *m) {
    const char *value = NULL;
    naq_delivery d;
    if (!naq_delivery_read(natsMsg_GetReply(m), &d)) {
        /* 404 and 408: nothing is left; anything else (409, 503) ends this consumer */
        if (natsMsgHeader_Get(m, "Status", &value) != NATS_OK) return MORE;
        return strcmp(value, "404") == 0 || strcmp(value, "408") == 0 ? DONE : SILENT;
    }
    if (d.sequence <= p->seen) return MORE;
    p->seen = d.sequence;
    naq_browsed found = {natsMsg_GetSubject(m), natsMsg_GetData(m),
                         (size_t)natsMsg_GetDataLength(m), d.sequence, d.time_us};
    bool room = p->visit(p->ctx, &found);
    p->full = --p->left == 0 || !room;
    p->more = d.left > 0;
    return p->full || !p->more ? DONE : MORE;
}

static naq_status pull(page *p, const char *name, const char *inbox, int n, naq_err *err) {
    char subject[256], request[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", p->b->stream, name);
    int len = snprintf(request, sizeof request, "{\"batch\":%d,\"no_wait\":true}", n);
    natsStatus s =
        natsConnection_PublishRequest(naq_conn_nats_peek(p->c), subject, inbox, request, len);
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "reading stream %s", p->b->stream);
}

/* One consumer, until the page is full, the stream at its end or the server silent. */
static naq_status run(page *p, natsSubscription *sub, const char *inbox, verdict *how,
                      naq_err *err) {
    char name[96], subject[256];
    int64_t pending;
    naq_status status = create(p, name, sizeof name, &pending, err);
    if (status != NAQ_OK) return status;
    *how = pending > 0 ? MORE : DONE;
    int due = 0; /* of the batch asked for */
    while (*how == MORE && status == NAQ_OK) {
        if (due == 0) {
            due = p->left < BATCH ? p->left : BATCH;
            status = pull(p, name, inbox, due, err);
            if (status != NAQ_OK) break;
        }
        natsMsg *m = NULL;
        natsStatus s = natsSubscription_NextMsg(&m, sub, SILENCE_MS);
        if (s == NATS_OK) {
            *how = take(p, m);
            natsMsg_Destroy(m);
            due--;
        } else if (s == NATS_TIMEOUT || s == NATS_NO_RESPONDERS) {
            *how = SILENT;
        } else {
            status = naq_from_nats(err, s, 0, "reading stream %s", p->b->stream);
        }
    }
    naq_err ignored;
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s.%s", p->b->stream, name);
    (void)naq_conn_publish(p->c, subject, "", 0, &ignored); /* it would go by itself in 30 s */
    return status;
}

static naq_status check(const naq_browse *b, naq_err *err) {
    if (b->stream[0] == '\0' || strlen(b->stream) > 96 || strpbrk(b->stream, " .*>\t\r\n\"\\"))
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no stream name", b->stream);
    if (b->filter[0] == '\0' || strlen(b->filter) > 200 || strpbrk(b->filter, " \t\r\n"))
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no subject", b->filter);
    return NAQ_OK;
}

naq_status naq_browse_page(naq_conn *c, const naq_browse *b, naq_browse_visit visit, void *ctx,
                           uint64_t *next, naq_err *err) {
    page p = {.c = c, .b = b, .visit = visit, .ctx = ctx, .left = b->limit > 0 ? b->limit : 1};
    naq_status status = check(b, err);
    verdict how = SILENT;
    int64_t end = naq_mono_ms() + LOST_MS;
    for (int tries = 0; status == NAQ_OK && how != DONE; tries++) {
        if (tries == TRIES)
            return naq_fail(err, NAQ_TIMEOUT, "reading stream %s: the server fell silent",
                            b->stream);
        how = SILENT;
        natsInbox *inbox = NULL;
        natsSubscription *sub = NULL;
        natsStatus s = natsInbox_Create(&inbox);
        if (s != NATS_OK) return naq_from_nats(err, s, 0, "reading stream %s", b->stream);
        status = naq_subscribe(c, inbox, &sub, err);
        if (status == NAQ_OK) status = run(&p, sub, inbox, &how, err);
        naq_unsubscribe(c, sub);
        natsInbox_Destroy(inbox);
        /* The line was cut; the next request waits until it is back. What came is kept. */
        if (status == NAQ_CONNECTION && !naq_conn_dead(c) && naq_mono_ms() < end) {
            status = NAQ_OK;
            how = SILENT;
        }
    }
    *next = p.full && p.more ? p.seen + 1 : 0;
    return status;
}
