/* kv.c -- one key written, under a condition or none. Any thread.
 *
 * Reading is in kvget.c, listing in kvlist.c, watching in kvwatch.c. */
#include "nats/kv.h"

#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "nats/kvask.h"
#include "nats/mailbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum { CREATE_TRIES = 5 };

typedef struct writing {
    const naq_kv_ref *k;
    const void *value;
    size_t len;
    int64_t expected;
    const char *marker; /* DEL, PURGE; NULL: a value */
} writing;

static natsStatus make_message(natsMsg **m, const writing *w, const char *reply) {
    char subject[NAQ_KV_SUBJECT_MAX], number[24];
    (void)snprintf(subject, sizeof subject, "$KV.%s.%s", w->k->bucket, w->k->key);
    natsStatus s = natsMsg_Create(m, subject, reply, w->value != NULL ? w->value : "", (int)w->len);
    if (s == NATS_OK && w->marker != NULL) s = natsMsgHeader_Set(*m, "KV-Operation", w->marker);
    if (s == NATS_OK && w->marker != NULL && w->marker[0] == 'P')
        s = natsMsgHeader_Set(*m, "Nats-Rollup", "sub");
    if (s == NATS_OK && w->expected >= 0) {
        (void)snprintf(number, sizeof number, "%lld", (long long)w->expected);
        s = natsMsgHeader_Set(*m, "Nats-Expected-Last-Subject-Sequence", number);
    }
    return s;
}

/* One publish and its ack. *unknown: it may have been stored all the same. */
static naq_status write_once(const writing *w, naq_mailbox *box, uint32_t token,
                             const naq_kv_patience *patience, uint64_t *revision, bool *unknown,
                             naq_err *err) {
    int64_t wait_ms = naq_kv_attempt_ms(patience, NAQ_KV_ATTEMPT_MS);
    natsMsg *m = NULL, *reply = NULL;
    bool sent = false;
    naq_status status = NAQ_OK;
    char text[256];
    natsStatus s = make_message(&m, w, naq_mailbox_address(box, token));
    if (s == NATS_OK) s = naq_mailbox_ask(box, w->k->c, m, token, wait_ms, &reply, &sent, err);
    *unknown = sent && s != NATS_OK && s != NATS_NO_RESPONDERS && s != NATS_NOT_PERMITTED;
    if (s == NATS_OK) {
        naq_slice answer = {natsMsg_GetData(reply), (size_t)natsMsg_GetDataLength(reply)};
        int js = naq_reply_error(answer, text, sizeof text);
        if (js != 0)
            status = naq_from_js(err, js, text, "key %s of bucket %s", w->k->key, w->k->bucket);
        else
            *revision = (uint64_t)naq_reply_int(answer, "seq", 0);
    } else if (s == NATS_NO_RESPONDERS) {
        status = naq_kv_why_nobody(w->k->c, w->k->bucket,
                                   naq_kv_attempt_ms(patience, NAQ_KV_ATTEMPT_MS), err);
    } else if (s == NATS_NOT_PERMITTED) {
        status = err->status;
    } else {
        status = naq_from_nats(err, s, 0, "key %s of bucket %s", w->k->key, w->k->bucket);
    }
    natsMsg_Destroy(reply);
    natsMsg_Destroy(m);
    return status;
}

/* Whether what stands under the key is what was to be written. */
static bool in_place(const writing *w, uint64_t *revision) {
    naq_kv_entry entry;
    naq_err ignored;
    naq_kv_ref leader = *w->k;
    leader.direct = false;
    naq_status status = naq_kv_read(&leader, &entry, &ignored);
    bool ours;
    if (w->marker != NULL)
        ours = status == NAQ_KEY_NOT_FOUND;
    else
        ours = status == NAQ_OK && entry.value.len == w->len &&
               (w->len == 0 || memcmp(entry.value.data, w->value, w->len) == 0);
    if (ours) *revision = entry.revision;
    naq_buf_free(&entry.value);
    return ours;
}

static naq_status write_key(const writing *w, uint64_t *revision, naq_err *err) {
    const naq_kv_ref *k = w->k;
    naq_status status = naq_kv_check(k->bucket, k->key, err);
    if (status != NAQ_OK) return status;
    int64_t most = naq_conn_max_payload(k->c);
    if (most > 0 && (int64_t)w->len > most)
        return naq_fail(err, NAQ_TOO_LARGE,
                        "key %s of bucket %s: %zu bytes, and the server takes %lld", k->key,
                        k->bucket, w->len, (long long)most);
    naq_kv_patience patience = naq_kv_patience_begin(k->within_ms);
    naq_mailbox *box = NULL;
    if (naq_kv_open_mailbox(&box, k, &patience, err) != NAQ_OK) return err->status;
    uint64_t seq = 0;
    uint32_t token = 0;
    bool unknown = false; /* an earlier attempt may have been stored */
    do {
        bool lost;
        status = write_once(w, box, token++, &patience, &seq, &lost, err);
        unknown = unknown || lost;
    } while (naq_kv_again(&patience, k->c, status));
    naq_mailbox_release(box, k->c);
    if (status == NAQ_WRONG_REVISION && unknown && in_place(w, &seq)) status = NAQ_OK;
    if (status == NAQ_OK && revision != NULL) *revision = seq;
    return status;
}

naq_status naq_kv_write(const naq_kv_ref *k, const void *value, size_t len, int64_t expected,
                        uint64_t *revision, naq_err *err) {
    writing w = {k, value, len, expected, NULL};
    return write_key(&w, revision, err);
}

naq_status naq_kv_put(naq_conn *c, const char *bucket, const char *key, const void *value,
                      size_t len, int64_t expected, uint64_t *revision, naq_err *err) {
    naq_kv_ref k = {.c = c, .bucket = bucket, .key = key};
    return naq_kv_write(&k, value, len, expected, revision, err);
}

/* A key that was deleted has a marker, and the write must expect the marker's revision. Others may
 * create and delete at the same time: then what was read is not true any more, and is read again.
 */
naq_status naq_kv_make(const naq_kv_ref *k, const void *value, size_t len, uint64_t *revision,
                       naq_err *err) {
    naq_kv_ref leader = *k;
    leader.direct = false;
    naq_status status = naq_kv_write(&leader, value, len, 0, revision, err);
    for (int i = 0; status == NAQ_WRONG_REVISION && i < CREATE_TRIES; i++) {
        naq_kv_entry entry;
        status = naq_kv_read(&leader, &entry, err);
        naq_buf_free(&entry.value);
        if (status == NAQ_OK)
            return naq_fail(err, NAQ_KEY_EXISTS, "key %s of bucket %s exists", k->key, k->bucket);
        if (status == NAQ_KEY_NOT_FOUND)
            status = naq_kv_write(&leader, value, len, (int64_t)entry.revision, revision, err);
    }
    return status;
}

naq_status naq_kv_create(naq_conn *c, const char *bucket, const char *key, const void *value,
                         size_t len, uint64_t *revision, naq_err *err) {
    naq_kv_ref k = {.c = c, .bucket = bucket, .key = key};
    return naq_kv_make(&k, value, len, revision, err);
}

naq_status naq_kv_remove(const naq_kv_ref *k, bool purge, int64_t expected, naq_err *err) {
    writing w = {k, NULL, 0, expected, purge ? "PURGE" : "DEL"};
    return write_key(&w, NULL, err);
}

naq_status naq_kv_delete(naq_conn *c, const char *bucket, const char *key, int64_t expected,
                         naq_err *err) {
    naq_kv_ref k = {.c = c, .bucket = bucket, .key = key};
    return naq_kv_remove(&k, false, expected, err);
}

naq_status naq_kv_purge(naq_conn *c, const char *bucket, const char *key, int64_t expected,
                        naq_err *err) {
    naq_kv_ref k = {.c = c, .bucket = bucket, .key = key};
    return naq_kv_remove(&k, true, expected, err);
}
