/* kv.h -- key-value buckets by key: get, put, compare-and-set. All block; any thread.
 *
 * Not libnats' kvStore: its compare-and-set hides the error code (a lost race looks like any
 * failure) and its listings fail at 100,000 keys in 3.4.1. A write is a publish to
 * $KV.<bucket>.<key> with Nats-Expected-Last-Subject-Sequence. A read asks the stream's leader
 * (STREAM.MSG.GET) or, faster, whichever replica answers (DIRECT.GET). */
#ifndef NAQ_NATS_KV_H
#define NAQ_NATS_KV_H

#include "nats/conn.h"

enum {
    NAQ_KV_BUCKET_MAX = 96,
    NAQ_KV_KEY_MAX = 1024,
    NAQ_KV_SUBJECT_MAX = NAQ_KV_BUCKET_MAX + NAQ_KV_KEY_MAX + 64 /* of any API with both in it */
};

/* NAQ_INVALID with what is allowed. A filter is a key whose tokens may be *, the last one >. */
naq_status naq_kv_check(const char *bucket, const char *key, naq_err *err);
naq_status naq_kv_check_filter(const char *bucket, const char *filter, naq_err *err);

typedef struct naq_kv_entry {
    naq_buf value; /* the caller frees it */
    uint64_t
        revision; /* of a deleted key too, where it still has a marker: a create must expect it */
    int64_t created_us;
} naq_kv_entry;

/* One key, and how its bucket is asked for it. */
typedef struct naq_kv_ref {
    naq_conn *c;
    const char *bucket, *key;
    bool direct;       /* read from any replica */
    int64_t within_ms; /* how long to insist through a lost connection or leader; 0: 30 s */
} naq_kv_ref;

/* What naq_kv_get() and the others below do, with a time. */
naq_status naq_kv_read(const naq_kv_ref *k, naq_kv_entry *entry, naq_err *err);
naq_status naq_kv_write(const naq_kv_ref *k, const void *value, size_t len, int64_t expected,
                        uint64_t *revision, naq_err *err);
naq_status naq_kv_make(const naq_kv_ref *k, const void *value, size_t len, uint64_t *revision,
                       naq_err *err);
/* purge: the key's history goes as well. */
naq_status naq_kv_remove(const naq_kv_ref *k, bool purge, int64_t expected, naq_err *err);

/* From the leader: what was acked before is seen. NAQ_KEY_NOT_FOUND: never written, deleted or
 * expired (then entry->revision is the marker's, or 0). */
naq_status naq_kv_get(naq_conn *c, const char *bucket, const char *key, naq_kv_entry *entry,
                      naq_err *err);
/* From any replica that has direct gets, a third faster; one that lags answers what was true a
 * moment ago. With a single replica that is the leader. A bucket without direct gets costs two
 * seconds, then its leader is asked. */
naq_status naq_kv_get_direct(naq_conn *c, const char *bucket, const char *key, naq_kv_entry *entry,
                             naq_err *err);

/* expected: the revision the key must have: 0 none, -1 any. NAQ_WRONG_REVISION when it has another.
 * Retried through a leader change; when an attempt's fate is unknown and the next is refused, the
 * value in place is compared: ours counts as written. */
naq_status naq_kv_put(naq_conn *c, const char *bucket, const char *key, const void *value,
                      size_t len, int64_t expected, uint64_t *revision, naq_err *err);
/* Put where there is none, also after a deletion. NAQ_KEY_EXISTS. */
naq_status naq_kv_create(naq_conn *c, const char *bucket, const char *key, const void *value,
                         size_t len, uint64_t *revision, naq_err *err);
/* Write a deletion marker. expected as above. */
naq_status naq_kv_delete(naq_conn *c, const char *bucket, const char *key, int64_t expected,
                         naq_err *err);
/* The same, and the key's history goes. */
naq_status naq_kv_purge(naq_conn *c, const char *bucket, const char *key, int64_t expected,
                        naq_err *err);

/* Every live entry whose key matches filter (">": all), in stream order. visit returns false to
 * end. Runs on the caller's thread. */
typedef bool (*naq_kv_visit)(void *ctx, const char *key, const void *value, size_t len,
                             uint64_t revision, int64_t created_us);
naq_status naq_kv_each(naq_conn *c, const char *bucket, const char *filter, naq_kv_visit visit,
                       void *ctx, naq_err *err);
/* The same without the values (NULL, 0), which then do not travel. */
naq_status naq_kv_keys(naq_conn *c, const char *bucket, const char *filter, naq_kv_visit visit,
                       void *ctx, naq_err *err);

#endif
