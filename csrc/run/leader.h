/* leader.h -- one lease, held or not: the key `scheduler` of <prefix>_leader.
 *
 *   follower  hears each write of the key; one that stood unchanged for 19 twentieths of the TTL
 *             by its own monotonic clock it replaces by compare-and-set
 *   leader    rewrites it each half of the TTL, and takes itself for the leader no longer than
 *             four fifths of it after it sent what was stored last
 *
 * So a holder that is frozen or cut off has stopped before another begins, whatever the wall clocks
 * say. The key is removed when its holder stops: the next one begins at once.
 *
 * The follower's half blocks, on the ordinary connection; the leader's half goes through its hot
 * connection and never does. One thread. */
#ifndef NAQ_RUN_LEADER_H
#define NAQ_RUN_LEADER_H

#include "base/id.h"
#include "base/service.h"
#include "nats/loop.h"
#include "nats/responder.h"

enum { NAQ_LEADER_RENEWALS = 8 /* under way */ };
/* Of a renewal's answer; below it stands its number. */
#define NAQ_LEADER_TOKEN 0x80000000u

typedef struct naq_leader {
    naq_conn *conn;
    const char *prefix, *id; /* id: what people read */
    int64_t ttl_ms;
    char instance[NAQ_ID_NEW + 1]; /* of this process's scheduler: ids may be given twice */
    char host[80];
    char subject[128];

    naq_service *service; /* whose sleep ends when the key is removed */
    naq_responder *ear;
    pthread_mutex_t mu; /* guards what was heard */
    naq_buf heard;      /* the key's last value that was seen; empty: removed */
    int64_t heard_ms;
    bool renewed, alert; /* a write was heard, not only read; each ends the service's sleep */

    /* While it leads: */
    uint64_t revision;
    int64_t since_us;
    int64_t until_ms;            /* by our own monotonic clock */
    int64_t sent_ms, renewed_ms; /* the last renewal; the last that was stored: when sent */
    int64_t sent_at_ms[NAQ_LEADER_RENEWALS]; /* by number */
    uint16_t number, explained; /* of the last renewal; up to which one a refusal means nothing */
    bool unanswered, lost;
} naq_leader;

/* [blocks a moment] id and prefix must stay until close. */
naq_status naq_leader_open(naq_leader *l, naq_conn *conn, const char *prefix, const char *id,
                           int64_t ttl_ms, naq_service *service, naq_err *err);
void naq_leader_close(naq_leader *l); /* idempotent */

/* [blocks] Take the lease if it can be had. NAQ_NOT_LEADER, naming who leads: another has it, worth
 * asking again in *wait_ms; else what kept us from knowing. */
naq_status naq_leader_take(naq_leader *l, int64_t *wait_ms, naq_err *err);

/* [blocks] After NAQ_NOT_LEADER: whether whoever has it lives, which a renewal within that time
 * tells. */
bool naq_leader_renewed(naq_leader *l, int64_t wait_ms);

/* Whether it is still ours: before each batch of what only a leader may do. */
bool naq_leader_leads(const naq_leader *l, int64_t now_ms);
/* Renew it when that is due. */
void naq_leader_tick(naq_leader *l, naq_loop *loop, int64_t now_ms);
int64_t naq_leader_deadline(const naq_leader *l); /* when there is something to do */
/* Have it confirmed now: something looks as if another had it. */
void naq_leader_confirm(naq_leader *l);
void naq_leader_answered(naq_leader *l, uint32_t token, const naq_answer *answer);

/* [blocks] Give it up, so that the next one begins at once. */
void naq_leader_resign(naq_leader *l);

#endif
