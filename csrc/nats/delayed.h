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
    bool moved;     /* by hand: it may be taken away again, see naq_delayed_put() */
    const char *payload;
    size_t len;
} naq_delayed_job;

/* [blocks] Store it until it is due. When the server says it has this hop already, that is looked
 * into: NAQ_OK only if the job really is in the store or has moved on. One that was moved there is
 * waited for: who moves a job that runs meanwhile takes it away again. */
naq_status naq_delayed_put(naq_conn *c, const naq_delayed_job *d, naq_err *err);

/* [blocks] The same for a new job: NAQ_DUPLICATE when the store has one of that id at this time, or
 * knows this hop. */
naq_status naq_delayed_add(naq_conn *c, const naq_delayed_job *d, uint64_t *sequence, naq_err *err);

/* What stands around the payload: "naq.d.<bucket>.<id>", a Msg-Id, Naq-Due and Naq-To. */
typedef struct naq_delayed_form {
    char subject[256], msg_id[128], due[24], to[96];
    naq_header headers[2]; /* of the two texts above: not to be copied */
} naq_delayed_form;
/* now_ms so that a past time lands in the bucket being read. */
void naq_delayed_fill(naq_delayed_form *out, const naq_delayed_job *d, int64_t now_ms);

/* Seconds of the epoch as the store counts them: whole milliseconds, never earlier than asked for.
 * NAQ_INVALID for what is no time, or beyond the year 9999. */
naq_status naq_delayed_due(double seconds, int64_t *due_ms, naq_err *err);

#endif
