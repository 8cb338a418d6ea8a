/* lletter.c -- dead letters for Lua: pages of them, taken apart, turned back into jobs.
 *
 * What a job was given stays text on this way: not every interpreter holds every number of it. */
#include <string.h>

#include "bind/lbytes.h"
#include "bind/lcodec.h"
#include "bind/lconn.h"
#include "bind/lletter.h"
#include "nats/browse.h"
#include "nats/envelope.h"
#include "nats/letter.h"
#include "nats/pool.h"

/* One message among those collected; subject and data follow it. */
typedef struct row {
    size_t subject_len, data_len;
    uint64_t sequence;
    int64_t stored_us;
} row;

typedef struct rows {
    naq_buf *bytes;
    size_t most; /* bytes of a page */
} rows;

static bool collect(void *ctx, const naq_browsed *m) {
    rows *r = ctx;
    row one = {strlen(m->subject), m->len, m->sequence, m->stored_us};
    naq_buf_put(r->bytes, &one, sizeof one);
    naq_buf_put(r->bytes, m->subject, one.subject_len);
    naq_buf_put(r->bytes, m->data, one.data_len);
    return r->bytes->len < r->most && !r->bytes->failed;
}

static void push_rows(lua_State *L, const naq_buf *bytes) {
    lua_newtable(L);
    size_t at = 0;
    for (int i = 1; at < bytes->len; i++) {
        row r;
        memcpy(&r, bytes->data + at, sizeof r);
        at += sizeof r;
        lua_createtable(L, 0, 4);
        lua_pushlstring(L, bytes->data + at, r.subject_len);
        lua_setfield(L, -2, "subject");
        lua_pushlstring(L, bytes->data + at + r.subject_len, r.data_len);
        lua_setfield(L, -2, "data");
        lnaq_pushint64(L, (int64_t)r.sequence);
        lua_setfield(L, -2, "seq");
        lua_pushnumber(L, (lua_Number)r.stored_us / 1e6);
        lua_setfield(L, -2, "time");
        lua_rawseti(L, -2, i);
        at += r.subject_len + r.data_len;
    }
}

int lnaq_conn_browse(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    naq_browse b = {.stream = luaL_checkstring(L, 2)};
    luaL_checktype(L, 3, LUA_TTABLE);
    b.filter = lnaq_optfield(L, 3, "filter", ">");
    double from = lnaq_optnumber(L, 3, "from", 0), since = lnaq_optnumber(L, 3, "since", 0);
    luaL_argcheck(L, from >= 0 && from < 9007199254740992.0, 3, "from must be a sequence");
    b.from = (uint64_t)from;
    b.since_us = since > 0 && since < 1e11 ? (int64_t)(since * 1e6) : 0;
    double limit = lnaq_optnumber(L, 3, "limit", 100);
    luaL_argcheck(L, limit >= 1 && limit <= 10000, 3, "limit must be from 1 to 10000");
    b.limit = (int)limit;
    rows r = {lnaq_newbytes(L), (size_t)lnaq_optnumber(L, 3, "bytes", 4 << 20)};
    uint64_t next = 0;
    naq_err err;
    naq_status status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_browse_page(c, &b, collect, &r, &next, &err);
    if (status == NAQ_OK && r.bytes->failed)
        status = naq_fail(&err, NAQ_TOO_LARGE, "reading stream %s: out of memory", b.stream);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    push_rows(L, r.bytes);
    naq_buf_free(r.bytes);
    if (next == 0) return 1;
    lnaq_pushint64(L, (int64_t)next);
    return 2;
}

static void set_text(lua_State *L, const char *name, naq_slice s) {
    if (s.at == NULL) return;
    lua_pushlstring(L, s.at, s.len);
    lua_setfield(L, -2, name);
}

/* What cannot be decoded here (numbers beyond this interpreter's) is left out. */
static void set_decoded(lua_State *L, const char *name, naq_slice json) {
    naq_err ignored;
    if (json.at == NULL || lnaq_decode(L, json.at, json.len, &ignored) != NAQ_OK) return;
    lua_setfield(L, -2, name);
}

static void set_job(lua_State *L, naq_slice payload) {
    naq_envelope job;
    naq_err ignored;
    set_text(L, "payload", payload);
    if (payload.at == NULL || naq_envelope_parse(payload.at, payload.len, &job, &ignored) != NAQ_OK)
        return;
    set_text(L, "job", job.job);
    set_text(L, "args", job.args);
    lnaq_pushint64(L, job.hop);
    lua_setfield(L, -2, "hop");
    lnaq_pushint64(L, job.attempt);
    lua_setfield(L, -2, "attempt");
    if (job.result_ttl >= 0) {
        lua_pushnumber(L, job.result_ttl);
        lua_setfield(L, -2, "result_ttl");
    }
    if (job.enqueued_us > 0) {
        lua_pushnumber(L, (lua_Number)job.enqueued_us / 1e6);
        lua_setfield(L, -2, "enqueued_at");
    }
}

int lnaq_core_letter(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    naq_letter_members m;
    naq_err err;
    if (naq_letter_read(text, len, &m, &err) != NAQ_OK) return lnaq_fail(L, &err);
    lua_createtable(L, 0, 12);
    set_text(L, "id", m.id);
    set_text(L, "queue", m.queue);
    set_text(L, "priority", m.priority);
    set_text(L, "reason", m.reason);
    set_decoded(L, "failed_at", m.failed_at);
    set_decoded(L, "error", m.error);
    set_decoded(L, "attempts", m.attempts);
    if (m.attempts_cut > 0) {
        lnaq_pushint64(L, m.attempts_cut);
        lua_setfield(L, -2, "attempts_cut");
    }
    if (m.payload_base64.at != NULL)
        set_text(L, "payload_base64",
                 (naq_slice){m.payload_base64.at + 1, m.payload_base64.len - 2});
    set_job(L, m.payload);
    return 1;
}

int lnaq_core_keep(lua_State *L) {
    size_t len;
    const char *payload = luaL_checklstring(L, 1, &len);
    double most = luaL_checknumber(L, 2);
    naq_buf *out = lnaq_newbytes(L);
    if (!naq_letter_keep(payload, len, most > 0 ? (size_t)most : 0, out)) return 0;
    lnaq_pushbytes(L, out);
    return 1;
}

int lnaq_core_revive(lua_State *L) {
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    naq_buf *out = lnaq_newbytes(L);
    naq_letter_members m;
    naq_err err;
    int64_t hop;
    if (naq_letter_read(text, len, &m, &err) != NAQ_OK ||
        naq_letter_revive(&m, out, &hop, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lnaq_pushbytes(L, out);
    lnaq_pushint64(L, hop);
    return 2;
}

/* The same job for another time: one hop on, its attempt and its history as they are. */
int lnaq_core_postpone(lua_State *L) {
    size_t len;
    const char *payload = luaL_checklstring(L, 1, &len);
    naq_buf *out = lnaq_newbytes(L);
    naq_envelope job;
    naq_err err;
    naq_status status = naq_envelope_parse(payload, len, &job, &err);
    if (status == NAQ_OK)
        status = naq_envelope_next(payload, len, job.hop + 1, job.attempt, 0, (naq_slice){NULL, 0},
                                   out, &err);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    lnaq_pushbytes(L, out);
    lnaq_pushint64(L, job.hop + 1);
    return 2;
}
