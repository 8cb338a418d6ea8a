/* leftover.c -- STREAM.MSG.GET and STREAM.MSG.DELETE. */
#include "nats/leftover.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nats/nstatus.h"

enum { ASK_MS = 5000 };

static naq_status get(naq_conn *c, const char *stream, const naq_buf *request, naq_stored *out,
                      naq_err *err) {
    char subject[320], text[256];
    naq_buf answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.%s", stream);
    memset(out, 0, sizeof *out);
    naq_status status =
        naq_conn_request(c, subject, request->data, request->len, ASK_MS, &answer, err);
    if (status == NAQ_OK) {
        int js = naq_reply_error((naq_slice){answer.data, answer.len}, text, sizeof text);
        if (js == NAQ_JS_MSG_NOT_FOUND)
            status = naq_fail(err, NAQ_KEY_NOT_FOUND, "stream %s: no such message", stream);
        else if (js != 0)
            status = naq_from_js(err, js, text, "stream %s", stream);
        else if (!naq_reply_stored((naq_slice){answer.data, answer.len}, out))
            status = naq_fail(err, NAQ_CONNECTION, "stream %s: an answer that is none", stream);
    }
    naq_buf_free(&answer);
    return status;
}

naq_status naq_message_last(naq_conn *c, const char *stream, const char *subject, naq_stored *out,
                            naq_err *err) {
    naq_buf request = {0};
    naq_buf_puts(&request, "{\"last_by_subj\":");
    naq_buf_json_string(&request, subject, strlen(subject));
    naq_buf_putc(&request, '}');
    naq_status status = get(c, stream, &request, out, err);
    naq_buf_free(&request);
    return status;
}

naq_status naq_message_next(naq_conn *c, const char *stream, uint64_t from, const char *filter,
                            naq_stored *out, naq_err *err) {
    naq_buf request = {0};
    naq_buf_printf(&request, "{\"seq\":%" PRIu64 ",\"next_by_subj\":", from);
    naq_buf_json_string(&request, filter, strlen(filter));
    naq_buf_putc(&request, '}');
    naq_status status = get(c, stream, &request, out, err);
    naq_buf_free(&request);
    return status;
}

naq_status naq_message_get(naq_conn *c, const char *stream, uint64_t sequence, naq_stored *out,
                           naq_err *err) {
    naq_buf request = {0};
    naq_buf_printf(&request, "{\"seq\":%" PRIu64 "}", sequence);
    naq_status status = get(c, stream, &request, out, err);
    naq_buf_free(&request);
    return status;
}

/* Of 10057, which stands for all that goes wrong: there is none, or somebody else deleted it. */
static bool says_absent(const char *text) {
    static const char *const WAYS[] = {"not found", "no message", "EOF", "deleted"};
    for (size_t i = 0; i < sizeof WAYS / sizeof *WAYS; i++)
        if (strstr(text, WAYS[i]) != NULL) return true;
    return false;
}

static naq_status discard(naq_conn *c, const char *stream, uint64_t sequence, bool erase,
                          naq_err *err) {
    char subject[320], request[64], text[256];
    naq_buf answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.DELETE.%s", stream);
    int n = snprintf(request, sizeof request, "{\"seq\":%" PRIu64 ",\"no_erase\":%s}", sequence,
                     erase ? "false" : "true");
    naq_status status = naq_conn_request(c, subject, request, (size_t)n, ASK_MS, &answer, err);
    if (status == NAQ_OK) {
        int js = naq_reply_error((naq_slice){answer.data, answer.len}, text, sizeof text);
        if (js != 0 && js != NAQ_JS_MSG_NOT_FOUND && !says_absent(text))
            status = naq_from_js(err, js, text, "stream %s: deleting message %" PRIu64, stream,
                                 sequence);
    }
    naq_buf_free(&answer);
    return status;
}

naq_status naq_message_delete(naq_conn *c, const char *stream, uint64_t sequence, naq_err *err) {
    return discard(c, stream, sequence, false, err);
}

naq_status naq_message_erase(naq_conn *c, const char *stream, uint64_t sequence, naq_err *err) {
    return discard(c, stream, sequence, true, err);
}
