/* delayed.c -- putting a job into the delayed store. Any thread; blocks. */
#include "nats/delayed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "nats/results.h"
#include "nats/stream.h"

void naq_delayed_subject(const naq_delayed_job *d, int64_t now_ms, char *out, size_t size) {
    int64_t at = d->due_ms > now_ms ? d->due_ms : now_ms;
    (void)snprintf(out, size, "%s.d.%" PRId64 ".%s", d->prefix, at / NAQ_DELAYED_BUCKET_MS, d->id);
}

/* The server says that it stored this hop before. Where is it? In the store, in any bucket: good.
 * Ended or claimed at this hop or a later one: good. Neither: the Msg-Id belongs to something else.
 */
static bool arrived_before(naq_conn *c, const naq_delayed_job *d) {
    char stream[96], filter[200];
    (void)snprintf(stream, sizeof stream, "%s_delayed", d->prefix);
    (void)snprintf(filter, sizeof filter, "%s.d.*.%s", d->prefix, d->id);
    naq_err err;
    int64_t n = 0;
    if (naq_stream_count(c, stream, filter, &n, &err) == NAQ_OK && n > 0) return true;
    naq_record record;
    memset(&record, 0, sizeof record);
    bool has_record = naq_results_find(c, d->prefix, d->id, &record, &err) == NAQ_OK;
    bool over = has_record && record.entry.value.len > 0 &&
                memmem(record.entry.value.data, record.entry.value.len, "\"state\":\"running\"",
                       17) == NULL;
    naq_buf_free(&record.entry.value);
    return over;
}

naq_status naq_delayed_put(naq_conn *c, const naq_delayed_job *d, naq_err *err) {
    char subject[256], due[24], to[96], msg_id[128];
    naq_delayed_subject(d, naq_wall_us() / 1000, subject, sizeof subject);
    (void)snprintf(due, sizeof due, "%" PRId64, d->due_ms);
    (void)snprintf(to, sizeof to, "%s.%s", d->queue, NAQ_PRIORITY_NAMES[d->priority]);
    (void)snprintf(msg_id, sizeof msg_id, "%s:%" PRId64, d->id, d->hop);
    naq_header headers[] = {{"Naq-Due", due}, {"Naq-To", to}};
    naq_pub_ack ack;
    naq_status status =
        naq_publish(c, subject, msg_id, headers, 2, d->payload, d->len, 0, &ack, err);
    if (status == NAQ_DUPLICATE) {
        /* 10077: this id is in this bucket of the store already. */
        return arrived_before(c, d) ? NAQ_OK : status;
    }
    if (status != NAQ_OK || !ack.duplicate || arrived_before(c, d)) return status;
    naq_log(NAQ_WARNING, "job %s: hop %" PRId64 " was sent before and is nowhere; it is sent again",
            d->id, d->hop);
    (void)snprintf(msg_id, sizeof msg_id, "%s:%" PRId64 ":%" PRId64, d->id, d->hop,
                   naq_wall_us() / 1000);
    return naq_publish(c, subject, msg_id, headers, 2, d->payload, d->len, 0, &ack, err);
}
