/* mailbox.c -- inboxes that stay with a shared connection. */
#include "nats/mailbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/inbox.h"
#include "nats/nstatus.h"

enum { HEX = 8, LOOK_MS = 100 };

static void put_hex(char *at, uint32_t n) {
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[(n >> shift) & 15];
}

static uint32_t get_hex(const char *at) {
    uint32_t n = 0;
    for (int i = 0; i < HEX; i++)
        n = n << 4 | (uint32_t)(at[i] <= '9' ? at[i] - '0' : at[i] - 'a' + 10);
    return n;
}

static naq_status open_mailbox(naq_mailbox **out, naq_conn *c, naq_err *err) {
    naq_mailbox *box = calloc(1, sizeof *box);
    if (box == NULL) return naq_fail(err, NAQ_CONNECTION, "opening an inbox: out of memory");
    natsInbox *inbox = NULL;
    char wildcard[96];
    natsStatus s = natsInbox_Create(&inbox);
    if (s != NATS_OK) {
        free(box);
        return naq_from_nats(err, s, 0, "opening an inbox");
    }
    box->prefix_len = (size_t)snprintf(box->subject, sizeof box->subject, "%s.", inbox);
    (void)snprintf(wildcard, sizeof wildcard, "%s.*", inbox);
    natsInbox_Destroy(inbox);
    if (naq_subscribe(c, wildcard, &box->sub, err) != NAQ_OK) {
        free(box);
        return err->status;
    }
    *out = box;
    return NAQ_OK;
}

naq_status naq_mailbox_acquire(naq_mailbox **out, naq_conn *c, naq_err *err) {
    naq_mailbox *box = naq_conn_mailbox_take(c);
    if (box == NULL && open_mailbox(&box, c, err) != NAQ_OK) return err->status;
    box->epoch++;
    *out = box;
    return NAQ_OK;
}

naq_status naq_mailbox_open_apart(naq_mailbox **out, naq_conn *c, naq_err *err) {
    naq_status status = open_mailbox(out, c, err);
    if (status == NAQ_OK) (*out)->apart = true;
    return status;
}

void naq_mailbox_release(naq_mailbox *box, naq_conn *c) {
    if (box == NULL) return;
    if (!box->apart) {
        naq_conn_mailbox_put(c, box);
        return;
    }
    naq_unsubscribe_later(c, box->sub);
    free(box);
}

void naq_mailbox_free_all(naq_mailbox *first) {
    while (first != NULL) {
        naq_mailbox *box = first;
        first = box->next;
        natsSubscription_Destroy(box->sub);
        free(box);
    }
}

const char *naq_mailbox_address(naq_mailbox *box, uint32_t token) {
    char *at = box->subject + box->prefix_len;
    put_hex(at, box->epoch);
    put_hex(at + HEX, token);
    at[2 * HEX] = '\0';
    return box->subject;
}

static bool read_token(const naq_mailbox *box, const char *subject, uint32_t *token) {
    if (strncmp(subject, box->subject, box->prefix_len) != 0) {
        *token = 0;
        return box->apart;
    }
    const char *at = subject + box->prefix_len;
    if (strlen(at) != 2 * HEX || get_hex(at) != box->epoch) return false;
    *token = get_hex(at + HEX);
    return true;
}

natsStatus naq_mailbox_next(naq_mailbox *box, int64_t wait_ms, natsMsg **m, uint32_t *token) {
    int64_t end = wait_ms > 0 ? naq_mono_ms() + wait_ms : 0;
    for (;;) {
        natsStatus s = natsSubscription_NextMsg(m, box->sub, wait_ms);
        if (s != NATS_OK) return s;
        if (read_token(box, natsMsg_GetSubject(*m), token)) return NATS_OK;
        natsMsg_Destroy(*m); /* late, to somebody who has given up */
        *m = NULL;
        if (wait_ms > 0) wait_ms = end - naq_mono_ms();
        if (wait_ms < 0) wait_ms = 0;
    }
}

/* The server refused the inbox itself, when it was opened. */
static bool deaf(const naq_mailbox *box, naq_conn *c, naq_err *err) {
    char wildcard[sizeof box->subject + 1];
    (void)snprintf(wildcard, sizeof wildcard, "%.*s*", (int)box->prefix_len, box->subject);
    return naq_conn_denied_sub(c, 0, wildcard, 0, err);
}

natsStatus naq_mailbox_ask(naq_mailbox *box, naq_conn *c, natsMsg *m, uint32_t token,
                           int64_t wait_ms, natsMsg **answer, bool *sent, naq_err *err) {
    int reconnects = naq_conn_reconnects(c);
    uint64_t mark = naq_conn_denials(c);
    int64_t end = 0; /* a clock is read only by those who wait long */
    *answer = NULL;
    *sent = false;
    if (!naq_conn_up(c)) return NATS_CONNECTION_DISCONNECTED;
    natsStatus s = natsConnection_PublishMsg(naq_conn_nats_peek(c), m);
    if (s != NATS_OK) return s;
    *sent = true;
    for (int64_t rest = wait_ms; rest > 0;) {
        uint32_t got;
        int64_t slice = naq_patience_slice(rest < LOOK_MS ? rest : LOOK_MS);
        s = naq_mailbox_next(box, slice, answer, &got);
        if (s == NATS_OK && got == token) return s;
        if (s == NATS_OK) { /* an answer to what was given up */
            natsMsg_Destroy(*answer);
            *answer = NULL;
        } else if (s != NATS_TIMEOUT) {
            return s;
        }
        if (naq_conn_denied(c, mark, natsMsg_GetSubject(m), err) || deaf(box, c, err))
            return NATS_NOT_PERMITTED;
        if (!naq_conn_up(c) || naq_conn_reconnects(c) != reconnects)
            return NATS_CONNECTION_DISCONNECTED;
        if (end == 0) end = naq_mono_ms() + wait_ms - slice;
        rest = naq_patience_left(end);
    }
    return NATS_TIMEOUT;
}
