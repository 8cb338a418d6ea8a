/* credit.h -- how many jobs a worker asks for: pure arithmetic over what it ran lately. I/O thread
 * only.
 *
 * One for each idle thread, and a prefetch of at most what was run in the last 100 ms: none for
 * slow jobs, so that a job is never parked behind a long one while another worker is idle. What was
 * prefetched and turns out to wait is given back. */
#ifndef NAQ_RUN_CREDIT_H
#define NAQ_RUN_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "nats/pull.h"

/* However fast jobs are run, no more than this are fetched ahead of the threads. */
enum { NAQ_PREFETCH_MAX = 4096 };

typedef struct naq_credit {
    int64_t window_ms;  /* when the current window began */
    int window, before; /* jobs that came back in it, and in the one before */
    int64_t ran_ms;     /* when one last came back */
    int64_t parked_ms;  /* since when more wait than the prefetch allows; 0: not so */
    bool waiting;       /* jobs wait for a thread */
    unsigned turns;
} naq_credit;

/* n jobs came back. */
void naq_credit_ran(naq_credit *c, int n, int64_t now_ms);

/* How many more should be under way: ready wait here already, idle threads have nothing to do. */
int naq_credit_want(naq_credit *c, int ready, int idle, int64_t now_ms);

/* How many of the ready ones to give back, because they have waited too long for a thread. */
int naq_credit_parked(naq_credit *c, int ready, int idle, int64_t now_ms);

/* When naq_credit_parked() may have something new to say; INT64_MAX: never by itself. */
int64_t naq_credit_deadline(const naq_credit *c, int64_t now_ms);

/* Jobs come back every few milliseconds. */
bool naq_credit_brisk(const naq_credit *c, int64_t now_ms);

/* Divide `want` over the consumers (three a queue, by priority): most to the high ones that have
 * something pending, one to every other that has nothing as a probe, so that whatever comes first
 * finds a waiting pull. Where it is too little for a share of each, what is taken first is asked
 * for first. Gated ones (gate.h) are left out. */
void naq_credit_share(naq_credit *c, naq_pull *pulls, int n, int want, int64_t now_ms);

#endif
