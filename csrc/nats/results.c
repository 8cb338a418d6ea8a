/* results.c -- where a job's record stands, and waiting for it. Any thread.
 *
 * A record is in one of the buckets of its prefix, by how long it is kept; who looks does not know
 * which, so all are asked at once. */
#include "nats/results.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/patience.h"
#include "nats/inbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum { ASK_MS = 5000, SLICE_MS = 500 };

/* Between two looks at a record, each pause twice the one before it. */
enum { PAUSE_AT_FIRST_MS = 50, PAUSE_AFTER_SIGN_MS = 1, LONGEST_PAUSE_MS = 5000 };

static const struct {
    const char *name;
    double seconds;
} CLASSES[NAQ_RESULT_CLASSES] = {
    [NAQ_RESULTS_1H] = {"1h", 3600},           [NAQ_RESULTS_1D] = {"1d", 86400},
    [NAQ_RESULTS_7D] = {"7d", 7 * 86400},      [NAQ_RESULTS_30D] = {"30d", 30 * 86400},
    [NAQ_RESULTS_FOREVER] = {"forever", -1.0},
};

naq_result_class naq_result_class_for(double ttl_seconds, bool *exact) {
    int k = NAQ_RESULTS_1H;
    while (k < NAQ_RESULTS_FOREVER && !(ttl_seconds <= CLASSES[k].seconds))
        k++;
    if (exact != NULL) *exact = k < NAQ_RESULTS_FOREVER && ttl_seconds >= CLASSES[k].seconds;
    return (naq_result_class)k;
}

void naq_results_bucket(const char *prefix, naq_result_class k, char *out, size_t size) {
    (void)snprintf(out, size, "%s_results_%s", prefix, CLASSES[k].name);
}

void naq_results_subject(const char *prefix, naq_result_class k, char *out, size_t size) {
    (void)snprintf(out, size, "$KV.%s_results_%s.", prefix, CLASSES[k].name);
}

/* The record says itself when it ends where its bucket keeps it longer. */
static bool is_over(const naq_stored *m) {
    if (naq_stored_header(m, "KV-Operation").at != NULL) return true;
    naq_slice at = naq_reply_member((naq_slice){m->data.data, m->data.len}, "expires_at");
    return at.at != NULL && at.at[0] != '"' && at.at[0] != 'n' &&
           naq_json_double(at) * 1e6 <= (double)naq_wall_us();
}

static bool tells_an_end(naq_slice record) {
    char state[16];
    naq_reply_text(record, "state", state, sizeof state);
    return strcmp(state, "completed") == 0 || strcmp(state, "failed") == 0 ||
           strcmp(state, "cancelled") == 0;
}

static bool is_terminal(const naq_buf *record) {
    return tells_an_end((naq_slice){record->data, record->len});
}

static int64_t hop_of(const naq_buf *record) {
    return naq_reply_int((naq_slice){record->data, record->len}, "hop", 0);
}

/* Whether m takes the place of what was found before: a live record before one that is over, the
 * newer of two; but of two ends of the same hop the first. A job has two records when its
 * result_ttl was changed between attempts, or when a worker that was frozen ends it in a bucket of
 * its own after somebody else did. */
static bool better(const naq_record *before, bool before_over, const naq_stored *m, bool over) {
    const naq_buf *earlier = &before->entry.value;
    if (before->entry.revision == 0) return true;
    if (before_over != over) return before_over;
    bool newer = m->time_us > before->entry.created_us;
    bool both_ended = is_terminal(earlier) && is_terminal(&m->data);
    return both_ended && hop_of(earlier) == hop_of(&m->data) ? !newer : newer;
}

/* One class's answer. NAQ_OK: looked at, whatever there was. */
static naq_status consider(naq_slice answer, naq_result_class k, const char *id, naq_record *out,
                           bool *over, naq_err *err) {
    char text[256];
    naq_stored m = {0};
    int js = naq_reply_error(answer, text, sizeof text);
    if (js == NAQ_JS_MSG_NOT_FOUND || js == NAQ_JS_STREAM_NOT_FOUND) return NAQ_OK;
    if (js != 0) return naq_from_js(err, js, text, "record of job %s", id);
    naq_status status = NAQ_OK;
    if (!naq_reply_stored(answer, &m)) {
        status = naq_fail(err, NAQ_CONNECTION, "record of job %s: an answer that is none", id);
    } else {
        bool ended = is_over(&m);
        if (better(out, *over, &m, ended)) {
            naq_buf_free(&out->entry.value);
            *over = ended;
            out->where = k;
            out->expired = ended && naq_stored_header(&m, "KV-Operation").at == NULL;
            out->entry = (naq_kv_entry){m.data, m.sequence, m.time_us};
            memset(&m.data, 0, sizeof m.data);
        }
    }
    naq_stored_free(&m);
    return status;
}

naq_status naq_results_find(naq_conn *c, const char *prefix, const char *id, naq_record *out,
                            naq_err *err) {
    memset(out, 0, sizeof *out);
    if (!naq_id_valid(id, strlen(id)))
        return naq_fail(err, NAQ_INVALID, "\"%.80s\" is no job id: 1 to 64 of A-Za-z0-9_-", id);
    naq_ask asks[NAQ_RESULT_CLASSES] = {0};
    char bucket[96], requests[NAQ_RESULT_CLASSES][256];
    for (int k = 0; k < NAQ_RESULT_CLASSES; k++) {
        naq_results_bucket(prefix, (naq_result_class)k, bucket, sizeof bucket);
        (void)snprintf(asks[k].subject, sizeof asks[k].subject, "$JS.API.STREAM.MSG.GET.KV_%s",
                       bucket);
        (void)snprintf(requests[k], sizeof requests[k], "{\"last_by_subj\":\"$KV.%s.%s\"}", bucket,
                       id);
        asks[k].data = requests[k];
        asks[k].len = strlen(requests[k]);
    }
    naq_status status = naq_ask_all(c, asks, NAQ_RESULT_CLASSES, ASK_MS, err);
    bool over = false;
    for (int k = 0; status == NAQ_OK && k < NAQ_RESULT_CLASSES; k++)
        status = consider(naq_ask_answer(&asks[k]), (naq_result_class)k, id, out, &over, err);
    naq_asks_free(asks, NAQ_RESULT_CLASSES);
    bool found = status == NAQ_OK && out->entry.revision > 0 && !over;
    if (!found) naq_buf_free(&out->entry.value);
    if (status == NAQ_OK && !found)
        status = naq_fail(err, NAQ_JOB_NOT_FOUND, "job %s has no record", id);
    return status;
}

/* Shared by the waiting thread and libnats' delivery threads of its two subscriptions; the last of
 * them to leave frees it. */
typedef struct waiter {
    atomic_int holders;
    pthread_mutex_t mu; /* guards the rest */
    pthread_cond_t wake;
    bool written; /* an end was published to the record's subject */
    naq_buf told; /* the end as told on <prefix>.n.<id> */
} waiter;

static void leave(void *closure) {
    waiter *w = closure;
    if (atomic_fetch_sub(&w->holders, 1) > 1) return;
    naq_buf_free(&w->told);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

static waiter *waiter_new(void) {
    waiter *w = calloc(1, sizeof *w);
    if (w == NULL) return NULL;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&w->mu, NULL);
    atomic_init(&w->holders, 1);
    return w;
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *m, void *closure) {
    (void)nc;
    (void)sub;
    waiter *w = closure;
    naq_slice data = {natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)};
    if (tells_an_end(data)) {
        pthread_mutex_lock(&w->mu);
        if (strncmp(natsMsg_GetSubject(m), "$KV.", 4) == 0)
            w->written = true;
        else if (w->told.len == 0)
            naq_buf_put(&w->told, data.at, data.len);
        pthread_cond_signal(&w->wake);
        pthread_mutex_unlock(&w->mu);
    }
    natsMsg_Destroy(m);
}

static naq_status listen(naq_conn *c, const char *subject, waiter *w, natsSubscription **sub,
                         naq_err *err) {
    atomic_fetch_add(&w->holders, 1);
    natsStatus s = naq_listen(c, subject, NULL, on_message, leave, w, sub);
    if (s == NATS_OK) return NAQ_OK;
    /* Subscribed all the same, it may still call on_message: what it holds is lost. */
    if (*sub == NULL) leave(w);
    return naq_from_nats(err, s, 0, "subscribing to %s", subject);
}

/* Until woken or the time is over. What was told goes to out. */
static void doze(waiter *w, int64_t ms, naq_buf *out, bool *written) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->mu);
    int rc = 0;
    while (!w->written && w->told.len == 0 && rc == 0)
        rc = pthread_cond_timedwait(&w->wake, &w->mu, &until);
    *written = w->written;
    w->written = false;
    if (w->told.len > 0) naq_buf_put(out, w->told.data, w->told.len);
    naq_buf_clear(&w->told);
    pthread_mutex_unlock(&w->mu);
}

/* NAQ_OK with the record in out, NAQ_JOB_NOT_FOUND while there is no terminal one. */
static naq_status look(naq_conn *c, const char *prefix, const char *id, naq_buf *out,
                       naq_err *err) {
    naq_record record;
    naq_status status = naq_results_find(c, prefix, id, &record, err);
    if (status == NAQ_OK && is_terminal(&record.entry.value))
        naq_buf_put(out, record.entry.value.data, record.entry.value.len);
    else if (status == NAQ_OK)
        status = NAQ_JOB_NOT_FOUND;
    naq_buf_free(&record.entry.value);
    return status;
}

static bool may_pass(naq_status status) {
    return status == NAQ_JOB_NOT_FOUND || status == NAQ_TIMEOUT || status == NAQ_CONNECTION;
}

/* Looks at once, after each sign of an end, after a reconnect, and in between at growing pauses.
 *
 * A server hands a write to those who listen before it stores it, and how long that takes depends
 * on its disk. So neither a look that found nothing after a sign is the last word, nor one after
 * listening began: the sign may have gone by before that, and its record not have been stored. */
static naq_status wait_for(naq_conn *c, const char *prefix, const char *id, int64_t timeout_ms,
                           waiter *w, naq_buf *out, naq_err *err) {
    int64_t end = naq_mono_ms() + timeout_ms, next_look = 0, pause = PAUSE_AT_FIRST_MS;
    int reconnects = naq_conn_reconnects(c);
    size_t before = out->len;
    for (;;) {
        int64_t now = naq_mono_ms();
        if (now >= next_look) {
            naq_status status = look(c, prefix, id, out, err);
            if (!may_pass(status) || naq_conn_dead(c)) return status;
            now = naq_mono_ms();
            next_look = now + pause;
            pause = pause * 2 < LONGEST_PAUSE_MS ? pause * 2 : LONGEST_PAUSE_MS;
        }
        if (naq_patience_left(end) <= 0)
            return naq_fail(err, NAQ_TIMEOUT, "job %s has not ended in %lld ms", id,
                            (long long)timeout_ms);
        int64_t rest = end - now < next_look - now ? end - now : next_look - now;
        bool written;
        doze(w, naq_patience_slice(rest < SLICE_MS ? rest : SLICE_MS), out, &written);
        if (out->len > before) return NAQ_OK;
        if (written || naq_conn_reconnects(c) != reconnects) {
            reconnects = naq_conn_reconnects(c);
            pause = PAUSE_AFTER_SIGN_MS;
            next_look = 0;
        }
    }
}

naq_status naq_results_wait(naq_conn *c, const char *prefix, const char *id, int64_t timeout_ms,
                            naq_buf *out, naq_err *err) {
    if (!naq_id_valid(id, strlen(id)))
        return naq_fail(err, NAQ_INVALID, "\"%.80s\" is no job id: 1 to 64 of A-Za-z0-9_-", id);
    waiter *w = waiter_new();
    if (w == NULL) return naq_fail(err, NAQ_CONNECTION, "waiting for job %s: out of memory", id);
    natsSubscription *record = NULL, *end = NULL;
    char subject[192];
    (void)snprintf(subject, sizeof subject, "$KV.*.%s", id);
    naq_status status = listen(c, subject, w, &record, err);
    (void)snprintf(subject, sizeof subject, "%s.n.%s", prefix, id);
    if (status == NAQ_OK) status = listen(c, subject, w, &end, err);
    if (status == NAQ_OK) status = wait_for(c, prefix, id, timeout_ms, w, out, err);
    naq_unsubscribe(c, record);
    naq_unsubscribe(c, end);
    leave(w);
    return status;
}
