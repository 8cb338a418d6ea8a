/* cancel.c -- a table of the latest cancels, filled on libnats' thread: sets of a few entries,
 * found by the hash of the id, so that looking costs the same however many there are. */
#include "run/cancel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/reply.h"
#include "run/crew.h"

enum {
    SETS = 512,
    WAYS = 4, /* in a set the oldest makes room */
    ENDED = 1024,
    DROPS = 256,
    KEEP_MS = 600 * 1000,
    KEEP_DROP_MS = 10 * 1000, /* what is fetched is begun or given back much sooner */
    AWAIT_MS = 2000,
    /* A job that never looked whether it is cancelled is stopped after so long: time to look for
     * the first time. */
    PROMPT_MS = 20
};

typedef struct naq_cancelled {
    uint64_t hash;
    int64_t hop, told_ms;
    bool stopped; /* else contested */
    char id[NAQ_ID_TEXT];
} naq_cancelled;

typedef struct naq_dropping {
    uint64_t hash, seq; /* seq 0: none, or forgotten */
    int64_t told_ms;
    bool taken; /* a thread has it, and drops it */
} naq_dropping;

static uint64_t hash_of(const char *id) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (; *id != '\0'; id++)
        h = (h ^ (unsigned char)*id) * 1099511628211u;
    return h;
}

void naq_cancels_init(naq_cancels *c, const char *worker_id, double result_ttl) {
    c->worker_id = worker_id;
    c->results = naq_result_class_for(result_ttl, NULL);
    pthread_mutex_init(&c->mu, NULL);
}

void naq_cancels_free(naq_cancels *c) {
    if (c->worker_id == NULL) return;
    free(c->list);
    free(c->ended);
    free(c->drops);
    pthread_mutex_destroy(&c->mu);
    c->worker_id = NULL;
}

/* Looking */

static naq_cancelled *set_of(naq_cancels *c, uint64_t hash) {
    return &c->list[hash % SETS * WAYS];
}

static naq_cancelled *find_locked(naq_cancels *c, const char *id, int64_t hop) {
    if (c->list == NULL) return NULL;
    int64_t oldest_ms = naq_mono_ms() - KEEP_MS;
    if (c->told_ms < oldest_ms) {
        atomic_store(&c->any, false);
        return NULL;
    }
    uint64_t hash = hash_of(id);
    naq_cancelled *set = set_of(c, hash);
    for (int i = 0; i < WAYS; i++)
        if (set[i].hash == hash && set[i].told_ms >= oldest_ms && set[i].hop >= hop &&
            strcmp(set[i].id, id) == 0)
            return &set[i];
    return NULL;
}

bool naq_cancels_has(naq_cancels *c, const char *id, int64_t hop) {
    if (!atomic_load(&c->any)) return false;
    pthread_mutex_lock(&c->mu);
    naq_cancelled *e = find_locked(c, id, hop);
    bool stopped = e != NULL && e->stopped;
    pthread_mutex_unlock(&c->mu);
    return stopped;
}

bool naq_cancels_end(naq_cancels *c, const char *id, int64_t hop) {
    uint64_t hash = hash_of(id);
    pthread_mutex_lock(&c->mu);
    bool free_to = find_locked(c, id, hop) == NULL;
    if (c->ended == NULL) c->ended = calloc(ENDED, sizeof *c->ended);
    if (free_to && c->ended != NULL) {
        c->ended[c->next_ended] = hash;
        c->next_ended = (c->next_ended + 1) % ENDED;
    }
    pthread_mutex_unlock(&c->mu);
    return free_to;
}

/* Being told */

static bool has_ended_locked(const naq_cancels *c, uint64_t hash) {
    for (int i = 0; c->ended != NULL && i < ENDED; i++)
        if (c->ended[i] == hash) return true;
    return false;
}

static naq_cancelled *add_locked(naq_cancels *c, const char *id, int64_t hop) {
    if (c->list == NULL) c->list = calloc(SETS * WAYS, sizeof *c->list);
    if (c->list == NULL) return NULL;
    uint64_t hash = hash_of(id);
    naq_cancelled *set = set_of(c, hash), *oldest = set;
    for (int i = 1; i < WAYS; i++)
        if (set[i].told_ms < oldest->told_ms) oldest = &set[i];
    *oldest = (naq_cancelled){.hash = hash, .hop = hop, .told_ms = naq_mono_ms()};
    memcpy(oldest->id, id, strlen(id) + 1);
    return oldest;
}

/* Returns whether the job has ended where the cancel would not see it. */
static bool remember(naq_cancels *c, const char *id, int64_t hop, bool stopped) {
    pthread_mutex_lock(&c->mu);
    c->told_ms = naq_mono_ms();
    naq_cancelled *e = find_locked(c, id, hop);
    if (e == NULL) e = add_locked(c, id, hop);
    if (e != NULL && stopped) e->stopped = true;
    bool ended = has_ended_locked(c, hash_of(id));
    atomic_store(&c->any, true);
    pthread_mutex_unlock(&c->mu);
    return ended;
}

static bool runs(naq_crew *crew, const char *id) {
    for (int i = 0; i < crew->n; i++) {
        naq_doing doing;
        naq_crew_look(crew, i, &doing);
        if (strcmp(doing.id, id) == 0) return true;
    }
    return false;
}

/* Dropping */

static naq_dropping *find_drop_locked(naq_cancels *c, uint64_t hash, uint64_t seq) {
    for (int i = 0; c->drops != NULL && i < DROPS; i++)
        if (c->drops[i].seq == seq && c->drops[i].hash == hash) return &c->drops[i];
    return NULL;
}

bool naq_cancels_drops(naq_cancels *c, const char *id, uint64_t seq) {
    if (!atomic_load(&c->any_drops)) return false;
    pthread_mutex_lock(&c->mu);
    naq_dropping *d = find_drop_locked(c, hash_of(id), seq);
    bool drops = d != NULL && naq_mono_ms() - d->told_ms < KEEP_DROP_MS;
    if (drops) d->taken = true;
    pthread_mutex_unlock(&c->mu);
    return drops;
}

static void forget_drop(naq_cancels *c, const char *id, uint64_t seq) {
    pthread_mutex_lock(&c->mu);
    naq_dropping *d = find_drop_locked(c, hash_of(id), seq);
    if (d != NULL) d->seq = 0;
    pthread_mutex_unlock(&c->mu);
}

/* Noted first, as a cancel is: a thread that takes the job from here on drops it, and one that took
 * it before is seen as running it, unless it has just found this note. Returns whether it is, or
 * will be, dropped here. */
static bool drop(naq_cancels *c, const char *id, uint64_t seq) {
    pthread_mutex_lock(&c->mu);
    if (c->drops == NULL) c->drops = calloc(DROPS, sizeof *c->drops);
    naq_dropping *d = NULL;
    if (c->drops != NULL) {
        d = &c->drops[c->next_drop];
        c->next_drop = (c->next_drop + 1) % DROPS;
        *d = (naq_dropping){.hash = hash_of(id), .seq = seq, .told_ms = naq_mono_ms()};
        atomic_store(&c->any_drops, true);
    }
    pthread_mutex_unlock(&c->mu);
    if (d == NULL) return false;
    /* In this order: a job is noted as ended before its thread goes on to the next. */
    bool begun = runs(c->crew, id) || naq_slots_ended(c->crew->bench.slots, seq);
    pthread_mutex_lock(&c->mu);
    bool drops = !begun || d->taken;
    if (!drops) d->seq = 0;
    pthread_mutex_unlock(&c->mu);
    return drops;
}

static void respond_drop(naq_cancels *c, const char *id, naq_slice told, bool wanted,
                         naq_buf *out) {
    uint64_t seq = (uint64_t)naq_reply_int(told, "seq", 0);
    bool drops = wanted && seq > 0 && drop(c, id, seq);
    if (!wanted) forget_drop(c, id, seq);
    naq_buf_printf(out, "{\"worker\":\"%s\",\"drops\":%s}", c->worker_id, drops ? "true" : "false");
}

static bool is_true(naq_slice value) {
    return value.len == 4 && memcmp(value.at, "true", 4) == 0;
}

/* {"id","hop","stop"} -> {"worker","running","ended","results"}
 * {"id","seq","drop"} -> {"worker","drops"} */
static void respond(void *ctx, const char *data, size_t len, naq_buf *out) {
    naq_cancels *c = ctx;
    naq_slice told = {data, len};
    char id[NAQ_ID_TEXT + 1];
    naq_reply_text(told, "id", id, sizeof id);
    if (!naq_id_valid(id, strlen(id))) return;
    naq_slice dropped = naq_reply_member(told, "drop");
    if (dropped.at != NULL) {
        respond_drop(c, id, told, is_true(dropped), out);
        return;
    }
    bool stopped = is_true(naq_reply_member(told, "stop"));
    /* Remembered first: a thread that takes the job from here on sees it, and one that took it
     * before is seen as running it. */
    bool ended = remember(c, id, naq_reply_int(told, "hop", 0), stopped);
    bool running = runs(c->crew, id);
    if (stopped && naq_crew_interrupt(c->crew, id, NAQ_STOP_CANCELLED, PROMPT_MS))
        naq_log(NAQ_INFO, "job %s is cancelled while it runs", id);
    char bucket[96];
    naq_results_bucket("", c->results, bucket, sizeof bucket);
    naq_buf_printf(out, "{\"worker\":\"%s\",\"running\":%s,\"ended\":%s,\"results\":\"%s\"}",
                   c->worker_id, running ? "true" : "false", ended ? "true" : "false",
                   bucket + strlen("_results_"));
}

naq_status naq_cancels_listen(naq_cancels *c, naq_conn *conn, const char *prefix,
                              struct naq_crew *crew, naq_err *err) {
    char subject[96];
    (void)snprintf(subject, sizeof subject, "%s.w.cancel", prefix);
    pthread_mutex_lock(&c->mu);
    c->crew = crew;
    pthread_mutex_unlock(&c->mu);
    return naq_responder_open(&c->responder, conn, subject, respond, c, err);
}

static bool is_cancelled(naq_conn *conn, const char *prefix, const char *id) {
    naq_record record;
    memset(&record, 0, sizeof record);
    naq_err ignored;
    char state[16] = "";
    if (naq_results_find(conn, prefix, id, &record, &ignored) == NAQ_OK)
        naq_reply_text((naq_slice){record.entry.value.data, record.entry.value.len}, "state", state,
                       sizeof state);
    naq_buf_free(&record.entry.value);
    return strcmp(state, "cancelled") == 0;
}

void naq_cancels_review(naq_cancels *c, naq_conn *conn, const char *prefix) {
    pthread_mutex_lock(&c->mu);
    naq_crew *crew = c->crew; /* NULL: it does not run yet */
    pthread_mutex_unlock(&c->mu);
    /* What is cancelled once the connection is back is heard. */
    if (crew == NULL || naq_conn_await(conn, AWAIT_MS) == 0) return;
    for (int i = 0; i < crew->n; i++) {
        naq_doing doing;
        naq_crew_look(crew, i, &doing);
        if (doing.id[0] == '\0' || !is_cancelled(conn, prefix, doing.id)) continue;
        if (naq_crew_interrupt(crew, doing.id, NAQ_STOP_CANCELLED, PROMPT_MS))
            naq_log(NAQ_INFO, "job %s was cancelled while it runs", doing.id);
    }
}

void naq_cancels_deafen(naq_cancels *c) {
    naq_responder_close(c->responder);
    c->responder = NULL;
}
