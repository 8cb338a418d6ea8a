/* slot.c -- the slot table and the hand-over of jobs to Lua threads and back.
 *
 * One mutex for both queues: what is done under it is a few pointer moves, and measured hand-over
 * by thread, in batches or one by one made no difference. */
#include "run/slot.h"

#include <stdlib.h>
#include <string.h>

enum {
    TURNS = 8,
    NORMAL_TURN = 4,
    LOW_TURN = 0,
    WAKE_EVERY = 16, /* done slots that are worth a wake-up of the I/O thread */
    KEEP_RECORD_BYTES = 4096
};

naq_status naq_slots_open(naq_slots *s, uint32_t count, naq_err *err) {
    memset(s, 0, sizeof *s);
    s->all = calloc(count, sizeof *s->all);
    s->free = malloc(count * sizeof *s->free);
    if (s->all == NULL || s->free == NULL) {
        free(s->all);
        free(s->free);
        s->all = NULL;
        s->free = NULL;
        return naq_fail(err, NAQ_INVALID, "worker: out of memory for %u slots", count);
    }
    s->count = s->n_free = count;
    for (uint32_t i = 0; i < count; i++)
        s->free[i] = count - 1 - i;
    /* Held for a few pointer moves: spinning a moment beats a trip to the kernel and back. */
    pthread_mutexattr_t spinning;
    pthread_mutexattr_init(&spinning);
    pthread_mutexattr_settype(&spinning, PTHREAD_MUTEX_ADAPTIVE_NP);
    pthread_mutex_init(&s->mu, &spinning);
    pthread_mutexattr_destroy(&spinning);
    pthread_cond_init(&s->some, NULL);
    pthread_cond_init(&s->quiet, NULL);
    return NAQ_OK;
}

void naq_slots_close(naq_slots *s) {
    if (s->all == NULL) return;
    for (uint32_t i = 0; i < s->count; i++)
        naq_buf_free(&s->all[i].record);
    free(s->all);
    free(s->free);
    pthread_cond_destroy(&s->quiet);
    pthread_cond_destroy(&s->some);
    pthread_mutex_destroy(&s->mu);
    memset(s, 0, sizeof *s);
}

naq_slot *naq_slot_take_free(naq_slots *s) {
    if (s->n_free == 0) return NULL;
    uint32_t index = s->free[--s->n_free];
    naq_slot *slot = &s->all[index];
    naq_buf record = slot->record;
    uint8_t generation = (uint8_t)(slot->generation + 1);
    memset(slot, 0, sizeof *slot);
    slot->index = index;
    slot->generation = generation;
    slot->record = record;
    naq_buf_clear(&slot->record);
    return slot;
}

void naq_slot_free(naq_slots *s, naq_slot *slot) {
    slot->storing = false;
    slot->msg = slot->again = NULL;
    if (slot->record.cap > KEEP_RECORD_BYTES) naq_buf_free(&slot->record);
    s->free[s->n_free++] = slot->index;
}

void naq_slots_offer(naq_slots *s, naq_slot *chain) {
    if (chain == NULL) return;
    pthread_mutex_lock(&s->mu);
    int n = 0;
    for (naq_slot *slot = chain, *next; slot != NULL; slot = next, n++) {
        next = slot->next;
        slot->next = NULL;
        naq_priority p = slot->address.priority;
        if (s->ready_tail[p] != NULL)
            s->ready_tail[p]->next = slot;
        else
            s->ready_head[p] = slot;
        s->ready_tail[p] = slot;
    }
    s->n_ready += n;
    int takers = s->takers;
    pthread_mutex_unlock(&s->mu);
    if (takers == 0) return;
    if (n > 1 && takers > 1)
        pthread_cond_broadcast(&s->some);
    else
        pthread_cond_signal(&s->some);
}

static naq_slot *pop(naq_slots *s, naq_priority p) {
    naq_slot *slot = s->ready_head[p];
    if (slot == NULL) return NULL;
    s->ready_head[p] = slot->next;
    if (slot->next == NULL) s->ready_tail[p] = NULL;
    slot->next = NULL;
    s->n_ready--;
    return slot;
}

const naq_priority *naq_turn_order(unsigned turn) {
    static const naq_priority HIGH[] = {NAQ_HIGH, NAQ_NORMAL, NAQ_LOW},
                              NORMAL[] = {NAQ_NORMAL, NAQ_HIGH, NAQ_LOW},
                              LOW[] = {NAQ_LOW, NAQ_NORMAL, NAQ_HIGH};
    turn %= TURNS;
    return turn == LOW_TURN ? LOW : turn == NORMAL_TURN ? NORMAL : HIGH;
}

static naq_slot *next_locked(naq_slots *s) {
    if (s->n_ready == 0 || atomic_load(&s->alone)) return NULL;
    const naq_priority *order = naq_turn_order(++s->turns);
    naq_slot *slot = NULL;
    for (int i = 0; i < NAQ_PRIORITIES && slot == NULL; i++)
        slot = pop(s, order[i]);
    s->running++;
    return slot;
}

naq_slot *naq_slots_take(naq_slots *s) {
    pthread_mutex_lock(&s->mu);
    naq_slot *slot;
    while ((slot = next_locked(s)) == NULL && !(s->closed && s->n_ready == 0)) {
        s->takers++;
        pthread_cond_wait(&s->some, &s->mu);
        s->takers--;
    }
    pthread_mutex_unlock(&s->mu);
    return slot;
}

naq_slot *naq_slots_swap(naq_slots *s, naq_slot *done, bool *wake) {
    pthread_mutex_lock(&s->mu);
    done->next = NULL;
    if (s->done_tail != NULL)
        s->done_tail->next = done;
    else
        s->done_head = done;
    s->done_tail = done;
    s->ended[s->n_ended++ % NAQ_ENDED] = done->stream_seq;
    int n = atomic_fetch_add(&s->n_done, 1) + 1;
    s->running--;
    atomic_fetch_add(&s->unsettled, 1);
    if (atomic_load(&s->alone)) pthread_cond_broadcast(&s->quiet);
    naq_slot *slot = next_locked(s);
    /* Nothing left to run: this thread is about to sleep, so its results must not wait for more. */
    *wake = slot == NULL || n % WAKE_EVERY == 0;
    pthread_mutex_unlock(&s->mu);
    return slot;
}

bool naq_slots_ended(naq_slots *s, uint64_t seq) {
    bool found = false;
    pthread_mutex_lock(&s->mu);
    for (int i = 0; i < NAQ_ENDED && !found; i++)
        found = s->ended[i] == seq;
    pthread_mutex_unlock(&s->mu);
    return found;
}

naq_slot *naq_slots_done(naq_slots *s) {
    if (atomic_load(&s->n_done) == 0) return NULL;
    pthread_mutex_lock(&s->mu);
    naq_slot *chain = s->done_head;
    s->done_head = s->done_tail = NULL;
    atomic_store(&s->n_done, 0);
    pthread_mutex_unlock(&s->mu);
    return chain;
}

int naq_slots_ready(naq_slots *s, int *takers) {
    pthread_mutex_lock(&s->mu);
    int n = s->n_ready;
    *takers = s->takers;
    pthread_mutex_unlock(&s->mu);
    return n;
}

naq_slot *naq_slots_withdraw(naq_slots *s, int n) {
    naq_slot *chain = NULL;
    pthread_mutex_lock(&s->mu);
    for (int p = NAQ_PRIORITIES - 1; p >= 0; p--) {
        /* Singly linked: walk to where the last n begin. Lists are short (the prefetch at most). */
        int length = 0;
        for (naq_slot *slot = s->ready_head[p]; slot != NULL; slot = slot->next)
            length++;
        int keep = length > n ? length - n : 0;
        if (keep == length) continue;
        n -= length - keep;
        s->n_ready -= length - keep;
        naq_slot *last = NULL, *rest = s->ready_head[p];
        for (int i = 0; i < keep; i++) {
            last = rest;
            rest = rest->next;
        }
        if (last != NULL)
            last->next = NULL;
        else
            s->ready_head[p] = NULL;
        naq_slot *tail = s->ready_tail[p];
        s->ready_tail[p] = last;
        tail->next = chain;
        chain = rest;
    }
    pthread_mutex_unlock(&s->mu);
    return chain;
}

naq_slot *naq_slots_withdraw_of(naq_slots *s, int first, int last) {
    naq_slot *chain = NULL;
    pthread_mutex_lock(&s->mu);
    for (int p = 0; p < NAQ_PRIORITIES; p++) {
        naq_slot *kept = NULL;
        for (naq_slot **at = &s->ready_head[p]; *at != NULL;) {
            naq_slot *slot = *at;
            if (slot->pull < first || slot->pull > last) {
                kept = slot;
                at = &slot->next;
                continue;
            }
            *at = slot->next;
            slot->next = chain;
            chain = slot;
            s->n_ready--;
        }
        s->ready_tail[p] = kept;
    }
    pthread_mutex_unlock(&s->mu);
    return chain;
}

void naq_slots_shut(naq_slots *s) {
    pthread_mutex_lock(&s->mu);
    s->closed = true;
    pthread_cond_broadcast(&s->some);
    pthread_mutex_unlock(&s->mu);
}

void naq_slots_alone(naq_slots *s) {
    pthread_mutex_lock(&s->mu);
    /* While waiting for another's turn alone this thread runs nothing, or both would wait for ever.
     */
    s->running--;
    pthread_cond_broadcast(&s->quiet);
    while (atomic_load(&s->alone) && !s->over)
        pthread_cond_wait(&s->quiet, &s->mu);
    atomic_store(&s->alone, true);
    s->running++;
    while ((s->running > 1 || atomic_load(&s->unsettled) > 0) && !s->over)
        pthread_cond_wait(&s->quiet, &s->mu);
    pthread_mutex_unlock(&s->mu);
}

/* Lock-free for the many: who waits has set alone before it looked at unsettled, so that the last
 * one to settle either is seen by it or sees it. */
void naq_slots_settled(naq_slots *s) {
    if (atomic_fetch_sub(&s->unsettled, 1) > 1 || !atomic_load(&s->alone)) return;
    pthread_mutex_lock(&s->mu);
    pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->mu);
}

void naq_slots_together(naq_slots *s) {
    pthread_mutex_lock(&s->mu);
    atomic_store(&s->alone, false);
    pthread_cond_broadcast(&s->some);
    pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->mu);
}

void naq_slots_over(naq_slots *s) {
    pthread_mutex_lock(&s->mu);
    s->over = true;
    pthread_cond_broadcast(&s->quiet);
    pthread_mutex_unlock(&s->mu);
}
