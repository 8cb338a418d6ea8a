/* kvget.c -- one key read, from the stream's leader or directly. Any thread.
 *
 * Both go through a mailbox, which spares a hand-over between threads: against libnats' own request
 * that makes a quarter more reads per second. */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats/kv.h"
#include "nats/kvask.h"
#include "nats/mailbox.h"
#include "nats/nstatus.h"
#include "nats/reply.h"

enum { FIRST_WAIT_MS = 500 }; /* for a direct get, doubling */

typedef struct reading {
    naq_conn *c;
    const char *bucket, *key;
    naq_kv_entry *entry;
    const naq_kv_patience *patience;
} reading;

static naq_status no_answer(const reading *r, naq_err *err) {
    return naq_fail(err, NAQ_CONNECTION, "key %s of bucket %s: an answer that is none", r->key,
                    r->bucket);
}

static naq_status deleted(const reading *r, naq_err *err) {
    return naq_fail(err, NAQ_KEY_NOT_FOUND, "key %s of bucket %s: deleted", r->key, r->bucket);
}

static naq_status never_written(const reading *r, naq_err *err) {
    return naq_fail(err, NAQ_KEY_NOT_FOUND, "key %s of bucket %s: not there", r->key, r->bucket);
}

/* The stored message as JSON, its data in base64. */
static naq_status read_leader(const reading *r, natsMsg *m, naq_err *err) {
    char text[256];
    naq_slice answer = {natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m)};
    int js = naq_reply_error(answer, text, sizeof text);
    if (js == NAQ_JS_MSG_NOT_FOUND) return never_written(r, err);
    if (js != 0) return naq_from_js(err, js, text, "key %s of bucket %s", r->key, r->bucket);
    naq_stored stored = {0};
    naq_status status = naq_reply_stored(answer, &stored) ? NAQ_OK : no_answer(r, err);
    if (status == NAQ_OK) {
        r->entry->revision = stored.sequence;
        r->entry->created_us = stored.time_us;
        if (naq_stored_header(&stored, "KV-Operation").at != NULL ||
            naq_stored_header(&stored, "Nats-Marker-Reason").at != NULL) {
            status = deleted(r, err);
        } else {
            r->entry->value = stored.data;
            memset(&stored.data, 0, sizeof stored.data);
        }
    }
    naq_stored_free(&stored);
    return status;
}

/* The stored message itself, with where and when it was stored in headers. */
static naq_status read_direct(const reading *r, natsMsg *m, naq_err *err) {
    const char *value = NULL;
    if (natsMsgHeader_Get(m, "Nats-Sequence", &value) != NATS_OK) {
        bool none = natsMsgHeader_Get(m, "Status", &value) == NATS_OK && strcmp(value, "404") == 0;
        return none ? never_written(r, err) : no_answer(r, err);
    }
    r->entry->revision = strtoull(value, NULL, 10);
    if (natsMsgHeader_Get(m, "Nats-Time-Stamp", &value) == NATS_OK)
        r->entry->created_us = naq_reply_time(value);
    if (natsMsgHeader_Get(m, "KV-Operation", &value) == NATS_OK ||
        natsMsgHeader_Get(m, "Nats-Marker-Reason", &value) == NATS_OK)
        return deleted(r, err);
    naq_buf_put(&r->entry->value, natsMsg_GetData(m), (size_t)natsMsg_GetDataLength(m));
    if (r->entry->value.failed)
        return naq_fail(err, NAQ_TOO_LARGE, "key %s of bucket %s: out of memory", r->key,
                        r->bucket);
    return NAQ_OK;
}

static natsStatus make_request(natsMsg **m, const reading *r, bool direct, const char *reply) {
    char subject[NAQ_KV_SUBJECT_MAX + NAQ_KV_BUCKET_MAX], body[NAQ_KV_SUBJECT_MAX];
    int n = 0;
    if (direct) {
        (void)snprintf(subject, sizeof subject, "$JS.API.DIRECT.GET.KV_%s.$KV.%s.%s", r->bucket,
                       r->bucket, r->key);
    } else {
        (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.KV_%s", r->bucket);
        n = snprintf(body, sizeof body, "{\"last_by_subj\":\"$KV.%s.%s\"}", r->bucket, r->key);
    }
    return natsMsg_Create(m, subject, reply, n > 0 ? body : "", n);
}

/* A bucket that does not exist, or is being made, answers no direct get at all: the server's API as
 * a whole is listened to, so nobody says that there is no responder. */
static naq_status why_silent(const reading *r, naq_err *err) {
    naq_err why;
    int64_t ms = naq_kv_attempt_ms(r->patience, NAQ_KV_ATTEMPT_MS);
    if (naq_kv_why_nobody(r->c, r->bucket, ms, &why) != NAQ_TIMEOUT) *err = why;
    return err->status;
}

static naq_status read_once(const reading *r, naq_mailbox *box, uint32_t token, bool direct,
                            int64_t wait_ms, naq_err *err) {
    natsMsg *request = NULL, *answer = NULL;
    bool sent;
    natsStatus s = make_request(&request, r, direct, naq_mailbox_address(box, token));
    if (s == NATS_OK) s = naq_mailbox_ask(box, r->c, request, token, wait_ms, &answer, &sent, err);
    naq_status status;
    if (s == NATS_OK)
        status = direct ? read_direct(r, answer, err) : read_leader(r, answer, err);
    else if (s == NATS_NO_RESPONDERS)
        status = naq_kv_why_nobody(r->c, r->bucket,
                                   naq_kv_attempt_ms(r->patience, NAQ_KV_ATTEMPT_MS), err);
    else if (s == NATS_NOT_PERMITTED)
        status = err->status;
    else
        status = naq_from_nats(err, s, 0, "key %s of bucket %s", r->key, r->bucket);
    natsMsg_Destroy(answer);
    natsMsg_Destroy(request);
    if (direct && status == NAQ_TIMEOUT) status = why_silent(r, err);
    return status;
}

naq_status naq_kv_read(const naq_kv_ref *k, naq_kv_entry *entry, naq_err *err) {
    memset(entry, 0, sizeof *entry);
    naq_status status = naq_kv_check(k->bucket, k->key, err);
    if (status != NAQ_OK) return status;
    naq_kv_patience patience = naq_kv_patience_begin(k->within_ms);
    naq_mailbox *box = NULL;
    if (naq_kv_open_mailbox(&box, k, &patience, err) != NAQ_OK) return err->status;
    reading r = {k->c, k->bucket, k->key, entry, &patience};
    uint32_t token = 0;
    bool direct = k->direct;
    int64_t wait_ms = direct ? FIRST_WAIT_MS : NAQ_KV_ATTEMPT_MS;
    do {
        naq_buf_free(&entry->value);
        /* While a bucket is being made a direct get is not answered, and a STREAM.MSG.GET ends
         * nats-server 2.9.10: so the leader is only asked when that must be over. */
        if (naq_kv_spent_ms(&patience) > NAQ_KV_NOBODY_MS) direct = false;
        status = read_once(&r, box, token++, direct, naq_kv_attempt_ms(&patience, wait_ms), err);
        if (wait_ms < NAQ_KV_ATTEMPT_MS) wait_ms *= 2;
    } while (naq_kv_again(&patience, k->c, status));
    naq_mailbox_release(box, k->c);
    if (status != NAQ_OK) naq_buf_free(&entry->value);
    return status;
}

naq_status naq_kv_get(naq_conn *c, const char *bucket, const char *key, naq_kv_entry *entry,
                      naq_err *err) {
    naq_kv_ref k = {.c = c, .bucket = bucket, .key = key};
    return naq_kv_read(&k, entry, err);
}

naq_status naq_kv_get_direct(naq_conn *c, const char *bucket, const char *key, naq_kv_entry *entry,
                             naq_err *err) {
    naq_kv_ref k = {.c = c, .bucket = bucket, .key = key, .direct = true};
    return naq_kv_read(&k, entry, err);
}
