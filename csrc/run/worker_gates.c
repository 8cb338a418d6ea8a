/* worker_gates.c -- what a worker does about queues that are paused or limited: follows their
 * settings, lets jobs in one by one, gives back what has to wait. A queue that is neither never
 * comes here. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/worker_state.h"

enum {
    /* Asks of a gated queue live short: what they bring may have to go back. */
    SPAN_MS = 2000,
    /* What a paused queue still delivers, to asks that were sent before, is not to come again and
     * again until those end. */
    PAUSED_DELAY_MS = 1000,
    FULL_DELAY_MS = 100
};

static naq_gate *gate_of(naq_worker *w, const naq_slot *slot) {
    return &w->gates[slot->pull / NAQ_PRIORITIES];
}

static bool gated(const naq_gate *g) {
    return g->paused || naq_gate_limited(g);
}

/* Settings */

static void give_all_back(naq_worker *w, naq_slot *chain, int64_t delay_ms) {
    for (naq_slot *slot = chain, *next; slot != NULL; slot = next) {
        next = slot->next;
        naq_worker_give_back(w, slot, delay_ms);
    }
}

/* What has been fetched and not begun; of a limited queue all that counted is as it was. */
static void withdraw_queue(naq_worker *w, int queue, int64_t delay_ms) {
    int first = queue * NAQ_PRIORITIES, last = first + NAQ_PRIORITIES - 1;
    give_all_back(w, naq_worker_withdraw_fresh(w, first, last), delay_ms);
    give_all_back(w, naq_slots_withdraw_of(&w->slots, first, last), delay_ms);
    naq_slot *slot;
    naq_gate *g = &w->gates[queue];
    while ((slot = naq_gate_next_held(g)) != NULL)
        naq_worker_give_back(w, slot, delay_ms);
}

/* A limit is new, or gone: who is here counts from now on, or does not any more. */
static void count_anew(naq_worker *w, int queue) {
    naq_gate *g = &w->gates[queue];
    bool limited = naq_gate_limited(g);
    g->in_hand = 0;
    for (uint32_t i = 0; i < w->slots.count; i++) {
        naq_slot *slot = &w->slots.all[i];
        if (slot->msg == NULL || slot->pull / NAQ_PRIORITIES != queue) continue;
        slot->counted = limited;
        if (limited) g->in_hand++;
    }
    atomic_store(&g->quota->in_hand, g->in_hand);
}

static void follow(naq_worker *w, int queue) {
    naq_gate *g = &w->gates[queue];
    naq_setting s = naq_control_setting(&w->control, queue);
    bool was_limited = naq_gate_limited(g), was_paused = g->paused;
    bool other_limits = g->concurrency != s.concurrency || g->rate != s.rate;
    g->paused = s.paused;
    g->concurrency = s.concurrency;
    g->rate = s.rate;
    bool limited = naq_gate_limited(g);
    /* A lease is renewed at the pace of the shortest; see worker.h. It never slows down: the
     * consumers may not have learned yet. */
    if (s.ack_wait_ms > 0 && s.ack_wait_ms < w->ack_wait_ms) w->ack_wait_ms = s.ack_wait_ms;
    if (s.paused && !was_paused)
        withdraw_queue(w, queue, PAUSED_DELAY_MS);
    else if (limited && !was_limited)
        withdraw_queue(w, queue, FULL_DELAY_MS);
    if (limited != was_limited) count_anew(w, queue);
    if (was_paused != s.paused)
        naq_log(NAQ_INFO, "queue %s: %s", w->o.queues[queue], s.paused ? "paused" : "resumed");
    if (other_limits) naq_quotas_limit(&w->quotas, queue, s.concurrency, s.rate);
    for (int p = 0; p < NAQ_PRIORITIES; p++) {
        naq_pull *pull = &w->pulls[queue * NAQ_PRIORITIES + p];
        pull->gated = gated(g);
        pull->span_ms = limited ? SPAN_MS : 0;
    }
}

static void follow_settings(naq_worker *w) {
    unsigned version = naq_control_version(&w->control);
    if (version == w->settings_version) return;
    w->settings_version = version;
    unsigned policies = naq_control_policy_version(&w->control);
    if (policies != w->policy_version) naq_codebase_touch(&w->crew.code); /* as after a reload */
    w->policy_version = policies;
    w->n_gated = 0;
    for (int i = 0; i < w->o.n_queues; i++) {
        follow(w, i);
        if (gated(&w->gates[i])) w->n_gated++;
    }
}

/* Jobs */

static bool admit(naq_worker *w, naq_gate *g, naq_slot *slot) {
    if (naq_gate_limited(g)) {
        if (!naq_gate_admit(g, naq_loop_now(w->loop))) return false;
        slot->counted = true;
    }
    naq_worker_begin(w, slot);
    return true;
}

static void give_back(naq_worker *w, naq_slot *slot, int64_t delay_ms) {
    naq_pull *pull = &w->pulls[slot->pull];
    if (pull->pending == 0) pull->pending = 1; /* it waits there, though no message will say so */
    naq_worker_give_back(w, slot, delay_ms);
}

void naq_worker_gate_delivered(naq_worker *w, naq_slot *slot) {
    naq_gate *g = gate_of(w, slot);
    if (g->paused)
        naq_worker_give_back(w, slot, PAUSED_DELAY_MS);
    else if (g->n_held > 0 || !admit(w, g, slot))
        naq_gate_hold(g, slot);
}

/* What is held begins, the highest priority first, as far as there is room. */
static void begin_held(naq_worker *w, naq_gate *g, int64_t now) {
    naq_slot *slot;
    while ((slot = naq_gate_next_held(g)) != NULL) {
        if (admit(w, g, slot)) continue;
        naq_gate_hold(g, slot);
        break;
    }
    while ((slot = naq_gate_stale(g, now)) != NULL)
        give_back(w, slot, FULL_DELAY_MS);
}

void naq_worker_gates_turn(naq_worker *w, int64_t now) {
    (void)atomic_exchange(&w->control_news, false);
    follow_settings(w);
    if (w->n_gated == 0 || w->draining) return;
    for (int i = 0; i < w->o.n_queues; i++)
        if (w->gates[i].n_held > 0) begin_held(w, &w->gates[i], now);
}

void naq_worker_gates_want(naq_worker *w, int idle, int want, int64_t now) {
    bool nudge = false;
    for (int i = 0; w->n_gated > 0 && i < w->o.n_queues; i++)
        nudge |= naq_gate_want(&w->gates[i], idle, want, now);
    if (nudge) naq_quotas_nudge(&w->quotas);
}

void naq_worker_gates_drain(naq_worker *w) {
    for (int i = 0; w->n_gated > 0 && i < w->o.n_queues; i++) {
        naq_gate *g = &w->gates[i];
        naq_slot *slot;
        while ((slot = naq_gate_next_held(g)) != NULL)
            naq_worker_give_back(w, slot, 0);
        if (naq_gate_limited(g)) (void)naq_gate_close(g, naq_mono_ms());
    }
}

int64_t naq_worker_gates_deadline(naq_worker *w, int64_t now) {
    int64_t at = INT64_MAX;
    for (int i = 0; w->n_gated > 0 && i < w->o.n_queues; i++) {
        int64_t own = naq_gate_deadline(&w->gates[i], now);
        if (own < at) at = own;
    }
    return at;
}

/* Opening and closing */

static void news(void *ctx) {
    naq_worker *w = ctx;
    atomic_store(&w->control_news, true);
    naq_loop_wake(w->loop);
}

static void leases(void *ctx, int queue, const char *kind, const naq_kv_event *event, bool live) {
    naq_worker *w = ctx;
    naq_quotas_seen(&w->quotas, queue, kind, event, live);
}

naq_status naq_worker_open_gates(naq_worker *w, naq_err *err) {
    w->quotas.conn = w->control.conn = w->conn;
    w->quotas.prefix = w->control.prefix = w->o.prefix;
    w->quotas.queues = w->control.queues = w->o.queues;
    w->quotas.n_queues = w->control.n_queues = w->o.n_queues;
    w->quotas.ctx = w->control.ctx = w;
    w->quotas.worker_id = w->id;
    w->quotas.news = w->control.changed = news;
    w->control.files = w->o.settings;
    w->control.leases = leases;
    w->gates = calloc((size_t)w->o.n_queues, sizeof *w->gates);
    if (w->gates == NULL) return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    naq_status status = naq_quotas_open(&w->quotas, err);
    if (status == NAQ_OK) status = naq_control_open(&w->control, err);
    w->settings_version = naq_control_version(&w->control) - 1; /* not followed yet */
    w->policy_version = naq_control_policy_version(&w->control);
    w->o.vm.policies = naq_control_policies;
    w->o.vm.policies_ctx = &w->control;
    for (int i = 0; status == NAQ_OK && i < w->o.n_queues; i++)
        w->gates[i].quota = &w->quotas.all[i];
    return status;
}

void naq_worker_close_gates(naq_worker *w) {
    naq_control_close(&w->control);
    naq_quotas_close(&w->quotas);
    free(w->gates);
    w->gates = NULL;
}
