/* worker.c -- the I/O thread's turn: read, hand out, take back, store, ack, ask for more.
 *
 * The life of a job here: a consumer delivers it (delivered) -> it waits in a slot (offer) -> a Lua
 * thread runs it (attempt.c) -> it comes back with a verdict (settle) -> its record is published ->
 * the server says stored (answered) -> ack, slot free. Nothing is acked before what it became is
 * stored. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "run/drain.h"
#include "run/worker_state.h"

enum {
    ANSWER_MS = 5000, /* a record's publish without an answer is repeated */
    PAUSE_MS = 250,   /* before one that was refused for lack of a leader or of room */
    SWEEP_MS = 250,
    QUIT_MS = 3000, /* what reaches us behind it waits for its lease */
    BRISK_MS = 2 /* sleep at most this long while jobs come back quickly: results share wake-ups */
};

/* Acks and slots */

static void release(naq_worker *w, naq_slot *slot) {
    if (slot->came_back) naq_slots_settled(&w->slots);
    if (slot->alone) naq_slots_together(&w->slots);
    if (slot->counted) naq_gate_left(&w->gates[slot->pull / NAQ_PRIORITIES]);
    naq_loop_bury(w->loop, slot->msg);
    if (slot->again != NULL) naq_loop_bury(w->loop, slot->again);
    naq_slot_free(&w->slots, slot);
    w->used--;
}

static void ack(naq_worker *w, naq_slot *slot) {
    naq_loop_send(w->loop, slot->reply, "+ACK", 4);
    release(w, slot);
}

static void give_back(naq_worker *w, naq_slot *slot) {
    naq_loop_send(w->loop, slot->reply, "-NAK", 4);
    release(w, slot);
}

static void offer_next(naq_worker *w, naq_slot *slot) {
    slot->next = NULL;
    if (w->fresh_tail != NULL)
        w->fresh_tail->next = slot;
    else
        w->fresh = slot;
    w->fresh_tail = slot;
}

void naq_worker_give_back(naq_worker *w, naq_slot *slot, int64_t delay_ms) {
    char nak[48];
    if (slot->lost) { /* it is not to be run */
        offer_next(w, slot);
        return;
    }
    int n = snprintf(nak, sizeof nak, "-NAK {\"delay\": %lld}", (long long)delay_ms * 1000000);
    naq_loop_send(w->loop, slot->reply, nak, delay_ms > 0 ? (size_t)n : 4);
    if (slot->begun) w->begun--;
    release(w, slot);
}

/* Delivery */

static naq_pull *find_pull(naq_worker *w, const char *consumer) {
    static __thread int last; /* deliveries come in runs from one consumer */
    if (last < w->n_pulls && strcmp(w->pulls[last].consumer, consumer) == 0) return &w->pulls[last];
    for (int i = 0; i < w->n_pulls; i++) {
        if (strcmp(w->pulls[i].consumer, consumer) != 0) continue;
        last = i;
        return &w->pulls[i];
    }
    return NULL;
}

/* After a reconnect the server may deliver again what is still here. Its new reply subject is the
 * one whose ack counts; running it a second time beside itself would be wrong. */
static bool already_here(naq_worker *w, naq_msg *m, uint64_t stream_seq) {
    for (uint32_t i = 0; i < w->slots.count; i++) {
        naq_slot *slot = &w->slots.all[i];
        if (slot->msg == NULL || slot->stream_seq != stream_seq) continue;
        if (slot->again != NULL) naq_loop_bury(w->loop, slot->again);
        slot->again = m;
        slot->reply = naq_msg_reply(m);
        return true;
    }
    return false;
}

void naq_worker_delivered(void *ctx, naq_msg *m) {
    naq_worker *w = ctx;
    naq_delivery d;
    int64_t now = naq_loop_now(w->loop);
    naq_pull *pull = NULL;
    if (!naq_delivery_parse(naq_msg_reply(m), &d)) {
        naq_loop_bury(w->loop, m); /* no delivery at all: somebody published to our inbox */
        return;
    }
    pull = find_pull(w, d.consumer);
    if (pull != NULL) naq_pull_delivered(pull, d.pending, now);
    bool remember = false;
    bool in_doubt = pull != NULL && d.delivered == 1 &&
                    naq_doubt_delivered(&w->doubt, pull->index, d.stored_us, &remember);
    if (remember) naq_heartbeat_chore(&w->heartbeat);
    if ((in_doubt || d.delivered > 1) && already_here(w, m, d.stream_seq)) return;
    naq_slot *slot =
        pull != NULL && !w->draining && !w->quiet ? naq_slot_take_free(&w->slots) : NULL;
    if (slot == NULL) {
        w->came_late_ms = now;
        naq_loop_send(w->loop, naq_msg_reply(m), "-NAK", 4);
        naq_loop_bury(w->loop, m);
        return;
    }
    slot->msg = m;
    slot->reply = naq_msg_reply(m);
    slot->payload = naq_msg_data(m);
    slot->payload_len = naq_msg_size(m);
    slot->pull = pull->index;
    slot->delivered = d.delivered;
    slot->stream_seq = d.stream_seq;
    slot->stored_us = d.stored_us;
    slot->received_ms = slot->renewed_ms = now;
    slot->suspect = in_doubt;
    if (!naq_address_parse(naq_msg_subject(m), w->o.prefix, &slot->address)) {
        slot->bad_address = true;
        slot->address.queue.at = w->o.queues[pull->index / NAQ_PRIORITIES];
        slot->address.queue.len = strlen(slot->address.queue.at);
        slot->address.priority = (naq_priority)(pull->index % NAQ_PRIORITIES);
    }
    w->used++;
    if (pull->gated)
        naq_worker_gate_delivered(w, slot);
    else
        naq_worker_begin(w, slot);
}

void naq_worker_begin(naq_worker *w, naq_slot *slot) {
    offer_next(w, slot);
    slot->begun = true;
    w->begun++;
    /* An idle worker's first: while its thread wakes the rest of the turn goes on. */
    if (w->used == 1) naq_worker_offer(w);
}

void naq_worker_offer(naq_worker *w) {
    naq_slots_offer(&w->slots, w->fresh);
    w->fresh = w->fresh_tail = NULL;
}

naq_slot *naq_worker_withdraw_fresh(naq_worker *w, int first, int last) {
    naq_slot *chain = NULL, *kept = NULL;
    for (naq_slot **at = &w->fresh; *at != NULL;) {
        naq_slot *slot = *at;
        if (slot->pull < first || slot->pull > last) {
            kept = slot;
            at = &slot->next;
            continue;
        }
        *at = slot->next;
        slot->next = chain;
        chain = slot;
    }
    w->fresh_tail = kept;
    return chain;
}

static void ask_for_consumers(naq_worker *w) {
    atomic_store(&w->consumers_wanted, true);
    naq_heartbeat_chore(&w->heartbeat);
}

void naq_worker_pull_status(void *ctx, uint32_t token, int status, int64_t pending,
                            const char *text) {
    naq_worker *w = ctx;
    int index = naq_pull_index(token);
    if (index >= w->n_pulls) return;
    naq_pull *pull = &w->pulls[index];
    naq_pull_status(pull, token, status, pending, text, naq_mono_ms());
    if (pull->missing) ask_for_consumers(w);
}

/* What jobs became */

static uint32_t token_of(const naq_slot *slot) {
    return (uint32_t)slot->generation << 16 | slot->index;
}

static void count(naq_worker *w, const naq_slot *slot) {
    if (slot->dropped) return;
    if (slot->retried) {
        w->stats.retried++;
        return;
    }
    w->stats.done++;
    atomic_fetch_add_explicit(&w->heartbeat.done, 1, memory_order_relaxed);
    if (slot->failed) {
        w->stats.failed++;
        atomic_fetch_add_explicit(&w->heartbeat.failed, 1, memory_order_relaxed);
    }
}

/* "$KV.naq_results_7d.<id>"; the part before the id is made once a class, at open. */
static void record_subject(naq_worker *w, const naq_slot *slot, char out[NAQ_SUBJECT_TEXT]) {
    const char *before = w->record_subjects[slot->result_class];
    size_t n = strlen(before);
    memcpy(out, before, n);
    if (slot->bad_address) {
        (void)snprintf(out + n, NAQ_SUBJECT_TEXT - n, "bad-id-%" PRIu64, slot->stream_seq);
        return;
    }
    memcpy(out + n, slot->address.id.at, slot->address.id.len);
    out[n + slot->address.id.len] = '\0';
}

static void store(naq_worker *w, naq_slot *slot) {
    char subject[NAQ_SUBJECT_TEXT];
    naq_err err;
    record_subject(w, slot, subject);
    slot->sent_ms = naq_loop_now(w->loop);
    slot->refused = false;
    if (naq_loop_publish(w->loop, subject, token_of(slot), slot->expected, slot->record.data,
                         slot->record.len, &err) == NAQ_OK)
        return;
    naq_log(NAQ_ERROR, "job %s: its record cannot be published: %s (%s); it is tried again",
            naq_msg_subject(slot->msg), err.message, naq_status_code(err.status));
    slot->refused = true;
}

/* result_ttl 0: nothing is stored, but who waits is told. Nobody listening costs the server
 * nothing. */
static void notify(naq_worker *w, naq_slot *slot) {
    char subject[NAQ_SUBJECT_TEXT];
    size_t n = strlen(w->notice_subject);
    memcpy(subject, w->notice_subject, n);
    memcpy(subject + n, slot->address.id.at, slot->address.id.len);
    subject[n + slot->address.id.len] = '\0';
    naq_loop_send(w->loop, subject, slot->record.data, slot->record.len);
}

static void note_doubt(naq_worker *w, const naq_slot *slot) {
    bool remember = false;
    bool clean = slot->expected == 0 && !slot->dropped && slot->verdict != NAQ_VERDICT_LEAVE;
    naq_doubt_seen(&w->doubt, slot->pull, clean, &remember);
    if (remember) naq_heartbeat_chore(&w->heartbeat);
}

static void settle(naq_worker *w, naq_slot *slot) {
    if (slot->suspect) note_doubt(w, slot);
    switch (slot->verdict) {
    case NAQ_VERDICT_STORE:
        if (slot->record.failed) {
            naq_log(NAQ_ERROR, "job %s: out of memory for its record; it is run again",
                    naq_msg_subject(slot->msg));
            release(w, slot);
        } else if (slot->notice_only) {
            notify(w, slot);
            count(w, slot);
            ack(w, slot);
        } else {
            slot->storing = true;
            w->storing++;
            store(w, slot);
        }
        break;
    case NAQ_VERDICT_ACK:
        count(w, slot);
        ack(w, slot);
        break;
    case NAQ_VERDICT_RETURN:
        give_back(w, slot);
        break;
    case NAQ_VERDICT_LEAVE:
        release(w, slot);
        break;
    }
}

static void take_back(naq_worker *w) {
    int n = 0;
    for (naq_slot *slot = naq_slots_done(&w->slots), *next; slot != NULL; slot = next, n++) {
        next = slot->next;
        slot->came_back = true;
        settle(w, slot);
        naq_loop_write_if_full(w->loop);
    }
    naq_credit_ran(&w->credit, n, naq_mono_ms());
}

/* Another worker claimed or ended the job, or it was cancelled, or this is our own record, stored
 * by a publish whose answer was lost. A Lua thread reads it and knows whether there is anything
 * left to do. */
static void look_into(naq_worker *w, naq_slot *slot) {
    naq_slots_settled(&w->slots);
    if (slot->alone) naq_slots_together(&w->slots);
    slot->storing = slot->came_back = slot->alone = false;
    slot->lost = true;
    offer_next(w, slot);
}

void naq_worker_answered(void *ctx, uint32_t token, const naq_answer *answer) {
    naq_worker *w = ctx;
    if ((token & 0xFFFF) >= w->slots.count) return;
    naq_slot *slot = &w->slots.all[token & 0xFFFF];
    if (!slot->storing || token_of(slot) != token) return; /* a late one */
    if (answer->status == NAQ_OK) {
        w->storing--;
        count(w, slot);
        ack(w, slot);
        return;
    }
    if (answer->status == NAQ_WRONG_REVISION) {
        naq_log(NAQ_WARNING, "job %s: the outcome of worker %s is refused: its record is another's",
                naq_msg_subject(slot->msg), w->id);
        w->storing--;
        look_into(w, slot);
        return;
    }
    if (!slot->complained)
        naq_log(NAQ_WARNING, "job %s: its record was not stored: %.*s; it is tried again",
                naq_msg_subject(slot->msg), (int)(answer->text_len > 200 ? 200 : answer->text_len),
                answer->text);
    slot->refused = slot->complained = true;
    slot->sent_ms = naq_mono_ms();
}

/* A stream without a leader answers nobody's publish; all that wait may be concerned. */
void naq_worker_unheard(void *ctx) {
    naq_worker *w = ctx;
    int64_t now = naq_loop_now(w->loop);
    for (int i = 0; i < w->n_pulls; i++)
        naq_pull_unheard(&w->pulls[i], now);
    for (uint32_t i = 0; i < w->slots.count && w->storing > 0; i++)
        if (w->slots.all[i].storing) w->slots.all[i].refused = true;
}

/* Publishes that were refused or never answered go out once more, under the same condition: a
 * record that was stored after all refuses the second. */
static void store_again(naq_worker *w, int64_t now) {
    if (w->storing == 0 || now - w->swept_ms < SWEEP_MS || !naq_loop_connected(w->loop)) return;
    w->swept_ms = now;
    for (uint32_t i = 0; i < w->slots.count; i++) {
        naq_slot *slot = &w->slots.all[i];
        if (!slot->storing) continue;
        if (now - slot->sent_ms >= (slot->refused ? PAUSE_MS : ANSWER_MS)) store(w, slot);
    }
}

void naq_worker_restored(void *ctx) {
    naq_worker *w = ctx;
    naq_log(NAQ_INFO, "worker %s: connected again", w->id);
    for (int i = 0; i < w->n_pulls; i++)
        naq_pull_reset(&w->pulls[i]);
    naq_server_info server;
    naq_loop_info(w->loop, &server);
    naq_doubt_connected(&w->doubt, &server);
    naq_heartbeat_chore(&w->heartbeat);
    for (uint32_t i = 0; i < w->slots.count; i++)
        if (w->slots.all[i].storing) store(w, &w->slots.all[i]);
}

/* Leases: a third of ack_wait, for all that is here, running or not. */

static void renew_leases(naq_worker *w, int64_t now) {
    int64_t every = w->ack_wait_ms / 3;
    if (w->used == 0 || now - w->leases_ms < every / 4) return;
    w->leases_ms = now;
    for (uint32_t i = 0; i < w->slots.count; i++) {
        naq_slot *slot = &w->slots.all[i];
        if (slot->msg == NULL || now - slot->renewed_ms < every * 3 / 4) continue;
        naq_loop_send(w->loop, slot->reply, "+WPI", 4);
        slot->renewed_ms = now;
    }
}

/* Asking for more */

void naq_worker_withdraw(naq_worker *w, int n) {
    for (naq_slot *slot = naq_slots_withdraw(&w->slots, n), *next; slot != NULL; slot = next) {
        next = slot->next;
        naq_worker_give_back(w, slot, 0);
    }
}

static void want_more(naq_worker *w, int64_t now) {
    if (atomic_exchange(&w->repaired, false))
        for (int i = 0; i < w->n_pulls; i++)
            w->pulls[i].missing = false;
    if (!naq_loop_connected(w->loop)) return; /* nothing can be heard: silence means nothing */
    int takers;
    int ready = naq_slots_ready(&w->slots, &takers);
    bool missing = false;
    for (int i = 0; i < w->n_pulls; i++) {
        missing |= naq_pull_tick(&w->pulls[i], now);
        if (naq_watchdog_stuck(&w->watched[i])) {
            naq_pull_reset(&w->pulls[i]);
            naq_doubt_again(&w->doubt,
                            i); /* a new consumer delivers all as if for the first time */
        }
        naq_watchdog_note(&w->watched[i], &w->pulls[i], now);
    }
    if (missing) ask_for_consumers(w);
    if (w->draining) return;
    if (w->quiet) {
        naq_worker_gates_drain(w); /* as jobs end, their slots are for others */
        return;
    }

    int parked = naq_credit_parked(&w->credit, ready, takers, now);
    if (parked > 0) naq_worker_withdraw(w, parked);
    int want = naq_credit_want(&w->credit, ready, takers, now);
    int room = (int)w->slots.n_free - w->o.threads;
    if (want > room) want = room;
    if (w->o.max_jobs > 0 && want > w->o.max_jobs - w->begun)
        want = (int)(w->o.max_jobs - w->begun);
    naq_credit_share(&w->credit, w->pulls, w->n_pulls, want, now);
    naq_worker_gates_want(w, takers - ready < want ? takers - ready : want, want, now);
}

/* Job files read anew: proved elsewhere, taken over by each thread before its next job. */
static void reload(naq_worker *w) {
    naq_err err;
    naq_code *code = NULL;
    char jobs[200];
    switch (naq_reload_turn(&w->reload, &code, jobs, sizeof jobs, &err)) {
    case NAQ_RELOAD_NOTHING:
        break;
    case NAQ_RELOAD_PROVED:
        naq_codebase_replace(&w->crew.code, code);
        naq_log(NAQ_INFO, "worker %s: job files reloaded: %s", w->id, jobs);
        break;
    case NAQ_RELOAD_BROKEN:
        naq_log(NAQ_ERROR, "worker %s: job files not reloaded, the old code stays: %s", w->id,
                err.message);
        break;
    }
}

/* The turn */

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t next_deadline(naq_worker *w, int64_t now) {
    int64_t at = INT64_MAX;
    for (int i = 0; i < w->n_pulls; i++)
        at = earlier(at, naq_pull_deadline(&w->pulls[i], now));
    at = earlier(at, naq_credit_deadline(&w->credit, now));
    at = earlier(at, naq_worker_gates_deadline(w, now));
    if (w->used > 0) at = earlier(at, w->leases_ms + w->ack_wait_ms / 12 + 1);
    if (w->storing > 0) at = earlier(at, w->swept_ms + SWEEP_MS);
    at = earlier(at, naq_drain_deadline(w));
    if (naq_credit_brisk(&w->credit, now) && w->used > w->storing) at = earlier(at, now + BRISK_MS);
    return at;
}

bool naq_worker_busy(void *ctx) {
    naq_worker *w = ctx;
    return atomic_load(&w->slots.n_done) > 0 || atomic_load(&w->control_news) ||
           (atomic_load(&w->stop) > 0 && !w->draining);
}

naq_status naq_worker_run(naq_worker *w, naq_worker_stats *stats, naq_err *err) {
    naq_log(NAQ_INFO, "worker %s: ready, threads: %d, queues: %d", w->id, w->o.threads,
            w->o.n_queues);
    for (;;) {
        int64_t now = naq_mono_ms();
        naq_worker_gates_turn(w, now);
        naq_worker_offer(w);
        take_back(w);
        store_again(w, now);
        renew_leases(w, now);
        reload(w);
        naq_drain_look(w, now);
        if (naq_drain_ended(w, now)) break;
        want_more(w, now);
        naq_loop_turn(w->loop, next_deadline(w, now), !naq_worker_busy(w));
        if (naq_loop_closed(w->loop)) {
            (void)naq_loop_end(w->loop, err);
            return naq_wrap(err, "worker %s", w->id);
        }
    }
    naq_loop_quit(w->loop, QUIT_MS);
    /* Its process may end by _exit(), and nobody should take it for alive. */
    if (w->cutting_off) naq_heartbeat_stop(&w->heartbeat);
    *stats = w->stats;
    if (w->stats.why == NAQ_STOPPED_STUCK)
        return naq_fail(err, NAQ_JOB_STUCK,
                        "worker %s: %d of its threads hang in jobs that cannot be stopped; it was "
                        "drained, and a new process should take its place",
                        w->id, naq_crew_left(&w->crew));
    return NAQ_OK;
}

void naq_worker_stop(naq_worker *w) {
    atomic_fetch_add(&w->stop, 1);
    naq_loop_wake(w->loop);
}

const char *naq_worker_id_peek(naq_worker *w) {
    return w->id;
}
