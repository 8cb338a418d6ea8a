/* loop.h -- the hot connection: libnats in event-loop mode, driven by one thread, the I/O thread.
 *
 * A publish only appends to libnats' buffer; the I/O thread chooses when to write it. One wildcard
 * inbox takes every answer: the subject's last token says whose it is. All functions belong to the
 * I/O thread but naq_loop_wake(), which any thread may call. No synchronous libnats call may be
 * made on this connection by the I/O thread: it would wait for an answer that only it can read. */
#ifndef NAQ_NATS_LOOP_H
#define NAQ_NATS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "nats/conn.h"

typedef struct __natsMsg naq_msg; /* opaque; ends in naq_loop_bury() */

typedef struct naq_loop naq_loop;

/* What JetStream said to a publish. */
typedef struct naq_answer {
    naq_status status; /* NAQ_OK: stored */
    int js;            /* err_code when refused */
    bool duplicate;
    uint64_t sequence; /* when stored */
    const char *text;  /* the refusal, until the handler returns */
    size_t text_len;
} naq_answer;

/* The I/O thread calls these inside naq_loop_turn(). */
typedef struct naq_loop_handlers {
    void *ctx;
    /* A consumer delivered m; the handler owns it now. */
    void (*delivered)(void *ctx, naq_msg *m);
    /* The answer to naq_loop_publish(token). Late ones come too: the token must tell. */
    void (*answered)(void *ctx, uint32_t token, const naq_answer *answer);
    /* The answer to naq_loop_ask(token), until the handler returns. NULL: nothing is ever asked. */
    void (*replied)(void *ctx, uint32_t token, naq_msg *m);
    /* Some publish, request or pull reached nobody: no leader yet, or no such stream. Which one is
     * not known. */
    void (*unheard)(void *ctx);
    /* A status message for a pull request: 100 heartbeat, 404, 408, 409, 503. pending is the credit
     * that a 408 or 409 gives back, -1 when it does not say. */
    void (*pull_status)(void *ctx, uint32_t token, int status, int64_t pending, const char *text);
    /* Whether something is to be done that no descriptor tells of: asked before each sleep, so that
     * what was handed over just before needs no wake-up. */
    bool (*busy)(void *ctx);
    /* The connection is there again after it was lost: everything in flight may be gone. */
    void (*restored)(void *ctx);
} naq_loop_handlers;

/* [blocks] Connects. */
naq_status naq_loop_open(naq_loop **out, const naq_conn_options *o,
                         const naq_loop_handlers *handlers, naq_err *err);
/* [blocks a moment] Another thread must not be in any function of the loop. Writes what is buffered
 * and waits for the server to have read it, at most flush_ms. NULL is fine. */
void naq_loop_close(naq_loop *loop, int64_t flush_ms);

/* One turn: write what is buffered, sleep until something happens or deadline_ms (monotonic clock;
 * not at all when idle is false), read, call the handlers. */
void naq_loop_turn(naq_loop *loop, int64_t deadline_ms, bool idle);
/* The monotonic clock, milliseconds, as read when this turn woke: for what handlers note. */
int64_t naq_loop_now(naq_loop *loop);
/* [blocks a moment] No more turns after this one: ends our interest in what the server might still
 * send; what it sent before it knew goes to the handlers. A server that has not answered within_ms
 * is not waited for at the close either. */
void naq_loop_quit(naq_loop *loop, int64_t within_ms);
/* Write when much is buffered: for long stretches of publishing inside a turn. */
void naq_loop_write_if_full(naq_loop *loop);
/* Write what is buffered now, where a moment counts. */
void naq_loop_write(naq_loop *loop);
/* End the I/O thread's sleep, the next one when it does not sleep now. Cheap then. Any thread. */
void naq_loop_wake(naq_loop *loop);
/* From now on a turn of loop is one of inner too, which has no turns of its own: two connections on
 * one thread. Close the inner one after the other. */
naq_status naq_loop_join(naq_loop *loop, naq_loop *inner, naq_err *err);
/* Watch one more descriptor; ready() is called on the I/O thread when it can be read. */
naq_status naq_loop_watch(naq_loop *loop, int fd, void (*ready)(void *ctx), void *ctx,
                          naq_err *err);

bool naq_loop_connected(naq_loop *loop);
bool naq_loop_closed(naq_loop *loop); /* for good: no reconnect will come */
/* Why it is closed: NAQ_AUTH when the server refused us twice, else NAQ_CONNECTION. */
naq_status naq_loop_end(naq_loop *loop, naq_err *err);
void naq_loop_info(naq_loop *loop, naq_server_info *out);

/* Publish with the answer asked for under token (none comes, as of all in flight, when the
 * connection is lost: see restored); expected_seq >= 0 adds the header
 * Nats-Expected-Last-Subject-Sequence. NAQ_TOO_LARGE, NAQ_CONNECTION. */
naq_status naq_loop_publish(naq_loop *loop, const char *subject, uint32_t token,
                            int64_t expected_seq, const void *data, size_t len, naq_err *err);
/* The same with a Msg-Id. */
naq_status naq_loop_publish_id(naq_loop *loop, const char *subject, uint32_t token,
                               const char *msg_id, const void *data, size_t len, naq_err *err);
/* Ask for something whose whole answer is wanted. False: it was not sent. */
bool naq_loop_ask(naq_loop *loop, const char *subject, uint32_t token, const void *data,
                  size_t len);
/* Publish without an answer: acks, renewals, notices. While the connection is lost it is kept. */
void naq_loop_send(naq_loop *loop, const char *subject, const void *data, size_t len);
/* Ask a consumer for messages; status messages come under token. */
void naq_loop_pull(naq_loop *loop, const char *next_subject, uint32_t token, const char *request,
                   size_t len);

const char *naq_msg_subject(naq_msg *m);
const char *naq_msg_reply(naq_msg *m); /* "" when none */
const char *naq_msg_data(naq_msg *m);
size_t naq_msg_size(naq_msg *m);
const char *naq_msg_header(naq_msg *m, const char *name); /* NULL when absent */

/* Destroy m, some time: libnats wakes its collector thread for each message destroyed, so the dead
 * are buried by the hundred. I/O thread only. */
void naq_loop_bury(naq_loop *loop, naq_msg *m);

#endif
