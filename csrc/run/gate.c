/* gate.c -- admission of jobs of one queue. */
#include "run/gate.h"

enum {
    HOLD_MS = 250, /* longer than a slot that is not used stays with another worker (quota.c) */
    STARTS_MS = 1000
};

static int least(int a, int b) {
    return a < b ? a : b;
}

static int most(int a, int b) {
    return a > b ? a : b;
}

/* Starts that were leased and not used are void after a while: kept, they would let a burst
 * through later. */
static int starts_left(naq_gate *g, int64_t now_ms) {
    int n = atomic_load(&g->quota->starts);
    if (n > 0 && now_ms - atomic_load(&g->quota->starts_ms) > STARTS_MS) {
        atomic_store(&g->quota->starts, 0);
        n = 0;
    }
    return n;
}

static int room(naq_gate *g, int64_t now_ms) {
    int slots = INT32_MAX, starts = INT32_MAX;
    if (g->concurrency > 0)
        slots = now_ms < atomic_load(&g->quota->until_ms)
                    ? atomic_load(&g->quota->allowed) - g->in_hand
                    : 0;
    if (g->rate > 0) starts = starts_left(g, now_ms);
    return most(0, least(slots, starts));
}

bool naq_gate_admit(naq_gate *g, int64_t now_ms) {
    if (room(g, now_ms) == 0) return false;
    int n = g->in_hand + 1;
    atomic_store(&g->quota->in_hand, n);
    if (g->concurrency > 0 && atomic_load(&g->quota->allowed) < n) { /* just given back */
        atomic_store(&g->quota->in_hand, g->in_hand);
        return false;
    }
    if (g->rate > 0) atomic_fetch_sub(&g->quota->starts, 1);
    g->in_hand = n;
    if (n > atomic_load(&g->quota->peak)) atomic_store(&g->quota->peak, n);
    return true;
}

void naq_gate_left(naq_gate *g) {
    g->in_hand--;
    atomic_store(&g->quota->in_hand, g->in_hand);
}

void naq_gate_hold(naq_gate *g, naq_slot *slot) {
    naq_priority p = slot->address.priority;
    slot->next = NULL;
    if (g->held_tail[p] != NULL)
        g->held_tail[p]->next = slot;
    else
        g->held[p] = slot;
    g->held_tail[p] = slot;
    g->n_held++;
}

static naq_slot *take(naq_gate *g, int p) {
    naq_slot *slot = g->held[p];
    g->held[p] = slot->next;
    if (slot->next == NULL) g->held_tail[p] = NULL;
    slot->next = NULL;
    g->n_held--;
    return slot;
}

naq_slot *naq_gate_next_held(naq_gate *g) {
    for (int p = 0; p < NAQ_PRIORITIES; p++)
        if (g->held[p] != NULL) return take(g, p);
    return NULL;
}

naq_slot *naq_gate_stale(naq_gate *g, int64_t now_ms) {
    for (int p = 0; p < NAQ_PRIORITIES; p++)
        if (g->held[p] != NULL && now_ms - g->held[p]->received_ms >= HOLD_MS) return take(g, p);
    return NULL;
}

static int64_t backlog(naq_gate *g, int64_t now_ms) {
    int64_t n = 0;
    for (int p = 0; p < NAQ_PRIORITIES; p++)
        n += naq_pull_waiting(&g->pulls[p], now_ms);
    return n;
}

/* Whose turn it is, of the priorities of which more wait than were asked for; -1: of none. */
static int choose(naq_gate *g, const int asked[NAQ_PRIORITIES]) {
    const naq_priority *order = naq_turn_order(++g->turns);
    for (int i = 0; i < NAQ_PRIORITIES; i++) {
        int p = order[i];
        if (g->pulls[p].pending > asked[p]) return p;
    }
    return -1;
}

static void ask(naq_gate *g, int n, int64_t now_ms) {
    int asked[NAQ_PRIORITIES] = {0}, under_way = 0;
    for (int p = 0; p < NAQ_PRIORITIES; p++) {
        if (g->pulls[p].pending == 0) continue;
        asked[p] = g->pulls[p].credit;
        under_way += asked[p];
    }
    for (int p; under_way < n && (p = choose(g, asked)) >= 0; under_way++)
        asked[p]++;
    for (int p = 0; p < NAQ_PRIORITIES; p++)
        if (g->pulls[p].pending > 0)
            naq_pull_more(&g->pulls[p], asked[p] - g->pulls[p].credit, now_ms);
}

/* One of each priority of which nothing is known to wait. */
static void probe(naq_gate *g, int64_t now_ms) {
    for (int p = 0; p < NAQ_PRIORITIES; p++)
        if (g->pulls[p].pending == 0) naq_pull_want(&g->pulls[p], 1, now_ms);
}

static bool closed(naq_gate *g, int64_t now_ms) {
    if (g->concurrency > 0 && atomic_load(&g->quota->full)) return true;
    return g->rate > 0 && now_ms < atomic_load(&g->quota->open_ms);
}

/* True when the quota has to know at once: it is short of what is wanted, and would not look by
 * itself. */
static bool tell(naq_gate *g, int slots, int more, int starts, int64_t now_ms) {
    naq_quota *q = g->quota;
    bool more_wanted = slots > g->told_wants;
    g->told_wants = slots;
    atomic_store(&q->wants, slots);
    atomic_store(&q->wants_more, more);
    atomic_store(&q->wants_starts, starts);
    int allowed = atomic_load(&q->allowed);
    if (g->concurrency > 0 && more_wanted && slots > allowed) return true;
    if (slots >= allowed || more > slots) {
        g->told_idle = false;
    } else if (!g->told_idle) {
        g->told_idle = true;
        return true;
    }
    return g->rate > 0 && starts > 0 && atomic_load(&q->starts) <= starts / 2 &&
           now_ms >= atomic_load(&q->open_ms);
}

bool naq_gate_close(naq_gate *g, int64_t now_ms) {
    return tell(g, g->in_hand, g->in_hand, 0, now_ms);
}

bool naq_gate_want(naq_gate *g, int idle, int want, int64_t now_ms) {
    if (!naq_gate_limited(g)) return false;
    if (g->paused) return naq_gate_close(g, now_ms);
    int64_t known = backlog(g, now_ms);
    int waits = known > INT32_MAX / 4 ? INT32_MAX / 4 : (int)known;
    int few = g->n_held + most(0, least(idle, waits)),
        many = g->n_held + most(0, least(want, waits));
    bool short_of = tell(g, g->in_hand + few, g->in_hand + many, many, now_ms);
    int free = room(g, now_ms);
    if (free > 0 && waits > 0) ask(g, least(free, want), now_ms);
    if (idle > 0 && g->n_held == 0 && (free > 0 || !closed(g, now_ms))) probe(g, now_ms);
    return short_of;
}

int64_t naq_gate_deadline(const naq_gate *g, int64_t now_ms) {
    int64_t at = INT64_MAX, open_ms = atomic_load(&g->quota->open_ms);
    if (g->rate > 0 && open_ms > now_ms) at = open_ms;
    for (int p = 0; p < NAQ_PRIORITIES; p++) {
        if (g->held[p] != NULL && g->held[p]->received_ms + HOLD_MS < at)
            at = g->held[p]->received_ms + HOLD_MS;
    }
    return at;
}
