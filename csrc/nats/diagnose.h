/* diagnose.h -- why no server could be connected to. */
#ifndef NAQ_NATS_DIAGNOSE_H
#define NAQ_NATS_DIAGNOSE_H

#include <nats/nats.h>

#include "nats/conn.h"

/* [blocks, at most what is left of the connection timeout after spent_ms, and a tenth of a second
 * more] The sentence and code for s, with which natsConnection_Connect() failed on this thread:
 * where that says little, the servers are looked at once more. */
naq_status naq_diagnose(const naq_conn_options *o, natsStatus s, int64_t spent_ms, naq_err *err);

#endif
