/* clock.c -- wall and monotonic time behind two replaceable functions. */
#include "base/clock.h"

#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

static int64_t read_us(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t (*wall_us_source)(void);
static int64_t (*mono_ms_source)(void);
static atomic_llong shift_us;

int64_t naq_wall_us(void) {
    int64_t now = wall_us_source != NULL ? wall_us_source() : read_us(CLOCK_REALTIME);
    return now + atomic_load_explicit(&shift_us, memory_order_relaxed);
}

int64_t naq_mono_ms(void) {
    return mono_ms_source != NULL ? mono_ms_source() : read_us(CLOCK_MONOTONIC) / 1000;
}

void naq_clock_shift(int64_t by_us) {
    atomic_fetch_add(&shift_us, by_us);
}

void naq_clock_replace(int64_t (*wall_us)(void), int64_t (*mono_ms)(void)) {
    wall_us_source = wall_us;
    mono_ms_source = mono_ms;
}
