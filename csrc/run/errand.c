/* errand.c -- a small table of requests under way. */
#include "run/errand.h"

#include <string.h>

#include "base/clock.h"

void naq_errands_init(naq_errands *e, naq_loop *loop) {
    memset(e, 0, sizeof *e);
    e->loop = loop;
}

bool naq_errand_send(naq_errands *e, const char *subject, const void *data, size_t len,
                     int64_t within_ms, naq_errand_done done, void *ctx, int64_t arg) {
    for (uint32_t i = 0; i < NAQ_ERRANDS; i++) {
        naq_errand *errand = &e->all[i];
        if (errand->done != NULL) continue;
        uint32_t token = NAQ_ERRAND_TOKEN | (uint32_t)(++errand->generation & 0x7FFF) << 16 | i;
        if (!naq_loop_ask(e->loop, subject, token, data, len)) return false;
        errand->done = done;
        errand->ctx = ctx;
        errand->arg = arg;
        errand->until_ms = naq_mono_ms() + within_ms;
        e->n++;
        return true;
    }
    return false;
}

/* Freed before it is called: the function may send the next one. */
static void finish(naq_errands *e, naq_errand *errand, naq_slice answer) {
    naq_errand_done done = errand->done;
    errand->done = NULL;
    e->n--;
    done(errand->ctx, errand->arg, answer);
}

void naq_errands_replied(naq_errands *e, uint32_t token, naq_msg *m) {
    uint32_t i = token & 0xFFFF;
    if (i >= NAQ_ERRANDS) return;
    naq_errand *errand = &e->all[i];
    if (errand->done == NULL || (errand->generation & 0x7FFFu) != (token >> 16 & 0x7FFFu)) return;
    finish(e, errand, (naq_slice){naq_msg_data(m), naq_msg_size(m)});
}

void naq_errands_tick(naq_errands *e, int64_t now_ms) {
    for (int i = 0; i < NAQ_ERRANDS && e->n > 0; i++)
        if (e->all[i].done != NULL && now_ms >= e->all[i].until_ms)
            finish(e, &e->all[i], (naq_slice){NULL, 0});
}

int64_t naq_errands_deadline(const naq_errands *e) {
    int64_t at = INT64_MAX;
    for (int i = 0; i < NAQ_ERRANDS && e->n > 0; i++)
        if (e->all[i].done != NULL && e->all[i].until_ms < at) at = e->all[i].until_ms;
    return at;
}
