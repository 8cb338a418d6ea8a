/* scan.h -- what a stream holds, in its order, read in batches by an ephemeral consumer that goes
 * when the scan ends. Blocks; any thread but libnats' own. Not for work queues, which refuse a
 * second consumer.
 *
 * Where the server falls silent (a lost connection, a lost consumer) a new consumer carries on
 * behind what was visited: each message is visited once. */
#ifndef NAQ_NATS_SCAN_H
#define NAQ_NATS_SCAN_H

#include <nats/nats.h>

#include "nats/conn.h"
#include "nats/delivery.h"

typedef struct naq_scan {
    const char *stream;
    const char *filter; /* subjects */
    const char *what;   /* begins the sentence of an error: "reading stream naq_failed" */
    naq_status missing; /* what it is when there is no such stream */
    uint64_t from;      /* the first sequence looked at; 0: from the beginning */
    int64_t since_us;   /* with from 0: the first message stored then or later; 0: no matter when */
    bool last_per_subject; /* only the newest message of each subject, all of them */
    bool headers_only;     /* the data stays at the server */
    int batch;             /* messages asked for at a time, and so in memory at once */
    int limit;             /* ends after so many; 0: none */
} naq_scan;

/* For each message, on the caller's thread. False ends the scan. */
typedef bool (*naq_scan_visit)(void *ctx, natsMsg *m, const naq_delivery *at);

/* NAQ_TIMEOUT: the server fell silent several times over; what was visited was visited. */
naq_status naq_scan_run(naq_conn *c, const naq_scan *scan, naq_scan_visit visit, void *ctx,
                        naq_err *err);

#endif
