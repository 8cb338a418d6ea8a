/* kvask.c -- names of buckets and keys, and how long to insist. */
#include "nats/kvask.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/patience.h"
#include "nats/kv.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum { FIRST_PAUSE_MS = 20, LAST_PAUSE_MS = 250 }; /* doubling */

#define NAME_CHARS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

static bool bucket_valid(const char *bucket) {
    size_t n = strlen(bucket);
    return n > 0 && n <= NAQ_KV_BUCKET_MAX && strspn(bucket, NAME_CHARS) == n;
}

/* Tokens with a '.' between each two, of which wildcards may be whole ones. */
static bool key_valid(const char *key, bool wildcards) {
    size_t n = strlen(key);
    if (n == 0 || n > NAQ_KV_KEY_MAX) return false;
    for (const char *at = key;; at++) {
        size_t token = strspn(at, NAME_CHARS "/=");
        if (token == 0 && wildcards && (*at == '*' || (*at == '>' && at[1] == '\0'))) token = 1;
        at += token;
        if (token == 0 || (*at != '.' && *at != '\0')) return false;
        if (*at == '\0') return true;
    }
}

naq_status naq_kv_check(const char *bucket, const char *key, naq_err *err) {
    if (!bucket_valid(bucket))
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no bucket name: 1 to %d of A-Za-z0-9_-",
                        bucket, NAQ_KV_BUCKET_MAX);
    if (!key_valid(key, false))
        return naq_fail(err, NAQ_INVALID,
                        "\"%.96s\" is no key: 1 to %d of A-Za-z0-9-_/= and single dots inside", key,
                        NAQ_KV_KEY_MAX);
    return NAQ_OK;
}

naq_status naq_kv_check_filter(const char *bucket, const char *filter, naq_err *err) {
    if (key_valid(filter, true)) return naq_kv_check(bucket, "k", err);
    return naq_fail(err, NAQ_INVALID,
                    "\"%.96s\" matches no keys: A-Za-z0-9-_/= between single dots, * for one such "
                    "part, > for all at the end",
                    filter);
}

naq_kv_patience naq_kv_patience_begin(int64_t within_ms) {
    return (naq_kv_patience){naq_mono_ms(), FIRST_PAUSE_MS,
                             within_ms > 0 ? within_ms : NAQ_KV_BUDGET_MS};
}

int64_t naq_kv_attempt_ms(const naq_kv_patience *p, int64_t wait_ms) {
    if (p->within_ms == NAQ_KV_BUDGET_MS) return wait_ms;
    int64_t left = p->within_ms - naq_kv_spent_ms(p);
    if (left < 1) left = 1;
    return left < wait_ms ? left : wait_ms;
}

int64_t naq_kv_spent_ms(const naq_kv_patience *p) {
    return naq_mono_ms() - p->begin_ms;
}

bool naq_kv_again(naq_kv_patience *p, naq_conn *c, naq_status status) {
    int64_t spent = naq_kv_spent_ms(p);
    bool again = ((status == NAQ_TIMEOUT || status == NAQ_CONNECTION) && !naq_conn_dead(c) &&
                  spent + p->pause_ms < p->within_ms) ||
                 (status == NAQ_NO_JETSTREAM && spent < NAQ_KV_NOBODY_MS && spent < p->within_ms);
    if (!again || naq_patience_over()) return false;
    struct timespec t = {.tv_sec = p->pause_ms / 1000, .tv_nsec = p->pause_ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
    p->pause_ms = p->pause_ms * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : p->pause_ms * 2;
    return true;
}

naq_status naq_kv_open_mailbox(naq_mailbox **out, const naq_kv_ref *k, const naq_kv_patience *p,
                               naq_err *err) {
    if (naq_conn_lost(k->c) && naq_conn_await(k->c, p->within_ms) == 0 && !naq_conn_dead(k->c))
        return naq_fail(err, NAQ_CONNECTION, "key %s of bucket %s: no connection to %s for %lld ms",
                        k->key, k->bucket, naq_conn_servers_peek(k->c), (long long)p->within_ms);
    if (naq_mailbox_acquire(out, k->c, err) == NAQ_OK) return NAQ_OK;
    return naq_wrap(err, "key %s of bucket %s", k->key, k->bucket);
}

naq_status naq_kv_why_nobody(naq_conn *c, const char *bucket, int64_t wait_ms, naq_err *err) {
    char subject[NAQ_KV_BUCKET_MAX + 64], text[256];
    naq_buf answer = {0};
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.KV_%s", bucket);
    naq_status status = naq_conn_request(c, subject, "", 0, wait_ms, &answer, err);
    if (status == NAQ_OK) {
        int js = naq_reply_error((naq_slice){answer.data, answer.len}, text, sizeof text);
        status = js != 0 ? naq_from_js(err, js, text, "bucket %s", bucket)
                         : naq_fail(err, NAQ_TIMEOUT, "bucket %s: has no leader", bucket);
    }
    naq_buf_free(&answer);
    return status;
}
