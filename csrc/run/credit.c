/* credit.c -- prefetch by what was run lately, and its division over consumers. */
#include "run/credit.h"

#include "nats/envelope.h"

enum { WINDOW_MS = 100, PARKED_MS = 250, BRISK_MS = 10 };

/* Of what is pending at several priorities; the slots hand out in the same spirit (slot.c). */
static const int WEIGHTS[NAQ_PRIORITIES] = {[NAQ_HIGH] = 8, [NAQ_NORMAL] = 3, [NAQ_LOW] = 1};

static void roll(naq_credit *c, int64_t now_ms) {
    int64_t age = now_ms - c->window_ms;
    if (age < WINDOW_MS) return;
    c->before = age < 2 * WINDOW_MS ? c->window : 0;
    c->window = 0;
    c->window_ms = now_ms;
}

void naq_credit_ran(naq_credit *c, int n, int64_t now_ms) {
    if (n == 0) return;
    roll(c, now_ms);
    c->window += n;
    c->ran_ms = now_ms;
}

static int prefetch(naq_credit *c, int64_t now_ms) {
    roll(c, now_ms);
    int n = c->before > c->window ? c->before : c->window;
    return n < NAQ_PREFETCH_MAX ? n : NAQ_PREFETCH_MAX;
}

int naq_credit_want(naq_credit *c, int ready, int idle, int64_t now_ms) {
    return idle + prefetch(c, now_ms) - ready;
}

int naq_credit_parked(naq_credit *c, int ready, int idle, int64_t now_ms) {
    c->waiting = ready > 0;
    int excess = ready - prefetch(c, now_ms);
    if (idle > 0 || excess <= 0) {
        c->parked_ms = 0;
        return 0;
    }
    if (c->parked_ms == 0) c->parked_ms = now_ms;
    if (now_ms - c->parked_ms < PARKED_MS) return 0;
    c->parked_ms = 0;
    return excess;
}

int64_t naq_credit_deadline(const naq_credit *c, int64_t now_ms) {
    if (!c->waiting) return INT64_MAX;
    return c->parked_ms != 0 ? c->parked_ms + PARKED_MS : now_ms + WINDOW_MS;
}

bool naq_credit_brisk(const naq_credit *c, int64_t now_ms) {
    return now_ms - c->ran_ms < BRISK_MS;
}

void naq_credit_share(naq_pull *pulls, int n, int want, int64_t now_ms) {
    if (want <= 0) return;
    int total = 0;
    for (int i = 0; i < n; i++)
        if (pulls[i].pending > 0 && !pulls[i].gated) total += WEIGHTS[i % NAQ_PRIORITIES];
    for (int i = 0; i < n; i++) {
        if (pulls[i].gated) continue;
        int share = pulls[i].pending > 0 ? want * WEIGHTS[i % NAQ_PRIORITIES] / total : 1;
        naq_pull_want(&pulls[i], share > 1 ? share : 1, now_ms);
    }
}
