/* number.h -- JSON numbers as text, exactly: no digit is lost on the way in or out.
 *
 * Nothing here depends on the process's locale, whatever its host program made of it. */
#ifndef NAQ_BASE_NUMBER_H
#define NAQ_BASE_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A scanned number. Points into the text it was scanned from. */
typedef struct naq_number {
    const char *at;
    size_t len;
    uint64_t digits; /* the first 19 significant digits */
    int64_t scale;   /* power of ten that belongs to digits */
    bool negative;
    bool integer; /* written without fraction and exponent */
    bool whole;   /* digits and scale are all there is; else later digits were left out */
} naq_number;

/* Scan the number that begins at `at`: RFC 8259, so no leading zeros, plus signs or bare points.
 * Returns the first byte after it, or NULL when there is none. */
const char *naq_number_scan(const char *at, const char *end, naq_number *out);

/* True when it was written as an integer and has 64 bits at most. */
bool naq_number_int(const naq_number *n, int64_t *out);

/* Correctly rounded; infinite when the number is beyond all doubles. */
double naq_number_double(const naq_number *n);

/* The shortest text found that reads back as the same double, always with a point or an exponent,
 * so that it stays a float. value must be finite. Not NUL-terminated; returns the length. */
enum { NAQ_DOUBLE_MAX = 32 };
size_t naq_double_format(double value, char out[NAQ_DOUBLE_MAX]);

#endif
