/* outbox.c -- a list under the connection's lock. */
#include "nats/outbox.h"

#include <stdlib.h>

#include "nats/conn_state.h"

static naq_status refuse(naq_conn *c, natsMsg *m, size_t len, naq_err *err) {
    int64_t most = naq_conn_max_payload(c);
    if (most > 0 && (int64_t)len > most)
        return naq_fail(err, NAQ_TOO_LARGE,
                        "publishing to %s: %zu bytes, and the server takes %lld",
                        natsMsg_GetSubject(m), len, (long long)most);
    return NAQ_OK;
}

naq_status naq_outbox_full(naq_conn *c, const char *subject, naq_err *err) {
    return naq_fail(err, NAQ_CONNECTION,
                    "publishing to %s: the connection to %s is lost, and no more than %d MB wait "
                    "for it",
                    subject, c->servers, NAQ_OUTBOX_BYTES >> 20);
}

bool naq_outbox_take(naq_conn *c, natsMsg *m, naq_status *status, naq_err *err) {
    size_t len = (size_t)natsMsg_GetDataLength(m);
    naq_outgoing *o = malloc(sizeof *o);
    pthread_mutex_lock(&c->mu);
    bool lost = naq_conn_lost(c), room = o != NULL && c->outbox.bytes + len <= NAQ_OUTBOX_BYTES;
    bool kept = lost && room && (int64_t)len <= naq_conn_max_payload(c);
    if (kept) {
        *o = (naq_outgoing){.m = m};
        if (c->outbox.first == NULL) c->outbox.last = &c->outbox.first;
        *c->outbox.last = o;
        c->outbox.last = &o->next;
        c->outbox.bytes += len;
    }
    pthread_mutex_unlock(&c->mu);
    *status = NAQ_OK;
    if (kept) return true;
    free(o);
    if (!lost) return false;
    *status = refuse(c, m, len, err);
    if (*status == NAQ_OK) *status = naq_outbox_full(c, natsMsg_GetSubject(m), err);
    natsMsg_Destroy(m);
    return true;
}

static naq_outgoing *take_all(naq_conn *c, bool found_again) {
    pthread_mutex_lock(&c->mu);
    naq_outgoing *all = c->outbox.first;
    c->outbox = (naq_outbox){0};
    if (all == NULL && found_again) atomic_store(&c->lost, false);
    pthread_mutex_unlock(&c->mu);
    return all;
}

static void free_first(naq_outgoing **list) {
    naq_outgoing *o = *list;
    *list = o->next;
    natsMsg_Destroy(o->m);
    free(o);
}

void naq_outbox_send(naq_conn *c) {
    naq_outgoing *list;
    while ((list = take_all(c, true)) != NULL)
        for (; list != NULL; free_first(&list))
            (void)natsConnection_PublishMsg(c->nc, list->m);
}

void naq_outbox_clear(naq_conn *c) {
    naq_outgoing *list = take_all(c, false);
    while (list != NULL)
        free_first(&list);
}
