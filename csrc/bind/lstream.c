/* lstream.c -- the connection's methods on streams: the layout, stored messages. */
#include <stdio.h>
#include <string.h>

#include "bind/lconn.h"
#include "bind/lletter.h"
#include "bind/lmessage.h"
#include "nats/leftover.h"
#include "nats/nstatus.h"
#include "nats/pool.h"
#include "nats/reply.h"
#include "nats/stream.h"
#include "nats/subject.h"

/* What ensure_layout reports, as lines of '\n', until it can be pushed. */
typedef struct report {
    naq_buf created, differs;
    naq_buf answer; /* last_msg's */
    naq_stored message;
} report;

static const char REPORT_MT[] = "naq.report";

static int lnaq_report_gc(lua_State *L) {
    report *r = luaL_checkudata(L, 1, REPORT_MT);
    naq_buf_free(&r->created);
    naq_buf_free(&r->differs);
    naq_buf_free(&r->answer);
    naq_stored_free(&r->message);
    return 0;
}

static report *new_report(lua_State *L) {
    report *r = lua_newuserdata(L, sizeof *r);
    memset(r, 0, sizeof *r);
    lnaq_setgc(L, REPORT_MT, lnaq_report_gc);
    return r;
}

static void on_report(void *ctx, const char *object, bool created, const char *differs) {
    report *r = ctx;
    if (created) naq_buf_printf(&r->created, "%s\n", object);
    if (differs != NULL) naq_buf_printf(&r->differs, "%s: %s\n", object, differs);
}

static void push_lines(lua_State *L, const naq_buf *lines) {
    lua_newtable(L);
    const char *at = lines->data, *end = at + lines->len;
    for (int i = 1; at != NULL && at < end; i++) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        lua_pushlstring(L, at, (size_t)(eol - at));
        lua_rawseti(L, -2, i);
        at = eol + 1;
    }
}

/* A layout that differs is still a layout that was looked at: with dry_run it is told whole. */
static int lnaq_conn_ensure_layout(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    naq_layout_options o = {.prefix = "naq"};
    if (!lua_isnoneornil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        o.prefix = lnaq_optfield(L, 2, "prefix", "naq");
        o.replicas = (int)lnaq_optnumber(L, 2, "replicas", 0);
        o.worker_ttl_ms = (int64_t)(lnaq_optnumber(L, 2, "worker_ttl", 60) * 1000 + 0.5);
        o.leader_ttl_ms = (int64_t)(lnaq_optnumber(L, 2, "leader_ttl", 5) * 1000 + 0.5);
        o.failed_age_ms = (int64_t)(lnaq_optnumber(L, 2, "failed_age", 0) * 1000 + 0.5);
        o.failed_bytes = (int64_t)lnaq_optnumber(L, 2, "failed_bytes", 0);
        o.dry_run = lnaq_optbool(L, 2, "dry_run", 0);
    }
    report *r = new_report(L);
    naq_err err;
    naq_status status = naq_pool_check(c, &err);
    if (status == NAQ_OK) status = naq_layout_ensure(c, &o, on_report, r, &err);
    bool told =
        status == NAQ_OK || (status == NAQ_CONFIGURATION && o.dry_run && r->differs.len > 0);
    if (!told) return lnaq_fail(L, &err);
    lua_createtable(L, 0, 2);
    push_lines(L, &r->created);
    lua_setfield(L, -2, "created");
    push_lines(L, &r->differs);
    lua_setfield(L, -2, "differs");
    return 1;
}

/* "NATS/1.0\r\nName: value\r\n..." as a table. */
static void push_headers(lua_State *L, const naq_buf *headers) {
    lua_newtable(L);
    const char *at = headers->data, *end = at + headers->len;
    while (at != NULL && at < end) {
        const char *eol = memchr(at, '\r', (size_t)(end - at));
        if (eol == NULL) eol = end;
        const char *colon = memchr(at, ':', (size_t)(eol - at));
        if (colon != NULL) {
            const char *value = colon + 1;
            while (value < eol && *value == ' ')
                value++;
            lnaq_add_header(L, at, (size_t)(colon - at), value, (size_t)(eol - value));
        }
        at = eol + 2;
    }
}

/* By sequence, the last of a subject, or (both given) the next of a subject from a sequence on. */
static naq_status find_message(naq_conn *c, const char *stream, size_t stream_len, uint64_t seq,
                               const char *subject, naq_stored *out, naq_err *err) {
    naq_status status = naq_pool_check(c, err);
    if (status == NAQ_OK) status = naq_name_check("stream", stream, stream_len, err);
    if (status != NAQ_OK) return status;
    naq_stored_free(out);
    if (subject == NULL) return naq_message_get(c, stream, seq, out, err);
    status = seq > 0 ? naq_message_next(c, stream, seq, subject, out, err)
                     : naq_message_last(c, stream, subject, out, err);
    return status == NAQ_OK ? status : naq_wrap(err, "subject %.128s", subject);
}

static int lnaq_conn_last_msg(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t len;
    const char *stream = luaL_checklstring(L, 2, &len);
    const char *subject = luaL_checkstring(L, 3);
    report *r = new_report(L);
    naq_err err;
    if (find_message(c, stream, len, 0, subject, &r->message, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lua_pushlstring(L, r->message.data.data != NULL ? r->message.data.data : "",
                    r->message.data.len);
    lua_createtable(L, 0, 4);
    lua_pushlstring(L, r->message.subject.data != NULL ? r->message.subject.data : "",
                    r->message.subject.len);
    lua_setfield(L, -2, "subject");
    lnaq_pushint64(L, (int64_t)r->message.sequence);
    lua_setfield(L, -2, "seq");
    lua_pushnumber(L, (lua_Number)r->message.time_us / 1e6);
    lua_setfield(L, -2, "time");
    push_headers(L, &r->message.headers);
    lua_setfield(L, -2, "headers");
    return 2;
}

/* conn:get_msg(stream, seq?, subject?) -> a table as of a received message */
static int lnaq_conn_get_msg(lua_State *L) {
    naq_conn *c = lnaq_checkconn(L, 1);
    size_t len;
    const char *stream = luaL_checklstring(L, 2, &len);
    int64_t seq = lua_isnoneornil(L, 3) ? 0 : lnaq_checkint64(L, 3);
    const char *subject = luaL_optstring(L, 4, NULL);
    luaL_argcheck(L, seq >= 0, 3, "a sequence expected");
    report *r = new_report(L);
    naq_stored *m = &r->message;
    naq_err err;
    if (find_message(c, stream, len, (uint64_t)seq, subject, m, &err) != NAQ_OK)
        return lnaq_fail(L, &err);
    lua_createtable(L, 0, 6);
    lua_pushvalue(L, 2);
    lua_setfield(L, -2, "stream");
    lua_pushlstring(L, m->subject.data, m->subject.len);
    lua_setfield(L, -2, "subject");
    lua_pushlstring(L, m->data.len > 0 ? m->data.data : "", m->data.len);
    lua_setfield(L, -2, "data");
    lnaq_pushint64(L, (int64_t)m->sequence);
    lua_setfield(L, -2, "seq");
    lua_pushnumber(L, (lua_Number)m->time_us / 1e6);
    lua_setfield(L, -2, "timestamp");
    push_headers(L, &m->headers);
    lua_setfield(L, -2, "headers");
    return 1;
}

const luaL_Reg LNAQ_STREAM_METHODS[] = {
    {"get_msg", lnaq_conn_get_msg},
    {"ensure_layout", lnaq_conn_ensure_layout},
    {"last_msg", lnaq_conn_last_msg},
    {"browse", lnaq_conn_browse},
    {NULL, NULL},
};
