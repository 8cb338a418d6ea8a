/* lsystem.c -- clocks, ids, the log and what the command line asks of the machine.
 *
 * Nothing here touches NATS. The only state is the signal wait's, because a signal handler has
 * nowhere else to look. */
#include "bind/lsystem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/amount.h"
#include "base/arguments.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/listing.h"
#include "base/log.h"
#include "base/surroundings.h"
#include "base/tempdir.h"
#include "base/traceparent.h"

static int lnaq_new_id(lua_State *L) {
    char id[NAQ_ID_NEW + 1];
    naq_id_new(id);
    lua_pushlstring(L, id, NAQ_ID_NEW);
    return 1;
}

static int lnaq_valid_id(lua_State *L) {
    size_t n = 0;
    const char *s = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &n) : NULL;
    lua_pushboolean(L, s != NULL && naq_id_valid(s, n));
    return 1;
}

static int lnaq_valid_traceparent(lua_State *L) {
    size_t n = 0;
    const char *s = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &n) : NULL;
    lua_pushboolean(L, s != NULL && naq_traceparent_valid(s, n));
    return 1;
}

/* core.surroundings{ path, ... } -> a text that is equal while environment and files are; nil where
 * none tells. */
static int lnaq_surroundings(lua_State *L) {
    enum { MOST = 8 };
    const char *paths[MOST];
    luaL_checktype(L, 1, LUA_TTABLE);
    size_t n = lua_rawlen(L, 1);
    luaL_argcheck(L, n <= MOST, 1, "at most 8 paths");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        luaL_argcheck(L, lua_type(L, -1) == LUA_TSTRING, 1, "paths are strings");
        paths[i] = lua_tostring(L, -1); /* held by the table */
        lua_pop(L, 1);
    }
    uint64_t mark;
    if (!naq_surroundings_mark(paths, n, &mark)) return 0;
    lua_pushlstring(L, (const char *)&mark, sizeof mark);
    return 1;
}

/* The .lua files below a directory: where jobs are looked for. */
static int lnaq_lua_files(lua_State *L) {
    const char *dir = luaL_checkstring(L, 1);
    naq_buf paths = {0};
    naq_err err;
    naq_status status = naq_list_files(dir, ".lua", &paths, &err);
    if (status == NAQ_OK) lua_pushlstring(L, paths.len > 0 ? paths.data : "", paths.len);
    naq_buf_free(&paths);
    if (status != NAQ_OK) return lnaq_fail(L, &err);
    size_t left;
    const char *at = lua_tolstring(L, -1, &left);
    lua_newtable(L);
    for (int i = 1; left > 0; i++) {
        size_t n = strlen(at) + 1;
        lua_pushlstring(L, at, n - 1);
        lua_rawseti(L, -2, i);
        at += n;
        left -= n;
    }
    return 1;
}

/* "64MB" -> 67108864; nil for what is no amount. */
static int lnaq_bytes(lua_State *L) {
    size_t n, bytes;
    const char *s = luaL_checklstring(L, 1, &n);
    if (naq_amount_parse(s, n, &bytes))
        lua_pushnumber(L, (lua_Number)bytes);
    else
        lua_pushnil(L);
    return 1;
}

static int lnaq_now(lua_State *L) {
    lua_pushnumber(L, (lua_Number)naq_wall_us() / 1e6);
    return 1;
}

static int lnaq_shift_clock(lua_State *L) {
    naq_clock_shift((int64_t)(luaL_checknumber(L, 1) * 1e6));
    return 0;
}

static int lnaq_mono(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec / 1e9);
    return 1;
}

/* A handled signal ends the sleep early, so that Ctrl-C is not kept waiting. */
static int lnaq_sleep(lua_State *L) {
    lua_Number seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds < 1e9, 1, "too long");
    if (seconds > 0) {
        struct timespec t = {.tv_sec = (time_t)seconds};
        t.tv_nsec = (long)((seconds - (lua_Number)t.tv_sec) * 1e9);
        nanosleep(&t, NULL);
    }
    return 0;
}

static int lnaq_isatty(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

static int lnaq_hostname(lua_State *L) {
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') strcpy(name, "localhost");
    lua_pushstring(L, name);
    return 1;
}

static int lnaq_getpid(lua_State *L) {
    lua_pushinteger(L, getpid());
    return 1;
}

/* What this process may use, which a container or taskset may have made fewer. */
static int lnaq_cpu_count(lua_State *L) {
    cpu_set_t set;
    long n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set)
                                                         : sysconf(_SC_NPROCESSORS_ONLN);
    lua_pushinteger(L, n > 0 ? (lua_Integer)n : 1);
    return 1;
}

static int lnaq_setenv(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    const char *value = luaL_optstring(L, 2, NULL);
    luaL_argcheck(L, name[0] != '\0' && strchr(name, '=') == NULL, 1, "not a variable's name");
    if (value == NULL)
        unsetenv(name);
    else
        setenv(name, value, 1);
    return 0;
}

static int lnaq_hide_argument(lua_State *L) {
    naq_arguments_hide(luaL_checkstring(L, 1));
    return 0;
}

static int lnaq_configure_log(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    const char *name = lnaq_optfield(L, 1, "level", "info");
    const char *format = lnaq_optfield(L, 1, "format", "text");
    const char *file = lnaq_optfield(L, 1, "file", NULL);

    naq_err err;
    naq_level level;
    bool json = strcmp(format, "json") == 0;
    if (!naq_level_parse(name, &level))
        naq_fail(&err, NAQ_CONFIGURATION,
                 "log level %s: not one of debug, info, warning, error, critical", name);
    else if (!json && strcmp(format, "text") != 0)
        naq_fail(&err, NAQ_CONFIGURATION, "log format %s: not one of text, json", format);
    else if (naq_log_configure(level, json, file, &err) == NAQ_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    return lnaq_fail(L, &err);
}

static int lnaq_log(lua_State *L) {
    naq_level level;
    luaL_argcheck(L, naq_level_parse(luaL_checkstring(L, 1), &level), 1, "not a log level");
    naq_log(level, "%s", luaL_checkstring(L, 2));
    return 0;
}

/* ---- ports */

static bool port_is_free(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool is_free = bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return is_free;
}

/* Not port 0 and what the kernel gives: those lie where outgoing connections take theirs from, and
 * one of them may have it before the server listens. */
static int lnaq_free_port(lua_State *L) {
    int low = (int)luaL_optinteger(L, 1, 20000), high = (int)luaL_optinteger(L, 2, 32000);
    luaL_argcheck(L, low > 0 && low <= high, 1, "not a range of ports");
    luaL_argcheck(L, high < 32768, 2, "32767 is the highest port outside the ephemeral range");
    unsigned width = (unsigned)(high - low) + 1, start = 0;
    if (getrandom(&start, sizeof start, 0) < 0) start = (unsigned)naq_wall_us();
    start %= width;
    for (unsigned i = 0; i < width; i++) {
        int port = low + (int)((start + i) % width);
        if (port_is_free(port)) {
            lua_pushinteger(L, port);
            return 1;
        }
    }
    naq_err err;
    naq_fail(&err, NAQ_INVALID, "no free TCP port between %d and %d", low, high);
    return lnaq_fail(L, &err);
}

/* Whether a connect succeeds within a second. */
static bool accepts(const struct addrinfo *a) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool ok = connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!ok && errno == EINPROGRESS) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        int failure = 1;
        socklen_t size = sizeof failure;
        ok = poll(&p, 1, 1000) == 1 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 &&
             failure == 0;
    }
    close(fd);
    return ok;
}

static int lnaq_port_open(lua_State *L) {
    int port = (int)luaL_checkinteger(L, 1);
    const char *host = luaL_optstring(L, 2, "127.0.0.1");
    luaL_argcheck(L, port > 0 && port < 65536, 1, "not a port");

    char service[8];
    (void)snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    bool ok = false;
    if (getaddrinfo(host, service, &hints, &found) == 0) {
        for (struct addrinfo *a = found; a != NULL && !ok; a = a->ai_next)
            ok = accepts(a);
        freeaddrinfo(found);
    }
    lua_pushboolean(L, ok);
    return 1;
}

/* ---- temporary directories */

static int lnaq_mkdtemp(lua_State *L) {
    const char *prefix = luaL_optstring(L, 1, "naq");
    char path[512];
    naq_err err;
    if (naq_tempdir_make(prefix, path, sizeof path, &err) != NAQ_OK) return lnaq_fail(L, &err);
    lua_pushstring(L, path);
    return 1;
}

static int lnaq_rmtree(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    naq_err err;
    if (naq_tempdir_remove(path, &err) != NAQ_OK) return lnaq_fail(L, &err);
    lua_pushboolean(L, 1);
    return 1;
}

/* ---- waiting for SIGINT and SIGTERM ----
 *
 * A handler writes to an eventfd that the wait polls: unlike signalfd this works whatever the masks
 * of the threads that libraries have started. The handlers stay between two waits, so that a signal
 * in between is not lost, and go when a signal is reported: the next one acts as if nobody waited,
 * and a second Ctrl-C ends a program whose shutdown hangs. */
static atomic_int signal_fd = -1;
static atomic_int signal_caught;
static bool signal_armed;
static struct sigaction signal_before[2];
static const int SIGNALS[2] = {SIGINT, SIGTERM};

static void on_signal(int number) {
    int saved = errno, none = 0;
    atomic_compare_exchange_strong(&signal_caught, &none, number);
    uint64_t one = 1;
    if (write(signal_fd, &one, sizeof one) < 0) {
        /* Full: the waiter has been woken already. */
    }
    errno = saved;
}

static int lnaq_wait_signal(lua_State *L) {
    lua_Number seconds = luaL_optnumber(L, 1, -1);
    int64_t deadline = seconds < 0 ? -1 : naq_mono_ms() + (int64_t)(seconds * 1000);
    if (signal_fd < 0) signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (signal_fd < 0) return luaL_error(L, "eventfd: %s", strerror(errno));
    if (!signal_armed) {
        struct sigaction wait = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
        for (int i = 0; i < 2; i++)
            sigaction(SIGNALS[i], &wait, &signal_before[i]);
        signal_armed = true;
    }
    while (signal_caught == 0) {
        int64_t left = deadline < 0 ? 60000 : deadline - naq_mono_ms();
        if (deadline >= 0 && left <= 0) return 0;
        if (left > 60000) left = 60000;
        struct pollfd p = {.fd = signal_fd, .events = POLLIN};
        poll(&p, 1, (int)left);
    }
    for (int i = 0; i < 2; i++)
        sigaction(SIGNALS[i], &signal_before[i], NULL);
    signal_armed = false;
    uint64_t n;
    if (read(signal_fd, &n, sizeof n) < 0) {
        /* Nothing to empty. */
    }
    lua_pushstring(L, atomic_exchange(&signal_caught, 0) == SIGINT ? "INT" : "TERM");
    return 1;
}

/* The interpreter's own handler for Ctrl-C raises an error at the next Lua instruction, which a
 * call that waits in C reaches only when it is done. */
static int lnaq_default_signals(lua_State *L) {
    (void)L;
    for (int i = 0; i < 2; i++)
        signal(SIGNALS[i], SIG_DFL);
    return 0;
}

static const luaL_Reg SYSTEM[] = {
    {"new_id", lnaq_new_id},
    {"valid_id", lnaq_valid_id},
    {"valid_traceparent", lnaq_valid_traceparent},
    {"lua_files", lnaq_lua_files},
    {"bytes", lnaq_bytes},
    {"surroundings", lnaq_surroundings},
    {"now", lnaq_now},
    {"mono", lnaq_mono},
    {"shift_clock", lnaq_shift_clock},
    {"sleep", lnaq_sleep},
    {"isatty", lnaq_isatty},
    {"hostname", lnaq_hostname},
    {"getpid", lnaq_getpid},
    {"cpu_count", lnaq_cpu_count},
    {"setenv", lnaq_setenv},
    {"hide_argument", lnaq_hide_argument},
    {"configure_log", lnaq_configure_log},
    {"log", lnaq_log},
    {"free_port", lnaq_free_port},
    {"port_open", lnaq_port_open},
    {"mkdtemp", lnaq_mkdtemp},
    {"rmtree", lnaq_rmtree},
    {"wait_signal", lnaq_wait_signal},
    {"default_signals", lnaq_default_signals},
    {NULL, NULL},
};

void lnaq_system_register(lua_State *L) {
    luaL_setfuncs(L, SYSTEM, 0);
}
