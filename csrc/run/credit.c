/* credit.c -- prefetch by what was run lately, and its division over consumers. */
#include "run/credit.h"

#include "nats/envelope.h"
#include "run/slot.h"

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

/* Few: one by one, in the order in which threads take them (slot.h), so that a worker with few
 * threads and slow jobs fetches a high one whenever there is one. Of several queues each in turn.
 */
static void share_few(naq_credit *c, naq_pull *pulls, int n, int want, int64_t now_ms) {
    for (int i = 0; i < n; i++)
        if (!pulls[i].gated && pulls[i].pending > 0) want -= pulls[i].credit;
    while (want-- > 0) {
        const naq_priority *order = naq_turn_order(++c->turns);
        naq_pull *chosen = NULL;
        int queues = n / NAQ_PRIORITIES;
        for (int k = 0; k < NAQ_PRIORITIES * queues && chosen == NULL; k++) {
            int queue = (int)((c->turns + (unsigned)k) % (unsigned)queues);
            naq_pull *p = &pulls[queue * NAQ_PRIORITIES + (int)order[k / queues]];
            if (!p->gated && p->pending > p->credit) chosen = p;
        }
        if (chosen == NULL) return;
        int before = chosen->credit;
        naq_pull_more(chosen, 1, now_ms);
        if (chosen->credit == before) return; /* it cannot be asked now */
    }
}

void naq_credit_share(naq_credit *c, naq_pull *pulls, int n, int want, int64_t now_ms) {
    if (want <= 0) return;
    int total = 0;
    for (int i = 0; i < n; i++)
        if (!pulls[i].gated && pulls[i].pending > 0) total += WEIGHTS[i % NAQ_PRIORITIES];
    bool few = want < total;
    for (int i = 0; i < n; i++) {
        if (pulls[i].gated) continue;
        if (pulls[i].pending == 0)
            naq_pull_want(&pulls[i], 1, now_ms);
        else if (!few)
            naq_pull_want(&pulls[i], want * WEIGHTS[i % NAQ_PRIORITIES] / total, now_ms);
    }
    if (few) share_few(c, pulls, n, want, now_ms);
}
