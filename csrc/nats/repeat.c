/* repeat.c -- STREAM.NAMES for the stream, then the message there, and whose Msg-Id that has. */
#include "nats/repeat.h"

#include <stdio.h>
#include <string.h>

#include "nats/leftover.h"
#include "nats/nstatus.h"

enum { ASK_MS = 2000 };

/* {"streams":["naq_jobs"], ...}: a subject has one. */
static bool first_name(naq_slice answer, char *out, size_t size) {
    naq_slice list = naq_reply_member(answer, "streams");
    const char *at = list.at != NULL ? memchr(list.at, '"', list.len) : NULL;
    if (at == NULL) return false;
    at++;
    const char *end = memchr(at, '"', list.len - (size_t)(at - list.at));
    if (end == NULL || (size_t)(end - at) >= size) return false;
    (void)snprintf(out, size, "%.*s", (int)(end - at), at);
    return true;
}

static naq_status stream_of(naq_conn *c, const char *subject, char *out, size_t size,
                            naq_err *err) {
    char why[256];
    naq_buf request = {0}, answer = {0};
    naq_buf_puts(&request, "{\"subject\":");
    naq_buf_json_string(&request, subject, strlen(subject));
    naq_buf_putc(&request, '}');
    naq_status status = naq_conn_request(c, "$JS.API.STREAM.NAMES", request.data, request.len,
                                         ASK_MS, &answer, err);
    naq_slice a = {answer.data, answer.len};
    int js = status == NAQ_OK ? naq_reply_error(a, why, sizeof why) : 0;
    if (js != 0)
        status = naq_from_js(err, js, why, "the stream of %s", subject);
    else if (status == NAQ_OK && !first_name(a, out, size))
        status = naq_fail(err, NAQ_CONFIGURATION, "no stream takes %s", subject);
    naq_buf_free(&request);
    naq_buf_free(&answer);
    return status;
}

naq_status naq_repeat_met(naq_conn *c, natsMsg *m, uint64_t *sequence) {
    char stream[256];
    const char *subject = natsMsg_GetSubject(m), *id = NULL;
    naq_err err;
    naq_stored there = {0};
    if (natsMsgHeader_Get(m, "Nats-Msg-Id", &id) != NATS_OK) return NAQ_DUPLICATE;
    naq_status status = stream_of(c, subject, stream, sizeof stream, &err);
    if (status == NAQ_OK) status = naq_message_last(c, stream, subject, &there, &err);
    if (status == NAQ_OK) {
        naq_slice its = naq_stored_header(&there, "Nats-Msg-Id");
        bool same = its.at != NULL && its.len == strlen(id) && memcmp(its.at, id, its.len) == 0;
        *sequence = there.sequence;
        status = same ? NAQ_OK : NAQ_DUPLICATE;
    }
    naq_stored_free(&there);
    return status;
}
