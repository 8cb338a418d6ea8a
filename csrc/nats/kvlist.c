/* kvlist.c -- every live entry of a bucket, in stream order: a scan of the last message of each
 * subject. Caller's thread. */
#include <stdio.h>
#include <string.h>

#include "nats/kv.h"
#include "nats/scan.h"

enum { BATCH = 1000 };

typedef struct listing {
    naq_kv_visit visit;
    void *ctx;
    size_t skip; /* bytes of "$KV.<bucket>." */
} listing;

static bool entry(void *ctx, natsMsg *m, const naq_delivery *at) {
    const listing *l = ctx;
    const char *operation = NULL;
    if (natsMsgHeader_Get(m, "KV-Operation", &operation) == NATS_OK) return true; /* deleted */
    return l->visit(l->ctx, natsMsg_GetSubject(m) + l->skip, natsMsg_GetData(m),
                    (size_t)natsMsg_GetDataLength(m), at->sequence, at->time_us);
}

static naq_status list(naq_conn *c, const char *bucket, const char *keys, bool headers_only,
                       naq_kv_visit visit, void *ctx, naq_err *err) {
    if (keys == NULL) keys = ">";
    naq_status status = naq_kv_check_filter(bucket, keys, err);
    if (status != NAQ_OK) return status;
    char stream[NAQ_KV_BUCKET_MAX + 8], what[NAQ_KV_BUCKET_MAX + 32];
    (void)snprintf(stream, sizeof stream, "KV_%s", bucket);
    (void)snprintf(what, sizeof what, "listing bucket %s", bucket);
    naq_buf filter = {0};
    naq_buf_printf(&filter, "$KV.%s.%s", bucket, keys);
    listing l = {visit, ctx, strlen(bucket) + 5};
    naq_scan scan = {.stream = stream,
                     .filter = filter.data,
                     .what = what,
                     .missing = NAQ_CONFIGURATION,
                     .last_per_subject = true,
                     .headers_only = headers_only,
                     .batch = BATCH};
    status = naq_scan_run(c, &scan, entry, &l, err);
    naq_buf_free(&filter);
    return status;
}

naq_status naq_kv_each(naq_conn *c, const char *bucket, const char *filter, naq_kv_visit visit,
                       void *ctx, naq_err *err) {
    return list(c, bucket, filter, false, visit, ctx, err);
}

naq_status naq_kv_keys(naq_conn *c, const char *bucket, const char *filter, naq_kv_visit visit,
                       void *ctx, naq_err *err) {
    return list(c, bucket, filter, true, visit, ctx, err);
}
