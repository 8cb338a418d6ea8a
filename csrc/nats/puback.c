/* puback.c -- reading PubAcks. A good one comes once per message, so its two fields are looked for
 * in place: libnats ends a message's data with a NUL. */
#include "nats/puback.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

static long long number_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : 0;
}

naq_verdict naq_puback_read(natsMsg *answer, const char *subject, naq_pub_ack *ack, naq_err *err) {
    const char *data = natsMsg_GetData(answer);
    int len = natsMsg_GetDataLength(answer);
    /* A good one begins with its stream, a refusal with "error". */
    if (len > 10 && memcmp(data, "{\"stream\"", 9) == 0 && strstr(data, "\"error\"") == NULL) {
        ack->sequence = (uint64_t)number_after(data, "\"seq\":");
        ack->duplicate = strstr(data, "\"duplicate\"") != NULL;
        return NAQ_STORED;
    }
    if (len == 0 || data == NULL) return NAQ_NO_RESPONDERS;
    char why[256];
    int js = naq_reply_error((naq_slice){data, (size_t)len}, why, sizeof why);
    if (js == 0) {
        naq_fail(err, NAQ_INVALID, "publish to %s: answered by something that is not JetStream",
                 subject);
        return NAQ_REFUSED;
    }
    naq_from_js(err, js, why, "publish to %s", subject);
    return js == NAQ_JS_NOT_AVAILABLE ? NAQ_ASK_AGAIN : NAQ_REFUSED;
}

naq_status naq_stream_check(natsConnection *nc, const char *subject, int64_t timeout_ms,
                            naq_err *err) {
    naq_buf request = {0};
    naq_buf_puts(&request, "{\"subject\":");
    naq_buf_json_string(&request, subject, strlen(subject));
    naq_buf_puts(&request, "}");
    if (request.failed) {
        naq_buf_free(&request);
        return NAQ_OK;
    }
    natsMsg *answer = NULL;
    char description[128];
    natsStatus s = natsConnection_Request(&answer, nc, "$JS.API.STREAM.NAMES", request.data,
                                          (int)request.len, timeout_ms);
    naq_buf_free(&request);
    naq_status status = NAQ_OK;
    naq_slice text = {NULL, 0};
    if (s == NATS_OK)
        text = (naq_slice){natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer)};
    /* A server whose JetStream is another account's answers; one without any does not. */
    if (s == NATS_NO_RESPONDERS ||
        (s == NATS_OK &&
         naq_reply_error(text, description, sizeof description) == JSNotEnabledForAccountErr))
        status = naq_fail(err, NAQ_NO_JETSTREAM,
                          "publish to %s: the server or this account has no JetStream", subject);
    else if (s == NATS_OK && natsMsg_GetDataLength(answer) > 0 &&
             strstr(natsMsg_GetData(answer), "\"error\"") == NULL &&
             strstr(natsMsg_GetData(answer), "\"streams\":[\"") == NULL)
        status = naq_fail(err, NAQ_CONFIGURATION, "publish to %s: no stream takes this subject",
                          subject);
    natsMsg_Destroy(answer);
    return status;
}

natsStatus naq_publish_make(natsMsg **out, const char *subject, const char *reply,
                            const char *msg_id, const void *data, size_t len) {
    natsStatus s = natsMsg_Create(out, subject, reply, data, (int)len);
    if (s == NATS_OK && msg_id != NULL) s = natsMsgHeader_Set(*out, "Nats-Msg-Id", msg_id);
    if (s != NATS_OK) {
        natsMsg_Destroy(*out);
        *out = NULL;
    }
    return s;
}
