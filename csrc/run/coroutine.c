/* coroutine.c -- the standard library's coroutine functions once more, with each coroutine that is
 * under way on the list of those that a limit has to stop: a hook belongs to one coroutine, and a
 * job must not get away in another. */
#include "run/coroutine.h"

#include <lauxlib.h>
#include <stdbool.h>

#include "run/limits.h"

/* As the standard library resumes, with the coroutine on the list of those under way. Returns how
 * many values stand on top of L, or -1 and an error value there. */
static int resume(lua_State *L, lua_State *co, int n_args) {
    if (!lua_checkstack(co, n_args)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n_args);
    naq_frame frame;
    naq_limits_push(&frame, co);
    int n = 0, status = lua_resume(co, L, n_args, &n);
    naq_limits_pop(&frame);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, n);
    return n;
}

static lua_State *check_coroutine(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    if (co == NULL) luaL_typeerror(L, 1, "coroutine");
    return co;
}

static int coroutine_resume(lua_State *L) {
    lua_State *co = check_coroutine(L);
    int n = resume(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, n >= 0);
    if (n < 0) n = 1;
    lua_insert(L, -(n + 1));
    return n + 1;
}

/* Closes what waits to be closed in it: that is Lua code, too. */
static int close_tracked(lua_State *L, lua_State *co) {
    naq_frame frame;
    naq_limits_push(&frame, co);
#if LUA_VERSION_RELEASE_NUM >= 50406
    int status = lua_closethread(co, L);
#else
    (void)L;
    int status = lua_resetthread(co);
#endif
    naq_limits_pop(&frame);
    return status;
}

static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int n = resume(L, co, lua_gettop(L));
    if (n >= 0) return n;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) { /* it died of this error */
        lua_pop(L, 1);
        status = close_tracked(L, co);
        lua_xmove(co, L, 1);
    }
    if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int coroutine_wrap(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

static int coroutine_close(lua_State *L) {
    lua_State *co = check_coroutine(L);
    lua_Debug ar;
    int status = lua_status(co);
    bool suspended = status == LUA_YIELD;
    bool dead = !suspended && co != L && (status != LUA_OK || !lua_getstack(co, 0, &ar));
    if (!suspended && !dead) {
        return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
    }
    if (close_tracked(L, co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static const luaL_Reg COROUTINE[] = {
    {"resume", coroutine_resume},
    {"wrap", coroutine_wrap},
    {"close", coroutine_close},
    {NULL, NULL},
};

void naq_coroutine_open(lua_State *L) {
    lua_getglobal(L, "coroutine");
    luaL_setfuncs(L, COROUTINE, 0);
    lua_pop(L, 1);
}
