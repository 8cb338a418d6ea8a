/* lborder.c -- the 5.1 shim, error triples and the class maker. */
#include "bind/lborder.h"

#include <stdlib.h>
#include <string.h>

#if LUA_VERSION_NUM < 502
void lnaq_setfuncs(lua_State *L, const luaL_Reg *l, int upvalues) {
    luaL_checkstack(L, upvalues + 1, "too many upvalues");
    for (; l->name != NULL; l++) {
        lua_pushstring(L, l->name);
        for (int i = 0; i < upvalues; i++)
            lua_pushvalue(L, -(upvalues + 1));
        lua_pushcclosure(L, l->func, upvalues);
        lua_settable(L, -(upvalues + 3));
    }
    lua_pop(L, upvalues);
}

void *lnaq_testudata(lua_State *L, int index, const char *metatable) {
    void *p = lua_touserdata(L, index);
    if (p == NULL || !lua_getmetatable(L, index)) return NULL;
    luaL_getmetatable(L, metatable);
    if (!lua_rawequal(L, -1, -2)) p = NULL;
    lua_pop(L, 2);
    return p;
}
#endif

int lnaq_fail(lua_State *L, const naq_err *err) {
    lua_pushnil(L);
    lua_pushstring(L, err->message);
    lua_pushstring(L, naq_status_code(err->status));
    return 3;
}

int lnaq_absindex(lua_State *L, int index) {
    return index > 0 || index <= LUA_REGISTRYINDEX ? index : lua_gettop(L) + index + 1;
}

#if LUA_VERSION_NUM >= 503
int lnaq_isinteger(lua_State *L, int index) {
    return lua_isinteger(L, index);
}

void lnaq_pushint64(lua_State *L, int64_t n) {
    lua_pushinteger(L, (lua_Integer)n);
}

int64_t lnaq_checkint64(lua_State *L, int index) {
    return (int64_t)luaL_checkinteger(L, index);
}
#else
static const double EXACT = 9007199254740992.0; /* 2^53 */

int lnaq_isinteger(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TNUMBER) return 0;
    double n = lua_tonumber(L, index);
    return n >= -EXACT && n <= EXACT && n == (double)(int64_t)n;
}

void lnaq_pushint64(lua_State *L, int64_t n) {
    if (n >= -(int64_t)EXACT && n <= (int64_t)EXACT) {
        lua_pushnumber(L, (lua_Number)n);
        return;
    }
    char digits[24], *at = digits + sizeof digits;
    uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    for (; u != 0; u /= 10)
        *--at = (char)('0' + u % 10);
    if (n < 0) *--at = '-';
    lua_pushlstring(L, at, (size_t)(digits + sizeof digits - at));
}

int64_t lnaq_checkint64(lua_State *L, int index) {
    if (lua_type(L, index) == LUA_TSTRING) return strtoll(lua_tostring(L, index), NULL, 10);
    luaL_checknumber(L, index);
    luaL_argcheck(L, lnaq_isinteger(L, index), index, "number has no integer representation");
    return (int64_t)lua_tonumber(L, index);
}
#endif

const char *lnaq_checkname(lua_State *L, int index) {
    size_t n;
    const char *name = luaL_checklstring(L, index, &n);
    return strlen(name) == n ? name : "(with a NUL inside)";
}

/* Push the field and tell whether it is there; raises when its type is another. */
static int field(lua_State *L, int index, const char *name, int type) {
    index = lnaq_absindex(L, index);
    lua_getfield(L, index, name);
    if (lua_isnil(L, -1)) return 0;
    if (lua_type(L, -1) != type)
        return luaL_error(L, "option %s: %s expected, got %s", name, lua_typename(L, type),
                          luaL_typename(L, -1));
    return 1;
}

/* The string stays alive through the table it came from, after the pop. */
const char *lnaq_optfield(lua_State *L, int index, const char *name, const char *fallback) {
    const char *s = field(L, index, name, LUA_TSTRING) ? lua_tostring(L, -1) : fallback;
    lua_pop(L, 1);
    return s;
}

double lnaq_optnumber(lua_State *L, int index, const char *name, double fallback) {
    double n = field(L, index, name, LUA_TNUMBER) ? lua_tonumber(L, -1) : fallback;
    lua_pop(L, 1);
    return n;
}

int lnaq_optbool(lua_State *L, int index, const char *name, int fallback) {
    int b = field(L, index, name, LUA_TBOOLEAN) ? lua_toboolean(L, -1) : fallback;
    lua_pop(L, 1);
    return b;
}

void lnaq_newclass(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc) {
    luaL_newmetatable(L, name);
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__gc");
#if LUA_VERSION_NUM >= 504
    lua_pushcfunction(L, gc);
    lua_setfield(L, -2, "__close");
#endif
    lua_pushstring(L, name); /* a script must not pull __gc off and call it */
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void lnaq_setgc(lua_State *L, const char *name, lua_CFunction gc) {
    if (luaL_newmetatable(L, name)) {
        lua_pushcfunction(L, gc);
        lua_setfield(L, -2, "__gc");
        lua_pushstring(L, name);
        lua_setfield(L, -2, "__metatable");
    }
    lua_setmetatable(L, -2);
}

void lnaq_weigh(lua_State *L, int kilobytes) {
#if LUA_VERSION_NUM >= 502
    if (!lua_gc(L, LUA_GCISRUNNING, 0)) return;
#endif
    (void)lua_gc(L, LUA_GCSTEP, kilobytes);
}
