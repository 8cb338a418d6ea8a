/* clock.h -- the two clocks, replaceable in tests. Any thread; never blocks. */
#ifndef NAQ_BASE_CLOCK_H
#define NAQ_BASE_CLOCK_H

#include <stdint.h>

/* Wall clock, microseconds since the epoch: for what users read and other machines compare. */
int64_t naq_wall_us(void);

/* Monotonic clock, milliseconds: for every deadline and interval. */
int64_t naq_mono_ms(void);

/* Tests only: the wall clock is set ahead or back by so much, for this process. Any thread. */
void naq_clock_shift(int64_t by_us);

/* Tests only: answer from these instead (NULL: the real clocks again). Not thread-safe. */
void naq_clock_replace(int64_t (*wall_us)(void), int64_t (*mono_ms)(void));

#endif
