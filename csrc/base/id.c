/* id.c -- time-ordered ids from the wall clock and the kernel's random numbers. */
#include "base/id.h"

#include <stdint.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

/* One getrandom() call serves many ids: a call per id would cost as much as the rest of an enqueue.
 * Per thread, so no lock. A fork copies the pool, so it remembers whose it is: parent and child
 * would otherwise hand out the same ids in the same millisecond. */
enum { POOL = 640 };
static __thread unsigned char pool[POOL];
static __thread size_t pool_left;
static __thread pid_t pool_owner;

static const char DIGITS[] = "0123456789abcdefghjkmnpqrstvwxyz";

static const unsigned char *random_bytes(size_t n) {
    if (pool_left < n || pool_owner != getpid()) {
        size_t got = 0;
        while (got < POOL) {
            ssize_t r = getrandom(pool + got, POOL - got, 0);
            if (r > 0) got += (size_t)r;
        }
        pool_left = POOL;
        pool_owner = getpid();
    }
    pool_left -= n;
    return pool + pool_left;
}

void naq_id_new(char out[NAQ_ID_NEW + 1]) {
    uint64_t ms = (uint64_t)(naq_wall_us() / 1000);
    for (int i = 9; i >= 0; i--, ms >>= 5)
        out[i] = DIGITS[ms & 31];
    const unsigned char *r = random_bytes(16);
    for (int i = 0; i < 16; i++)
        out[10 + i] = DIGITS[r[i] & 31];
    out[NAQ_ID_NEW] = '\0';
}

/* One look-up a byte: this runs for every job that a worker receives. */
#define RANGE(a, z, yes) [(a)...(z)] = (yes)
static const bool ALLOWED[256] = {RANGE('a', 'z', true), RANGE('A', 'Z', true),
                                  RANGE('0', '9', true), ['_'] = true, ['-'] = true};

bool naq_id_valid(const char *s, size_t n) {
    if (n < 1 || n > NAQ_ID_MAX) return false;
    for (size_t i = 0; i < n; i++)
        if (!ALLOWED[(unsigned char)s[i]]) return false;
    return true;
}
