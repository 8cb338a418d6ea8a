/* kvask.h -- what reading and writing a key share: the names, and when to ask once more. For kv*.c.
 */
#ifndef NAQ_NATS_KVASK_H
#define NAQ_NATS_KVASK_H

#include "nats/kv.h"
#include "nats/mailbox.h"

enum {
    NAQ_KV_ATTEMPT_MS = 5000,
    NAQ_KV_BUDGET_MS = 30000, /* a leader change takes 4 to 8 s */
    NAQ_KV_NOBODY_MS = 2000   /* JetStream itself does not answer: not worth the whole budget */
};

/* The pauses of one operation, which has within_ms altogether; 0: NAQ_KV_BUDGET_MS. */
typedef struct naq_kv_patience {
    int64_t begin_ms, pause_ms, within_ms;
} naq_kv_patience;
naq_kv_patience naq_kv_patience_begin(int64_t within_ms);
/* How long the next attempt may take: wait_ms, or what is left; at least a moment. */
int64_t naq_kv_attempt_ms(const naq_kv_patience *p, int64_t wait_ms);
/* [blocks a moment] After an attempt that ended with status: pauses and returns true when another
 * one may do better. */
bool naq_kv_again(naq_kv_patience *p, naq_conn *c, naq_status status);
int64_t naq_kv_spent_ms(const naq_kv_patience *p);

/* [blocks while the connection is lost] The mailbox of one operation, for naq_mailbox_release(). */
naq_status naq_kv_open_mailbox(naq_mailbox **out, const naq_kv_ref *k, const naq_kv_patience *p,
                               naq_err *err);

/* Nobody took a request: the bucket does not exist, or has no leader yet (NAQ_TIMEOUT). */
naq_status naq_kv_why_nobody(naq_conn *c, const char *bucket, int64_t wait_ms, naq_err *err);

#endif
