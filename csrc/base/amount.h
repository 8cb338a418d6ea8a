/* amount.h -- amounts of memory as people write them: "64MB" is 64 * 2^20 bytes. Any thread. */
#ifndef NAQ_BASE_AMOUNT_H
#define NAQ_BASE_AMOUNT_H

#include <stdbool.h>
#include <stddef.h>

/* Digits, perhaps with a fraction, then B, KB, MB or GB (K, M and G alone do, too; any case; a
 * space before the unit). No unit: bytes. False when it is none of that, or more than a size_t
 * holds. */
bool naq_amount_parse(const char *s, size_t n, size_t *bytes);

/* "64 MB", "1.5 KB", "100 bytes". */
void naq_amount_format(size_t bytes, char *out, size_t size);

#endif
