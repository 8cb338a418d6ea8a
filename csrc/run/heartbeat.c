/* heartbeat.c -- the worker's record every interval, and the answer to who runs what. */
#include "run/heartbeat.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/patience.h"
#include "nats/kv.h"

enum { WITHIN_MS = 2000 };

/* Resident memory of the process in bytes; 0 where the system does not tell. */
static long memory(void) {
    long total = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL) return 0;
    if (fscanf(f, "%ld %ld", &total, &resident) != 2) resident = 0;
    (void)fclose(f);
    return resident * sysconf(_SC_PAGESIZE);
}

/* The jobs that run here now: "id","id" for the record, {"id","queue"} for who asks. */
static bool put_running(naq_heartbeat *h, bool queues, naq_buf *b) {
    bool any = false;
    for (int i = 0; i < h->crew->n; i++) {
        naq_doing doing;
        naq_crew_look(h->crew, i, &doing);
        if (doing.id[0] == '\0') continue;
        naq_buf_puts(b, any ? "," : "");
        if (queues)
            naq_buf_printf(b, "{\"id\":\"%s\",\"queue\":\"%s\"}", doing.id, doing.queue);
        else
            naq_buf_printf(b, "\"%s\"", doing.id);
        any = true;
    }
    return any;
}

static void put_record(naq_heartbeat *h, naq_buf *b) {
    bool ready = atomic_load(&h->ready);
    naq_buf_puts(b, "{\"id\":");
    naq_buf_json_string(b, h->worker_id, strlen(h->worker_id));
    naq_buf_puts(b, ",\"host\":");
    naq_buf_json_string(b, h->host, strlen(h->host));
    naq_buf_printf(b, ",\"pid\":%d,\"queues\":[", (int)getpid());
    for (int i = 0; i < h->n_queues; i++)
        naq_buf_printf(b, "%s\"%s\"", i > 0 ? "," : "", h->queues[i]);
    naq_buf_printf(b, "],\"threads\":%d,\"running\":[", h->threads);
    bool busy = ready && put_running(h, false, b);
    const char *state = !ready                      ? "starting"
                        : atomic_load(&h->stopping) ? "stopping"
                        : busy                      ? "busy"
                                                    : "idle";
    naq_buf_printf(b, "],\"state\":\"%s\",\"done\":%ld,\"failed\":%ld,\"started_at\":", state,
                   atomic_load(&h->done), atomic_load(&h->failed));
    naq_buf_time(b, h->started_us);
    naq_buf_puts(b, ",\"seen_at\":");
    naq_buf_time(b, naq_wall_us());
    long bytes = memory();
    if (bytes > 0) naq_buf_printf(b, ",\"memory\":%ld", bytes);
    naq_buf_printf(b, ",\"version\":\"%s\",\"heartbeat_interval\":%.3f}", NAQ_VERSION,
                   (double)h->interval_ms / 1000);
}

static void beat(naq_heartbeat *h) {
    char bucket[96];
    (void)snprintf(bucket, sizeof bucket, "%s_workers", h->prefix);
    naq_buf record = {0};
    put_record(h, &record);
    uint64_t revision;
    naq_err err;
    /* Not insisted on: the next one says more, and who stops the worker waits for this thread. */
    naq_kv_ref place = {
        .c = h->conn, .bucket = bucket, .key = h->worker_id, .within_ms = WITHIN_MS};
    if (!record.failed &&
        naq_kv_write(&place, record.data, record.len, -1, &revision, &err) != NAQ_OK &&
        !naq_service_stopping(&h->service)) /* it would be removed next */
        naq_log(NAQ_WARNING, "worker %s: heartbeat not stored: %s (%s)", h->worker_id, err.message,
                naq_status_code(err.status));
    naq_buf_free(&record);
}

/* Whatever is done without a server insists for its own time, one after the other; who stops the
 * worker would wait for all of it. */
static bool connected(naq_heartbeat *h) {
    if (naq_conn_await(h->conn, WITHIN_MS) > 0) return true;
    if (!naq_service_stopping(&h->service))
        naq_log(NAQ_WARNING, "worker %s: heartbeat not stored: no server for %d ms (%s)",
                h->worker_id, WITHIN_MS, naq_status_code(NAQ_CONNECTION));
    return false;
}

static bool told_to_stop(void *service) {
    return naq_service_stopping(service);
}

static void body(naq_service *service) {
    naq_heartbeat *h = service->ctx;
    naq_patience_ends(told_to_stop, service);
    do {
        if (!connected(h)) continue;
        h->chore(h->chore_ctx);
        beat(h);
    } while (naq_service_sleep(service, h->interval_ms));
    naq_patience_ends(NULL, NULL);
}

void naq_heartbeat_ready(naq_heartbeat *h) {
    atomic_store(&h->ready, true);
    naq_service_nudge(&h->service);
}

void naq_heartbeat_stopping(naq_heartbeat *h, bool stopping) {
    atomic_store(&h->stopping, stopping);
    naq_service_nudge(&h->service);
}

void naq_heartbeat_chore(naq_heartbeat *h) {
    naq_service_nudge(&h->service);
}

/* On libnats' thread: is this job running here? Without an id: which ones are? */
static void respond(void *ctx, const char *data, size_t len, naq_buf *out) {
    naq_heartbeat *h = ctx;
    if (len == 0) {
        naq_buf_printf(out, "{\"worker\":\"%s\",\"jobs\":[", h->worker_id);
        if (atomic_load(&h->ready)) (void)put_running(h, true, out);
        naq_buf_puts(out, "]}");
        return;
    }
    naq_buf_printf(out, "{\"worker\":\"%s\",\"running\":", h->worker_id);
    int seats = atomic_load(&h->ready) ? h->crew->n : 0;
    for (int i = 0; i < seats; i++) {
        naq_doing doing;
        naq_crew_look(h->crew, i, &doing);
        if (strlen(doing.id) != len || memcmp(doing.id, data, len) != 0) continue;
        naq_buf_printf(out, "true,\"queue\":\"%s\",\"started_at\":", doing.queue);
        naq_buf_time(out, doing.started_us);
        naq_buf_putc(out, '}');
        return;
    }
    naq_buf_puts(out, "false}");
}

naq_status naq_heartbeat_start(naq_heartbeat *h, naq_err *err) {
    char subject[96];
    (void)snprintf(subject, sizeof subject, "%s.w.running", h->prefix);
    h->started_us = naq_wall_us();
    naq_service_init(&h->service, "naq-heartbeat", body, h);
    naq_status status = naq_responder_open(&h->responder, h->conn, subject, respond, h, err);
    if (status == NAQ_OK) status = naq_service_start(&h->service, err);
    return status;
}

void naq_heartbeat_stop(naq_heartbeat *h) {
    if (h->service.body == NULL) return;
    naq_service_stop(&h->service);
    naq_responder_close(h->responder);
    h->responder = NULL;
    h->service.body = NULL; /* stopping twice is fine */
    char bucket[96];
    (void)snprintf(bucket, sizeof bucket, "%s_workers", h->prefix);
    naq_err err;
    naq_kv_ref place = {
        .c = h->conn, .bucket = bucket, .key = h->worker_id, .within_ms = WITHIN_MS};
    if (naq_conn_up(h->conn) && !naq_conn_mute(h->conn) &&
        naq_kv_remove(&place, false, -1, &err) != NAQ_OK)
        naq_log(NAQ_INFO, "worker %s: its record was not removed: %s", h->worker_id, err.message);
}
