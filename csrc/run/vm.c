/* vm.c -- the call: decode, call, encode, forget.
 *
 * Registry layout: entries is the table runner.open() returned: name -> {function, environment,
 * wants_job, result_ttl, max_retries, ceilings or nil, sandboxed}. A job's globals go to its file's
 * environment table, which is emptied after every call: reads fall through to what the file defined
 * at load, so an untouched table costs one lua_next. */
#include "run/vm_state.h"

#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>

#include "base/amount.h"
#include "base/log.h"

enum { TEXT_MAX = 4096 }; /* bytes kept of a message or a traceback */

/* An entry, by position. */
enum {
    ENTRY_FUNCTION = 1,
    ENTRY_GLOBALS,
    ENTRY_WANTS_JOB,
    ENTRY_RESULT_TTL,
    ENTRY_MAX_RETRIES,
    ENTRY_CEILINGS,
    ENTRY_SANDBOXED
};

/* Cut between characters, and saying so. */
static void set_text(naq_buf *b, const char *s, size_t n) {
    size_t keep = n > TEXT_MAX ? TEXT_MAX : n;
    while (keep < n && keep > TEXT_MAX - 4 && ((unsigned char)s[keep] & 0xC0) == 0x80)
        keep--;
    naq_buf_clear(b);
    naq_buf_put(b, s, keep);
    if (keep < n) naq_buf_printf(b, " ... (%zu bytes cut)", n - keep);
    naq_buf_putc(b, '\0');
}

/* Message handler of the job's call: keeps the traceback while the stack still stands. An error
 * that was caught and is raised again brings its own. */
static int keep_traceback(lua_State *L) {
    naq_vm *vm = lua_touserdata(L, lua_upvalueindex(1));
    lua_pushnil(L);
    if (lua_istable(L, 1)) {
        lua_pushliteral(L, "traceback");
        lua_rawget(L, 1);
    }
    if (lua_type(L, -1) != LUA_TSTRING) luaL_traceback(L, L, NULL, 1);
    size_t n;
    const char *s = lua_tolstring(L, -1, &n);
    set_text(&vm->what.traceback, s, n);
    lua_settop(L, 1);
    return 1;
}

static void field_text(lua_State *L, const char *name, naq_buf *out) {
    lua_pushstring(L, name);
    lua_rawget(L, -2);
    if (lua_isstring(L, -1)) {
        size_t n;
        const char *s = lua_tolstring(L, -1, &n);
        set_text(out, s, n);
    }
    lua_pop(L, 1);
}

/* The error value on top of the stack, as message and code. Only raw accesses: no __tostring of the
 * job's may run here, outside its own protected call. */
static void describe_error(naq_vm *vm) {
    lua_State *L = vm->L;
    set_text(&vm->what.code, "JOB_ERROR", 9);
    if (lua_isstring(L, -1)) {
        size_t n;
        const char *s = lua_tolstring(L, -1, &n);
        set_text(&vm->what.message, s, n);
    } else if (lua_istable(L, -1)) {
        set_text(&vm->what.message, "error without a message", 23);
        field_text(L, "message", &vm->what.message);
        field_text(L, "code", &vm->what.code);
    } else {
        naq_buf_clear(&vm->what.message);
        naq_buf_printf(&vm->what.message, "(error value of type %s)", luaL_typename(L, -1));
        naq_buf_putc(&vm->what.message, '\0');
    }
}

static void fail(naq_vm *vm, const char *code, const char *message) {
    vm->what.did = NAQ_DID_FAIL;
    set_text(&vm->what.code, code, strlen(code));
    set_text(&vm->what.message, message, strlen(message));
}

/* Calling */

static void push_slice(lua_State *L, const char *field, naq_slice s) {
    lua_pushlstring(L, s.at, s.len);
    lua_setfield(L, -2, field);
}

/* The second argument of a job: plain values in a plain table, so that one kept past the call
 * dangles nowhere. Its methods come from the runner's class. */
static void push_attempt(naq_vm *vm, const naq_call *call) {
    lua_State *L = vm->L;
    lua_createtable(L, 0, 6);
    push_slice(L, "id", call->id);
    push_slice(L, "name", call->name);
    push_slice(L, "queue", call->queue);
    lua_pushinteger(L, call->attempt);
    lua_setfield(L, -2, "attempt");
    lua_pushnumber(L, (double)call->enqueued_us / 1e6);
    lua_setfield(L, -2, "enqueued_at");
    if (call->max_retries >= 0) {
        lua_pushinteger(L, (lua_Integer)call->max_retries);
    } else {
        lua_rawgeti(L, 2, ENTRY_MAX_RETRIES);
    }
    lua_setfield(L, -2, "max_retries");
    if (call->trace.at != NULL) push_slice(L, "trace", call->trace);
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->refs.attempt_class);
    lua_setmetatable(L, -2);
}

static void forget_globals(lua_State *L, int entry) {
    lua_rawgeti(L, entry, ENTRY_GLOBALS);
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4); /* clearing a field while traversing is allowed */
    }
    lua_pop(L, 1);
}

/* What the job returned stands at results, results+1, results+2. */
static void read_results(naq_vm *vm, int results, size_t max_result) {
    lua_State *L = vm->L;
    naq_did_what *what = &vm->what;
    const void *mark = lua_islightuserdata(L, results) ? lua_touserdata(L, results) : NULL;
    if (mark == &naq_snooze_mark) {
        what->did = NAQ_DID_SNOOZE;
        what->seconds = lua_tonumber(L, results + 1);
        return;
    }
    if (mark == &naq_discard_mark) {
        fail(vm, "DISCARDED", "discarded");
        what->did = NAQ_DID_DISCARD;
        lua_settop(L, results + 1);
        if (lua_isstring(L, -1)) {
            describe_error(vm);
            set_text(&what->code, "DISCARDED", 9);
        }
        return;
    }
    if (lua_isnil(L, results)) {
        if (lua_isnil(L, results + 1)) return;
        what->did = NAQ_DID_FAIL;
        lua_pushvalue(L, results + 1);
        describe_error(vm);
        lua_pop(L, 1);
        if (lua_isstring(L, results + 2)) {
            size_t n;
            const char *s = lua_tolstring(L, results + 2, &n);
            set_text(&what->code, s, n);
        }
        return;
    }
    naq_err err;
    if (vm->face->encode(L, results, &what->result, "result", max_result, &err) != NAQ_OK)
        fail(vm, naq_status_code(err.status), err.message);
}

/* The table of jobs that holds for a queue: replaces nothing but what the queue's policy fills in.
 */
static void push_entries(naq_vm *vm, naq_slice queue) {
    lua_State *L = vm->L;
    if (vm->refs.on_queues != LUA_REFNIL) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm->refs.on_queues);
        lua_pushlstring(L, queue.at, queue.len);
        lua_rawget(L, -2);
        lua_remove(L, -2);
        if (lua_istable(L, -1)) return;
        lua_pop(L, 1);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->refs.entries);
}

/* Ceilings: of the payload, else of the entry on top of the stack (which knows those of its job,
 * its queue and the worker). */

static bool given_number(naq_slice json, double *out) {
    if (json.at == NULL || (*json.at != '-' && (*json.at < '0' || *json.at > '9'))) return false;
    *out = naq_json_double(json);
    return *out >= 0;
}

/* A number of bytes, or a string like "64MB". */
static bool given_amount(naq_slice json, size_t *out) {
    double n;
    if (json.len > 2 && *json.at == '"') return naq_amount_parse(json.at + 1, json.len - 2, out);
    if (!given_number(json, &n) || n >= 9e18) return false;
    *out = (size_t)n;
    return true;
}

static void read_ceilings(lua_State *L, naq_ceilings *c) {
    double *const seconds[] = {&c->timeout, &c->cpu};
    for (int i = 0; i < 2; i++) {
        lua_rawgeti(L, -1, i + 1);
        *seconds[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
    }
    lua_rawgeti(L, -1, 3);
    c->memory = (size_t)lua_tonumber(L, -1);
    lua_rawgeti(L, -2, 4);
    double instructions = lua_tonumber(L, -1);
    c->instructions = instructions < 9e18 ? (int64_t)instructions : 0;
    lua_pop(L, 2);
}

static void follow_payload(const naq_call *call, naq_ceilings *c) {
    const naq_envelope_limits *given = &call->limits;
    const char *ignored = NULL;
    double n;
    if (given_number(given->timeout, &n))
        c->timeout = n;
    else if (given->timeout.at != NULL)
        ignored = "timeout";
    if (given_number(given->cpu_limit, &n))
        c->cpu = n;
    else if (given->cpu_limit.at != NULL)
        ignored = "cpu_limit";
    if (given->memory_limit.at != NULL && !given_amount(given->memory_limit, &c->memory))
        ignored = "memory_limit";
    if (given_number(given->max_instructions, &n) && n < 9e18)
        c->instructions = (int64_t)n;
    else if (given->max_instructions.at != NULL)
        ignored = "max_instructions";
    if (ignored != NULL)
        naq_log(NAQ_WARNING, "job %.*s: its payload is not followed in part: %s is not a limit",
                (int)call->id.len, call->id.at, ignored);
}

static void set_ceilings(naq_vm *vm, const naq_call *call) {
    lua_State *L = vm->L;
    naq_ceilings c = {0};
    lua_rawgeti(L, 2, ENTRY_CEILINGS);
    bool any = lua_istable(L, -1);
    if (any) read_ceilings(L, &c);
    lua_pop(L, 1);
    if (call->limits.any) follow_payload(call, &c);
    if (any || call->limits.any) naq_limits_set(&vm->limits, L, &c);
}

/* A payload can ask for the sandbox, never lift it. */
static void enter_sandbox(naq_vm *vm, const naq_call *call) {
    lua_State *L = vm->L;
    lua_rawgeti(L, 2, ENTRY_SANDBOXED);
    bool there = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (there) return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->refs.sandboxed);
    lua_pushlstring(L, call->name.at, call->name.len);
    lua_pushlstring(L, call->queue.at, call->queue.len);
    lua_call(L, 2, 1);
    lua_replace(L, 2);
}

static bool wants_sandbox(const naq_call *call) {
    naq_slice s = call->limits.sandbox;
    return s.len == 4 && memcmp(s.at, "true", 4) == 0;
}

/* Protected, so that running out of memory while arguments are built is the job's failure too.
 * Stack: vm, call. Returns with what filled. */
static int call_protected(lua_State *L) {
    naq_vm *vm = lua_touserdata(L, 1);
    const naq_call *call = lua_touserdata(L, 2);
    lua_settop(L, 0);
    push_entries(vm, call->queue);
    lua_pushlstring(L, call->name.at, call->name.len);
    lua_rawget(L, 1);
    if (!lua_istable(L, 2)) {
        fail(vm, "UNKNOWN_JOB", "");
        vm->what.did = NAQ_DID_NOT_KNOW;
        vm->what.reason = "unknown_job";
        naq_buf_clear(&vm->what.message);
        naq_buf_printf(&vm->what.message, "no job \"%.*s\" is known to this worker",
                       (int)call->name.len, call->name.at);
        naq_buf_putc(&vm->what.message, '\0');
        return 0;
    }
    if (call->limits.any && wants_sandbox(call)) enter_sandbox(vm, call);
    set_ceilings(vm, call);
    lua_rawgeti(L, 2, ENTRY_RESULT_TTL);
    if (lua_isnumber(L, -1)) vm->what.result_ttl = lua_tonumber(L, -1);
    lua_pop(L, 1);

    lua_pushlightuserdata(L, vm);
    lua_pushcclosure(L, keep_traceback, 1); /* 3 */
    lua_rawgeti(L, 2, ENTRY_FUNCTION);      /* 4 */
    naq_err err;
    if (call->args.at == NULL) {
        lua_pushnil(L);
    } else if (vm->face->decode(L, call->args.at, call->args.len, &err) != NAQ_OK) {
        fail(vm, "UNDECODABLE", err.message);
        vm->what.did = NAQ_DID_UNDECODABLE;
        return 0;
    }
    lua_rawgeti(L, 2, ENTRY_WANTS_JOB);
    bool wants_job = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (wants_job) push_attempt(vm, call);
    naq_limits_own(&vm->limits); /* arguments and name are Lua's by now */
    if (lua_pcall(L, wants_job ? 2 : 1, 3, 3) != LUA_OK) {
        vm->what.did = NAQ_DID_FAIL;
        describe_error(vm);
    } else {
        read_results(vm, 4, call->max_result);
    }
    forget_globals(L, 2);
    return 0;
}

/* What became of a job that was stopped does not depend on what it made of that. */
static void tell_stop(naq_vm *vm, naq_stop why, const naq_ceilings *ceilings) {
    char text[160];
    naq_did_what *what = &vm->what;
    naq_stop_describe(why, ceilings, text, sizeof text);
    fail(vm, naq_stop_code(why), text);
    if (why == NAQ_STOP_CANCELLED) what->did = NAQ_DID_CANCEL;
    if (why == NAQ_STOP_CUT_OFF) what->did = NAQ_DID_CUT_OFF;
    what->reason = naq_stop_reason(why);
    naq_buf_clear(&what->result);
    set_text(&what->traceback, vm->limits.where, strlen(vm->limits.where));
}

/* Leaves the limits. A state in which one struck is closed here, still watched: it may hold
 * finalizers that do not end. */
static void end_call(naq_vm *vm) {
    naq_limits *limits = &vm->limits;
    naq_ceilings ceilings = limits->ceilings;
    naq_stop why = naq_limits_leave(limits, vm->L);
    if (why == NAQ_STOP_NONE) return;
    if (why != NAQ_STOP_STUCK) tell_stop(vm, why, &ceilings);
    naq_vm_drop(vm);
    if (naq_limits_finish(limits) == NAQ_STOP_STUCK) vm->what.did = NAQ_DID_LOSE;
}

const naq_did_what *naq_vm_call(naq_vm *vm, const naq_call *call) {
    lua_State *L = vm->L;
    naq_did_what *what = &vm->what;
    what->did = NAQ_DID_RETURN;
    what->reason = "failed";
    what->seconds = 0;
    what->result_ttl = -1;
    naq_buf_clear(&what->result);
    naq_buf_clear(&what->message);
    naq_buf_clear(&what->code);
    naq_buf_clear(&what->traceback);
    if (!naq_limits_enter(&vm->limits, L)) { /* stopped before it began */
        tell_stop(vm, naq_limits_finish(&vm->limits), &(naq_ceilings){0});
        return what;
    }
    lua_pushcfunction(L, call_protected);
    lua_pushlightuserdata(L, vm);
    lua_pushlightuserdata(L, (void *)call);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        what->did = NAQ_DID_FAIL;
        describe_error(vm);
    }
    lua_settop(L, 0);
    /* A job that stopped the collector would starve those after it. */
    if (!lua_gc(L, LUA_GCISRUNNING)) lua_gc(L, LUA_GCRESTART);
    if (what->result.failed || what->message.failed) fail(vm, "JOB_ERROR", "out of memory");
    end_call(vm);
    return what;
}

naq_status naq_vm_decide(naq_vm *vm, naq_slice name, naq_slice queue, const char *payload,
                         size_t len, int64_t attempt, const char *message, const char *code,
                         naq_decision *out, naq_err *err) {
    naq_status status = naq_vm_ready(vm, err);
    if (status != NAQ_OK) return status;
    lua_State *L = vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->refs.decide);
    lua_pushlstring(L, name.at, name.len);
    lua_pushlstring(L, queue.at, queue.len);
    lua_pushlstring(L, payload, len);
    lua_pushinteger(L, attempt);
    lua_pushstring(L, message);
    lua_pushstring(L, code);
    if (lua_pcall(L, 6, 2, 0) != LUA_OK) {
        const char *why = lua_tostring(L, -1);
        status = naq_fail(err, NAQ_INVALID, "retry rules of job %.*s: %s", (int)name.len, name.at,
                          why != NULL ? why : "error");
    } else {
        out->retry = !lua_isnil(L, -2);
        out->delay = lua_tonumber(L, -2);
        double most = lua_tonumber(L, -1);
        out->max_retries = most < 9e15 ? (int64_t)most : (int64_t)9e15;
    }
    lua_settop(L, 0);
    return status;
}

void naq_vm_jobs(naq_vm *vm, char *out, size_t size) {
    lua_State *L = vm->L;
    size_t len = 0;
    out[0] = '\0';
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->refs.entries);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t n = strlen(name);
        if (len + n + 6 > size) {
            memcpy(out + len, ", ...", 6);
            lua_pop(L, 2);
            break;
        }
        if (len > 0) {
            memcpy(out + len, ", ", 2);
            len += 2;
        }
        memcpy(out + len, name, n + 1);
        len += n;
    }
    lua_settop(L, 0);
}
