/* scan.c -- an ephemeral pull consumer from its creation to its end, and another one where the
 * server falls silent. Caller's thread. */
#include "nats/scan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "nats/inbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"
#include "nats/stream.h"

enum { SILENCE_MS = 3000, CREATE_MS = 10000, LOST_MS = 5000, TRIES = 8 };

typedef struct run {
    naq_conn *c;
    const naq_scan *scan;
    naq_scan_visit visit;
    void *ctx;
    uint64_t seen; /* the last sequence visited */
    int visited;
    bool clustered;
    int unanswered; /* consumers that were asked for */
} run;

static void put_start(const run *r, naq_buf *out) {
    const naq_scan *s = r->scan;
    uint64_t from = r->seen > 0 ? r->seen + 1 : s->from;
    if (s->last_per_subject) {
        /* The server knows no "from here on" for these: what was visited is passed over. */
        naq_buf_puts(out, "\"last_per_subject\"");
    } else if (from == 0 && s->since_us > 0) {
        time_t seconds = (time_t)(s->since_us / 1000000);
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

/* The consumer's name and how much it has to deliver. */
static naq_status create(const run *r, char *name, size_t size, int64_t *pending, naq_err *err) {
    const naq_scan *s = r->scan;
    char subject[192], text[256];
    naq_buf request = {0}, answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s", s->stream);
    naq_buf_printf(&request, "{\"stream_name\":\"%s\",\"config\":{\"filter_subject\":", s->stream);
    naq_buf_json_string(&request, s->filter, strlen(s->filter));
    if (s->headers_only) naq_buf_puts(&request, ",\"headers_only\":true");
    naq_buf_puts(&request, ",\"deliver_policy\":");
    put_start(r, &request);
    naq_buf_puts(&request, ",\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
                           "\"max_deliver\":-1,\"mem_storage\":true,\"num_replicas\":1,"
                           "\"inactive_threshold\":30000000000}}");
    int64_t within = naq_consumer_patience(r->clustered, r->unanswered, CREATE_MS);
    naq_status status =
        naq_conn_request(r->c, subject, request.data, request.len, within, &answer, err);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, text, sizeof text) : 0;
    if (js == NAQ_JS_STREAM_NOT_FOUND)
        status = naq_fail(err, s->missing, "%s: stream %s is not there", s->what, s->stream);
    else if (js != 0)
        status = naq_from_js(err, js, text, "%s", s->what);
    if (status == NAQ_OK) {
        naq_reply_text(a, "name", name, size);
        *pending = naq_reply_int(a, "num_pending", 0);
    }
    naq_buf_free(&request);
    naq_buf_free(&answer);
    return status;
}

static naq_status pull(const run *r, const char *name, const char *inbox, int n, naq_err *err) {
    char subject[256], request[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", r->scan->stream,
                   name);
    int len = snprintf(request, sizeof request, "{\"batch\":%d,\"no_wait\":true}", n);
    natsStatus s =
        natsConnection_PublishRequest(naq_conn_nats_peek(r->c), subject, inbox, request, len);
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "%s", r->scan->what);
}

typedef enum verdict { MORE, DONE, SILENT } verdict;

static verdict take(run *r, natsMsg *m) {
    const char *value = NULL;
    naq_delivery at;
    if (!naq_delivery_read(natsMsg_GetReply(m), &at)) {
        /* 404 and 408: nothing is left; anything else (409, 503) ends this consumer */
        if (natsMsgHeader_Get(m, "Status", &value) != NATS_OK) return MORE;
        return strcmp(value, "404") == 0 || strcmp(value, "408") == 0 ? DONE : SILENT;
    }
    if (at.sequence > r->seen) {
        r->seen = at.sequence;
        r->visited++;
        if (!r->visit(r->ctx, m, &at) || r->visited == r->scan->limit) return DONE;
    }
    return at.left == 0 ? DONE : MORE;
}

static int batch_of(const run *r) {
    int room = r->scan->limit - r->visited;
    return r->scan->limit > 0 && room < r->scan->batch ? room : r->scan->batch;
}

/* One consumer, until the scan is done or the server silent. */
static naq_status consume(run *r, natsSubscription *sub, const char *inbox, verdict *how,
                          naq_err *err) {
    char name[96], subject[256];
    int64_t pending;
    naq_status status = create(r, name, sizeof name, &pending, err);
    if (status != NAQ_OK) return status;
    *how = pending > 0 ? MORE : DONE;
    int due = 0; /* of the batch asked for */
    while (*how == MORE && status == NAQ_OK) {
        if (due == 0) {
            due = batch_of(r);
            status = pull(r, name, inbox, due, err);
            if (status != NAQ_OK) break;
        }
        natsMsg *m = NULL;
        natsStatus s = natsSubscription_NextMsg(&m, sub, SILENCE_MS);
        if (s == NATS_OK) {
            *how = take(r, m);
            natsMsg_Destroy(m);
            due--;
        } else if (s == NATS_TIMEOUT || s == NATS_NO_RESPONDERS) {
            *how = SILENT;
        } else {
            status = naq_from_nats(err, s, 0, "%s", r->scan->what);
        }
    }
    naq_err ignored;
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s.%s", r->scan->stream, name);
    (void)naq_conn_publish(r->c, subject, "", 0, &ignored); /* it would go by itself in 30 s */
    return status;
}

naq_status naq_scan_run(naq_conn *c, const naq_scan *scan, naq_scan_visit visit, void *ctx,
                        naq_err *err) {
    run r = {.c = c, .scan = scan, .visit = visit, .ctx = ctx};
    r.clustered = naq_conn_clustered(c);
    naq_status status = NAQ_OK;
    verdict how = SILENT;
    int64_t end = naq_mono_ms() + LOST_MS;
    for (int tries = 0; status == NAQ_OK && how != DONE; tries++) {
        if (tries == TRIES)
            return naq_fail(err, NAQ_TIMEOUT, "%s: the server fell silent", scan->what);
        int before = r.visited;
        how = SILENT;
        natsInbox *inbox = NULL;
        natsSubscription *sub = NULL;
        natsStatus s = natsInbox_Create(&inbox);
        if (s != NATS_OK) return naq_from_nats(err, s, 0, "%s", scan->what);
        status = naq_subscribe(c, inbox, &sub, err);
        if (status == NAQ_OK) status = consume(&r, sub, inbox, &how, err);
        naq_unsubscribe(c, sub);
        natsInbox_Destroy(inbox);
        if (r.visited > before) {
            tries = 0;
            end = naq_mono_ms() + LOST_MS;
        }
        /* The line was cut; the next request waits until it is back. */
        bool cut = status == NAQ_CONNECTION && !naq_conn_dead(c) && naq_mono_ms() < end;
        bool misplaced = status == NAQ_TIMEOUT && r.clustered;
        if (misplaced) r.unanswered++;
        if (cut || misplaced) {
            status = NAQ_OK;
            how = SILENT;
        }
    }
    return status;
}
