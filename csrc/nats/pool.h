/* pool.h -- connections of this process, shared by everything that uses the same servers and
 * credentials: its key. Any thread.
 *
 * A key has up to pool_size connections. Who acquires gets, in this order: the one its thread holds
 * already, an idle one, a new one as long as there is room, the one with the fewest users. A thread
 * that comes back gets the same one again where it can. One that was opened with other settings
 * (name, pings, reconnecting) is taken only when there is no room. The last release leaves a
 * connection open, idle, for the next; it is closed by naq_pool_close(), when its server is lost,
 * or as the process exits.
 *
 * Lock order of the whole core: pool.mu, then nothing. No lock is held while connecting or closing.
 * Who wants a connection that is being opened waits for it. A process that finds the pool opened
 * under another pid gets NAQ_FORKED: libnats' threads do not survive a fork. */
#ifndef NAQ_NATS_POOL_H
#define NAQ_NATS_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "nats/conn.h"

/* [blocks] Shared and counted: each acquire needs one release. */
naq_status naq_pool_acquire(naq_conn **out, const naq_conn_options *o, naq_err *err);
/* One more reference to a connection that the caller holds: for handles that outlive the one they
 * came from. */
void naq_pool_retain(naq_conn *c);
/* Never waits for the network. What was published goes out by itself, a moment later; who wants to
 * know that it has calls naq_conn_settle() before. NULL is fine. */
void naq_pool_release(naq_conn *c);
/* NAQ_FORKED, NAQ_CLOSED: every use of a handle starts with this, see naq_conn_check(). */
naq_status naq_pool_check(const naq_conn *c, naq_err *err);

/* Whether c was opened by this process: to be asked before anything of it is let go. What was
 * opened before a fork is the parent's, with libnats' threads and locks. */
bool naq_pool_ours(const naq_conn *c);

/* [blocks a moment] Close the connections to any of these servers (NULL: all), after what was
 * published on them has gone out; handles on them answer NAQ_CLOSED. Keys with a connection in
 * use that was acquired with `kept` are left alone. Returns how many were closed. */
int naq_pool_close(const char *const *servers);

typedef struct naq_pool_stats {
    char servers[256];       /* as they may be printed */
    int open, active, users; /* connections now, those in use, handles */
    uint64_t opened, reused, failed, reconnects;
    int64_t connect_us, last_connect_us; /* of all that were opened together, of the last one */
} naq_pool_stats;

/* The sums since the process began, and each key's in out, at most room of them. Returns how many
 * keys there are. Keys without a connection are forgotten when there are very many. */
size_t naq_pool_stats_read(naq_pool_stats *total, naq_pool_stats *out, size_t room);

#endif
