/* sweep.h -- clears a queue of what a killed server left in it.
 *
 * After kill -9 nats-server 2.9.10 may hold messages in the stream that the consumer remembers as
 * acked (200 to 1,000 of 3,000 were seen): never delivered again, in the way of a later hop of the
 * same job, and counted in every sum. Everything at or below a consumer's ack floor is acked, so
 * what is found there is such a left-over. Its job's record says whether it ended; one that has
 * none, and may be a result_ttl 0 job or one whose record the server lost, is enqueued once more.
 *
 * The other way round, too, it may have lost messages that the consumer still waits for. It never
 * delivers them, and its ack floor stays below them: they are acked here. */
#ifndef NAQ_RUN_SWEEP_H
#define NAQ_RUN_SWEEP_H

#include "nats/conn.h"
#include "nats/envelope.h"

/* [blocks] One queue and priority. True: everything delivered before the first call is acked, and
 * what was left over of it is gone. False: to be called again later. *until and *passed are 0 at
 * the first call, then its. */
bool naq_sweep(naq_conn *c, const char *prefix, const char *queue, naq_priority priority,
               uint64_t *until, uint64_t *passed);

#endif
