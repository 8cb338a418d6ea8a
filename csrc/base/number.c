/* number.c -- decimal text to int64 and double, and double to decimal text.
 *
 * Both directions have a fast path that is exact by construction: an integer of up to 2^53 times or
 * divided by a power of ten of up to 10^22 is one rounding of two exact doubles, hence the
 * correctly rounded result (Clinger 1990). What does not fit goes to the C library under the "C"
 * locale. */
#include "base/number.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DIGITS = 19, EXACT_POWER = 22 };
static const uint64_t EXACT = UINT64_C(1) << 53;
static const int64_t HUGE_EXPONENT = INT64_C(1000000000000);

static const double POWERS[EXACT_POWER + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                               1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                               1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline bool is_digit(const char *p, const char *end) {
    return p < end && (unsigned char)(*p - '0') < 10;
}

const char *naq_number_scan(const char *at, const char *end, naq_number *out) {
    const char *p = at;
    bool negative = p < end && *p == '-';
    if (negative) p++;
    if (!is_digit(p, end)) return NULL;

    uint64_t digits = 0;
    int64_t scale = 0;
    int count = 0; /* significant digits taken */
    bool integer = true, whole = true;
    if (*p == '0') {
        p++;
        if (is_digit(p, end)) return NULL;
    } else {
        for (; is_digit(p, end); p++) {
            if (count < MAX_DIGITS) {
                digits = digits * 10 + (uint64_t)(*p - '0');
                count++;
            } else {
                scale++;
                whole = whole && *p == '0';
            }
        }
    }
    if (p < end && *p == '.') {
        integer = false;
        p++;
        if (!is_digit(p, end)) return NULL;
        for (; is_digit(p, end); p++) {
            if (count < MAX_DIGITS) {
                digits = digits * 10 + (uint64_t)(*p - '0');
                scale--;
                if (digits != 0) count++;
            } else {
                whole = whole && *p == '0';
            }
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        integer = false;
        p++;
        bool down = p < end && *p == '-';
        if (p < end && (*p == '-' || *p == '+')) p++;
        if (!is_digit(p, end)) return NULL;
        int64_t exponent = 0;
        for (; is_digit(p, end); p++)
            if (exponent < HUGE_EXPONENT) exponent = exponent * 10 + (*p - '0');
        scale += down ? -exponent : exponent;
    }
    *out = (naq_number){.at = at,
                        .len = (size_t)(p - at),
                        .digits = digits,
                        .scale = scale,
                        .negative = negative,
                        .integer = integer,
                        .whole = whole};
    return p;
}

bool naq_number_int(const naq_number *n, int64_t *out) {
    if (!n->integer || n->scale != 0) return false;
    if (n->digits > (uint64_t)INT64_MAX + (n->negative ? 1 : 0)) return false;
    *out = n->negative ? (int64_t)(0 - n->digits) : (int64_t)n->digits;
    return true;
}

/* glibc and musl hand out one static object for this; nothing is allocated, nothing to free. */
static locale_t c_locale(void) {
    return newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* No double needs more than 767 significant digits to be told from its neighbours; of what comes
 * after those it only matters whether it is zero. */
static double read_slowly(const naq_number *n) {
    enum { KEPT = 800 };
    char text[KEPT + 32];
    size_t len = 0;
    int64_t scale =
        n->scale; /* belongs to the first MAX_DIGITS digits; moves with each further one */
    bool rest = false;
    for (size_t i = n->negative; i < n->len && (n->at[i] | 0x20) != 'e'; i++) {
        char c = n->at[i];
        if (c == '.' || (len == 0 && c == '0')) continue;
        if (len == KEPT) {
            rest = rest || c != '0';
            continue;
        }
        text[len++] = c;
        if (len > MAX_DIGITS) scale--;
    }
    if (rest) {
        text[len++] = '1';
        scale--;
    }
    /* With at most 801 digits before it, an exponent beyond these gives 0 or infinity anyway. */
    if (scale > 100000) scale = 100000;
    if (scale < -100000) scale = -100000;
    (void)snprintf(text + len, sizeof text - len, "e%d", (int)scale);
    double value = strtod_l(text, NULL, c_locale());
    return n->negative ? -value : value;
}

double naq_number_double(const naq_number *n) {
    if (n->whole && n->digits <= EXACT && n->scale >= -EXACT_POWER && n->scale <= EXACT_POWER) {
        double value = (double)n->digits;
        value = n->scale < 0 ? value / POWERS[-n->scale] : value * POWERS[n->scale];
        return n->negative ? -value : value;
    }
    if (n->whole && n->digits == 0) return n->negative ? -0.0 : 0.0;
    return read_slowly(n);
}

static size_t put_digits(char *to, uint64_t n) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    memcpy(to, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

/* n / 10^decimals, which has at most 16 digits before the point. */
static size_t put_decimal(char *to, uint64_t n, int decimals) {
    uint64_t unit = 1;
    for (int i = 0; i < decimals; i++)
        unit *= 10;
    size_t len = put_digits(to, n / unit);
    to[len++] = '.';
    uint64_t fraction = n % unit;
    for (int i = decimals - 1; i >= 0; i--, fraction /= 10)
        to[len + (size_t)i] = (char)('0' + fraction % 10);
    return len + (size_t)decimals;
}

/* A double keeps any 15 digits; 17 tell it from all others. Begins with as many as given. */
static size_t format_slowly(double value, int digits, char *out) {
    locale_t c = c_locale();
    locale_t before = uselocale(c);
    int len = 0;
    for (; digits <= 17; digits++) {
        len = snprintf(out, NAQ_DOUBLE_MAX, "%.*g", digits, value);
        if (digits == 17 || strtod_l(out, NULL, c) == value) break;
    }
    uselocale(before);
    if (strpbrk(out, ".e") == NULL) {
        memcpy(out + len, ".0", 2);
        len += 2;
    }
    return (size_t)len;
}

size_t naq_double_format(double value, char out[NAQ_DOUBLE_MAX]) {
    enum { MAX_DECIMALS = 18 }; /* the most that put_decimal's unit holds */
    double size = fabs(value);
    size_t sign = 0;
    if (signbit(value)) out[sign++] = '-';
    if (size < 1e15 && size == (double)(uint64_t)size) {
        size_t len = sign + put_digits(out + sign, (uint64_t)size);
        memcpy(out + len, ".0", 2);
        return len + 2;
    }
    if (size >= 1e-5 && size < 1e15) {
        for (int decimals = 1; decimals <= MAX_DECIMALS; decimals++) {
            double scaled = size * POWERS[decimals] + 0.5;
            if (scaled >= (double)EXACT) break;
            uint64_t n = (uint64_t)scaled;
            /* What the reader's fast path computes from these digits is this very double. */
            if ((double)n / POWERS[decimals] == size)
                return sign + put_decimal(out + sign, n, decimals);
        }
        /* From 0.001 up, 18 decimals hold 15 digits: such a text would have been found. */
        if (size >= 1e-3) return format_slowly(value, 16, out);
    }
    return format_slowly(value, 15, out);
}
