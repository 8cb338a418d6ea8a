/* amount.c -- bytes with a unit, read and written. */
#include "base/amount.h"

#include <stdint.h>
#include <stdio.h>

#include "base/number.h"

static char upper(char c) {
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* The power of two that the unit stands for, or -1. */
static int shift_of(const char *s, size_t n) {
    if (n > 0 && *s == ' ') s++, n--;
    if (n == 0) return 0;
    int shift = 0;
    switch (upper(s[0])) {
    case 'K':
        shift = 10;
        break;
    case 'M':
        shift = 20;
        break;
    case 'G':
        shift = 30;
        break;
    case 'T':
        shift = 40;
        break;
    case 'B':
        return n == 1 ? 0 : -1;
    default:
        return -1;
    }
    bool binary = n == 3 && upper(s[1]) == 'I'; /* MiB says the same more loudly */
    return n == 1 || ((n == 2 || binary) && upper(s[n - 1]) == 'B') ? shift : -1;
}

bool naq_amount_parse(const char *s, size_t n, size_t *bytes) {
    naq_number number;
    const char *end = s + n, *unit = naq_number_scan(s, end, &number);
    if (unit == NULL || number.negative) return false;
    int shift = shift_of(unit, (size_t)(end - unit));
    if (shift < 0) return false;
    double value = naq_number_double(&number) * (double)((size_t)1 << shift);
    if (!(value < (double)(SIZE_MAX / 2))) return false;
    *bytes = (size_t)value;
    return true;
}

void naq_amount_format(size_t bytes, char *out, size_t size) {
    static const char *const UNITS[] = {"bytes", "KB", "MB", "GB"};
    double value = (double)bytes;
    int unit = 0;
    for (; unit < 3 && value >= 1024; unit++)
        value /= 1024;
    (void)snprintf(out, size, "%.4g %s", value, UNITS[unit]);
}
