/* test_number.c -- numbers as text: exact both ways, in any locale. */
#include "base/number.h"

#include <float.h>
#include <inttypes.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"

static bool scan(const char *text, naq_number *n) {
    return naq_number_scan(text, text + strlen(text), n) == text + strlen(text);
}

static void reads_integers(void) {
    naq_number n;
    int64_t value;
    CHECK(scan("9223372036854775807", &n) && naq_number_int(&n, &value) && value == INT64_MAX);
    CHECK(scan("-9223372036854775808", &n) && naq_number_int(&n, &value) && value == INT64_MIN);
    CHECK(scan("-0", &n) && naq_number_int(&n, &value) && value == 0);
    CHECK(scan("9223372036854775808", &n) && !naq_number_int(&n, &value));
    CHECK(scan("-9223372036854775809", &n) && !naq_number_int(&n, &value));
    CHECK(scan("18446744073709551616", &n) && !naq_number_int(&n, &value));
    CHECK(scan("10000000000000000000000", &n) && !naq_number_int(&n, &value));
    CHECK(scan("1.0", &n) && !naq_number_int(&n, &value));
    CHECK(scan("1e2", &n) && !naq_number_int(&n, &value));
}

static void refuses(void) {
    static const char *const BAD[] = {"",   "-",   "+1",   "01",  "-01", ".5",  "1.",
                                      "1e", "1e+", "1.e1", "0x1", "1_0", "nan", "Infinity"};
    naq_number n;
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK(!scan(BAD[i], &n));
}

/* Against the C library, which is exact: hard cases, then many. */
static void reads_doubles(void) {
    static const char *const HARD[] = {
        "0.1",
        "-0.0",
        "1e22",
        "1e23",
        "8.5e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "4.9e-324",
        "1.7976931348623157e308",
        "1.7976931348623159e308",
        "9007199254740993.0",
        "9007199254740992.99999999999999999999999999999999999999999",
        "0.000000000000000000000000000000000000000000000000000000000000000000001e68",
        "100000000000000000000000000000000000000000000000000000000000000000000e-68",
        "2.2250738585072011e-308",
        "1e-400",
        "1e400",
        "0e999999999999999999999",
        "7.2057594037927933e16",
        "123456789012345678901234567890.5e-10"};
    naq_number n;
    for (size_t i = 0; i < sizeof HARD / sizeof HARD[0]; i++) {
        double expected = strtod(HARD[i], NULL);
        CHECK(scan(HARD[i], &n) && naq_number_double(&n) == expected);
    }
    CHECK(scan("-0.0", &n) && signbit(naq_number_double(&n)));
    /* Exactly between two doubles, and a last digit 900 places later that decides. */
    char text[1100] = "9007199254740993.";
    size_t len = strlen(text);
    memset(text + len, '0', 1000);
    text[len + 1000] = '\0';
    CHECK(scan(text, &n) && naq_number_double(&n) == 9007199254740992.0);
    text[len + 900] = '1';
    CHECK(scan(text, &n) && naq_number_double(&n) == 9007199254740994.0);
}

static uint64_t state = 42;
static uint64_t next_random(void) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * UINT64_C(2685821657736338717);
}

static bool comes_back(double value) {
    char text[NAQ_DOUBLE_MAX + 1];
    size_t len = naq_double_format(value, text);
    text[len] = '\0';
    naq_number n;
    double back = len < sizeof text && scan(text, &n) && !n.integer ? naq_number_double(&n) : NAN;
    bool same = back == value && signbit(back) == signbit(value) && strtod(text, NULL) == value;
    if (!same) fprintf(stderr, "%.17g was written as %s\n", value, text);
    return same;
}

static void round_trips(void) {
    static const double EDGES[] = {0.0,
                                   -0.0,
                                   1.0,
                                   0.1,
                                   1e15,
                                   1e16,
                                   9007199254740993.0,
                                   1e-5,
                                   9e-6,
                                   DBL_MAX,
                                   DBL_MIN,
                                   DBL_TRUE_MIN,
                                   1763697600.123456,
                                   1e22,
                                   1e23,
                                   0.30000000000000004,
                                   123456789.0,
                                   4503599627370496.5};
    for (size_t i = 0; i < sizeof EDGES / sizeof EDGES[0]; i++)
        CHECK(comes_back(EDGES[i]) && comes_back(-EDGES[i]));
    bool all = true;
    for (int i = 0; i < 200000 && all; i++) {
        uint64_t bits = next_random();
        double value;
        memcpy(&value, &bits, sizeof value);
        if (isfinite(value)) all = comes_back(value);
        if (all) all = comes_back((double)(int64_t)(bits >> 20) / 1000.0);
        if (all) all = comes_back((double)(bits >> 11) / 9007199254740992.0);
    }
    CHECK(all);
}

static void is_short(void) {
    static const struct {
        double value;
        const char *text;
    } CASES[] = {{1, "1.0"},       {-2.5, "-2.5"},
                 {0.1, "0.1"},     {1763697600.123456, "1763697600.123456"},
                 {100, "100.0"},   {1e300, "1e+300"},
                 {0.001, "0.001"}, {-0.0, "-0.0"},
                 {0.05, "0.05"},   {9007199254740994.0, "9007199254740994.0"},
                 {1e-7, "1e-07"},  {0.30000000000000004, "0.30000000000000004"}};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char text[NAQ_DOUBLE_MAX];
        CHECK_TEXT(CASES[i].text, text, naq_double_format(CASES[i].value, text));
    }
}

/* Whatever locale the host program has set: a comma must neither be read nor written. */
static void ignores_the_locale(void) {
    if (setlocale(LC_NUMERIC, "de_DE.UTF-8") == NULL &&
        setlocale(LC_NUMERIC, "fr_FR.UTF-8") == NULL)
        printf("     (no locale with a decimal comma is installed)\n");
    char text[NAQ_DOUBLE_MAX];
    naq_number n;
    size_t len = naq_double_format(0.30000000000000004, text);
    CHECK_TEXT("0.30000000000000004", text, len);
    CHECK(scan("0.300000000000000044408920985006", &n));
    CHECK(naq_number_double(&n) == 0.30000000000000004);
    setlocale(LC_NUMERIC, "C");
}

int main(void) {
    run("number reads 64-bit integers exactly", reads_integers);
    run("number refuses what JSON does not allow", refuses);
    run("number reads doubles correctly rounded", reads_doubles);
    run("double comes back the same", round_trips);
    run("double is written short", is_short);
    run("number ignores the locale", ignores_the_locale);
    return failures != 0;
}
