/* delayed.h -- the delayed store: jobs whose time has not come, and retries. */
#ifndef NAQ_NATS_DELAYED_H
#define NAQ_NATS_DELAYED_H

#include "nats/envelope.h"
#include "nats/publish.h"

enum { NAQ_DELAYED_BUCKET_MS = 600 * 1000 };

typedef struct naq_delayed_job {
    const char *prefix, *id, *queue;
    naq_priority priority;
    int64_t hop;
    int64_t due_ms; /* epoch */
    const char *payload;
    size_t len;
} naq_delayed_job;

/* [blocks] Store it until it is due. When the server says it has this hop already, that is looked
 * into: NAQ_OK only if the job really is in the store or has moved on. */
naq_status naq_delayed_put(naq_conn *c, const naq_delayed_job *d, naq_err *err);

/* "naq.d.<bucket>.<id>"; now_ms so that a past time lands in the bucket being read. */
void naq_delayed_subject(const naq_delayed_job *d, int64_t now_ms, char *out, size_t size);

#endif
