/* patience.h -- how long the calling thread may still wait.
 *
 * A thread that runs jobs has no time left once its job is to be stopped: whatever it waits for in
 * a call of ours is over then, as if its time were, and the job is stopped behind that call. Any
 * other thread has its deadlines, and pays nothing. */
#ifndef NAQ_BASE_PATIENCE_H
#define NAQ_BASE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

/* The calling thread's patience is over when this says so; NULL: never. */
void naq_patience_ends(bool (*over)(void *ctx), void *ctx);

bool naq_patience_over(void);

/* Until a moment of naq_mono_ms(); 0 or less: it has passed, or patience is over. */
int64_t naq_patience_left(int64_t end_ms);

/* How long to wait before patience is to be looked at again. */
int64_t naq_patience_slice(int64_t ms);

#endif
