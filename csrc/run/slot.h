/* slot.h -- a delivered job on its way through the worker, and the table of them.
 *
 *   free -> ready -> running -> done -> storing -> free
 *             |  ^                |         |
 *             |  `----------------|---------'            refused: to be looked into
 *             |                   `-------------> free   nothing to store, or nothing to be done
 *             `-> free                                   given back before it began
 *
 * From taken to given (running) a slot is the executing thread's, else the I/O thread's; the fields
 * say which of the two touches them. The message, and so every slice into it, lives until the slot
 * is free. */
#ifndef NAQ_RUN_SLOT_H
#define NAQ_RUN_SLOT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "nats/envelope.h"
#include "nats/loop.h"
#include "nats/results.h"

/* What the I/O thread is to do with a slot that comes back. */
typedef enum naq_verdict {
    NAQ_VERDICT_STORE, /* publish the record; ack when that is stored */
    NAQ_VERDICT_ACK,   /* whatever had to be stored is: ack */
    NAQ_VERDICT_LEAVE, /* neither: the lease runs out, and the next delivery reads the record first
                        */
    NAQ_VERDICT_RETURN /* give back at once, not begun */
} naq_verdict;

typedef struct naq_slot {
    uint32_t index;
    uint8_t generation; /* goes up with each use: a late answer to an earlier use must not count */

    naq_msg *msg;
    naq_msg *again;    /* the same message delivered once more while it is here; reply is its */
    const char *reply; /* what acks, renewals and NAKs are sent to */
    const char *payload;
    size_t payload_len;
    naq_address address;
    int pull;          /* which consumer delivered it */
    int64_t delivered; /* 1: for the first time */
    uint64_t stream_seq;
    bool bad_address;    /* the subject's id is none: never run, a dead letter */
    bool suspect;        /* may have been run before: its record is read first */
    bool lost;           /* it was run here, and its outcome refused: what the record says counts */
    int64_t stored_us;   /* when the stream took it */
    int64_t received_ms; /* monotonic */
    int64_t renewed_ms;  /* when its lease was last renewed */

    /* Set by the thread that ran it. */
    naq_verdict verdict;
    naq_result_class result_class;
    int64_t expected; /* revision the record must have when it is written; 0: none exists */
    bool notice_only; /* result_ttl 0: tell who waits, store nothing, ack */
    bool failed, retried;
    bool dropped; /* had ended before: nothing was done here */
    bool alone;   /* it had the worker to itself, and keeps it so until it is settled */
    naq_buf record;

    /* I/O thread only. */
    bool begun;      /* offered, or about to be */
    bool counted;    /* by its queue's gate */
    bool came_back;  /* a Lua thread is through with it */
    bool storing;    /* its record is published and not answered */
    int64_t sent_ms; /* when its record was last published */
    bool refused;    /* and the server could not take it: once more after a pause */
    bool complained; /* the log says that; once is enough */

    struct naq_slot *next; /* in a list of ready or done slots */
} naq_slot;

/* More than are on their way to being stored, as a rule. */
enum { NAQ_ENDED = 1024 };

/* The table, and the two queues between the I/O thread and the threads that run Lua. */
typedef struct naq_slots {
    naq_slot *all;
    uint32_t count;
    uint32_t *free; /* a stack, so that few slots stay in use and in the cache; I/O thread only */
    uint32_t n_free;

    pthread_mutex_t mu;   /* guards all below but n_done */
    pthread_cond_t some;  /* there is something to take, or no more will come */
    pthread_cond_t quiet; /* running went down while somebody waits to run alone */
    naq_slot *ready_head[NAQ_PRIORITIES], *ready_tail[NAQ_PRIORITIES];
    int n_ready;
    int takers; /* threads waiting in take */
    int running;
    bool closed;
    bool over;                 /* nothing will be settled any more */
    unsigned turns;            /* jobs taken */
    uint64_t ended[NAQ_ENDED]; /* sequences of the latest that were run: a ring */
    unsigned n_ended;
    naq_slot *done_head, *done_tail;
    atomic_int n_done;
    atomic_int unsettled; /* given back, and what became of them is not stored yet */
    atomic_bool alone;    /* one job has the worker to itself, or waits to have it */
} naq_slots;

naq_status naq_slots_open(naq_slots *s, uint32_t count, naq_err *err);
void naq_slots_close(naq_slots *s); /* all threads joined, all messages buried */

/* I/O thread. NULL when all are in use. */
naq_slot *naq_slot_take_free(naq_slots *s);
void naq_slot_free(naq_slots *s, naq_slot *slot);

/* I/O thread: a chain of slots, linked by next, to whoever runs them: one lock, one wake-up.
 */
void naq_slots_offer(naq_slots *s, naq_slot *chain);
/* I/O thread: withdraw up to n slots that nobody took yet, lowest priority and latest first. */
naq_slot *naq_slots_withdraw(naq_slots *s, int n);
/* I/O thread: withdraw all that consumers first to last delivered and nobody took yet. */
naq_slot *naq_slots_withdraw_of(naq_slots *s, int first, int last);
int naq_slots_ready(naq_slots *s, int *takers);
/* I/O thread: what became of a slot that came back is stored. */
void naq_slots_settled(naq_slots *s);
/* I/O thread: all slots that came back, in order. */
naq_slot *naq_slots_done(naq_slots *s);
/* No more will be offered: takers wake and get NULL once nothing is ready. */
void naq_slots_shut(naq_slots *s);

/* Which priority is looked at first in this turn, and which after it: of eight turns six begin with
 * high, one with normal and one with low. So high goes first, and nothing ever starves, whatever
 * comes in at the others. */
const naq_priority *naq_turn_order(unsigned turn);

/* A Lua thread: the next job, in the order of the turn. Waits. NULL: there will be no more. */
naq_slot *naq_slots_take(naq_slots *s);
/* A Lua thread gives a slot back and gets the next one in the same breath, NULL when nothing is
 * ready right now. *wake: it is time to wake the I/O thread. */
naq_slot *naq_slots_swap(naq_slots *s, naq_slot *done, bool *wake);

/* Whether the job of that sequence was run here a moment ago: what became of it may not be stored
 * yet. Any thread. */
bool naq_slots_ended(naq_slots *s, uint64_t seq);

/* A Lua thread that holds a job which may have killed a worker: wait until no other job runs here
 * and what became of the earlier ones is stored, and let none begin until naq_slots_together().
 * Otherwise the innocent would lose their outcome with the worker, time after time, and be suspects
 * as well. */
void naq_slots_alone(naq_slots *s);
/* I/O thread: what became of that job is stored, too: it is cleared, whatever the next one does. */
void naq_slots_together(naq_slots *s);
/* The I/O thread has ended: nobody waits for what it would have settled. */
void naq_slots_over(naq_slots *s);

#endif
