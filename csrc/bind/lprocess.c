/* lprocess.c -- spawn, exec, kill, wait: for the command line and the specs. */
#include "bind/lsystem.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"

extern char **environ;

/* The list of strings at index as a NULL-terminated vector in a userdata, which it pushes. The
 * strings stay alive through the list. */
static const char **check_argv(lua_State *L, int index) {
    luaL_checktype(L, index, LUA_TTABLE);
    size_t n = lua_rawlen(L, index);
    luaL_argcheck(L, n > 0, index, "empty: the program's name comes first");
    const char **argv = lua_newuserdata(L, (n + 1) * sizeof *argv);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "bad argument #%d: element %d: string expected, got %s", index,
                       (int)i + 1, luaL_typename(L, -1));
        argv[i] = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    argv[n] = NULL;
    return argv;
}

static bool names(const char *entry, const char *name, size_t n) {
    return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

/* This process's environment with what the table at index adds, replaces or (false) removes. Pushes
 * two values that keep it alive: the vector, and a table of the strings made for it. */
static const char **make_env(lua_State *L, int index) {
    size_t have = 0, added = 0;
    while (environ[have] != NULL)
        have++;
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1))
        added++;
    const char **env = lua_newuserdata(L, (have + added + 1) * sizeof *env);
    size_t n = 0;
    for (size_t i = 0; i < have; i++)
        env[n++] = environ[i];
    lua_newtable(L);
    int made = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        bool removes = lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1);
        if (lua_type(L, -2) != LUA_TSTRING || (!removes && lua_type(L, -1) != LUA_TSTRING))
            luaL_error(L, "option env: a string (or false) under each name expected");
        size_t len;
        const char *name = lua_tolstring(L, -2, &len);
        size_t kept = 0;
        for (size_t i = 0; i < n; i++)
            if (!names(env[i], name, len)) env[kept++] = env[i];
        n = kept;
        if (removes) continue;
        lua_pushfstring(L, "%s=%s", name, lua_tostring(L, -1));
        env[n++] = lua_tostring(L, -1);
        lua_rawseti(L, made, (int)lua_rawlen(L, made) + 1);
    }
    env[n] = NULL;
    return env;
}

/* Field die_with_parent: true, or "TERM" for a program that has something to put in order. */
static int check_death_signal(lua_State *L, int index) {
    int number = 0;
    lua_getfield(L, index, "die_with_parent");
    if (lua_isboolean(L, -1))
        number = lua_toboolean(L, -1) ? SIGKILL : 0;
    else if (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "TERM") == 0)
        number = SIGTERM;
    else if (!lua_isnil(L, -1))
        luaL_error(L, "option die_with_parent: true, false or \"TERM\" expected");
    lua_pop(L, 1);
    return number;
}

static int lnaq_spawn(lua_State *L) {
    naq_spawn s = {0};
    lua_settop(L, 2);
    s.argv = check_argv(L, 1);
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        s.stdout_path = lnaq_optfield(L, 2, "stdout", NULL);
        s.stderr_path = lnaq_optfield(L, 2, "stderr", NULL);
        s.cwd = lnaq_optfield(L, 2, "cwd", NULL);
        s.death_signal = check_death_signal(L, 2);
        lua_getfield(L, 2, "env");
        if (!lua_isnil(L, -1)) {
            luaL_argcheck(L, lua_istable(L, -1), 2, "option env: table expected");
            s.env = make_env(L, lua_gettop(L));
        }
    }
    pid_t pid;
    naq_err err;
    if (naq_spawn_start(&s, &pid, &err) != NAQ_OK) return lnaq_fail(L, &err);
    lua_pushinteger(L, pid);
    return 1;
}

static int lnaq_exec(lua_State *L) {
    const char **argv = check_argv(L, 1);
    naq_err err;
    naq_process_exec(argv, &err);
    return lnaq_fail(L, &err);
}

static const struct {
    const char *name;
    int number;
} SIGNALS[] = {
    {"TERM", SIGTERM}, {"KILL", SIGKILL}, {"INT", SIGINT},   {"STOP", SIGSTOP}, {"CONT", SIGCONT},
    {"TSTP", SIGTSTP}, {"HUP", SIGHUP},   {"QUIT", SIGQUIT}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2},
    {"ABRT", SIGABRT}, {"SEGV", SIGSEGV}, {"PIPE", SIGPIPE},
};

static int lnaq_kill(lua_State *L) {
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    int number = -1;
    if (lua_type(L, 2) == LUA_TNUMBER) {
        number = (int)lua_tointeger(L, 2);
    } else {
        const char *name = luaL_checkstring(L, 2);
        for (size_t i = 0; i < sizeof SIGNALS / sizeof SIGNALS[0]; i++)
            if (strcmp(SIGNALS[i].name, name) == 0) number = SIGNALS[i].number;
    }
    luaL_argcheck(L, number >= 0, 2, "not a signal");
    /* 0 and -1 mean this group and everything: never what a caller of this wants. */
    luaL_argcheck(L, pid != 0 && pid != -1, 1, "not a process");
    if (kill(pid, number) != 0) {
        naq_err err;
        naq_fail(&err, NAQ_INVALID, "signal to process %d: %s", (int)pid, strerror(errno));
        return lnaq_fail(L, &err);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int lnaq_wait(lua_State *L) {
    pid_t pid = (pid_t)luaL_checkinteger(L, 1);
    lua_Number seconds = luaL_optnumber(L, 2, -1);
    luaL_argcheck(L, pid > 0, 1, "not a process");
    luaL_argcheck(L, seconds < 1e9, 2, "too long");

    naq_exit state;
    int code;
    naq_err err;
    int64_t ms = seconds < 0 ? -1 : (int64_t)(seconds * 1000);
    if (naq_process_wait(pid, ms, &state, &code, &err) != NAQ_OK) return lnaq_fail(L, &err);
    if (state == NAQ_RUNNING) {
        lua_pushliteral(L, "running");
        return 1;
    }
    lua_pushstring(L, state == NAQ_EXITED ? "exited" : "signaled");
    lua_pushinteger(L, code);
    return 2;
}

static const luaL_Reg PROCESS[] = {
    {"spawn", lnaq_spawn}, {"exec", lnaq_exec}, {"kill", lnaq_kill},
    {"wait", lnaq_wait},   {NULL, NULL},
};

void lnaq_process_register(lua_State *L) {
    luaL_setfuncs(L, PROCESS, 0);
}
