/* line.h -- the libnats connection below the hot loop, and the next one when it is lost. For
 * loop.c.
 *
 * Not libnats' own reconnecting: in event-loop mode its parser (3.4.1, and later ones) outlives the
 * connection, so a message that was cut off is completed with the first bytes of the next
 * connection, and what comes behind it is no protocol any more. So a connection is never used
 * again: a thread of its own dials until there is another, with a new parser. */
#ifndef NAQ_NATS_LINE_H
#define NAQ_NATS_LINE_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

#include "nats/conn.h"

typedef struct naq_lines naq_lines;

/* One connection. Its callbacks run on libnats' threads, the last of them after it was let go. */
typedef struct naq_line {
    natsConnection *nc;
    naq_lines *lines;
    atomic_int holders;   /* its owner, and libnats until it called "closed" */
    atomic_int socket_fd; /* -1 while detached */
    atomic_bool want_write;
    atomic_bool over;
} naq_line;

/* Shared with the thread that dials, which outlives its owner by one attempt at most. */
struct naq_lines {
    naq_conn_settings *settings;
    natsOptions *options; /* used by one dial at a time */
    int learned;          /* how many servers they have since the cluster told of them */
    int epoll_fd;
    uint32_t event; /* what epoll says for a socket */
    void (*wake)(naq_lines *lines);
    void *ctx;
    atomic_int holders;
    atomic_bool ended; /* for good: why says it */

    pthread_mutex_t mu; /* guards the rest; a leaf */
    pthread_cond_t closed;
    bool closing, dialing;
    naq_line *next; /* dialed, and not taken yet */
    naq_err why;
};

/* [blocks] Connect the first one. epoll_fd has to stay until lines are closed, and so does what
 * wake uses: any thread calls it when over, ended or naq_line_take() has something to tell. */
naq_status naq_lines_open(naq_lines **out, naq_line **first, const naq_conn_options *o,
                          int epoll_fd, uint32_t event, void (*wake)(naq_lines *lines), void *ctx,
                          naq_err *err);
/* The line is lost: have another dialed. Harmless while one is. */
void naq_lines_dial(naq_lines *lines, naq_line *lost);
/* The new one, the caller's; NULL: not yet. */
naq_line *naq_line_take(naq_lines *lines);
/* Nothing is called any more when it returns. Does not wait for an attempt under way. */
void naq_lines_close(naq_lines *lines);

/* A line that was closed, or lost. NULL is fine. */
void naq_line_free(naq_line *line);

#endif
