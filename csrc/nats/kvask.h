/* kvask.h -- what reading and writing a key share: the names, and when to ask once more. For kv*.c.
 */
#ifndef NAQ_NATS_KVASK_H
#define NAQ_NATS_KVASK_H

#include "nats/conn.h"

enum {
    NAQ_KV_ATTEMPT_MS = 5000,
    NAQ_KV_BUDGET_MS = 30000, /* a leader change takes 4 to 8 s */
    NAQ_KV_NOBODY_MS = 2000   /* JetStream itself does not answer: not worth the whole budget */
};

/* The pauses of one operation. */
typedef struct naq_kv_patience {
    int64_t begin_ms, pause_ms;
} naq_kv_patience;
naq_kv_patience naq_kv_patience_begin(void);
/* [blocks a moment] After an attempt that ended with status: pauses and returns true when another
 * one may do better. */
bool naq_kv_again(naq_kv_patience *p, naq_conn *c, naq_status status);
int64_t naq_kv_spent_ms(const naq_kv_patience *p);

/* Nobody took a request: the bucket does not exist, or has no leader yet (NAQ_TIMEOUT). */
naq_status naq_kv_why_nobody(naq_conn *c, const char *bucket, naq_err *err);

#endif
