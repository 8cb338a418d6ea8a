/* message.c -- reading a received message. */
#include "nats/message.h"

#include <nats/nats.h>
#include <stdlib.h>
#include <string.h>

const char *naq_msg_subject_peek(naq_msg *m) {
    return natsMsg_GetSubject(m);
}

const char *naq_msg_reply_peek(naq_msg *m) {
    const char *reply = natsMsg_GetReply(m);
    return reply != NULL && reply[0] != '\0' ? reply : NULL;
}

const char *naq_msg_data_peek(naq_msg *m, size_t *len) {
    int n = natsMsg_GetDataLength(m);
    const char *data = natsMsg_GetData(m);
    *len = n > 0 && data != NULL ? (size_t)n : 0;
    return *len > 0 ? data : "";
}

void naq_msg_headers(naq_msg *m, naq_header_visit visit, void *ctx) {
    const char **names = NULL;
    int n = 0;
    if (natsMsgHeader_Keys(m, &names, &n) != NATS_OK) return;
    for (int i = 0; i < n; i++) {
        const char **values = NULL;
        int count = 0;
        if (natsMsgHeader_Values(m, names[i], &values, &count) != NATS_OK) continue;
        for (int k = 0; k < count; k++)
            visit(ctx, names[i], values[k]);
        free(values);
    }
    free(names);
}

const char *naq_msg_header_peek(naq_msg *m, const char *name) {
    const char *value = NULL;
    return natsMsgHeader_Get(m, name, &value) == NATS_OK ? value : NULL;
}

enum { TOKENS_MAX = 12, OLD_FORM = 9, NEW_FORM = 11 };

bool naq_msg_delivery(naq_msg *m, naq_delivery *out) {
    const char *reply = naq_msg_reply_peek(m);
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) return false;
    const char *token[TOKENS_MAX];
    int n = 0;
    for (const char *at = reply; at != NULL && n < TOKENS_MAX; n++) {
        token[n] = at;
        at = strchr(at, '.');
        if (at != NULL) at++;
    }
    if (n != OLD_FORM && n < NEW_FORM) return false;
    const char *const *t = token + (n == OLD_FORM ? 2 : 4);
    out->stream = t[0];
    out->stream_len = strcspn(t[0], ".");
    out->consumer = t[1];
    out->consumer_len = strcspn(t[1], ".");
    out->delivered = strtoull(t[2], NULL, 10);
    out->stream_seq = strtoull(t[3], NULL, 10);
    out->consumer_seq = strtoull(t[4], NULL, 10);
    out->time_ns = strtoll(t[5], NULL, 10);
    out->pending = strtoull(t[6], NULL, 10);
    return true;
}

void naq_msg_free(naq_msg *m) {
    natsMsg_Destroy(m);
}
