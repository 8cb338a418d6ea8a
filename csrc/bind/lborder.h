/* lborder.h -- the border to Lua: version differences, errors, checked handles.
 *
 * Functions named lnaq_... take a lua_State and may longjmp. The 5.1 half uses only what PUC
 * Lua 5.1 exports, so that one module loads in LuaJIT, nginx and Lua 5.1. */
#ifndef NAQ_BIND_LBORDER_H
#define NAQ_BIND_LBORDER_H

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>

#include "base/status.h"

#if LUA_VERSION_NUM < 502
#undef luaL_newlib
#undef luaL_newlibtable
#undef luaL_setmetatable
#undef luaL_setfuncs
#undef luaL_testudata
#ifndef LUA_OK
#define LUA_OK 0
#endif
#define lua_rawlen(L, i) lua_objlen(L, i)
#define luaL_setfuncs lnaq_setfuncs
#define luaL_testudata lnaq_testudata
#define luaL_setmetatable(L, name) (luaL_getmetatable(L, name), (void)lua_setmetatable(L, -2))
#define luaL_newlib(L, l)                                                                          \
    (lua_createtable(L, 0, (int)(sizeof(l) / sizeof((l)[0]) - 1)), lnaq_setfuncs(L, l, 0))
void lnaq_setfuncs(lua_State *L, const luaL_Reg *l, int upvalues);
void *lnaq_testudata(lua_State *L, int index, const char *metatable);
#endif

/* Push nil, message, code and return 3: how every expected failure reaches Lua. */
int lnaq_fail(lua_State *L, const naq_err *err);

/* An absolute index, on every version. */
int lnaq_absindex(lua_State *L, int index);

/* Whether the number at index is an integer: by subtype on 5.4, by value up to 2^53 before. */
int lnaq_isinteger(lua_State *L, int index);

/* 64-bit integers: exact on 5.4; before, exact up to 2^53 and a decimal string beyond. */
void lnaq_pushint64(lua_State *L, int64_t n);
int64_t lnaq_checkint64(lua_State *L, int index);

/* A string that C will read as a name or key. One with a NUL inside, which C would cut there, comes
 * back as one that no check of names lets pass. */
const char *lnaq_checkname(lua_State *L, int index);

/* Optional string, number and boolean fields of the table at index. A wrong type raises, naming the
 * field. */
const char *lnaq_optfield(lua_State *L, int index, const char *name, const char *fallback);
double lnaq_optnumber(lua_State *L, int index, const char *name, double fallback);
int lnaq_optbool(lua_State *L, int index, const char *name, int fallback);

/* Create a metatable with methods, __index = methods, __gc, __close (5.4) and a locked __metatable.
 */
void lnaq_newclass(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* [may run finalizers] Tell the collector of C memory behind a handle just made, which it does not
 * see: without that, handles that a program forgets pile up. A collector that was stopped stays so
 * on Lua 5.4; Lua 5.1 and LuaJIT cannot tell, and start it again. */
void lnaq_weigh(lua_State *L, int kilobytes);

/* Have the collector call gc on the userdata on top of the stack, which has no methods: what holds
 * C memory while a Lua error may come. The metatable of that name is made the first time. */
void lnaq_setgc(lua_State *L, const char *name, lua_CFunction gc);

#endif
