/* ldecode.c -- JSON text to Lua values, built while scanning: no tree, no C allocation.
 *
 * Whatever Lua call runs out of memory may raise at any point here and nothing is lost: what is
 * being built lives on the Lua stack. */
#include "bind/lcodec.h"

#include <math.h>
#include <stdbool.h>

#include "base/json.h"

typedef struct reader {
    lua_State *L;
    naq_json json;
    int members; /* of the latest object: the next one is often alike */
    naq_err *err;
} reader;

enum { FIRST_GUESS = 4, LAST_GUESS = 32 };

static naq_status read_value(reader *r);

static naq_status read_string(reader *r) {
    naq_slice raw;
    bool escaped;
    naq_status status = naq_json_string(&r->json, &raw, &escaped, r->err);
    if (status != NAQ_OK) return status;
    char small[512];
    if (!escaped) {
        lua_pushlstring(r->L, raw.at, raw.len);
    } else if (raw.len <= sizeof small) {
        size_t len = naq_json_resolve(raw, small);
        lua_pushlstring(r->L, small, len);
    } else { /* Lua's memory: pushing the string may raise */
        char *large = lua_newuserdata(r->L, raw.len);
        lua_pushlstring(r->L, large, naq_json_resolve(raw, large));
        lua_remove(r->L, -2);
    }
    return NAQ_OK;
}

static naq_status refuse_number(reader *r, const naq_number *n, const char *why) {
    int shown = n->len > 40 ? 40 : (int)n->len;
    return naq_fail(r->err, NAQ_SERIALIZATION, "number %.*s%s at byte %zu: %s", shown, n->at,
                    n->len > 40 ? "..." : "", (size_t)(n->at - r->json.start) + 1, why);
}

static naq_status read_number(reader *r) {
    naq_number n;
    naq_status status = naq_json_number(&r->json, &n, r->err);
    if (status != NAQ_OK) return status;
    if (!n.integer) {
        double value = naq_number_double(&n);
        if (isinf(value)) return refuse_number(r, &n, "too large for a double");
        lua_pushnumber(r->L, (lua_Number)value);
        return NAQ_OK;
    }
    int64_t value;
    if (!naq_number_int(&n, &value)) return refuse_number(r, &n, "does not fit 64 bits");
#if LUA_VERSION_NUM >= 503
    lua_pushinteger(r->L, (lua_Integer)value);
#else
    const int64_t exact = INT64_C(1) << 53;
    if (value < -exact || value > exact)
        return refuse_number(r, &n, "this Lua's numbers are exact up to 2^53 only");
    lua_pushnumber(r->L, (lua_Number)value);
#endif
    return NAQ_OK;
}

static naq_status read_array(reader *r) {
    lua_State *L = r->L;
    naq_status status = naq_json_enter(&r->json, '[', r->err);
    if (status != NAQ_OK) return status;
    bool more = !naq_json_skip(&r->json, ']');
    lua_createtable(L, more ? FIRST_GUESS : 0, 0);
    lnaq_push_array_mark(L);
    lua_setmetatable(L, -2);
    for (int i = 1; more; i++) {
        if ((status = read_value(r)) != NAQ_OK) return status;
        lua_rawseti(L, -2, i);
        if ((status = naq_json_more(&r->json, ']', &more, r->err)) != NAQ_OK) return status;
    }
    naq_json_leave(&r->json);
    return NAQ_OK;
}

static naq_status read_object(reader *r) {
    lua_State *L = r->L;
    naq_status status = naq_json_enter(&r->json, '{', r->err);
    if (status != NAQ_OK) return status;
    bool more = !naq_json_skip(&r->json, '}');
    lua_createtable(L, 0, more ? r->members : 0);
    int members = 0;
    while (more) {
        if ((status = read_string(r)) != NAQ_OK) return status;
        if (!naq_json_skip(&r->json, ':'))
            return naq_fail(r->err, NAQ_SERIALIZATION, "invalid JSON at byte %zu: ':' expected",
                            (size_t)(r->json.at - r->json.start) + 1);
        if ((status = read_value(r)) != NAQ_OK) return status;
        lua_rawset(L, -3);
        members++;
        if ((status = naq_json_more(&r->json, '}', &more, r->err)) != NAQ_OK) return status;
    }
    if (members > 0) r->members = members < LAST_GUESS ? members : LAST_GUESS;
    naq_json_leave(&r->json);
    return NAQ_OK;
}

/* Recursion is bounded by NAQ_JSON_DEPTH. */
static naq_status read_value(reader *r) {
    lua_State *L = r->L;
    char c = naq_json_peek(&r->json);
    if (c == '"') return read_string(r);
    if (c == '-' || (c >= '0' && c <= '9')) return read_number(r);
    if (c == '{' || c == '[') {
        if (!lua_checkstack(L, 8))
            return naq_fail(r->err, NAQ_SERIALIZATION, "no room left on the Lua stack");
        return c == '{' ? read_object(r) : read_array(r);
    }
    naq_json_kind kind;
    naq_status status = naq_json_word(&r->json, &kind, r->err);
    if (status != NAQ_OK) return status;
    if (kind == NAQ_JSON_NULL)
        lua_pushlightuserdata(L, NULL);
    else
        lua_pushboolean(L, kind == NAQ_JSON_TRUE);
    return NAQ_OK;
}

naq_status lnaq_decode(lua_State *L, const char *text, size_t len, naq_err *err) {
    reader r = {.L = L, .members = FIRST_GUESS, .err = err};
    int top = lua_gettop(L);
    if (!lua_checkstack(L, 8))
        return naq_fail(err, NAQ_SERIALIZATION, "no room left on the Lua stack");
    naq_json_begin(&r.json, text, len);
    naq_status status = read_value(&r);
    if (status == NAQ_OK) status = naq_json_end(&r.json, err);
    if (status != NAQ_OK) lua_settop(L, top);
    return status;
}

int lnaq_core_decode(lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING);
    size_t len;
    const char *text = lua_tolstring(L, 1, &len);
    naq_err err;
    return lnaq_decode(L, text, len, &err) == NAQ_OK ? 1 : lnaq_fail(L, &err);
}
