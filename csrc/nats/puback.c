/* puback.c -- reading PubAcks. libnats ends a message's data with a NUL, so the few fields wanted
 * are looked for in place instead of parsing the object: this runs once per message. */
#include "nats/puback.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "nats/nstatus.h"

static long long number_after(const char *text, const char *key) {
    const char *at = strstr(text, key);
    return at != NULL ? strtoll(at + strlen(key), NULL, 10) : 0;
}

/* The string behind "description":" up to its closing quote. */
static void description_of(const char *text, char *out, size_t size) {
    const char *key = "\"description\":\"", *at = strstr(text, key);
    size_t n = 0;
    if (at != NULL) {
        for (at += strlen(key); *at != '\0' && *at != '"' && n + 1 < size; at++) {
            if (*at == '\\' && at[1] != '\0') at++;
            out[n++] = *at;
        }
    }
    out[n] = '\0';
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
    int js = (int)number_after(data, "\"err_code\":");
    int code = (int)number_after(data, "\"code\":");
    description_of(data, why, sizeof why);
    if (js == 0 && code == 0) {
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
    natsStatus s = natsConnection_Request(&answer, nc, "$JS.API.STREAM.NAMES", request.data,
                                          (int)request.len, timeout_ms);
    naq_buf_free(&request);
    naq_status status = NAQ_OK;
    if (s == NATS_NO_RESPONDERS)
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

bool naq_publish_denied(natsConnection *nc, const char *subject, naq_err *err) {
    const char *text = NULL;
    if (natsConnection_GetLastError(nc, &text) == NATS_OK || text == NULL) return false;
    if (strcasestr(text, "permissions violation") == NULL || strstr(text, subject) == NULL)
        return false;
    naq_fail(err, NAQ_PERMISSION, "publish to %s: %s", subject, text);
    return true;
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
