/* surroundings.h -- have the environment or some files changed since? */
#ifndef NAQ_BASE_SURROUNDINGS_H
#define NAQ_BASE_SURROUNDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number that is the same as long as no environment variable and none of the files is another:
 * made, removed, replaced or written. False: a file is so young that it could still be written
 * within one tick of its time, so no number tells. Not to be called while another thread sets
 * variables, as getenv(). */
bool naq_surroundings_mark(const char *const *paths, size_t n, uint64_t *mark);

#endif
