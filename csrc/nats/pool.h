/* pool.h -- connections of this process, shared by everything that uses the same servers and
 * credentials. Any thread.
 *
 * Lock order of the whole core: pool.mu, then nothing. No lock is held while connecting or closing.
 * A second thread that wants an entry being opened waits for it. A process that finds the pool
 * opened under another pid gets NAQ_FORKED: libnats' threads do not survive a fork. */
#ifndef NAQ_NATS_POOL_H
#define NAQ_NATS_POOL_H

#include "nats/conn.h"

/* [blocks] Shared and counted: each acquire needs one release. */
naq_status naq_pool_acquire(naq_conn **out, const naq_conn_options *o, naq_err *err);
/* One more reference to a connection that the caller holds: for handles that outlive the one they
 * came from. */
void naq_pool_retain(naq_conn *c);
/* The last release closes the connection, outside the lock and without waiting for the network: who
 * has published and wants it gone out calls naq_conn_flush() before. NULL is fine. */
void naq_pool_release(naq_conn *c);
/* NAQ_FORKED when c was opened by another process: every use of a handle starts with this. */
naq_status naq_pool_check(const naq_conn *c, naq_err *err);

#endif
