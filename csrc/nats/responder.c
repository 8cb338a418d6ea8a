/* responder.c -- one subscription, one callback, one answer. */
#include "nats/responder.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdlib.h>

#include "nats/inbox.h"
#include "nats/nstatus.h"

/* Each message destroyed by itself wakes libnats' collector: small ones wait for some more. */
enum { KEPT = 16, KEPT_BYTES = 2048 };

struct naq_responder {
    natsSubscription *sub;
    naq_respond respond;
    void *ctx;

    pthread_mutex_t mu; /* guards closed; held while the callback runs */
    bool closed;
    pthread_cond_t gone;
    bool completed; /* libnats will not call any more */

    natsMsg *kept[KEPT]; /* answered; its thread's, afterwards who closes */
    int n_kept;
};

static void destroy_kept(naq_responder *r) {
    while (r->n_kept > 0)
        natsMsg_Destroy(r->kept[--r->n_kept]);
}

static void on_request(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *arg) {
    (void)sub;
    naq_responder *r = arg;
    naq_buf answer = {0};
    pthread_mutex_lock(&r->mu);
    if (!r->closed)
        r->respond(r->ctx, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m), &answer);
    pthread_mutex_unlock(&r->mu);
    if (answer.len > 0 && !answer.failed && natsMsg_GetReply(m) != NULL)
        (void)natsConnection_Publish(nc, natsMsg_GetReply(m), answer.data, (int)answer.len);
    naq_buf_free(&answer);
    if (natsMsg_GetDataLength(m) > KEPT_BYTES) {
        natsMsg_Destroy(m);
        return;
    }
    r->kept[r->n_kept++] = m;
    if (r->n_kept == KEPT) destroy_kept(r);
}

static void on_complete(void *arg) {
    naq_responder *r = arg;
    pthread_mutex_lock(&r->mu);
    r->completed = true;
    pthread_cond_signal(&r->gone);
    pthread_mutex_unlock(&r->mu);
}

naq_status naq_responder_open(naq_responder **out, naq_conn *c, const char *subject,
                              naq_respond respond, void *ctx, naq_err *err) {
    naq_responder *r = calloc(1, sizeof *r);
    if (r == NULL) return naq_fail(err, NAQ_CONNECTION, "answering %s: out of memory", subject);
    r->respond = respond;
    r->ctx = ctx;
    pthread_mutex_init(&r->mu, NULL);
    pthread_cond_init(&r->gone, NULL);
    natsStatus s = naq_listen(c, subject, NULL, on_request, on_complete, r, &r->sub);
    if (s != NATS_OK) {
        naq_from_nats(err, s, 0, "answering %s", subject);
        r->completed = true;
        naq_responder_close(r);
        return err->status;
    }
    *out = r;
    return NAQ_OK;
}

void naq_responder_close(naq_responder *r) {
    if (r == NULL) return;
    pthread_mutex_lock(&r->mu);
    r->closed = true;
    pthread_mutex_unlock(&r->mu);
    /* Unsubscribed, not destroyed: 3.4.1 crashes on a message for a destroyed subscription. */
    if (r->sub != NULL && natsSubscription_Unsubscribe(r->sub) != NATS_OK) r->completed = true;
    pthread_mutex_lock(&r->mu);
    while (!r->completed)
        pthread_cond_wait(&r->gone, &r->mu);
    pthread_mutex_unlock(&r->mu);
    destroy_kept(r);
    natsSubscription_Destroy(r->sub);
    pthread_cond_destroy(&r->gone);
    pthread_mutex_destroy(&r->mu);
    free(r);
}
