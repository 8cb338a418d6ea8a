/* id.h -- ids and names: how they are made and what is allowed. */
#ifndef NAQ_BASE_ID_H
#define NAQ_BASE_ID_H

#include <stdbool.h>
#include <stddef.h>

enum { NAQ_ID_MAX = 64, NAQ_ID_TEXT = NAQ_ID_MAX + 1, NAQ_ID_NEW = 26 };

/* A new time-ordered id: 26 characters of lower-case base 32, the first ten the milliseconds since
 * the epoch, the others random. Writes NAQ_ID_NEW bytes and a NUL. Any thread; no collisions in
 * practice (80 random bits a millisecond). */
void naq_id_new(char out[NAQ_ID_NEW + 1]);

/* 1 to 64 of [A-Za-z0-9_-]: ids and queue names. */
bool naq_id_valid(const char *s, size_t n);

#endif
