/* cron_fields.c -- reads a cron expression, and says where it is wrong. */
#include "base/cron_fields.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

enum { FIELDS_MAX = 6, EXPRESSION_MAX = 1000 };

typedef enum field_kind { SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY } field_kind;

static const char *const MONTH_NAMES[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const WEEKDAY_NAMES[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const struct {
    const char *name;
    int low, high;
    const char *const *names; /* of low, low + 1, ... */
} FIELDS[] = {
    [SECOND] = {"second", 0, 59, NULL},      [MINUTE] = {"minute", 0, 59, NULL},
    [HOUR] = {"hour", 0, 23, NULL},          [DAY] = {"day of month", 1, 31, NULL},
    [MONTH] = {"month", 1, 12, MONTH_NAMES}, [WEEKDAY] = {"day of week", 0, 7, WEEKDAY_NAMES},
};

static const struct {
    const char *name, *means;
} MACROS[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

typedef struct reader {
    const char *text, *at;
    field_kind kind;
    naq_err *err;
} reader;

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool ends(char c) {
    return c == '\0' || is_space(c);
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool letter(char c) {
    return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

static bool fault(reader *r, const char *at, const char *what) {
    const char *name = FIELDS[r->kind].name;
    (void)naq_fail(r->err, NAQ_INVALID, "cron '%.200s': at character %d, in the %s: %s", r->text,
                   (int)(at - r->text) + 1, name, what);
    return false;
}

static bool out_of_range(reader *r, const char *at) {
    naq_err range;
    (void)naq_fail(&range, NAQ_INVALID, "must be %d to %d", FIELDS[r->kind].low,
                   FIELDS[r->kind].high);
    return fault(r, at, range.message);
}

/* Three letters; an L may follow, for the last such weekday. */
static bool is_named(const char *at, const char *name) {
    if (strncasecmp(at, name, 3) != 0) return false;
    return !letter(at[3]) || (lower(at[3]) == 'l' && !letter(at[4]));
}

/* A number within the field, or one of its names. */
static bool read_value(reader *r, int *value) {
    const char *begin = r->at;
    if (digit(*r->at)) {
        for (*value = 0; digit(*r->at) && *value < 1000; r->at++)
            *value = *value * 10 + (*r->at - '0');
        return (*value >= FIELDS[r->kind].low && *value <= FIELDS[r->kind].high) ||
               out_of_range(r, begin);
    }
    const char *const *names = FIELDS[r->kind].names;
    for (int i = 0; names != NULL && names[i] != NULL; i++)
        if (is_named(begin, names[i])) {
            r->at += 3;
            *value = FIELDS[r->kind].low + i;
            return true;
        }
    if (ends(*begin)) return fault(r, begin, "a value is missing");
    return fault(r, begin, names != NULL ? "neither a number nor a name" : "not a number");
}

static bool read_step(reader *r, int *step) {
    *step = 1;
    if (*r->at != '/') return true;
    const char *begin = ++r->at;
    if (!digit(*r->at)) return fault(r, begin, "a step must be a number");
    for (*step = 0; digit(*r->at) && *step < 1000; r->at++)
        *step = *step * 10 + (*r->at - '0');
    return *step > 0 || fault(r, begin, "a step must be 1 or more");
}

static uint64_t range(int low, int high, int step) {
    uint64_t bits = 0;
    for (int n = low; n <= high; n += step)
        bits |= (uint64_t)1 << n;
    return bits;
}

/* L and LW of the days; nothing of a month besides its last day has no number. */
static bool read_last_day(reader *r, naq_cron *cron) {
    r->at++;
    if (lower(*r->at) == 'w') {
        r->at++;
        cron->last_working_day = true;
    } else {
        cron->last_day = true;
    }
    return true;
}

/* What may follow a single value: W behind a day, L or #n behind a weekday. *done: it did. */
static bool read_suffix(reader *r, naq_cron *cron, int value, bool *done) {
    char c = lower(*r->at);
    *done = true;
    if (r->kind == DAY && c == 'w') {
        r->at++;
        cron->nearest |= (uint32_t)1 << value;
        return true;
    }
    uint8_t weekday = (uint8_t)(1u << value % 7);
    if (r->kind == WEEKDAY && c == 'l') {
        r->at++;
        cron->last_weekdays |= weekday;
        return true;
    }
    if (r->kind == WEEKDAY && c == '#') {
        r->at++;
        if (*r->at < '1' || *r->at > '5' || digit(r->at[1]))
            return fault(r, r->at, "behind # must stand 1 to 5");
        cron->nth[*r->at++ - '0'] |= weekday;
        return true;
    }
    *done = false;
    return true;
}

/* One part of a list, its plain values as bits. */
static bool read_item(reader *r, naq_cron *cron, uint64_t *bits) {
    int low = FIELDS[r->kind].low, high = FIELDS[r->kind].high, step;
    if (r->kind == WEEKDAY) high = 6; /* of *; 7 is Sunday again */
    const char *begin = r->at;
    bool single = false;
    if (*r->at == '*') {
        r->at++;
    } else if (r->kind == DAY && lower(*r->at) == 'l') {
        return read_last_day(r, cron);
    } else {
        int value;
        bool done;
        if (!read_value(r, &value)) return false;
        if (!read_suffix(r, cron, value, &done)) return false;
        if (done) return true;
        low = value;
        single = *r->at != '-';
        if (!single) {
            r->at++;
            if (!read_value(r, &high)) return false;
            if (r->kind == WEEKDAY && high == 0) high = 7; /* fri-sun */
            if (high < low) return fault(r, begin, "the range goes backwards");
        }
    }
    const char *slash = r->at;
    if (!read_step(r, &step)) return false;
    if (single && slash == r->at) high = low; /* else 5/15: from 5 to the end */
    *bits |= range(low, high, step);
    return true;
}

static bool read_field(reader *r, naq_cron *cron, uint64_t *bits) {
    const char *begin = r->at;
    *bits = 0;
    for (;;) {
        if (!read_item(r, cron, bits)) return false;
        if (*r->at != ',') break;
        r->at++;
    }
    if (!ends(*r->at)) return fault(r, r->at, "not understood");
    bool starred = *begin == '*';
    if (r->kind == DAY) cron->any_day = starred;
    if (r->kind == WEEKDAY) cron->any_weekday = starred;
    if (r->kind == HOUR)
        cron->real_hours = starred && memchr(begin, ',', (size_t)(r->at - begin)) == NULL;
    return true;
}

static bool read_fields(reader *r, naq_cron *cron, const char *const *begin, int n) {
    uint64_t bits[FIELDS_MAX] = {[SECOND] = 1}; /* five fields: at second 0 */
    for (int i = 0; i < n; i++) {
        r->kind = (field_kind)(i + FIELDS_MAX - n);
        r->at = begin[i];
        if (!read_field(r, cron, &bits[r->kind])) return false;
    }
    cron->seconds = bits[SECOND];
    cron->minutes = bits[MINUTE];
    cron->hours = (uint32_t)bits[HOUR];
    cron->days = (uint32_t)bits[DAY];
    cron->months = (uint32_t)bits[MONTH];
    cron->weekdays = (uint8_t)((bits[WEEKDAY] & 0x7F) | (bits[WEEKDAY] >> 7 & 1));
    r->kind = DAY;
    return naq_cron_possible(cron) ||
           fault(r, begin[n - 3], "no month chosen has such a day: it would never run");
}

naq_status naq_cron_parse(naq_cron *out, const char *text, naq_err *err) {
    const char *begin[FIELDS_MAX], *expression = text;
    reader r = {.text = text, .at = text, .err = err};
    int n = 0;
    *out = (naq_cron){0};
    if (strlen(text) > EXPRESSION_MAX)
        return naq_fail(err, NAQ_INVALID, "cron '%.40s...': longer than %d characters", text,
                        EXPRESSION_MAX);
    while (is_space(*expression))
        expression++;
    if (*expression == '@') {
        size_t length = strcspn(expression, " \t\r\n");
        const char *means = NULL;
        for (size_t i = 0; i < sizeof MACROS / sizeof *MACROS; i++)
            if (strlen(MACROS[i].name) == length &&
                strncasecmp(expression, MACROS[i].name, length) == 0)
                means = MACROS[i].means;
        if (means == NULL || expression[length + strspn(expression + length, " \t\r\n")] != '\0')
            return naq_fail(
                err, NAQ_INVALID,
                "cron '%.200s': at character %d: not one of @yearly, @annually, @monthly, "
                "@weekly, @daily, @midnight, @hourly",
                text, (int)(expression - text) + 1);
        r.text = expression = means;
    }
    for (const char *p = expression; *p != '\0';) {
        if (n == FIELDS_MAX)
            return naq_fail(err, NAQ_INVALID,
                            "cron '%.200s': at character %d: more than six fields", text,
                            (int)(p - text) + 1);
        begin[n++] = p;
        while (!ends(*p))
            p++;
        while (is_space(*p))
            p++;
    }
    if (n < 5)
        return naq_fail(
            err, NAQ_INVALID,
            "cron '%.200s': at character %d: %d field%s; there must be five, or six with "
            "seconds first",
            text, (int)strlen(text) + 1, n, n == 1 ? "" : "s");
    return read_fields(&r, out, begin, n) ? NAQ_OK : NAQ_INVALID;
}
