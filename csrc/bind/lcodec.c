/* lcodec.c -- Lua values to JSON text: what is put in comes out, or is refused by name.
 *
 * Tables: integer keys 1..n make an array, string keys an object, an empty table is {} unless it
 * carries a mark: ours (decoded arrays have it), or lua-cjson's array_mt, empty_array_mt or
 * empty_array. Strings and digits are base/json.h and base/number.h; the way back is ldecode.c. */
#include "bind/lcodec.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/id.h"
#include "base/json.h"
#include "nats/envelope.h"

/* Registry keys are addresses: no string is built (nothing can raise) and none is hashed. */
static char MARK_KEY;  /* the metatable of arrays */
static char STASH_KEY; /* a table: the fields below */
enum { STASH_SCRATCH = 1, STASH_LOADED, STASH_CJSON, STASH_CJSON_SAFE, STASH_MARKS };
/* lua-cjson's marks, at STASH_MARKS and up */
static const char *const CJSON_MARKS[] = {"array_mt", "empty_array_mt", "empty_array"};
enum { CJSON_ARRAY_MT, CJSON_EMPTY_ARRAY_MT, CJSON_EMPTY_ARRAY };

/* Levels that a record or a dead letter puts around a value. */
enum { WRAPPING = 2 };

static void push_registered(lua_State *L, char *key) {
#if LUA_VERSION_NUM >= 502
    lua_rawgetp(L, LUA_REGISTRYINDEX, key);
#else
    lua_pushlightuserdata(L, key);
    lua_rawget(L, LUA_REGISTRYINDEX);
#endif
}

void lnaq_push_array_mark(lua_State *L) {
    push_registered(L, &MARK_KEY);
}

/* scratch */

/* The buffer that encode and payload write into before the result becomes a string. It belongs to
 * the state, so an out-of-memory error on the way loses nothing. */
typedef struct scratch {
    naq_buf buf;
    bool busy; /* a finalizer that runs while the result is pushed may encode as well */
} scratch;

#define SCRATCH_MT "naq.scratch"
enum { SCRATCH_KEPT = 64 * 1024 }; /* one huge job must not hold its memory for ever */

static int scratch_gc(lua_State *L) {
    scratch *s = luaL_checkudata(L, 1, SCRATCH_MT);
    naq_buf_free(&s->buf);
    return 0;
}

static scratch *scratch_new(lua_State *L) {
    scratch *s = lua_newuserdata(L, sizeof *s);
    memset(s, 0, sizeof *s);
    luaL_setmetatable(L, SCRATCH_MT);
    return s;
}

/* Pushes what keeps the buffer alive. */
static scratch *scratch_take(lua_State *L) {
    push_registered(L, &STASH_KEY);
    lua_rawgeti(L, -1, STASH_SCRATCH);
    scratch *s = lua_touserdata(L, -1);
    if (s->busy) s = scratch_new(L);
    s->busy = true;
    naq_buf_clear(&s->buf);
    return s;
}

static void scratch_give(scratch *s) {
    s->busy = false;
    if (s->buf.cap > SCRATCH_KEPT) naq_buf_free(&s->buf);
}

void lnaq_codec_open(lua_State *L) {
    static const luaL_Reg NO_METHODS[] = {{NULL, NULL}};
    lnaq_newclass(L, SCRATCH_MT, NO_METHODS, scratch_gc);

    lua_pushlightuserdata(L, &MARK_KEY);
    luaL_newmetatable(L, "naq.array");
    lua_rawset(L, LUA_REGISTRYINDEX);

    lua_pushlightuserdata(L, &STASH_KEY);
    lua_createtable(L, STASH_MARKS + 2, 0);
    (void)scratch_new(L);
    lua_rawseti(L, -2, STASH_SCRATCH);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_rawseti(L, -2, STASH_LOADED);
    lua_pushliteral(L, "cjson");
    lua_rawseti(L, -2, STASH_CJSON);
    lua_pushliteral(L, "cjson.safe");
    lua_rawseti(L, -2, STASH_CJSON_SAFE);
    for (int i = 0; i < 3; i++) {
        lua_pushstring(L, CJSON_MARKS[i]);
        lua_rawseti(L, -2, STASH_MARKS + i);
    }
    lua_rawset(L, LUA_REGISTRYINDEX);
}

/* encode */

/* The way from the root to a value, on the C stack; read only when something is refused. */
typedef struct place {
    const struct place *up;
    const char *key; /* NULL: an array's element. Alive while its key is on the Lua stack */
    size_t len;
    double index;
} place;

typedef struct writer {
    lua_State *L;
    naq_buf *out;
    const char *root; /* "": the keys of the outermost table are the roots */
    size_t start;     /* of this value in out */
    size_t max;
    int depth_max;
    naq_err *err;
} writer;

/* Shown as it is if it reads well after a dot, else in brackets, unprintable bytes as '?'. */
static size_t put_key(char *to, size_t room, const char *key, size_t len, bool leading) {
    enum { SHOWN = 40 };
    bool plain = len > 0 && len <= SHOWN;
    for (size_t i = 0; plain && i < len; i++)
        plain = key[i] == '_' || key[i] == '-' || naq_id_valid(key + i, 1);
    int n;
    if (plain) {
        n = snprintf(to, room, "%s%.*s", leading ? "" : ".", (int)len, key);
    } else {
        char shown[SHOWN + 1];
        size_t some = len < SHOWN ? len : SHOWN;
        for (size_t i = 0; i < some; i++)
            shown[i] = key[i] >= ' ' && key[i] <= '~' ? key[i] : '?';
        shown[some] = '\0';
        n = snprintf(to, room, "[\"%s%s\"]", shown, some < len ? "..." : "");
    }
    return n < 0 ? 0 : (size_t)n;
}

static size_t put_place(char *to, size_t room, const writer *w, const place *at) {
    if (at == NULL) {
        int n = snprintf(to, room, "%s", w->root);
        return n < 0 ? 0 : (size_t)n;
    }
    size_t len = put_place(to, room, w, at->up);
    if (len >= room) return len;
    if (at->key != NULL) return len + put_key(to + len, room - len, at->key, at->len, len == 0);
    int n = snprintf(to + len, room - len, "[%.14g]", at->index);
    return n < 0 ? len : len + (size_t)n;
}

static naq_status refuse(const writer *w, const place *at, const char *why) {
    char path[256]; /* a cycle's is cut; the beginning tells enough */
    size_t len = put_place(path, sizeof path, w, at);
    return naq_fail(w->err, NAQ_SERIALIZATION, "%s%s: %s", path, len >= sizeof path ? "..." : "",
                    why);
}

static naq_status refuse_type(const writer *w, const place *at, const char *what) {
    char why[80];
    (void)snprintf(why, sizeof why, "%s cannot be written as JSON", what);
    return refuse(w, at, why);
}

static naq_status write_value(writer *w, int index, int depth, const place *at);

static naq_status write_string(writer *w, const char *s, size_t len, const place *at) {
    if (w->max != 0 && len > w->max)
        return naq_fail(w->err, NAQ_TOO_LARGE, "%s: larger than %zu bytes as JSON", w->root,
                        w->max);
    const char *bad = naq_json_put_string(w->out, s, len);
    if (bad == NULL) return NAQ_OK;
    char why[80];
    (void)snprintf(why, sizeof why, "string is not UTF-8 (byte %zu)", (size_t)(bad - s) + 1);
    return refuse(w, at, why);
}

static naq_status write_number(writer *w, int index, const place *at) {
#if LUA_VERSION_NUM >= 503
    if (lua_isinteger(w->L, index)) {
        naq_buf_int(w->out, (int64_t)lua_tointeger(w->L, index));
        return NAQ_OK;
    }
#endif
    double n = (double)lua_tonumber(w->L, index);
    if (isnan(n)) return refuse_type(w, at, "nan");
    if (isinf(n)) return refuse_type(w, at, n < 0 ? "-inf" : "inf");
#if LUA_VERSION_NUM < 503
    /* No integer type: whole numbers are integers as far as doubles count them one by one. */
    if (lnaq_isinteger(w->L, index) && !(n == 0 && signbit(n))) {
        naq_buf_int(w->out, (int64_t)n);
        return NAQ_OK;
    }
#endif
    char *to = naq_buf_reserve(w->out, NAQ_DOUBLE_MAX);
    if (to != NULL) w->out->len += naq_double_format(n, to);
    return NAQ_OK;
}

/* Whether the value on top is what lua-cjson, if it is loaded, calls by that name. */
static bool is_cjson_mark(lua_State *L, int which) {
    int top = lua_gettop(L);
    bool same = false;
    push_registered(L, &STASH_KEY);
    lua_rawgeti(L, top + 1, STASH_LOADED);
    for (int module = STASH_CJSON; !same && module <= STASH_CJSON_SAFE; module++) {
        lua_rawgeti(L, top + 1, module);
        lua_rawget(L, top + 2);
        if (lua_type(L, -1) == LUA_TTABLE) {
            lua_rawgeti(L, top + 1, STASH_MARKS + which);
            lua_rawget(L, -2);
            same = !lua_isnil(L, -1) && lua_rawequal(L, -1, top);
        }
        lua_settop(L, top + 2);
    }
    lua_settop(L, top);
    return same;
}

/* What a table's metatable says about it. */
typedef enum mark { UNMARKED, ARRAY, ARRAY_IF_EMPTY } mark;

static mark mark_of(lua_State *L, int index) {
    if (!lua_getmetatable(L, index)) return UNMARKED;
    lnaq_push_array_mark(L);
    mark m = UNMARKED;
    bool ours = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 1);
    if (ours || is_cjson_mark(L, CJSON_ARRAY_MT))
        m = ARRAY;
    else if (is_cjson_mark(L, CJSON_EMPTY_ARRAY_MT))
        m = ARRAY_IF_EMPTY;
    lua_pop(L, 1);
    return m;
}

static bool key_is(lua_State *L, int index, double n) {
    if (lua_type(L, index) != LUA_TNUMBER) return false;
#if LUA_VERSION_NUM >= 503
    return lua_isinteger(L, index) && (double)lua_tointeger(L, index) == n;
#else
    return lua_tonumber(L, index) == n;
#endif
}

static naq_status refuse_mixed(const writer *w, const place *at, int other) {
    char why[64];
    (void)snprintf(why, sizeof why, "number and %s keys in one table", lua_typename(w->L, other));
    return refuse(w, at, why);
}

/* For a table whose keys did not come as 1, 2, 3: are they 1..n in another order? */
static naq_status count_elements(writer *w, int index, const place *at, double *n) {
    lua_State *L = w->L;
    double count = 0, highest = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        int type = lua_type(L, -2);
        double key = type == LUA_TNUMBER ? (double)lua_tonumber(L, -2) : 0;
        lua_pop(L, 1);
        if (type != LUA_TNUMBER) return refuse_mixed(w, at, type);
        if (!(key >= 1 && key == floor(key) && !isinf(key))) {
            char why[64];
            (void)snprintf(why, sizeof why, "the key %.14g is not a string", key);
            return refuse(w, at, why);
        }
        count++;
        if (key > highest) highest = key;
    }
    if (count != highest) {
        char why[128];
        (void)snprintf(
            why, sizeof why,
            "array with holes (%.14g of %.14g elements); the keys of an object are strings", count,
            highest);
        return refuse(w, at, why);
    }
    *n = count;
    return NAQ_OK;
}

/* Begins with the first key and value on the stack. Tables walk their array part in order, so
 * counting along is enough for most arrays; the others are looked through first. */
static naq_status write_array(writer *w, int index, int depth, const place *at) {
    lua_State *L = w->L;
    size_t start = w->out->len;
    place here = {.up = at, .index = 1};
    naq_buf_putc(w->out, '[');
    int more = 1;
    for (; more; more = lua_next(L, index), here.index++) {
        if (!key_is(L, -2, here.index)) break;
        if (here.index > 1) naq_buf_putc(w->out, ',');
        naq_status status = write_value(w, lua_gettop(L), depth, &here);
        if (status != NAQ_OK) return status;
        lua_pop(L, 1);
    }
    if (more) {
        double n = 0;
        lua_pop(L, 2);
        naq_status status = count_elements(w, index, at, &n);
        if (status != NAQ_OK) return status;
        w->out->len = start + 1;
        for (here.index = 1; here.index <= n; here.index++) {
            if (here.index > 1) naq_buf_putc(w->out, ',');
            lua_rawgeti(L, index, (int)here.index);
            status = write_value(w, lua_gettop(L), depth, &here);
            if (status != NAQ_OK) return status;
            lua_pop(L, 1);
        }
    }
    naq_buf_putc(w->out, ']');
    return NAQ_OK;
}

/* Begins with the first key and value on the stack; comma: something stands before them. */
static naq_status write_members(writer *w, int index, int depth, const place *at, bool comma) {
    lua_State *L = w->L;
    do {
        int type = lua_type(L, -2);
        if (type == LUA_TNUMBER) return refuse_mixed(w, at, LUA_TSTRING);
        if (type != LUA_TSTRING) {
            char why[64];
            (void)snprintf(why, sizeof why, "a key is a %s, not a string", lua_typename(L, type));
            return refuse(w, at, why);
        }
        if (comma) naq_buf_putc(w->out, ',');
        comma = true;
        place here = {.up = at};
        here.key = lua_tolstring(L, -2, &here.len);
        if (naq_json_put_string(w->out, here.key, here.len) != NULL)
            return refuse(w, &here, "the key is not UTF-8");
        naq_buf_putc(w->out, ':');
        naq_status status = write_value(w, lua_gettop(L), depth, &here);
        if (status != NAQ_OK) return status;
        lua_pop(L, 1);
    } while (lua_next(L, index));
    return NAQ_OK;
}

static naq_status write_table(writer *w, int index, int depth, const place *at) {
    lua_State *L = w->L;
    if (depth >= w->depth_max) {
        char why[80];
        (void)snprintf(why, sizeof why, "nested deeper than %d levels or contains itself",
                       w->depth_max);
        return refuse(w, at, why);
    }
    if (!lua_checkstack(L, 8)) return refuse(w, at, "no room left on the Lua stack");
    mark m = mark_of(L, index);
    lua_pushnil(L);
    if (!lua_next(L, index)) {
        naq_buf_put(w->out, m == UNMARKED ? "{}" : "[]", 2);
        return NAQ_OK;
    }
    if (lua_type(L, -2) == LUA_TNUMBER) return write_array(w, index, depth + 1, at);
    if (m == ARRAY) return refuse(w, at, "marked as an array, but has other keys than 1 to n");
    naq_buf_putc(w->out, '{');
    naq_status status = write_members(w, index, depth + 1, at, false);
    naq_buf_putc(w->out, '}');
    return status;
}

/* Leaves the stack as it was on NAQ_OK; on failure the outermost caller resets it. */
static naq_status write_value(writer *w, int index, int depth, const place *at) {
    lua_State *L = w->L;
    naq_status status = NAQ_OK;
    size_t len;
    const char *s;
    int type = lua_type(L, index);
    switch (type) {
    case LUA_TSTRING:
        s = lua_tolstring(L, index, &len);
        status = write_string(w, s, len, at);
        break;
    case LUA_TNUMBER:
        status = write_number(w, index, at);
        break;
    case LUA_TBOOLEAN:
        naq_buf_puts(w->out, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TTABLE:
        status = write_table(w, index, depth, at);
        break;
    case LUA_TNIL: /* only as the root */
        naq_buf_put(w->out, "null", 4);
        break;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index) == NULL) {
            naq_buf_put(w->out, "null", 4);
            break;
        }
        if (!lua_checkstack(L, 8)) return refuse(w, at, "no room left on the Lua stack");
        lua_pushvalue(L, index);
        bool empty_array = is_cjson_mark(L, CJSON_EMPTY_ARRAY);
        lua_pop(L, 1);
        if (!empty_array) return refuse_type(w, at, "userdata");
        naq_buf_put(w->out, "[]", 2);
        break;
    default:
        return refuse_type(w, at, lua_typename(L, type));
    }
    if (status == NAQ_OK && w->max != 0 && w->out->len - w->start > w->max)
        return naq_fail(w->err, NAQ_TOO_LARGE, "%s: larger than %zu bytes as JSON", w->root,
                        w->max);
    return status;
}

/* Close the books on what was appended since w->start. */
static naq_status finish(writer *w, int top, naq_status status) {
    lua_settop(w->L, top);
    if (status == NAQ_OK && w->out->failed)
        status = naq_fail(w->err, NAQ_TOO_LARGE, "%s: no memory for its JSON", w->root);
    if (status != NAQ_OK) w->out->len = w->start;
    return status;
}

static naq_status encode(lua_State *L, int index, naq_buf *out, const char *root, size_t max,
                         int depth_max, naq_err *err) {
    writer w = {.L = L,
                .out = out,
                .root = root,
                .start = out->len,
                .max = max,
                .depth_max = depth_max,
                .err = err};
    int top = lua_gettop(L);
    return finish(&w, top, write_value(&w, lnaq_absindex(L, index), 0, NULL));
}

naq_status lnaq_encode(lua_State *L, int index, naq_buf *out, const char *root, size_t max,
                       naq_err *err) {
    return encode(L, index, out, root, max, NAQ_JSON_DEPTH - WRAPPING, err);
}

/* payload */

static naq_status write_fields(writer *w, int index) {
    static const char *const OWN[] = {"v", "job", "args", "enqueued_at"};
    lua_State *L = w->L;
    if (lua_type(L, index) != LUA_TTABLE)
        return naq_fail(w->err, NAQ_INVALID, "payload fields: table expected, got %s",
                        lua_typename(L, lua_type(L, index)));
    if (!lua_checkstack(L, 8)) return refuse(w, NULL, "no room left on the Lua stack");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        size_t len = 0;
        const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tolstring(L, -2, &len) : "";
        for (size_t i = 0; i < sizeof OWN / sizeof OWN[0]; i++)
            if (len == strlen(OWN[i]) && memcmp(key, OWN[i], len) == 0)
                return naq_fail(w->err, NAQ_INVALID, "payload field %s is not the caller's to give",
                                key);
        lua_pop(L, 1);
    }
    lua_pushnil(L);
    return lua_next(L, index) ? write_members(w, index, 0, NULL, true) : NAQ_OK;
}

naq_status lnaq_payload(lua_State *L, const char *name, size_t name_len, int args_index,
                        int fields_index, naq_buf *out, naq_err *err) {
    if (!naq_job_name_valid(name, name_len))
        return naq_fail(err, NAQ_INVALID,
                        "job name: 1 to %d bytes of UTF-8 without quotes, backslashes and control "
                        "characters expected",
                        NAQ_JOB_NAME_MAX);
    /* Two levels for the payload and a dead letter around it. */
    writer w = {.L = L,
                .out = out,
                .root = "args",
                .start = out->len,
                .depth_max = NAQ_JSON_DEPTH - WRAPPING,
                .err = err};
    int top = lua_gettop(L);
    naq_status status = NAQ_OK;
    naq_buf_puts(out, "{\"v\":1,\"job\":\"");
    naq_buf_put(out, name, name_len);
    naq_buf_putc(out, '"');
    if (args_index != 0) {
        naq_buf_puts(out, ",\"args\":");
        status = write_value(&w, lnaq_absindex(L, args_index), 0, NULL);
    }
    naq_buf_puts(out, ",\"enqueued_at\":");
    naq_buf_time(out, naq_wall_us());
    if (status == NAQ_OK && fields_index != 0) {
        w.root = "";
        status = write_fields(&w, lnaq_absindex(L, fields_index));
    }
    naq_buf_putc(out, '}');
    w.root = "payload";
    return finish(&w, top, status);
}

/* core */

/* Turn what was written into s (or err) into the function's results. */
static int answer(lua_State *L, scratch *s, naq_status status, const naq_err *err) {
    if (status == NAQ_OK) lua_pushlstring(L, s->buf.data, s->buf.len);
    scratch_give(s);
    return status == NAQ_OK ? 1 : lnaq_fail(L, err);
}

int lnaq_core_encode(lua_State *L) {
    luaL_checkany(L, 1);
    scratch *s = scratch_take(L);
    naq_err err;
    return answer(L, s, encode(L, 1, &s->buf, "value", 0, NAQ_JSON_DEPTH, &err), &err);
}

int lnaq_core_array(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1)) {
        lua_settop(L, 1);
        luaL_argcheck(L, mark_of(L, 1) == ARRAY, 1, "table has a metatable of its own");
        return 1;
    }
    lnaq_push_array_mark(L);
    lua_setmetatable(L, 1);
    return 1;
}

int lnaq_core_payload(lua_State *L) {
    luaL_checktype(L, 1, LUA_TSTRING);
    if (!lua_isnoneornil(L, 3)) luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    size_t len;
    const char *name = lua_tolstring(L, 1, &len);
    scratch *s = scratch_take(L);
    naq_err err;
    naq_status status =
        lnaq_payload(L, name, len, lua_isnil(L, 2) ? 0 : 2, lua_isnil(L, 3) ? 0 : 3, &s->buf, &err);
    return answer(L, s, status, &err);
}
