/* stream.h -- the layout of docs/wire.md: streams, buckets and consumers, created or checked. All
 * functions block on the network and may be called from any thread but libnats' own. */
#ifndef NAQ_NATS_STREAM_H
#define NAQ_NATS_STREAM_H

#include "nats/conn.h"
#include "nats/envelope.h"

typedef struct naq_layout_options {
    const char *prefix;    /* "naq" */
    int replicas;          /* 0: 3 on a cluster, else 1 */
    int64_t worker_ttl_ms; /* 60000 */
    /* Of <prefix>_leader, for its creation only: schedulers go by what it has. */
    int64_t leader_ttl_ms; /* 5000 */
    /* Of <prefix>_failed, for its creation only: on a server these two are its administrator's. */
    int64_t failed_age_ms; /* 0: 30 days */
    int64_t failed_bytes;  /* 0: 1 GB */
    bool dry_run;
} naq_layout_options;

/* Each callback line: "stream naq_jobs: created", or what differs. */
typedef void (*naq_layout_report)(void *ctx, const char *object, bool created, const char *differs);

/* Create what is missing; report what differs from ours: NAQ_CONFIGURATION then, naming the first.
 */
naq_status naq_layout_ensure(naq_conn *c, const naq_layout_options *o, naq_layout_report report,
                             void *ctx, naq_err *err);

typedef struct naq_consumer_info {
    int64_t ack_wait_ms;
    int64_t pending;     /* not delivered yet */
    int64_t ack_pending; /* delivered, not acked */
    uint64_t delivered;  /* stream sequence: how far it has delivered */
    uint64_t ack_floor;  /* stream sequence: everything of this consumer up to it is acked */
} naq_consumer_info;

/* The durable consumer of one queue and priority, created with ack_wait_ms where missing. An
 * existing one is kept with its own ack_wait, which info tells. */
naq_status naq_consumer_ensure(naq_conn *c, const char *prefix, const char *queue,
                               naq_priority priority, int64_t ack_wait_ms, naq_consumer_info *info,
                               naq_err *err);
/* How long the answer to making a consumer of one replica is waited for, at most most_ms.
 * nats-server (2.9, 2.10) counts a server of its cluster that has died among the living for a
 * while, and may put the consumer there: then nobody answers, and the next one may be put
 * elsewhere. So in a cluster the first tries are short. unanswered: the tries before. */
int64_t naq_consumer_patience(bool clustered, int unanswered, int64_t most_ms);

/* Delete it; one that is not there is NAQ_OK. */
naq_status naq_consumer_delete(naq_conn *c, const char *stream, const char *consumer, naq_err *err);
/* How it stands now. NAQ_KEY_NOT_FOUND when it does not exist. */
naq_status naq_consumer_look(naq_conn *c, const char *stream, const char *consumer,
                             naq_consumer_info *info, naq_err *err);
/* How many messages a stream holds whose subject matches filter. Exact, but costs the server a walk
 * over its subjects (120 ms at a million): not for hot paths. */
naq_status naq_stream_count(naq_conn *c, const char *stream, const char *filter, int64_t *n,
                            naq_err *err);

#endif
