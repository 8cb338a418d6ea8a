/* thread.h -- what pthreads makes long-winded: a thread that nobody joins, waiting on the monotonic
 * clock. Any thread. Loops that own a thread are services (service.h). */
#ifndef NAQ_BASE_THREAD_H
#define NAQ_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Start a detached thread with all signals masked. False when there is none to be had. */
bool naq_thread_apart(void *(*body)(void *), void *arg);

/* A thread that a library is about to start, to be waited for like those. It did not start one:
 * naq_thread_unexpected(). */
void naq_thread_expected(void);
void naq_thread_unexpected(void);
/* Said by that thread, at any time: it counts until it has ended, whatever the library does on it
 * afterwards. */
void naq_thread_ends_here(void);

/* Wait until none of all these is left, this long at most. */
void naq_thread_await_apart(int64_t ms);

/* What every thread of ours does last: forget() frees what a library keeps for a thread. Set it
 * before there are such threads. */
void naq_thread_at_end(void (*forget)(void));
/* The last word of a thread that neither naq_thread_apart() nor a service has started. */
void naq_thread_leave(void);

/* A condition for pthread_cond_timedwait with naq_cond_deadline. */
void naq_cond_init(pthread_cond_t *cond);
struct timespec naq_cond_deadline(int64_t ms);

#endif
