/* doubt.h -- may a message delivered for the first time have been run before? After a server died,
 * yes.
 *
 * The server writes acks to disk up to 100 ms late: kill -9 brings back what was acked last (15,200
 * measured), looking new. Their records tell, but reading one before every job costs most of the
 * speed. So each queue remembers, in the bucket <prefix>_control under `<queue>.server`, which
 * start of the server it was last served on. As long as that is the one we are connected to,
 * nothing is in doubt. Otherwise the first messages of each of its consumers are, until a long run
 * of them had no record; messages stored since we connected never are. In a cluster the stream's
 * leader may be another server than ours: there all doubts are raised at each connect. */
#ifndef NAQ_RUN_DOUBT_H
#define NAQ_RUN_DOUBT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "nats/conn.h"

/* Left-overs of one consumer (sweep.h). */
typedef struct naq_sweeping {
    bool wanted;
    uint64_t until, passed;
} naq_sweeping;

typedef struct naq_doubt {
    naq_conn *conn;
    const char *prefix;
    const char *const *queues;
    int n_queues;

    /* I/O thread. */
    int *left; /* a consumer's messages still in doubt; three consumers a queue */
    int64_t connected_us;

    pthread_mutex_t mu; /* guards server, cluster, unwritten, sweeps */
    char server[64];    /* the start that doubts are about */
    bool cluster;
    naq_sweeping *sweeps; /* by consumer */
    bool *unwritten; /* by queue: nothing is in doubt any more, and that is not remembered yet */
} naq_doubt;

/* [blocks] Reads what each queue remembers. */
naq_status naq_doubt_open(naq_doubt *d, naq_conn *conn, const char *prefix,
                          const char *const *queues, int n_queues, naq_err *err);
void naq_doubt_close(naq_doubt *d);

/* I/O thread: connected, or connected again, to this start of this server. */
void naq_doubt_connected(naq_doubt *d, const naq_server_info *server);
/* I/O thread: a consumer may have been made anew: what it delivers is in doubt again. */
void naq_doubt_again(naq_doubt *d, int consumer);
/* I/O thread: a consumer has nothing pending. In all three, *remember is set when
 * naq_doubt_clear() has something to do. */
void naq_doubt_empty(naq_doubt *d, int consumer, bool *remember);
/* I/O thread: it delivered a message for the first time. True: in doubt. */
bool naq_doubt_delivered(naq_doubt *d, int consumer, int64_t stored_us, bool *remember);
/* I/O thread: one that was in doubt had no record (clean), or had one. */
void naq_doubt_seen(naq_doubt *d, int consumer, bool clean, bool *remember);

/* [blocks] Any other thread, now and then: clears the queues of what a killed server left in them,
 * and writes down which of them have nothing in doubt any more. */
void naq_doubt_clear(naq_doubt *d);

#endif
