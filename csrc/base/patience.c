/* patience.c -- one question a thread. */
#include "base/patience.h"

#include <stddef.h>

#include "base/clock.h"

enum { SLICE_MS = 25 };

static __thread bool (*over)(void *ctx);
static __thread void *context;

void naq_patience_ends(bool (*ends)(void *ctx), void *ctx) {
    over = ends;
    context = ctx;
}

bool naq_patience_over(void) {
    return over != NULL && over(context);
}

int64_t naq_patience_left(int64_t end_ms) {
    return naq_patience_over() ? 0 : end_ms - naq_mono_ms();
}

int64_t naq_patience_slice(int64_t ms) {
    return over != NULL && ms > SLICE_MS ? SLICE_MS : ms;
}
