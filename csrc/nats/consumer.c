/* consumer.c -- durable pull consumers: looked for, created where missing, kept as they are where
 * they exist. The declarations are in stream.h. */
#include <stdio.h>
#include <string.h>

#include "nats/nstatus.h"
#include "nats/reply.h"
#include "nats/stream.h"

enum { ASK_MS = 5000, FIRST_MS = 1000 };

/* 1, 1, 2, 2, 4, 4, ... seconds: a large stream's may take long to make. */
int64_t naq_consumer_patience(bool clustered, int unanswered, int64_t most_ms) {
    int64_t ms = (int64_t)FIRST_MS << (unanswered < 12 ? unanswered / 2 : 6);
    return clustered && ms < most_ms ? ms : most_ms;
}

typedef struct wanted {
    char stream[96];
    char name[96];
    char filter[160]; /* "": the whole stream */
    int64_t ack_wait_ms;
    int64_t max_ack_pending;
} wanted;

static void read_info(naq_slice answer, naq_consumer_info *info) {
    naq_slice config = naq_reply_member(answer, "config");
    info->ack_wait_ms = naq_reply_int(config, "ack_wait", 0) / 1000000;
    info->pending = naq_reply_int(answer, "num_pending", 0);
    info->ack_pending = naq_reply_int(answer, "num_ack_pending", 0);
    info->delivered =
        (uint64_t)naq_reply_int(naq_reply_member(answer, "delivered"), "stream_seq", 0);
    info->ack_floor =
        (uint64_t)naq_reply_int(naq_reply_member(answer, "ack_floor"), "stream_seq", 0);
}

/* Whether an existing consumer serves our purpose: everything but its ack_wait. */
static naq_status check(const wanted *w, naq_slice answer, naq_err *err) {
    naq_slice config = naq_reply_member(answer, "config");
    char policy[32], filter[sizeof w->filter];
    naq_reply_text(config, "ack_policy", policy, sizeof policy);
    naq_reply_text(config, "filter_subject", filter, sizeof filter);
    if (strcmp(policy, "explicit") != 0)
        return naq_fail(err, NAQ_CONFIGURATION,
                        "consumer %s of stream %s: ack_policy: %s found, explicit wanted", w->name,
                        w->stream, policy);
    if (strcmp(filter, w->filter) != 0)
        return naq_fail(err, NAQ_CONFIGURATION,
                        "consumer %s of stream %s: filter_subject: \"%s\" found, \"%s\" wanted",
                        w->name, w->stream, filter, w->filter);
    int64_t deliveries = naq_reply_int(config, "max_deliver", -1);
    if (deliveries > 0)
        return naq_fail(err, NAQ_CONFIGURATION,
                        "consumer %s of stream %s: max_deliver: %lld found, -1 wanted", w->name,
                        w->stream, (long long)deliveries);
    return NAQ_OK;
}

static naq_status look(naq_conn *c, const char *stream, const char *consumer, naq_buf *answer,
                       naq_err *err) {
    char subject[256], text[256];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.INFO.%s.%s", stream, consumer);
    naq_status status = naq_conn_request(c, subject, "", 0, ASK_MS, answer, err);
    if (status != NAQ_OK) return status;
    int js = naq_reply_error((naq_slice){answer->data, answer->len}, text, sizeof text);
    if (js == 0) return NAQ_OK;
    return naq_from_js(err, js, text, "consumer %s of stream %s", consumer, stream);
}

/* A create for a durable that exists would change its settings, so it is only sent after a look. */
static naq_status create(naq_conn *c, const wanted *w, naq_buf *answer, naq_err *err) {
    char subject[256], text[256];
    naq_buf request = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", w->stream,
                   w->name);
    naq_buf_printf(&request,
                   "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\","
                   "\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\",\"ack_wait\":%lld,"
                   "\"max_deliver\":-1,\"replay_policy\":\"instant\",\"max_ack_pending\":%lld,"
                   "\"max_waiting\":4096",
                   w->stream, w->name, (long long)w->ack_wait_ms * 1000000,
                   (long long)w->max_ack_pending);
    if (w->filter[0] != '\0') naq_buf_printf(&request, ",\"filter_subject\":\"%s\"", w->filter);
    naq_buf_puts(&request, "}}");
    naq_status status =
        naq_conn_request(c, subject, request.data, request.len, ASK_MS, answer, err);
    naq_buf_free(&request);
    if (status != NAQ_OK) return status;
    int js = naq_reply_error((naq_slice){answer->data, answer->len}, text, sizeof text);
    if (js == 0) return NAQ_OK;
    return naq_from_js(err, js, text, "creating consumer %s of stream %s", w->name, w->stream);
}

static naq_status ensure(naq_conn *c, const wanted *w, naq_consumer_info *info, naq_err *err) {
    naq_buf answer = {0};
    naq_status status = look(c, w->stream, w->name, &answer, err);
    if (status == NAQ_KEY_NOT_FOUND) {
        naq_buf_clear(&answer);
        status = create(c, w, &answer, err);
    }
    naq_slice text = {answer.data, answer.len};
    if (status == NAQ_OK) status = check(w, text, err);
    if (status == NAQ_OK && info != NULL) read_info(text, info);
    naq_buf_free(&answer);
    return status;
}

naq_status naq_consumer_ensure(naq_conn *c, const char *prefix, const char *queue,
                               naq_priority priority, int64_t ack_wait_ms, naq_consumer_info *info,
                               naq_err *err) {
    wanted w = {.ack_wait_ms = ack_wait_ms > 0 ? ack_wait_ms : 30000, .max_ack_pending = 1000000};
    const char *name = NAQ_PRIORITY_NAMES[priority];
    (void)snprintf(w.stream, sizeof w.stream, "%s_jobs", prefix);
    (void)snprintf(w.name, sizeof w.name, "%s_%s", queue, name);
    (void)snprintf(w.filter, sizeof w.filter, "%s.q.%s.%s.*", prefix, queue, name);
    return ensure(c, &w, info, err);
}

naq_status naq_consumer_look(naq_conn *c, const char *stream, const char *consumer,
                             naq_consumer_info *info, naq_err *err) {
    naq_buf answer = {0};
    naq_status status = look(c, stream, consumer, &answer, err);
    if (status == NAQ_OK) read_info((naq_slice){answer.data, answer.len}, info);
    naq_buf_free(&answer);
    return status;
}

naq_status naq_consumer_delete(naq_conn *c, const char *stream, const char *consumer,
                               naq_err *err) {
    char subject[320], text[256];
    naq_buf answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DELETE.%s.%s", stream, consumer);
    naq_status status = naq_conn_request(c, subject, "", 0, 5000, &answer, err);
    if (status == NAQ_OK) {
        int js = naq_reply_error((naq_slice){answer.data, answer.len}, text, sizeof text);
        if (js != 0 && js != NAQ_JS_CONSUMER_NOT_FOUND)
            status = naq_from_js(err, js, text, "consumer %s of stream %s", consumer, stream);
    }
    naq_buf_free(&answer);
    return status;
}
