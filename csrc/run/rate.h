/* rate.h -- a queue's rate limit as one line of time that all workers share: who wants to begin n
 * jobs takes the next n / rate seconds of it. Pure.
 *
 * The record {"until":<microseconds>} says how far the line is taken, in the server's time, which
 * each worker reads off what the server stored last; clocks of different machines are never
 * compared. Taking is done in batches of at most a tenth of a second, so a busy queue costs ten
 * writes a second, however many workers serve it. */
#ifndef NAQ_RUN_RATE_H
#define NAQ_RUN_RATE_H

#include <stddef.h>
#include <stdint.h>

/* How many jobs may begin now of `wanted`, by the line that is taken up to until_us; *until_us is
 * moved on by them. 0: none before *open_us. slack_us: what lies no further back than that is not
 * lost. */
int naq_rate_take(double rate, int wanted, int64_t slack_us, int64_t now_us, int64_t *until_us,
                  int64_t *open_us);

/* Since when somebody has wanted to begin jobs, without a break of a second; zeroed at first. */
typedef struct naq_hunger {
    int64_t since_ms, lasts_ms;
} naq_hunger;
/* The slack of who wants something now: only time that he has waited, 0.2 s at most, so that a
 * queue where nothing waited for a while has nothing in hand. */
int64_t naq_rate_slack_us(naq_hunger *h, int64_t now_ms);
/* There is nothing to be had before that moment; until then it is no break. */
void naq_rate_wait(naq_hunger *h, int64_t open_ms);

/* What the record says; 0 for what cannot be read. */
int64_t naq_rate_read(const char *text, size_t len);

/* The server's time, from the moments at which it stored what just arrived here. */
typedef struct naq_server_clock {
    int64_t ahead_us; /* of our monotonic clock */
    int late;         /* samples in a row that are far behind */
} naq_server_clock;
void naq_server_clock_begin(naq_server_clock *c, int64_t wall_us, int64_t mono_us);
void naq_server_clock_sample(naq_server_clock *c, int64_t stored_us, int64_t mono_us);

#endif
