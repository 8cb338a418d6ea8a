/* quota.c -- leasing: the thread that asks NATS for slots and starts, renews and gives back. */
#include "run/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/kv.h"

enum {
    LINGER_MS = 20, /* a slot that was not used for so long is given back */
    MARGIN_MS = 1000,
    IDLE_MS = 3600000,
    AGAIN_MS = 500, /* after NATS could not be asked */
    TRIES = 6
};

static int least(int a, int b) {
    return a < b ? a : b;
}

static int most(int a, int b) {
    return a > b ? a : b;
}

static void place(const naq_quotas *q, int queue, const char *kind, char *bucket, char *key) {
    (void)snprintf(bucket, 96, "%s_control", q->prefix);
    (void)snprintf(key, 96, "%s.%s", q->queues[queue], kind);
}

/* The record as the leader has it, after a compare-and-set was lost. */
static naq_status look(naq_quotas *q, int queue, const char *kind, naq_err *err) {
    char bucket[96], key[96];
    naq_kv_entry entry;
    memset(&entry, 0, sizeof entry);
    place(q, queue, kind, bucket, key);
    naq_status status = naq_kv_get(q->conn, bucket, key, &entry, err);
    if (status == NAQ_OK || status == NAQ_KEY_NOT_FOUND) {
        naq_kv_event event = {.operation = status == NAQ_OK ? NAQ_KV_PUT : NAQ_KV_DELETE,
                              .value = entry.value.data,
                              .len = entry.value.len,
                              .revision = entry.revision};
        naq_quotas_seen(q, queue, kind, &event, false);
        status = NAQ_OK;
    }
    naq_buf_free(&entry.value);
    return status;
}

/* Slots */

/* How many to hold, of those the limit leaves to us. What is in hand is held in any case: it runs,
 * and the others have to know. */
static int wanted_slots(naq_quota *a, int limit, int others, int64_t now) {
    int in_hand = atomic_load(&a->in_hand);
    int may = most(0, limit - others);
    int wants = atomic_load(&a->wants), more = atomic_load(&a->wants_more);
    int need = most(in_hand, may / 2 >= more ? most(wants, more) : wants);
    int target = a->mine;
    if (need >= a->mine) {
        a->idle_ms = 0;
        target = most(a->mine, least(need, may));
    } else if (a->idle_ms == 0) {
        a->idle_ms = now;
        atomic_store(&a->peak, in_hand);
    } else if (now - a->idle_ms >= LINGER_MS) {
        a->idle_ms = 0;
        target = least(a->mine, most(atomic_load(&a->peak), need));
    }
    return most(in_hand, least(target, may));
}

static void show_slots(naq_quotas *q, naq_quota *a, int limit, int others) {
    int allowed = least(a->mine, most(0, limit - others));
    bool full = others + a->mine >= limit;
    atomic_store(&a->until_ms, a->renewed_ms + NAQ_LEASE_MS - MARGIN_MS);
    if (atomic_exchange(&a->allowed, allowed) != allowed) q->changed = true;
    if (atomic_exchange(&a->full, full) != full) q->changed = true;
}

/* One compare-and-set. NAQ_WRONG_REVISION: what is known is known anew, once more. */
static naq_status hold(naq_quotas *q, int queue, int slots, int64_t now, naq_err *err) {
    naq_quota *a = &q->all[queue];
    char bucket[96], key[96];
    naq_buf record = {0};
    uint64_t revision = 0;
    place(q, queue, "slots", bucket, key);
    pthread_mutex_lock(&a->mu);
    uint64_t expected = a->leases.revision;
    naq_leases_write(&a->leases, q->worker_id, slots, a->beat + 1, now, &record);
    pthread_mutex_unlock(&a->mu);
    naq_status status = record.failed ? naq_fail(err, NAQ_INVALID, "out of memory")
                                      : naq_kv_put(q->conn, bucket, key, record.data, record.len,
                                                   (int64_t)expected, &revision, err);
    if (status == NAQ_OK) {
        a->beat++;
        a->mine = slots;
        a->renewed_ms = now;
        pthread_mutex_lock(&a->mu);
        naq_leases_read(&a->leases, record.data, record.len, revision, naq_mono_ms());
        pthread_mutex_unlock(&a->mu);
    } else if (status == NAQ_WRONG_REVISION && look(q, queue, "slots", err) != NAQ_OK) {
        status = err->status;
    }
    naq_buf_free(&record);
    return status;
}

/* Whether another worker took our slots for those of one that is gone, while we were frozen or cut
 * off. */
static bool lost(naq_quotas *q, naq_quota *a) {
    pthread_mutex_lock(&a->mu);
    bool holds = a->mine == 0 || naq_leases_holds(&a->leases, q->worker_id, a->mine, a->beat);
    pthread_mutex_unlock(&a->mu);
    return !holds;
}

/* Fewer from now on, unless a job was begun in between: the I/O thread counts a job before it looks
 * at what is allowed, we do it the other way round, so one of us sees the other. */
static bool yielded(naq_quota *a, int slots) {
    atomic_store(&a->allowed, slots);
    return atomic_load(&a->in_hand) <= slots;
}

/* Returns when to look again. */
static int64_t lease_slots(naq_quotas *q, int queue, naq_err *err) {
    naq_quota *a = &q->all[queue];
    int tries = 0;
    for (;;) {
        int64_t now = naq_mono_ms(), lapse_ms;
        pthread_mutex_lock(&a->mu);
        int limit = a->concurrency;
        int others = naq_leases_others(&a->leases, q->worker_id, now, &lapse_ms);
        pthread_mutex_unlock(&a->mu);
        if (limit == 0 && a->mine == 0) return INT64_MAX;
        if (lost(q, a)) {
            naq_log(NAQ_WARNING,
                    "queue %s: worker %s was silent for longer than the lease of its %d slots; "
                    "others may use them while its jobs still run",
                    q->queues[queue], q->worker_id, a->mine);
            a->mine = 0;
        }
        int slots = limit == 0 ? 0 : wanted_slots(a, limit, others, now);
        if (slots < a->mine && !yielded(a, slots)) continue;
        bool due = slots > 0 && now - a->renewed_ms >= NAQ_LEASE_RENEW_MS;
        if (slots != a->mine || due) {
            naq_status status = hold(q, queue, slots, now, err);
            if (status == NAQ_WRONG_REVISION && ++tries < TRIES) continue;
            if (status == NAQ_WRONG_REVISION) return now + 1 + queue % 7;
            if (status != NAQ_OK) return now + AGAIN_MS;
        }
        show_slots(q, a, limit, others);
        int64_t next = INT64_MAX;
        if (a->mine > 0) next = a->renewed_ms + NAQ_LEASE_RENEW_MS;
        if (a->idle_ms > 0) next = a->idle_ms + LINGER_MS;
        if (atomic_load(&a->full) && lapse_ms < next) next = lapse_ms;
        return next;
    }
}

/* Starts */

static int64_t server_now_us(naq_quotas *q) {
    pthread_mutex_lock(&q->mu);
    int64_t us = naq_mono_ms() * 1000 + q->clock.ahead_us;
    pthread_mutex_unlock(&q->mu);
    return us;
}

static int64_t lease_starts(naq_quotas *q, int queue, naq_err *err) {
    naq_quota *a = &q->all[queue];
    char bucket[96], key[96], record[64];
    place(q, queue, "rate", bucket, key);
    for (int tries = 0;; tries++) {
        pthread_mutex_lock(&a->mu);
        double rate = a->rate;
        int64_t until_us = a->taken_us;
        uint64_t expected = a->taken_revision, revision = 0;
        pthread_mutex_unlock(&a->mu);
        int wanted = atomic_load(&a->wants_starts) - atomic_load(&a->starts);
        if (rate <= 0 || wanted <= 0) return INT64_MAX;
        int64_t now = naq_mono_ms(), now_us = server_now_us(q), open_us;
        int64_t slack_us = naq_rate_slack_us(&a->hunger, now);
        int n = naq_rate_take(rate, wanted, slack_us, now_us, &until_us, &open_us);
        int64_t open_ms = now + (open_us > now_us ? (open_us - now_us) / 1000 + 1 : 0);
        if (atomic_exchange(&a->open_ms, open_ms) != open_ms) q->changed = true;
        if (n == 0) {
            naq_rate_wait(&a->hunger, open_ms);
            return open_ms;
        }
        int len = snprintf(record, sizeof record, "{\"until\":%lld}", (long long)until_us);
        naq_status status = naq_kv_put(q->conn, bucket, key, record, (size_t)len, (int64_t)expected,
                                       &revision, err);
        if (status == NAQ_OK) {
            pthread_mutex_lock(&a->mu);
            a->taken_us = until_us;
            a->taken_revision = revision;
            pthread_mutex_unlock(&a->mu);
            atomic_store(&a->starts_ms, now);
            atomic_fetch_add(&a->starts, n);
            q->changed = true;
            tries = 0;
            continue; /* who wants more has to wait until then, or says so later */
        }
        if (status != NAQ_WRONG_REVISION || look(q, queue, "rate", err) != NAQ_OK) {
            atomic_store(&a->open_ms, now + AGAIN_MS);
            return now + AGAIN_MS;
        }
        if (tries >= TRIES) return now + 1 + queue % 7;
    }
}

/* The thread */

static void body(naq_service *service) {
    naq_quotas *q = service->ctx;
    bool told = false;
    int64_t wait = 0;
    do {
        int64_t next = naq_mono_ms() + IDLE_MS;
        bool failed = false;
        int reconnects = naq_conn_reconnects(q->conn);
        bool up = naq_conn_up(q->conn);
        for (int i = 0; i < q->n_queues; i++) {
            naq_err err = {.status = NAQ_OK};
            naq_quota *a = &q->all[i];
            pthread_mutex_lock(&a->mu);
            if (!up || reconnects != q->reconnects) naq_leases_doubt(&a->leases, naq_mono_ms());
            bool idle = a->concurrency == 0 && a->mine == 0 && a->rate <= 0;
            pthread_mutex_unlock(&a->mu);
            if (idle || !up) continue;
            int64_t slots_ms = lease_slots(q, i, &err), starts_ms = lease_starts(q, i, &err);
            if (slots_ms < next) next = slots_ms;
            if (starts_ms < next) next = starts_ms;
            if (err.status == NAQ_OK || err.status == NAQ_WRONG_REVISION) continue;
            failed = true;
            if (!told)
                naq_log(NAQ_WARNING,
                        "queue %s: its limits cannot be asked for: %s; no job of it "
                        "begins without",
                        q->queues[i], err.message);
        }
        told = failed;
        q->reconnects = reconnects;
        if (q->changed) q->news(q->ctx);
        q->changed = false;
        wait = up ? next - naq_mono_ms() : AGAIN_MS;
    } while (naq_service_sleep(service, wait > 0 ? wait : 0));
}

naq_status naq_quotas_open(naq_quotas *q, naq_err *err) {
    q->all = calloc((size_t)q->n_queues, sizeof *q->all);
    if (q->all == NULL) return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    for (int i = 0; i < q->n_queues; i++)
        pthread_mutex_init(&q->all[i].mu, NULL);
    pthread_mutex_init(&q->mu, NULL);
    naq_server_clock_begin(&q->clock, naq_wall_us(), naq_mono_ms() * 1000);
    q->reconnects = naq_conn_reconnects(q->conn);
    naq_service_init(&q->service, "naq-quota", body, q);
    return NAQ_OK;
}

void naq_quotas_close(naq_quotas *q) {
    if (q->all == NULL) return;
    naq_service_stop(&q->service);
    for (int i = 0; i < q->n_queues; i++) {
        naq_err err;
        int tries = 0;
        while (q->all[i].mine > 0 && naq_conn_up(q->conn) && tries++ < TRIES &&
               hold(q, i, 0, naq_mono_ms(), &err) == NAQ_WRONG_REVISION) {
        }
        naq_leases_forget(&q->all[i].leases);
        pthread_mutex_destroy(&q->all[i].mu);
    }
    pthread_mutex_destroy(&q->mu);
    free(q->all);
    q->all = NULL;
}

void naq_quotas_limit(naq_quotas *q, int queue, int concurrency, double rate) {
    naq_quota *a = &q->all[queue];
    pthread_mutex_lock(&a->mu);
    a->concurrency = concurrency;
    a->rate = rate;
    pthread_mutex_unlock(&a->mu);
    naq_err err;
    if ((concurrency > 0 || rate > 0) && !atomic_exchange(&q->begun, true) &&
        naq_service_start(&q->service, &err) != NAQ_OK) {
        naq_log(NAQ_ERROR, "queue %s: its limits cannot be kept, so none of its jobs begins: %s",
                q->queues[queue], err.message);
        atomic_store(&q->begun, false);
    }
    naq_quotas_nudge(q);
}

void naq_quotas_nudge(naq_quotas *q) {
    if (atomic_load(&q->begun)) naq_service_nudge(&q->service);
}

static void void_all(naq_quotas *q) {
    for (int i = 0; i < q->n_queues; i++) {
        naq_quota *a = &q->all[i];
        pthread_mutex_lock(&a->mu);
        naq_leases_forget(&a->leases);
        a->taken_us = 0;
        a->taken_revision = 0;
        pthread_mutex_unlock(&a->mu);
    }
}

void naq_quotas_seen(naq_quotas *q, int queue, const char *kind, const naq_kv_event *event,
                     bool live) {
    if (kind == NULL) {
        void_all(q);
        return;
    }
    naq_quota *a = &q->all[queue];
    bool put = event->operation == NAQ_KV_PUT;
    size_t len = put ? event->len : 0;
    pthread_mutex_lock(&a->mu);
    if (strcmp(kind, "slots") == 0) {
        naq_leases_read(&a->leases, event->value, len, event->revision, naq_mono_ms());
    } else if (strcmp(kind, "rate") == 0 && event->revision > a->taken_revision) {
        a->taken_revision = event->revision;
        a->taken_us = naq_rate_read(event->value, len);
    }
    pthread_mutex_unlock(&a->mu);
    if (!live) return;
    pthread_mutex_lock(&q->mu);
    naq_server_clock_sample(&q->clock, event->created_us, naq_mono_ms() * 1000);
    pthread_mutex_unlock(&q->mu);
    naq_quotas_nudge(q);
}
