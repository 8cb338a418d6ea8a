/* kv.c -- one key at a time: read from the stream's leader, written under a condition. Any thread.
 *
 * The listing is in kvlist.c. */
#include "nats/kv.h"

#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum {
    ATTEMPT_MS = 5000,
    BUDGET_MS = 30000,   /* a leader change takes 4 to 8 s */
    NOBODY_MS = 2000,    /* JetStream itself does not answer: not worth the whole budget */
    FIRST_PAUSE_MS = 20, /* between attempts, doubling */
    LAST_PAUSE_MS = 250
};

static bool key_valid(const char *key) {
    size_t n = strlen(key);
    if (n == 0 || n > 128 || key[0] == '.' || key[n - 1] == '.') return false;
    return strspn(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/=.") == n;
}

static naq_status check_names(const char *bucket, const char *key, naq_err *err) {
    if (strlen(bucket) > 96 || bucket[0] == '\0' || strpbrk(bucket, " .*>\t\r\n\"\\") != NULL)
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no bucket name", bucket);
    if (!key_valid(key))
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no key: 1 to 128 of A-Za-z0-9-_/=.", key);
    return NAQ_OK;
}

static void pause_ms(int64_t *ms) {
    struct timespec t = {.tv_sec = *ms / 1000, .tv_nsec = (*ms % 1000) * 1000000};
    (void)nanosleep(&t, NULL);
    *ms = *ms * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : *ms * 2;
}

static bool worth_again(naq_status status) {
    return status == NAQ_TIMEOUT || status == NAQ_CONNECTION;
}

/* STREAM.MSG.GET for the key, again while the stream has no leader. */
static naq_status get_last(naq_conn *c, const char *bucket, const char *key, naq_buf *answer,
                           naq_err *err) {
    char subject[160], request[320], text[256];
    int64_t end = naq_mono_ms() + BUDGET_MS, pause = FIRST_PAUSE_MS;
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.KV_%s", bucket);
    int n = snprintf(request, sizeof request, "{\"last_by_subj\":\"$KV.%s.%s\"}", bucket, key);
    for (;;) {
        naq_buf_clear(answer);
        naq_status status =
            naq_conn_request(c, subject, request, (size_t)n, ATTEMPT_MS, answer, err);
        if (status == NAQ_OK) {
            int js = naq_reply_error((naq_slice){answer->data, answer->len}, text, sizeof text);
            if (js == 0) return NAQ_OK;
            status = naq_from_js(err, js, text, "key %s of bucket %s", key, bucket);
        }
        if (!worth_again(status) || naq_conn_dead(c) || naq_mono_ms() + pause > end) return status;
        pause_ms(&pause);
    }
}

static bool is_marker(const naq_stored *m) {
    naq_slice operation = naq_stored_header(m, "KV-Operation");
    return operation.at != NULL && (operation.len == 3 || operation.len == 5); /* DEL, PURGE */
}

naq_status naq_kv_get(naq_conn *c, const char *bucket, const char *key, naq_kv_entry *entry,
                      naq_err *err) {
    memset(entry, 0, sizeof *entry);
    naq_status status = check_names(bucket, key, err);
    if (status != NAQ_OK) return status;
    naq_buf answer = {0};
    naq_stored m = {0};
    status = get_last(c, bucket, key, &answer, err);
    if (status == NAQ_OK && !naq_reply_stored((naq_slice){answer.data, answer.len}, &m))
        status = naq_fail(err, NAQ_CONNECTION, "key %s of bucket %s: an answer that is none", key,
                          bucket);
    if (status == NAQ_OK) {
        entry->revision = m.sequence;
        entry->created_us = m.time_us;
        if (is_marker(&m))
            status = naq_fail(err, NAQ_KEY_NOT_FOUND, "key %s of bucket %s: deleted", key, bucket);
    }
    if (status == NAQ_OK) {
        entry->value = m.data;
        memset(&m.data, 0, sizeof m.data);
    }
    naq_stored_free(&m);
    naq_buf_free(&answer);
    return status;
}

/* One publish and its ack. NATS_TIMEOUT and the like: its fate is unknown. */
static natsStatus attempt(naq_conn *c, natsMsg *m, uint64_t *revision, int *js, char *text,
                          size_t size) {
    natsMsg *reply = NULL;
    *js = 0;
    natsStatus s = natsConnection_RequestMsg(&reply, naq_conn_nats_peek(c), m, ATTEMPT_MS);
    if (s != NATS_OK) return s;
    naq_slice answer = {natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply)};
    *js = naq_reply_error(answer, text, size);
    if (*js == 0) *revision = (uint64_t)naq_reply_int(answer, "seq", 0);
    natsMsg_Destroy(reply);
    return NATS_OK;
}

/* Nobody took the publish: no such bucket, or no leader yet. */
static naq_status why_nobody(naq_conn *c, const char *bucket, naq_err *err) {
    char subject[160], text[256];
    naq_buf answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.KV_%s", bucket);
    naq_status status = naq_conn_request(c, subject, "", 0, ATTEMPT_MS, &answer, err);
    if (status == NAQ_OK) {
        int js = naq_reply_error((naq_slice){answer.data, answer.len}, text, sizeof text);
        status = js != 0 ? naq_from_js(err, js, text, "bucket %s", bucket)
                         : naq_fail(err, NAQ_TIMEOUT, "bucket %s: has no leader", bucket);
    }
    naq_buf_free(&answer);
    return status;
}

static bool in_place(naq_conn *c, const char *bucket, const char *key, const void *value,
                     size_t len, uint64_t *revision) {
    naq_kv_entry entry;
    naq_err ignored;
    bool ours = naq_kv_get(c, bucket, key, &entry, &ignored) == NAQ_OK && entry.value.len == len &&
                (len == 0 || memcmp(entry.value.data, value, len) == 0);
    if (ours) *revision = entry.revision;
    naq_buf_free(&entry.value);
    return ours;
}

static natsStatus make_message(natsMsg **m, const char *bucket, const char *key, const void *value,
                               size_t len, int64_t expected, bool marker) {
    char subject[256], number[24];
    (void)snprintf(subject, sizeof subject, "$KV.%s.%s", bucket, key);
    natsStatus s = natsMsg_Create(m, subject, NULL, value != NULL ? value : "", (int)len);
    if (s == NATS_OK && marker) s = natsMsgHeader_Set(*m, "KV-Operation", "DEL");
    if (s == NATS_OK && expected >= 0) {
        (void)snprintf(number, sizeof number, "%lld", (long long)expected);
        s = natsMsgHeader_Set(*m, "Nats-Expected-Last-Subject-Sequence", number);
    }
    return s;
}

static naq_status write_key(naq_conn *c, const char *bucket, const char *key, const void *value,
                            size_t len, int64_t expected, bool marker, uint64_t *revision,
                            naq_err *err) {
    naq_status status = check_names(bucket, key, err);
    if (status != NAQ_OK) return status;
    if ((int64_t)len > naq_conn_max_payload(c))
        return naq_fail(err, NAQ_TOO_LARGE,
                        "key %s of bucket %s: %zu bytes, and the server takes %lld", key, bucket,
                        len, (long long)naq_conn_max_payload(c));
    natsMsg *m = NULL;
    natsStatus s = make_message(&m, bucket, key, value, len, expected, marker);
    char text[256], subject[256];
    (void)snprintf(subject, sizeof subject, "$KV.%s.%s", bucket, key);
    uint64_t mark = naq_conn_denials(c), seq = 0;
    int64_t begin = naq_mono_ms(), pause = FIRST_PAUSE_MS;
    bool unknown = false; /* an earlier attempt may have been stored */
    int js = 0;
    for (bool again = s == NATS_OK; again;) {
        s = attempt(c, m, &seq, &js, text, sizeof text);
        if (s == NATS_OK && js == 0) {
            status = NAQ_OK;
            break;
        }
        if (s == NATS_OK)
            status = naq_from_js(err, js, text, "key %s of bucket %s", key, bucket);
        else if (s == NATS_NO_RESPONDERS)
            status = why_nobody(c, bucket, err);
        else if (s != NATS_TIMEOUT || !naq_conn_denied(c, mark, subject, err))
            status = naq_from_nats(err, s, 0, "key %s of bucket %s", key, bucket);
        else
            status = err->status;
        unknown = unknown || (s != NATS_OK && s != NATS_NO_RESPONDERS);
        if (status == NAQ_WRONG_REVISION && unknown && !marker &&
            in_place(c, bucket, key, value, len, &seq)) {
            status = NAQ_OK;
            break;
        }
        int64_t spent = naq_mono_ms() - begin;
        again = (worth_again(status) && !naq_conn_dead(c) && spent + pause < BUDGET_MS) ||
                (status == NAQ_NO_JETSTREAM && spent < NOBODY_MS);
        if (again) pause_ms(&pause);
    }
    if (m == NULL) status = naq_from_nats(err, s, 0, "key %s of bucket %s", key, bucket);
    natsMsg_Destroy(m);
    if (status == NAQ_OK && revision != NULL) *revision = seq;
    return status;
}

naq_status naq_kv_put(naq_conn *c, const char *bucket, const char *key, const void *value,
                      size_t len, int64_t expected, uint64_t *revision, naq_err *err) {
    return write_key(c, bucket, key, value, len, expected, false, revision, err);
}

naq_status naq_kv_delete(naq_conn *c, const char *bucket, const char *key, int64_t expected,
                         naq_err *err) {
    return write_key(c, bucket, key, NULL, 0, expected, true, NULL, err);
}
