/* lmessage.c -- a message as a Lua table. Its bytes are copied once, into Lua's memory, where the
 * collector can see how large they are. */
#include "bind/lmessage.h"

#include <string.h>

#include "nats/subject.h"

void lnaq_add_header(lua_State *L, const char *name, size_t name_len, const char *value,
                     size_t value_len) {
    lua_pushlstring(L, name, name_len);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    if (lua_istable(L, -1)) { /* the third or later value */
        lua_pushlstring(L, value, value_len);
        lua_rawseti(L, -2, (int)lua_rawlen(L, -2) + 1);
        lua_pop(L, 2);
        return;
    }
    if (!lua_isnil(L, -1)) { /* a second one: the value becomes a list */
        lua_createtable(L, 2, 0);
        lua_insert(L, -2);
        lua_rawseti(L, -2, 1);
        lua_pushlstring(L, value, value_len);
        lua_rawseti(L, -2, 2);
    } else {
        lua_pop(L, 1);
        lua_pushlstring(L, value, value_len);
    }
    lua_rawset(L, -3);
}

static void push_value(void *ctx, const char *name, const char *value) {
    lnaq_add_header(ctx, name, strlen(name), value, strlen(value));
}

void lnaq_push_headers(lua_State *L, naq_msg *m) {
    lua_newtable(L);
    naq_msg_headers(m, push_value, L);
}

static void set_integer(lua_State *L, const char *name, uint64_t n) {
    lnaq_pushint64(L, (int64_t)n);
    lua_setfield(L, -2, name);
}

static void push_delivery(lua_State *L, const naq_delivery *d) {
    lua_pushlstring(L, d->stream, d->stream_len);
    lua_setfield(L, -2, "stream");
    lua_pushlstring(L, d->consumer, d->consumer_len);
    lua_setfield(L, -2, "consumer");
    set_integer(L, "seq", d->stream_seq);
    set_integer(L, "consumer_seq", d->consumer_seq);
    set_integer(L, "delivered", d->delivered);
    set_integer(L, "pending", d->pending);
    lua_pushnumber(L, (lua_Number)d->time_ns / 1e9);
    lua_setfield(L, -2, "timestamp");
}

enum { PLAIN_FIELDS = 6, DELIVERY_FIELDS = 14 }; /* with room for what Lua adds */

void lnaq_push_message(lua_State *L, naq_msg **held) {
    naq_msg *m = *held;
    naq_delivery delivery;
    int delivered = naq_msg_delivery(m, &delivery);
    size_t len;
    const char *data = naq_msg_data_peek(m, &len), *reply = naq_msg_reply_peek(m);
    lua_createtable(L, 0, delivered ? DELIVERY_FIELDS : PLAIN_FIELDS);
    lua_pushstring(L, naq_msg_subject_peek(m));
    lua_setfield(L, -2, "subject");
    lua_pushlstring(L, data, len);
    lua_setfield(L, -2, "data");
    if (reply != NULL) {
        lua_pushstring(L, reply);
        lua_setfield(L, -2, "reply");
    }
    lnaq_push_headers(L, m);
    lua_setfield(L, -2, "headers");
    if (delivered) push_delivery(L, &delivery);
    *held = NULL;
    naq_msg_free(m);
}

/* One header out of the pair at name and value, both strings. */
static naq_status add_header(lua_State *L, int name, int value, naq_conn_header *headers, size_t *n,
                             naq_err *err) {
    size_t name_len, value_len;
    const char *key = lua_tolstring(L, name, &name_len);
    const char *text = lua_tolstring(L, value, &value_len);
    if (*n == LNAQ_HEADERS_MAX) luaL_error(L, "at most %d headers", LNAQ_HEADERS_MAX);
    headers[(*n)++] = (naq_conn_header){key, text};
    return naq_header_check(key, name_len, text, value_len, err);
}

naq_status lnaq_read_headers(lua_State *L, int index, naq_conn_header *headers, size_t *n,
                             naq_err *err) {
    if (lua_isnoneornil(L, index)) return NAQ_OK;
    luaL_checktype(L, index, LUA_TTABLE);
    index = lnaq_absindex(L, index);
    luaL_checkstack(L, 4, "headers");
    naq_status status = NAQ_OK, one;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        int name = lua_gettop(L) - 1, value = name + 1;
        int list = lua_istable(L, value);
        if (lua_type(L, name) != LUA_TSTRING || (!list && lua_type(L, value) != LUA_TSTRING))
            luaL_error(L, "headers: a string, or a list of them, under each name expected");
        if (!list) {
            one = add_header(L, name, value, headers, n, err);
            if (one != NAQ_OK) status = one;
            continue;
        }
        for (int i = 1, many = (int)lua_rawlen(L, value); i <= many; i++) {
            lua_rawgeti(L, value, i);
            if (lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "headers: a list of strings expected under %s",
                           lua_tostring(L, name));
            one = add_header(L, name, value + 1, headers, n, err);
            if (one != NAQ_OK) status = one;
            lua_pop(L, 1);
        }
    }
    return status;
}

const char *lnaq_check_subject(lua_State *L, int index, naq_status *status, naq_err *err) {
    size_t len;
    const char *subject = luaL_checklstring(L, index, &len);
    *status = naq_subject_check(subject, len, false, err);
    return subject;
}

int64_t lnaq_check_ms(lua_State *L, int index, int64_t fallback) {
    if (lua_isnoneornil(L, index)) return fallback;
    double seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds >= 0 && seconds < 1e9, index, "a number of seconds expected");
    int64_t ms = (int64_t)(seconds * 1000 + 0.5);
    return ms > 0 || seconds == 0 ? ms : 1;
}
