/* doubt.c -- which deliveries have their record read first though they look new. */
#include "run/doubt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/envelope.h"
#include "nats/kv.h"
#include "run/sweep.h"

/* What comes back comes first, in the order of the stream, and most of it has a record: behind so
 * many in a row that have none (more than a few workers' prefetch) nothing else was run. */
enum { CLEAN_RUN = 2048, LOOK_MS = 2000 };

static void place(const naq_doubt *d, int queue, char *bucket, size_t bucket_size, char *key,
                  size_t key_size) {
    (void)snprintf(bucket, bucket_size, "%s_control", d->prefix);
    (void)snprintf(key, key_size, "%s.server", d->queues[queue]);
}

/* A direct get: a bucket that is being made at this moment does not answer it, while a
 * STREAM.MSG.GET in that moment ends nats-server 2.9.10. No answer means: not remembered. */
static bool remembered(naq_doubt *d, int queue) {
    char bucket[96], key[96], subject[160], request[256];
    place(d, queue, bucket, sizeof bucket, key, sizeof key);
    (void)snprintf(subject, sizeof subject, "$JS.API.DIRECT.GET.KV_%s", bucket);
    int n = snprintf(request, sizeof request, "{\"last_by_subj\":\"$KV.%s.%s\"}", bucket, key);
    naq_buf answer = {0};
    naq_err err;
    bool same =
        naq_conn_request(d->conn, subject, request, (size_t)n, LOOK_MS, &answer, &err) == NAQ_OK &&
        answer.len == strlen(d->server) && memcmp(answer.data, d->server, answer.len) == 0;
    naq_buf_free(&answer);
    return same;
}

static void raise_all(naq_doubt *d) {
    for (int i = 0; i < d->n_queues; i++) {
        d->unwritten[i] = false;
        for (int p = 0; p < NAQ_PRIORITIES; p++) {
            d->left[i * NAQ_PRIORITIES + p] = CLEAN_RUN;
            d->sweeps[i * NAQ_PRIORITIES + p] = (naq_sweeping){.wanted = true};
        }
    }
    d->connected_us = naq_wall_us();
}

naq_status naq_doubt_open(naq_doubt *d, naq_conn *conn, const char *prefix,
                          const char *const *queues, int n_queues, naq_err *err) {
    memset(d, 0, sizeof *d);
    d->conn = conn;
    d->prefix = prefix;
    d->queues = queues;
    d->n_queues = n_queues;
    pthread_mutex_init(&d->mu, NULL);
    d->left = calloc((size_t)n_queues * NAQ_PRIORITIES, sizeof *d->left);
    d->unwritten = calloc((size_t)n_queues, sizeof *d->unwritten);
    d->sweeps = calloc((size_t)n_queues * NAQ_PRIORITIES, sizeof *d->sweeps);
    if (d->left == NULL || d->unwritten == NULL || d->sweeps == NULL)
        return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    naq_server_info info;
    naq_conn_info(conn, &info);
    (void)snprintf(d->server, sizeof d->server, "%s", info.id);
    d->cluster = info.cluster[0] != '\0';
    raise_all(d);
    for (int i = 0; i < n_queues; i++) {
        if (d->cluster || !remembered(d, i)) continue;
        memset(&d->left[i * NAQ_PRIORITIES], 0, NAQ_PRIORITIES * sizeof *d->left);
        memset(&d->sweeps[i * NAQ_PRIORITIES], 0, NAQ_PRIORITIES * sizeof *d->sweeps);
    }
    return NAQ_OK;
}

void naq_doubt_close(naq_doubt *d) {
    if (d->conn == NULL) return;
    free(d->left);
    free(d->sweeps);
    free(d->unwritten);
    pthread_mutex_destroy(&d->mu);
    memset(d, 0, sizeof *d);
}

void naq_doubt_connected(naq_doubt *d, const naq_server_info *server) {
    pthread_mutex_lock(&d->mu);
    /* The same start of the same server: only the line was cut. Its memory is whole. */
    if (d->cluster || strcmp(d->server, server->id) != 0) {
        (void)snprintf(d->server, sizeof d->server, "%s", server->id);
        raise_all(d);
    }
    pthread_mutex_unlock(&d->mu);
}

static void settle(naq_doubt *d, int consumer, bool *remember) {
    d->left[consumer] = 0;
    int queue = consumer / NAQ_PRIORITIES;
    for (int p = 0; p < NAQ_PRIORITIES; p++)
        if (d->left[queue * NAQ_PRIORITIES + p] > 0) return;
    pthread_mutex_lock(&d->mu);
    d->unwritten[queue] = true;
    pthread_mutex_unlock(&d->mu);
    *remember = true;
}

void naq_doubt_again(naq_doubt *d, int consumer) {
    d->left[consumer] = CLEAN_RUN;
    d->connected_us = naq_wall_us();
}

void naq_doubt_empty(naq_doubt *d, int consumer, bool *remember) {
    if (d->left[consumer] > 0) settle(d, consumer, remember);
}

bool naq_doubt_delivered(naq_doubt *d, int consumer, int64_t stored_us, bool *remember) {
    if (d->left[consumer] == 0) return false;
    /* First deliveries come in the order of the stream: behind one that is newer than our
     * connection all are. */
    if (stored_us <= d->connected_us) return true;
    settle(d, consumer, remember);
    return false;
}

void naq_doubt_seen(naq_doubt *d, int consumer, bool clean, bool *remember) {
    if (d->left[consumer] == 0) return;
    if (!clean)
        d->left[consumer] = CLEAN_RUN;
    else if (d->left[consumer] == 1)
        settle(d, consumer, remember);
    else
        d->left[consumer]--;
}

/* The one who reconnects raises the doubts again, on another thread: what was found out about the
 * start before must not count for this one, so each step looks whether the server is still the
 * same. */
static bool sweep(naq_doubt *d, int consumer, const char *server) {
    naq_sweeping *s = &d->sweeps[consumer];
    pthread_mutex_lock(&d->mu);
    naq_sweeping now = *s;
    pthread_mutex_unlock(&d->mu);
    if (!now.wanted) return true;
    now.wanted = !naq_sweep(d->conn, d->prefix, d->queues[consumer / NAQ_PRIORITIES],
                            (naq_priority)(consumer % NAQ_PRIORITIES), &now.until, &now.passed);
    pthread_mutex_lock(&d->mu);
    bool same = strcmp(d->server, server) == 0;
    if (same) *s = now;
    pthread_mutex_unlock(&d->mu);
    return same && !now.wanted;
}

static void remember(naq_doubt *d, int queue, const char *server) {
    char bucket[96], key[96];
    place(d, queue, bucket, sizeof bucket, key, sizeof key);
    uint64_t revision;
    naq_err err;
    if (naq_kv_put(d->conn, bucket, key, server, strlen(server), -1, &revision, &err) != NAQ_OK)
        naq_log(NAQ_INFO, "queue %s: the server it was served on is not remembered: %s",
                d->queues[queue], err.message);
}

void naq_doubt_clear(naq_doubt *d) {
    char server[64];
    for (int i = 0; i < d->n_queues; i++) {
        pthread_mutex_lock(&d->mu);
        memcpy(server, d->server, sizeof server);
        bool cluster = d->cluster;
        pthread_mutex_unlock(&d->mu);
        bool clean = true;
        for (int p = 0; p < NAQ_PRIORITIES; p++)
            clean &= sweep(d, i * NAQ_PRIORITIES + p, server);
        pthread_mutex_lock(&d->mu);
        bool write = clean && d->unwritten[i] && !cluster && strcmp(d->server, server) == 0;
        if (write) d->unwritten[i] = false;
        pthread_mutex_unlock(&d->mu);
        if (write) remember(d, i, server);
    }
}
