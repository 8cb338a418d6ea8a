/* zone.c -- reads a compiled time zone (TZif, RFC 8536, version 2 and later) and answers from it.
 *
 * A file has two parts that matter: a list of moments at which the offset changed or will change,
 * and a rule in POSIX form (zone_rule.c) for what comes after the last of them. */
#include "base/zone.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/zone_rule.h"

#define ZONE_DIR "/usr/share/zoneinfo"

enum { HEADER_BYTES = 44, FILE_MAX = 1 << 20, LONGEST_OFFSET_S = 26 * 3600, NAME_MAX_BYTES = 64 };

struct naq_zone {
    int n;              /* changes */
    int64_t *at;        /* when, ascending */
    int32_t *offset;    /* from then on */
    int32_t before;     /* the offset before the first */
    bool has_rule;      /* else the last offset stays for ever */
    naq_zone_rule rule; /* after the last change */
};

typedef struct counts {
    uint32_t isut, isstd, leap, time, type, abbreviations;
} counts;

static uint32_t big32(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t big64(const unsigned char *p) {
    return (int64_t)((uint64_t)big32(p) << 32 | big32(p + 4));
}

static bool read_header(const unsigned char *p, size_t len, counts *c) {
    if (len < HEADER_BYTES || memcmp(p, "TZif", 4) != 0 || p[4] < '2') return false;
    *c = (counts){big32(p + 20), big32(p + 24), big32(p + 28),
                  big32(p + 32), big32(p + 36), big32(p + 40)};
    return c->time <= FILE_MAX && c->type >= 1 && c->type <= 256 && c->leap <= FILE_MAX &&
           c->isut <= 256 && c->isstd <= 256 && c->abbreviations <= FILE_MAX;
}

/* Of the data behind a header whose times have so many bytes. */
static size_t data_size(const counts *c, size_t time_bytes) {
    return c->time * (time_bytes + 1) + (size_t)c->type * 6 + c->abbreviations +
           c->leap * (time_bytes + 4) + c->isstd + c->isut;
}

static bool read_changes(naq_zone *zone, const unsigned char *p, const counts *c) {
    const unsigned char *index = p + (size_t)c->time * 8, *types = index + c->time;
    zone->before = (int32_t)big32(types);
    zone->at = malloc((c->time + 1) * sizeof *zone->at);
    zone->offset = malloc((c->time + 1) * sizeof *zone->offset);
    if (zone->at == NULL || zone->offset == NULL) return false;
    for (uint32_t i = 0; i < c->time; i++) {
        if (index[i] >= c->type) return false;
        zone->at[i] = big64(p + (size_t)i * 8);
        zone->offset[i] = (int32_t)big32(types + (size_t)index[i] * 6);
        if (i > 0 && zone->at[i] <= zone->at[i - 1]) return false;
        if (abs(zone->offset[i]) > LONGEST_OFFSET_S) return false;
    }
    zone->n = (int)c->time;
    return abs(zone->before) <= LONGEST_OFFSET_S;
}

/* The rule stands between two line ends. None at all: the last offset stays. */
static bool read_rule(naq_zone *zone, const unsigned char *p, size_t len) {
    char text[128];
    if (len < 2 || p[0] != '\n') return false;
    const unsigned char *end = memchr(p + 1, '\n', len - 1);
    if (end == NULL || (size_t)(end - p) > sizeof text) return false;
    size_t n = (size_t)(end - p) - 1;
    memcpy(text, p + 1, n);
    text[n] = '\0';
    zone->has_rule = n > 0;
    return n == 0 || naq_zone_rule_parse(&zone->rule, text);
}

static bool read_zone(naq_zone *zone, const unsigned char *p, size_t len) {
    counts first, c;
    if (!read_header(p, len, &first)) return false;
    size_t skip = HEADER_BYTES + data_size(&first, 4); /* the same in 32 bits, for old readers */
    if (skip > len || !read_header(p + skip, len - skip, &c)) return false;
    p += skip + HEADER_BYTES;
    len -= skip + HEADER_BYTES;
    size_t size = data_size(&c, 8);
    return size <= len && read_changes(zone, p, &c) && read_rule(zone, p + size, len - size);
}

naq_status naq_zone_read(naq_zone **out, const char *name, const void *data, size_t len,
                         naq_err *err) {
    naq_zone *zone = calloc(1, sizeof *zone);
    if (zone != NULL && read_zone(zone, data, len)) {
        *out = zone;
        return NAQ_OK;
    }
    naq_zone_close(zone);
    return naq_fail(err, NAQ_INVALID, "time zone %.64s: its file is damaged", name);
}

/* A name is part of a path: nothing in it may lead out of the folder. */
static bool plausible(const char *name) {
    size_t n = strlen(name);
    if (n == 0 || n > NAME_MAX_BYTES || name[0] == '/' || name[0] == '.') return false;
    for (size_t i = 0; i < n; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("_+-/", c) != NULL);
        if (!plain) return false;
    }
    return true;
}

naq_status naq_zone_open(naq_zone **out, const char *name, naq_err *err) {
    char path[sizeof ZONE_DIR + NAME_MAX_BYTES + 2];
    if (strcmp(name, "UTC") == 0) {
        *out = calloc(1, sizeof **out);
        return *out != NULL ? NAQ_OK : naq_fail(err, NAQ_INVALID, "time zone UTC: out of memory");
    }
    if (!plausible(name))
        return naq_fail(err, NAQ_INVALID,
                        "time zone '%.64s' is no IANA name, such as Europe/Berlin", name);
    (void)snprintf(path, sizeof path, "%s/%s", ZONE_DIR, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        FILE *any = fopen(ZONE_DIR "/Europe/Berlin", "rb");
        if (any != NULL) {
            (void)fclose(any);
            return naq_fail(err, NAQ_INVALID, "time zone '%s' is not known to this system", name);
        }
        return naq_fail(err, NAQ_INVALID, "time zone '%s': this system has no zones in %s; %s",
                        name, ZONE_DIR, "install its package tzdata");
    }
    unsigned char *data = malloc(FILE_MAX);
    size_t len = data != NULL ? fread(data, 1, FILE_MAX, f) : 0;
    (void)fclose(f);
    naq_status status = naq_zone_read(out, name, data, len, err);
    free(data);
    return status;
}

void naq_zone_close(naq_zone *zone) {
    if (zone == NULL) return;
    free(zone->at);
    free(zone->offset);
    free(zone);
}

naq_zone_span naq_zone_at(const naq_zone *zone, int64_t utc) {
    int low = 0, high = zone->n; /* the number of changes up to utc */
    while (low < high) {
        int middle = low + (high - low) / 2;
        if (zone->at[middle] <= utc)
            low = middle + 1;
        else
            high = middle;
    }
    naq_zone_span span = {.from = low > 0 ? zone->at[low - 1] : INT64_MIN,
                          .until = low < zone->n ? zone->at[low] : INT64_MAX,
                          .offset = low > 0 ? zone->offset[low - 1] : zone->before};
    if (low < zone->n || !zone->has_rule) return span;
    naq_zone_span ruled = naq_zone_rule_at(&zone->rule, utc);
    if (ruled.from > span.from) span.from = ruled.from;
    span.until = ruled.until;
    span.offset = ruled.offset;
    return span;
}

int64_t naq_zone_first(const naq_zone *zone, int64_t local) {
    naq_zone_span span = naq_zone_at(zone, local - LONGEST_OFFSET_S);
    for (;;) {
        int64_t utc = local - span.offset;
        if (utc < span.from) return span.from; /* the spans before did not reach it either */
        if (utc < span.until) return utc;
        span = naq_zone_at(zone, span.until);
    }
}
