/* control.c -- the watch on the settings. */
#include "run/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    HEARTBEAT_MS = 60000, /* an idle worker wakes for it, and to look whether it came */
    FIRST_MS = 30000,
    WAIT_MS = 60000,
    PAUSE_MS = 500
};

typedef struct naq_known {
    naq_setting record;
    naq_buf policy; /* JSON, or empty */
    bool seen;      /* in this reading of the bucket */
    bool warned;    /* that the file says something else */
} naq_known;

static int find_queue(const naq_control *c, const char *name, size_t len) {
    for (int i = 0; i < c->n_queues; i++)
        if (strlen(c->queues[i]) == len && memcmp(c->queues[i], name, len) == 0) return i;
    return -1;
}

/* Said once a queue: a file that is not followed is somebody's mistake, and no reason to stop. */
static void compare(naq_control *c, int queue) {
    naq_known *known = &c->records[queue];
    const char *what = naq_setting_differs(&known->record, &c->files[queue]);
    if (what == NULL || known->warned) return;
    known->warned = true;
    naq_log(NAQ_WARNING,
            "queue %s: %s is set in NATS, and the configuration of this worker says something "
            "else; what is set in NATS holds (naq queue set %s %s= unsets it)",
            c->queues[queue], what, c->queues[queue], what);
}

/* [takes policy] */
static void take(naq_control *c, int queue, const naq_setting *record, naq_buf *policy) {
    pthread_mutex_lock(&c->mu);
    naq_known *known = &c->records[queue];
    known->seen = true;
    bool same = memcmp(&known->record, record, sizeof *record) == 0;
    known->record = *record;
    if (policy->failed || known->policy.len != policy->len ||
        (policy->len > 0 && memcmp(known->policy.data, policy->data, policy->len) != 0)) {
        naq_buf before = known->policy;
        known->policy = *policy;
        *policy = before;
        same = false;
        atomic_fetch_add(&c->policies, 1);
    }
    naq_buf_free(policy);
    pthread_mutex_unlock(&c->mu);
    compare(c, queue);
    if (same) return;
    atomic_fetch_add(&c->version, 1);
    c->changed(c->ctx);
}

static void read_record(naq_control *c, int queue, const naq_kv_event *event) {
    naq_setting record = {0};
    naq_buf policy = {0};
    naq_err err;
    if (event->operation == NAQ_KV_PUT &&
        naq_setting_read(&record, event->value, event->len, &err) != NAQ_OK)
        naq_log(NAQ_WARNING,
                "queue %s: its settings in bucket %s_control are not followed in "
                "part: %s",
                c->queues[queue], c->prefix, err.message);
    if (event->operation == NAQ_KV_PUT) naq_setting_policy(event->value, event->len, &policy);
    take(c, queue, &record, &policy);
}

/* Queues whose records are gone without an event, because the bucket was made anew. */
static void forget_unseen(naq_control *c) {
    for (int i = 0; i < c->n_queues; i++) {
        pthread_mutex_lock(&c->mu);
        bool seen = c->records[i].seen;
        pthread_mutex_unlock(&c->mu);
        naq_setting nothing = {0};
        naq_buf no_policy = {0};
        if (!seen) take(c, i, &nothing, &no_policy);
    }
}

static void begin_reading(naq_control *c) {
    pthread_mutex_lock(&c->mu);
    for (int i = 0; i < c->n_queues; i++)
        c->records[i].seen = false;
    c->live = false;
    pthread_mutex_unlock(&c->mu);
}

/* True: all that stood in the bucket has been read. */
static bool handle(naq_control *c, const naq_kv_event *event) {
    if (event->operation == NAQ_KV_RESET) {
        begin_reading(c);
        c->leases(c->ctx, -1, NULL, NULL, false);
    } else if (event->operation == NAQ_KV_UP_TO_DATE) {
        forget_unseen(c);
        c->live = true;
        return true;
    } else {
        const char *dot = strchr(event->key, '.');
        size_t len = dot != NULL ? (size_t)(dot - event->key) : strlen(event->key);
        int queue = find_queue(c, event->key, len);
        if (queue >= 0 && dot == NULL)
            read_record(c, queue, event);
        else if (queue >= 0)
            c->leases(c->ctx, queue, dot + 1, event, c->live);
    }
    return false;
}

/* NULL: closed. */
static void replace(naq_control *c, naq_kv_watch *watch) {
    pthread_mutex_lock(&c->mu);
    naq_kv_watch *old = c->watch;
    c->watch = watch;
    pthread_mutex_unlock(&c->mu);
    naq_kv_watch_close(old);
}

static naq_status open_watch(naq_control *c, naq_err *err) {
    char bucket[96];
    naq_kv_watch_options options = {.slice_ms = HEARTBEAT_MS, .heartbeat_ms = HEARTBEAT_MS};
    naq_kv_watch *watch = NULL;
    (void)snprintf(bucket, sizeof bucket, "%s_control", c->prefix);
    begin_reading(c);
    naq_status status = naq_kv_watch_open(&watch, c->conn, bucket, ">", &options, err);
    replace(c, watch);
    return status;
}

static bool ending(naq_control *c) {
    return atomic_load(&c->ending) || naq_service_stopping(&c->service);
}

static void body(naq_service *service) {
    naq_control *c = service->ctx;
    bool told = false;
    while (!ending(c)) {
        naq_kv_event event;
        naq_err err;
        naq_status status = c->watch == NULL ? open_watch(c, &err) : NAQ_OK;
        if (status == NAQ_OK) status = naq_kv_watch_next(c->watch, WAIT_MS, &event, &err);
        if (status == NAQ_OK) {
            told = false;
            (void)handle(c, &event);
        } else if (status != NAQ_TIMEOUT && !ending(c)) {
            if (!told)
                naq_log(NAQ_WARNING, "settings of queues: %s; what was set last holds",
                        err.message);
            told = true;
            replace(c, NULL);
            (void)naq_service_sleep(service, PAUSE_MS);
        }
    }
}

naq_status naq_control_open(naq_control *c, naq_err *err) {
    c->records = calloc((size_t)c->n_queues, sizeof *c->records);
    if (c->records == NULL) return naq_fail(err, NAQ_INVALID, "worker: out of memory");
    pthread_mutex_init(&c->mu, NULL);
    naq_service_init(&c->service, "naq-control", body, c);
    naq_status status = open_watch(c, err);
    int64_t until = naq_mono_ms() + FIRST_MS;
    for (bool all = false; status == NAQ_OK && !all;) {
        naq_kv_event event;
        status = naq_kv_watch_next(c->watch, until - naq_mono_ms(), &event, err);
        if (status == NAQ_OK) all = handle(c, &event);
    }
    if (status == NAQ_OK) status = naq_service_start(&c->service, err);
    return status == NAQ_OK ? NAQ_OK : naq_wrap(err, "settings of queues");
}

void naq_control_leave(naq_control *c) {
    atomic_store(&c->ending, true);
    pthread_mutex_lock(&c->mu);
    if (c->watch != NULL) naq_kv_watch_end(c->watch);
    pthread_mutex_unlock(&c->mu);
}

void naq_control_close(naq_control *c) {
    if (c->records == NULL) return;
    naq_control_leave(c);
    naq_service_stop(&c->service);
    naq_kv_watch_close(c->watch);
    pthread_mutex_destroy(&c->mu);
    for (int i = 0; i < c->n_queues; i++)
        naq_buf_free(&c->records[i].policy);
    free(c->records);
    c->records = NULL;
    c->watch = NULL;
}

naq_setting naq_control_setting(naq_control *c, int queue) {
    pthread_mutex_lock(&c->mu);
    naq_setting record = c->records[queue].record;
    pthread_mutex_unlock(&c->mu);
    return naq_setting_over(&record, &c->files[queue]);
}

void naq_control_policies(void *control, naq_buf *out) {
    naq_control *c = control;
    size_t begin = out->len;
    pthread_mutex_lock(&c->mu);
    for (int i = 0; i < c->n_queues; i++) {
        const naq_buf *policy = &c->records[i].policy;
        if (policy->len == 0) continue;
        naq_buf_printf(out, "%s\"%s\":", out->len == begin ? "{" : ",", c->queues[i]);
        naq_buf_put(out, policy->data, policy->len);
    }
    pthread_mutex_unlock(&c->mu);
    if (out->len > begin) naq_buf_putc(out, '}');
}

unsigned naq_control_policy_version(naq_control *c) {
    return atomic_load(&c->policies);
}

unsigned naq_control_version(naq_control *c) {
    return atomic_load(&c->version);
}
