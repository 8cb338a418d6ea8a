/* plan.c -- records of schedules, and what a run changes in them. */
#include "run/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Beyond the year 9999, either way. */
static const double FAR_S = 253402300800.0;

static bool is(naq_slice s, const char *text) {
    return s.at != NULL && s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

bool naq_misfire_parse(const char *name, size_t len, naq_misfire *out) {
    naq_slice s = {name, len};
    if (is(s, "once"))
        *out = NAQ_MISFIRE_ONCE;
    else if (is(s, "skip"))
        *out = NAQ_MISFIRE_SKIP;
    else if (is(s, "all"))
        *out = NAQ_MISFIRE_ALL;
    else
        return false;
    return true;
}

/* Zones */

static naq_status zone_named(naq_zones *z, const char *name, const naq_zone **out, naq_err *err) {
    for (size_t i = 0; i < z->n; i++) {
        if (strcmp(z->all[i].name, name) != 0) continue;
        *out = z->all[i].zone;
        return NAQ_OK;
    }
    naq_zone *zone;
    naq_status status = naq_zone_open(&zone, name, err);
    if (status != NAQ_OK) return status;
    char *copy = strdup(name);
    struct naq_zone_entry *all = realloc(z->all, (z->n + 1) * sizeof *all);
    if (all != NULL) z->all = all;
    if (all == NULL || copy == NULL) {
        free(copy);
        naq_zone_close(zone);
        return naq_fail(err, NAQ_INVALID, "time zone %.64s: out of memory", name);
    }
    z->all[z->n++] = (struct naq_zone_entry){copy, zone};
    *out = zone;
    return NAQ_OK;
}

void naq_zones_free(naq_zones *z) {
    for (size_t i = 0; i < z->n; i++) {
        free(z->all[i].name);
        naq_zone_close(z->all[i].zone);
    }
    free(z->all);
    memset(z, 0, sizeof *z);
}

/* Reading. The members as they stand there; at NULL: absent or null. */

typedef struct members {
    naq_slice state, payload, queue, priority, cron, timezone, interval, anchor, repeat, starts_at,
        ends_at, jitter, overlap, misfire, next_run, done_until, runs, skipped, failures, last_run,
        last_job, held, recent, error, v;
} members;

typedef struct member_place {
    const char *name;
    size_t offset;
    bool ours; /* the scheduler's to write */
} member_place;

#define MEMBER(name, ours)                                                                         \
    { #name, offsetof(members, name), ours }
static const member_place PLACES[] = {
    MEMBER(v, false),        MEMBER(payload, false),   MEMBER(queue, false),
    MEMBER(priority, false), MEMBER(cron, false),      MEMBER(timezone, false),
    MEMBER(interval, false), MEMBER(repeat, false),    MEMBER(starts_at, false),
    MEMBER(ends_at, false),  MEMBER(jitter, false),    MEMBER(overlap, false),
    MEMBER(misfire, false),  MEMBER(state, true),      MEMBER(anchor, true),
    MEMBER(next_run, true),  MEMBER(done_until, true), MEMBER(runs, true),
    MEMBER(skipped, true),   MEMBER(failures, true),   MEMBER(last_run, true),
    MEMBER(last_job, true),  MEMBER(held, true),       MEMBER(recent, true),
    MEMBER(error, true),
};
enum { N_PLACES = sizeof PLACES / sizeof PLACES[0] };

static const member_place *place_of(naq_slice key) {
    for (int i = 0; i < N_PLACES; i++)
        if (is(key, PLACES[i].name)) return &PLACES[i];
    return NULL;
}

static naq_status find_members(const char *text, size_t len, members *out, naq_err *err) {
    memset(out, 0, sizeof *out);
    naq_json j;
    naq_json_begin(&j, text, len);
    naq_status status = naq_json_object(&j, err);
    for (bool first = true, more = true; status == NAQ_OK; first = false) {
        naq_slice key, value;
        naq_json_kind kind;
        status = naq_json_member(&j, first, &more, &key, &value, &kind, err);
        if (status != NAQ_OK) return status;
        if (!more) return naq_json_end(&j, err);
        const member_place *place = place_of(key);
        if (place == NULL) continue;
        if (kind == NAQ_JSON_NULL) value = (naq_slice){NULL, 0};
        memcpy((char *)out + place->offset, &value, sizeof value);
    }
    return status;
}

static bool is_string(naq_slice s) {
    return s.at != NULL && s.len >= 2 && s.at[0] == '"';
}

static bool is_number(naq_slice s) {
    return s.at != NULL && (s.at[0] == '-' || (s.at[0] >= '0' && s.at[0] <= '9'));
}

static naq_slice inside(naq_slice s) {
    return is_string(s) ? (naq_slice){s.at + 1, s.len - 2} : (naq_slice){NULL, 0};
}

/* A string member as a C string, escapes resolved. */
static naq_status text_of(naq_slice s, const char *name, char *out, size_t size, naq_err *err) {
    naq_buf buf = {0};
    naq_status status = is_string(s) ? naq_json_unescape(s, &buf, err)
                                     : naq_fail(err, NAQ_INVALID, "%s must be a string", name);
    if (status == NAQ_OK && (buf.len >= size || memchr(buf.data, 0, buf.len) != NULL))
        status = naq_fail(err, NAQ_INVALID, "%s is too long", name);
    if (status == NAQ_OK) {
        if (buf.len > 0) memcpy(out, buf.data, buf.len);
        out[buf.len] = '\0';
    }
    naq_buf_free(&buf);
    return status;
}

/* A number of seconds as milliseconds; *out stays as it is when it is absent. */
static naq_status ms_of(naq_slice s, const char *name, int64_t *out, naq_err *err) {
    if (s.at == NULL) return NAQ_OK;
    double seconds = is_number(s) ? naq_json_double(s) : NAN;
    if (!(seconds > -FAR_S && seconds < FAR_S))
        return naq_fail(err, NAQ_INVALID, "%s must be a number of seconds", name);
    *out = llround(seconds * 1000);
    return NAQ_OK;
}

static naq_status count_of(naq_slice s, const char *name, int64_t *out, naq_err *err) {
    long long n;
    if (s.at == NULL) return NAQ_OK;
    if (!is_number(s) || !naq_json_int(s, &n) || n < 0)
        return naq_fail(err, NAQ_INVALID, "%s must be a whole number", name);
    *out = n;
    return NAQ_OK;
}

static naq_status read_when(naq_plan *p, const members *m, int64_t now_ms, naq_zones *zones,
                            naq_err *err) {
    naq_recurrence *w = &p->when;
    w->starts_ms = INT64_MIN;
    w->ends_ms = INT64_MAX;
    if ((m->cron.at == NULL) == (m->interval.at == NULL))
        return naq_fail(err, NAQ_INVALID, "a schedule has either cron or interval");
    naq_status status = ms_of(m->starts_at, "starts_at", &w->starts_ms, err);
    if (status == NAQ_OK) status = ms_of(m->ends_at, "ends_at", &w->ends_ms, err);
    if (status != NAQ_OK) return status;
    if (m->cron.at != NULL) {
        char text[512], zone[128] = "UTC";
        status = text_of(m->cron, "cron", text, sizeof text, err);
        if (status == NAQ_OK) status = naq_cron_parse(&w->cron, text, err);
        if (status == NAQ_OK && m->timezone.at != NULL)
            status = text_of(m->timezone, "timezone", zone, sizeof zone, err);
        if (status == NAQ_OK) status = zone_named(zones, zone, &w->zone, err);
        return status;
    }
    w->at_anchor = w->starts_ms != INT64_MIN;
    w->anchor_ms = w->at_anchor ? w->starts_ms : now_ms;
    status = ms_of(m->interval, "interval", &w->interval_ms, err);
    if (status == NAQ_OK) status = ms_of(m->anchor, "anchor", &w->anchor_ms, err);
    if (status == NAQ_OK && w->interval_ms < 1)
        status = naq_fail(err, NAQ_INVALID, "interval must be at least a millisecond");
    return status;
}

static naq_status read_choices(naq_plan *p, const members *m, naq_err *err) {
    naq_slice overlap = inside(m->overlap), misfire = inside(m->misfire);
    naq_slice priority = inside(m->priority);
    naq_misfire policy;
    if (m->overlap.at == NULL || is(overlap, "allow"))
        p->overlap = NAQ_OVERLAP_ALLOW;
    else if (is(overlap, "skip"))
        p->overlap = NAQ_OVERLAP_SKIP;
    else if (is(overlap, "queue_one"))
        p->overlap = NAQ_OVERLAP_QUEUE_ONE;
    else
        return naq_fail(err, NAQ_INVALID, "overlap must be allow, skip or queue_one");
    p->misfire = -1;
    if (m->misfire.at != NULL && misfire.at == NULL)
        return naq_fail(err, NAQ_INVALID, "misfire must be once, skip or all");
    if (misfire.at != NULL) {
        if (!naq_misfire_parse(misfire.at, misfire.len, &policy))
            return naq_fail(err, NAQ_INVALID, "misfire must be once, skip or all");
        p->misfire = (int)policy;
    }
    p->priority = NAQ_NORMAL;
    if (m->priority.at != NULL &&
        (priority.at == NULL || !naq_priority_parse(priority.at, priority.len, &p->priority)))
        return naq_fail(err, NAQ_INVALID, "priority must be high, normal or low");
    return NAQ_OK;
}

static void read_recent(naq_plan *p, naq_slice list) {
    naq_json j;
    naq_err err;
    if (list.at == NULL) return;
    naq_json_begin(&j, list.at, list.len);
    if (naq_json_array(&j, &err) != NAQ_OK) return;
    for (bool first = true, more = true;; first = false) {
        naq_slice value;
        naq_json_kind kind;
        long long n;
        if (naq_json_element(&j, first, &more, &value, &kind, &err) != NAQ_OK || !more) return;
        if (kind != NAQ_JSON_NUMBER || !naq_json_int(value, &n)) continue;
        if (p->n_recent == NAQ_PLAN_RECENT)
            memmove(p->recent, p->recent + 1, sizeof p->recent[0] * --p->n_recent);
        p->recent[p->n_recent++] = n;
    }
}

static naq_status read_progress(naq_plan *p, const members *m, naq_err *err) {
    naq_status status = ms_of(m->done_until, "done_until", &p->done_until_ms, err);
    if (status == NAQ_OK) status = ms_of(m->next_run, "next_run", &p->next_ms, err);
    if (status == NAQ_OK) status = ms_of(m->last_run, "last_run", &p->last_run_ms, err);
    if (status == NAQ_OK) status = ms_of(m->jitter, "jitter", &p->jitter_ms, err);
    if (status == NAQ_OK) status = count_of(m->repeat, "repeat", &p->repeat, err);
    if (status == NAQ_OK) status = count_of(m->runs, "runs", &p->runs, err);
    if (status == NAQ_OK) status = count_of(m->skipped, "skipped", &p->skipped, err);
    if (status == NAQ_OK) status = count_of(m->failures, "failures", &p->failures, err);
    if (status == NAQ_OK && p->jitter_ms < 0)
        status = naq_fail(err, NAQ_INVALID, "jitter must be a number of seconds");
    naq_slice last_job = inside(m->last_job);
    if (last_job.at != NULL && naq_id_valid(last_job.at, last_job.len))
        memcpy(p->last_job, last_job.at, last_job.len);
    p->held = is(m->held, "true");
    if (m->error.at != NULL) naq_buf_put(&p->error, m->error.at, m->error.len);
    read_recent(p, m->recent);
    return status;
}

static naq_status read_job(naq_plan *p, const members *m, naq_err *err) {
    naq_envelope job;
    naq_status status = m->queue.at != NULL
                            ? text_of(m->queue, "queue", p->queue, sizeof p->queue, err)
                            : naq_fail(err, NAQ_INVALID, "it names no queue");
    if (status == NAQ_OK && !naq_id_valid(p->queue, strlen(p->queue)))
        status = naq_fail(err, NAQ_INVALID, "a queue's name is 1 to 64 of [A-Za-z0-9_-]");
    if (status == NAQ_OK && m->payload.at == NULL)
        status = naq_fail(err, NAQ_INVALID, "it has no payload");
    if (status == NAQ_OK) status = naq_envelope_parse(m->payload.at, m->payload.len, &job, err);
    p->payload = m->payload;
    return status;
}

static naq_status read_all(naq_plan *p, const char *id, const members *m, int64_t now_ms,
                           naq_zones *zones, naq_err *err) {
    if (m->v.at != NULL && !is(m->v, "1"))
        return naq_fail(err, NAQ_UNSUPPORTED, "it is of version %.*s, which is not known here",
                        (int)(m->v.len < 20 ? m->v.len : 20), m->v.at);
    if (!naq_id_valid(id, strlen(id)) || strlen(id) > NAQ_PLAN_ID_MAX)
        return naq_fail(err, NAQ_INVALID, "its id is not 1 to %d of [A-Za-z0-9_-]",
                        NAQ_PLAN_ID_MAX);
    naq_status status = read_when(p, m, now_ms, zones, err);
    if (status == NAQ_OK) status = read_choices(p, m, err);
    if (status == NAQ_OK) status = read_progress(p, m, err);
    if (status == NAQ_OK) status = read_job(p, m, err);
    return status;
}

naq_status naq_plan_read(naq_plan *out, const char *id, const void *record, size_t len,
                         int64_t now_ms, naq_zones *zones, naq_err *err) {
    memset(out, 0, sizeof *out);
    out->next_ms = INT64_MAX;
    out->done_until_ms = INT64_MIN;
    naq_buf_put(&out->text, record, len);
    if (out->text.failed) return naq_fail(err, NAQ_TOO_LARGE, "out of memory");
    members m;
    naq_status status = find_members(out->text.data, out->text.len, &m, err);
    if (status != NAQ_OK) return naq_wrap(err, "it is no schedule");
    out->state_name = m.state;
    out->state =
        m.state.at == NULL || is(inside(m.state), "active") ? NAQ_PLAN_ACTIVE : NAQ_PLAN_OTHER;
    status = read_all(out, id, &m, now_ms, zones, err);
    if (out->state == NAQ_PLAN_OTHER) {
        out->unreadable = status != NAQ_OK;
        return NAQ_OK;
    }
    if (status == NAQ_OK && out->next_ms <= out->done_until_ms) out->next_ms = INT64_MAX;
    if (status == NAQ_OK && out->next_ms == INT64_MAX)
        naq_plan_settle(out, out->done_until_ms > now_ms ? out->done_until_ms : now_ms);
    return status;
}

void naq_plan_free(naq_plan *p) {
    naq_buf_free(&p->text);
    naq_buf_free(&p->error);
}

/* Writing */

static void put_seconds(naq_buf *out, const char *name, int64_t ms) {
    naq_buf_printf(out, ",\"%s\":%s%" PRId64 ".%03d", name, ms < 0 ? "-" : "",
                   (ms < 0 ? -ms : ms) / 1000, (int)((ms < 0 ? -ms : ms) % 1000));
}

/* "{" and the members that are not the scheduler's, as they were. */
static naq_status put_others(const char *text, size_t len, naq_buf *out, naq_err *err) {
    naq_json j;
    naq_json_begin(&j, text, len);
    naq_status status = naq_json_object(&j, err);
    naq_buf_puts(out, "{");
    bool any = false;
    for (bool first = true, more = true; status == NAQ_OK; first = false) {
        naq_slice key, value;
        naq_json_kind kind;
        status = naq_json_member(&j, first, &more, &key, &value, &kind, err);
        if (status != NAQ_OK || !more) break;
        const member_place *place = place_of(key);
        if (place != NULL && place->ours) continue;
        naq_buf_puts(out, any ? ",\"" : "\"");
        any = true;
        naq_buf_put(out, key.at, key.len);
        naq_buf_puts(out, "\":");
        naq_buf_put(out, value.at, value.len);
    }
    naq_buf_puts(out, any ? "," : "");
    return status;
}

static naq_status finish(naq_buf *out, naq_status status, naq_err *err) {
    naq_buf_putc(out, '}');
    if (status == NAQ_OK && out->failed) return naq_fail(err, NAQ_TOO_LARGE, "out of memory");
    return status;
}

static const char *const STATES[] = {"active", "finished", "failed"};

naq_status naq_plan_write(const naq_plan *p, naq_buf *out, naq_err *err) {
    naq_status status = put_others(p->text.data, p->text.len, out, err);
    naq_buf_puts(out, "\"state\":");
    if (p->state == NAQ_PLAN_OTHER)
        naq_buf_put(out, p->state_name.at, p->state_name.len);
    else
        naq_buf_printf(out, "\"%s\"", STATES[p->state]);
    naq_buf_printf(out, ",\"runs\":%" PRId64, p->runs);
    if (p->when.zone == NULL) put_seconds(out, "anchor", p->when.anchor_ms);
    if (p->next_ms != INT64_MAX && p->state == NAQ_PLAN_ACTIVE)
        put_seconds(out, "next_run", p->next_ms);
    if (p->done_until_ms != INT64_MIN) put_seconds(out, "done_until", p->done_until_ms);
    if (p->skipped > 0) naq_buf_printf(out, ",\"skipped\":%" PRId64, p->skipped);
    if (p->failures > 0) naq_buf_printf(out, ",\"failures\":%" PRId64, p->failures);
    if (p->held) naq_buf_puts(out, ",\"held\":true");
    if (p->last_run_ms != 0) put_seconds(out, "last_run", p->last_run_ms);
    if (p->last_job[0] != '\0') naq_buf_printf(out, ",\"last_job\":\"%s\"", p->last_job);
    naq_buf_puts(out, ",\"recent\":[");
    for (int i = 0; i < p->n_recent; i++)
        naq_buf_printf(out, "%s%" PRId64, i > 0 ? "," : "", p->recent[i]);
    naq_buf_putc(out, ']');
    if (p->error.len > 0) {
        naq_buf_puts(out, ",\"error\":");
        naq_buf_put(out, p->error.data, p->error.len);
    }
    return finish(out, status, err);
}

static void put_error(naq_buf *out, naq_status status, const char *message) {
    naq_buf_printf(out, "{\"code\":\"%s\",\"message\":", naq_status_code(status));
    naq_buf_json_string(out, message, strlen(message));
    naq_buf_putc(out, '}');
}

naq_status naq_plan_write_failed(const void *record, size_t len, const naq_err *why, naq_buf *out,
                                 naq_err *err) {
    naq_status status = put_others(record, len, out, err);
    naq_buf_puts(out, "\"state\":\"failed\",\"error\":");
    put_error(out, why->status, why->message);
    return finish(out, status, err);
}

/* What happens to it */

int64_t naq_plan_due(const naq_plan *p, const char *id) {
    if (p->state != NAQ_PLAN_ACTIVE || p->next_ms == INT64_MAX) return INT64_MAX;
    if (p->jitter_ms == 0) return p->next_ms;
    /* From the id and the time, so that whoever leads puts it off by the same. */
    uint64_t h = 0xcbf29ce484222325u ^ (uint64_t)p->next_ms;
    for (const char *s = id; *s != '\0'; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3u;
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdu;
    h ^= h >> 33;
    return p->next_ms + (int64_t)(h % (uint64_t)(p->jitter_ms + 1));
}

void naq_plan_settle(naq_plan *p, int64_t until_ms) {
    bool more = (p->repeat == 0 || p->runs < p->repeat) &&
                naq_recurrence_next(&p->when, until_ms, &p->next_ms);
    if (more) return;
    p->next_ms = INT64_MAX;
    p->state = NAQ_PLAN_FINISHED;
}

void naq_plan_ran(naq_plan *p, int64_t due_ms, const char *job, int64_t now_ms) {
    p->runs++;
    p->failures = 0;
    naq_buf_clear(&p->error);
    p->last_run_ms = now_ms;
    (void)snprintf(p->last_job, sizeof p->last_job, "%s", job);
    if (p->n_recent == NAQ_PLAN_RECENT)
        memmove(p->recent, p->recent + 1, sizeof p->recent[0] * (size_t)--p->n_recent);
    p->recent[p->n_recent++] = due_ms;
}

void naq_plan_fail(naq_plan *p, naq_status status, const char *message) {
    p->state = NAQ_PLAN_FAILED;
    p->next_ms = INT64_MAX;
    p->held = false;
    naq_buf_clear(&p->error);
    put_error(&p->error, status, message);
}
