/* cancel.c -- a ring of the latest cancels, filled on libnats' thread. */
#include "run/cancel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/reply.h"
#include "run/crew.h"

enum {
    REMEMBERED = 1024, /* cancels */
    ENDED = 1024,
    KEEP_MS = 60 * 1000,
    /* A job that never looked whether it is cancelled is stopped after so long: time to look for
     * the first time. */
    PROMPT_MS = 50
};

typedef struct naq_cancelled {
    uint64_t hash;
    int64_t hop, told_ms;
    bool stopped; /* else contested */
    char id[NAQ_ID_TEXT];
} naq_cancelled;

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
    pthread_mutex_destroy(&c->mu);
    c->worker_id = NULL;
}

/* Looking. The newest entry about a job counts. */

static naq_cancelled *find_locked(naq_cancels *c, const char *id, int64_t hop) {
    if (c->list == NULL) return NULL;
    uint64_t hash = hash_of(id);
    int64_t oldest_ms = naq_mono_ms() - KEEP_MS;
    for (int i = 1; i <= REMEMBERED; i++) {
        naq_cancelled *e = &c->list[(c->next - i + REMEMBERED) % REMEMBERED];
        if (e->id[0] == '\0' || e->told_ms < oldest_ms) {
            if (i == 1) atomic_store(&c->any, false); /* all are older still */
            return NULL;
        }
        if (e->hash == hash && e->hop >= hop && strcmp(e->id, id) == 0) return e;
    }
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

/* Returns whether the job has ended where the cancel would not see it. */
static bool remember(naq_cancels *c, const char *id, int64_t hop, bool stopped) {
    pthread_mutex_lock(&c->mu);
    naq_cancelled *e = find_locked(c, id, hop);
    if (e == NULL) {
        if (c->list == NULL) c->list = calloc(REMEMBERED, sizeof *c->list);
        if (c->list != NULL) {
            e = &c->list[c->next];
            c->next = (c->next + 1) % REMEMBERED;
            *e = (naq_cancelled){.hash = hash_of(id), .hop = hop, .told_ms = naq_mono_ms()};
            memcpy(e->id, id, strlen(id) + 1);
        }
    }
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

/* {"id","hop","stop"} -> {"worker","running","ended","results"} */
static void respond(void *ctx, const char *data, size_t len, naq_buf *out) {
    naq_cancels *c = ctx;
    naq_slice told = {data, len};
    char id[NAQ_ID_TEXT + 1];
    naq_reply_text(told, "id", id, sizeof id);
    if (!naq_id_valid(id, strlen(id))) return;
    naq_slice stop = naq_reply_member(told, "stop");
    bool stopped = stop.len == 4 && memcmp(stop.at, "true", 4) == 0;
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
    c->crew = crew;
    return naq_responder_open(&c->responder, conn, subject, respond, c, err);
}

void naq_cancels_deafen(naq_cancels *c) {
    naq_responder_close(c->responder);
    c->responder = NULL;
}
