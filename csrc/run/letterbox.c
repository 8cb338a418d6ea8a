/* letterbox.c -- a job's letter looked at and taken back, by its place in the stream: a later one
 * of the same job is never hit. */
#include "run/letterbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats/leftover.h"

/* "<id>:dead:<hop>", with more behind it where that was taken. What somebody else's hand put there
 * counts as hop 0. */
static int64_t hop_of(const naq_stored *letter) {
    char text[256];
    naq_slice msg_id = naq_stored_header(letter, "Nats-Msg-Id");
    if (msg_id.at == NULL || msg_id.len >= sizeof text) return 0;
    memcpy(text, msg_id.at, msg_id.len);
    text[msg_id.len] = '\0';
    const char *dead = strstr(text, ":dead:");
    return dead != NULL ? strtoll(dead + strlen(":dead:"), NULL, 10) : 0;
}

naq_status naq_letterbox_look(const naq_attempt *a, int64_t first_hop, int64_t last_hop,
                              uint64_t *sequence, naq_err *err) {
    char stream[96], subject[256];
    naq_stored m;
    *sequence = 0;
    (void)snprintf(stream, sizeof stream, "%s_failed", a->at->prefix);
    (void)snprintf(subject, sizeof subject, "%s.f.%s.%s", a->at->prefix, a->queue, a->id);
    naq_status status = naq_message_last(a->at->conn, stream, subject, &m, err);
    if (status == NAQ_OK) {
        int64_t hop = hop_of(&m);
        if (hop >= first_hop && hop <= last_hop) *sequence = m.sequence;
    }
    naq_stored_free(&m);
    return status == NAQ_KEY_NOT_FOUND ? NAQ_OK : status;
}

naq_status naq_letterbox_take(const naq_attempt *a, uint64_t sequence, naq_err *err) {
    char stream[96];
    if (sequence == 0) return NAQ_OK;
    (void)snprintf(stream, sizeof stream, "%s_failed", a->at->prefix);
    return naq_message_erase(a->at->conn, stream, sequence, err);
}
