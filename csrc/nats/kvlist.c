/* kvlist.c -- naq_kv_each(): every live entry of a bucket, in stream order. Caller's thread.
 *
 * An ephemeral pull consumer that delivers the last message of each subject; batches keep what is
 * in memory small. Ends when the server says that nothing is left. Where it falls silent (a lost
 * connection, a lost consumer) a new consumer starts over, and what was visited is passed over by
 * its sequence. */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats/delivery.h"
#include "nats/inbox.h"
#include "nats/kv.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum { BATCH = 1000, SILENCE_MS = 3000, CREATE_MS = 10000, RESTARTS = 5 };

typedef struct listing {
    naq_conn *c;
    const char *bucket;
    const char *filter;
    bool headers_only;
    naq_kv_visit visit;
    void *ctx;
    size_t skip;   /* bytes of "$KV.<bucket>." */
    uint64_t seen; /* the last sequence visited */
    bool progress; /* since the last restart */
} listing;

/* The consumer's name and how much it has to deliver. */
static naq_status create(listing *l, char *name, size_t size, int64_t *pending, naq_err *err) {
    char subject[NAQ_KV_BUCKET_MAX + 64], text[256];
    naq_buf request = {0}, answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.KV_%s", l->bucket);
    naq_buf_printf(&request,
                   "{\"stream_name\":\"KV_%s\",\"config\":{\"filter_subject\":", l->bucket);
    naq_buf filter = {0};
    naq_buf_printf(&filter, "$KV.%s.%s", l->bucket, l->filter);
    naq_buf_json_string(&request, filter.data, filter.len);
    naq_buf_free(&filter);
    if (l->headers_only) naq_buf_puts(&request, ",\"headers_only\":true");
    naq_buf_puts(&request, ",\"deliver_policy\":\"last_per_subject\",\"ack_policy\":\"none\","
                           "\"replay_policy\":\"instant\",\"max_deliver\":-1,\"mem_storage\":true,"
                           "\"num_replicas\":1,\"inactive_threshold\":30000000000}}");
    naq_status status =
        naq_conn_request(l->c, subject, request.data, request.len, CREATE_MS, &answer, err);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, text, sizeof text) : 0;
    if (js != 0) status = naq_from_js(err, js, text, "listing bucket %s", l->bucket);
    if (status == NAQ_OK) {
        naq_reply_text(a, "name", name, size);
        *pending = naq_reply_int(a, "num_pending", 0);
    }
    naq_buf_free(&request);
    naq_buf_free(&answer);
    return status;
}

static naq_status pull(listing *l, const char *name, const char *inbox, naq_err *err) {
    char subject[256], request[64];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.KV_%s.%s", l->bucket, name);
    int n = snprintf(request, sizeof request, "{\"batch\":%d,\"no_wait\":true}", BATCH);
    natsStatus s =
        natsConnection_PublishRequest(naq_conn_nats_peek(l->c), subject, inbox, request, n);
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "listing bucket %s", l->bucket);
}

typedef enum verdict { MORE, DONE, SILENT } verdict;

static verdict take(listing *l, natsMsg *m) {
    const char *value = NULL;
    naq_delivery d;
    if (!naq_delivery_read(natsMsg_GetReply(m), &d)) {
        /* 404 and 408: nothing is left; anything else (409, 503) ends this consumer */
        if (natsMsgHeader_Get(m, "Status", &value) != NATS_OK) return MORE;
        return strcmp(value, "404") == 0 || strcmp(value, "408") == 0 ? DONE : SILENT;
    }
    bool marker = natsMsgHeader_Get(m, "KV-Operation", &value) == NATS_OK;
    if (d.sequence > l->seen) {
        l->seen = d.sequence;
        l->progress = true;
        if (!marker && !l->visit(l->ctx, natsMsg_GetSubject(m) + l->skip, natsMsg_GetData(m),
                                 (size_t)natsMsg_GetDataLength(m), d.sequence, d.time_us))
            return DONE;
    }
    return d.left == 0 ? DONE : MORE;
}

/* One consumer from beginning to end, or until it falls silent. */
static naq_status run(listing *l, natsSubscription *sub, const char *inbox, verdict *how,
                      naq_err *err) {
    char name[96];
    int64_t pending;
    naq_status status = create(l, name, sizeof name, &pending, err);
    if (status != NAQ_OK) return status;
    *how = pending > 0 ? MORE : DONE;
    int due = 0; /* of the batch asked for */
    while (*how == MORE && status == NAQ_OK) {
        if (due == 0) {
            status = pull(l, name, inbox, err);
            due = BATCH;
            if (status != NAQ_OK) break;
        }
        natsMsg *m = NULL;
        natsStatus s = natsSubscription_NextMsg(&m, sub, SILENCE_MS);
        if (s == NATS_OK) {
            *how = take(l, m);
            natsMsg_Destroy(m);
            due--;
        } else if (s == NATS_TIMEOUT || s == NATS_NO_RESPONDERS) {
            *how = SILENT;
        } else {
            status = naq_from_nats(err, s, 0, "listing bucket %s", l->bucket);
        }
    }
    char subject[256];
    naq_err ignored;
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.KV_%s.%s", l->bucket, name);
    (void)naq_conn_publish(l->c, subject, "", 0, &ignored); /* it would go by itself in 30 s */
    return status;
}

static naq_status list(listing l, naq_err *err) {
    naq_conn *c = l.c;
    const char *bucket = l.bucket;
    if (l.filter == NULL) l.filter = ">";
    naq_status status = naq_kv_check_filter(bucket, l.filter, err);
    l.skip = strlen(bucket) + 5;
    verdict how = SILENT;
    for (int silent = 0; status == NAQ_OK && how != DONE; silent++) {
        if (l.progress) silent = 0;
        l.progress = false;
        if (silent > RESTARTS)
            return naq_fail(err, NAQ_TIMEOUT, "listing bucket %s: the server fell silent", bucket);
        natsInbox *inbox = NULL;
        natsSubscription *sub = NULL;
        natsStatus s = natsInbox_Create(&inbox);
        if (s != NATS_OK) return naq_from_nats(err, s, 0, "listing bucket %s", bucket);
        status = naq_subscribe(c, inbox, &sub, err);
        if (status == NAQ_OK) status = run(&l, sub, inbox, &how, err);
        naq_unsubscribe(c, sub);
        natsInbox_Destroy(inbox);
    }
    return status;
}

naq_status naq_kv_each(naq_conn *c, const char *bucket, const char *filter, naq_kv_visit visit,
                       void *ctx, naq_err *err) {
    return list((listing){.c = c, .bucket = bucket, .filter = filter, .visit = visit, .ctx = ctx},
                err);
}

naq_status naq_kv_keys(naq_conn *c, const char *bucket, const char *filter, naq_kv_visit visit,
                       void *ctx, naq_err *err) {
    return list((listing){.c = c,
                          .bucket = bucket,
                          .filter = filter,
                          .headers_only = true,
                          .visit = visit,
                          .ctx = ctx},
                err);
}
