/* vm_open.c -- a Lua state for jobs: made of the worker's code, replaced when that changes, closed.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "base/log.h"
#include "run/vm_state.h"

/* Of Lua's collector, in percent, of which it keeps quarters. While a state is opened, what reading
 * and compiling leave behind is collected nearly at once: the heap of a thread never gets smaller
 * again. */
enum { FRUGAL_PAUSE = 112, USUAL_PAUSE = 200 };

char naq_snooze_mark, naq_discard_mark;

static void set_package_path(lua_State *L, const char *field, const char *path) {
    if (path == NULL) return;
    lua_getglobal(L, "package");
    lua_pushstring(L, path);
    lua_setfield(L, -2, field);
    lua_pop(L, 1);
}

/* job:cancelled(), told by whoever cancels (naq_crew_interrupt). */
static int cancelled(lua_State *L) {
    naq_limits *limits = lua_touserdata(L, lua_upvalueindex(1));
    lua_pushboolean(L, naq_limits_asked(limits));
    return 1;
}

typedef struct naq_opening {
    naq_vm *vm;
    naq_code *code; /* NULL: read from disk */
    bool collect;
    naq_buf policies;
} naq_opening;

/* Protected: naq.core preloaded, the runner required and opened. Upvalues would not survive the
 * jump out of an error, so all state hangs off the vm. */
static int open_runner(lua_State *L) {
    const naq_opening *opening = lua_touserdata(L, 1);
    naq_vm *vm = opening->vm;
    const naq_vm_options *o = &vm->o;
    naq_limits_attach(&vm->limits, L);
    set_package_path(L, "path", o->path);
    set_package_path(L, "cpath", o->cpath);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, o->face->open_core);
    lua_setfield(L, -2, "naq.core");
    lua_pop(L, 1);
    lua_getglobal(L, "require");
    lua_pushstring(L, "naq.runner");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "open");
    lua_pushstring(L, o->runner);
    lua_pushlightuserdata(L, &naq_snooze_mark);
    lua_pushlightuserdata(L, &naq_discard_mark);
    lua_pushlightuserdata(L, &vm->limits);
    lua_pushcclosure(L, cancelled, 1);
    if (opening->code != NULL)
        lua_pushlstring(L, opening->code->text, opening->code->len);
    else
        lua_pushboolean(L, opening->collect);
    lua_pushlstring(L, opening->policies.data != NULL ? opening->policies.data : "",
                    opening->policies.len);
    lua_call(L, 6, 6);
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    if (opening->collect && text != NULL && !naq_codebase_leave(o->code, text, len))
        return luaL_error(L, "out of memory");
    lua_pop(L, 1);
    vm->refs.sandboxed = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->refs.on_queues = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->refs.attempt_class = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->refs.decide = luaL_ref(L, LUA_REGISTRYINDEX);
    vm->refs.entries = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

naq_vm *naq_vm_new(const naq_vm_options *o) {
    naq_vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL) return NULL;
    vm->o = *o;
    vm->face = o->face;
    if (naq_limits_open(&vm->limits)) return vm;
    free(vm);
    return NULL;
}

void naq_vm_drop(naq_vm *vm) {
    if (vm->L != NULL) lua_close(vm->L);
    vm->L = NULL;
}

/* Lua's own pace again, unless a job file has chosen another. */
static void spend_freely(lua_State *L) {
    int pause = lua_gc(L, LUA_GCSETPAUSE, USUAL_PAUSE);
    if (pause != FRUGAL_PAUSE) (void)lua_gc(L, LUA_GCSETPAUSE, pause);
}

static naq_status open_state(naq_vm *vm, naq_err *err) {
    naq_opening opening = {.vm = vm};
    vm->version = naq_codebase_version(vm->o.code);
    vm->L = luaL_newstate();
    if (vm->L == NULL) return naq_fail(err, NAQ_CONFIGURATION, "Lua state: out of memory");
    (void)lua_gc(vm->L, LUA_GCSETPAUSE, FRUGAL_PAUSE);
    luaL_openlibs(vm->L);
    opening.code = naq_codebase_acquire(vm->o.code, &opening.collect);
    if (vm->o.policies != NULL) vm->o.policies(vm->o.policies_ctx, &opening.policies);
    lua_pushcfunction(vm->L, open_runner);
    lua_pushlightuserdata(vm->L, &opening);
    bool opened = lua_pcall(vm->L, 1, 0, 0) == LUA_OK;
    naq_code_release(opening.code);
    naq_buf_free(&opening.policies);
    spend_freely(vm->L);
    if (opened) return NAQ_OK;
    const char *message = lua_tostring(vm->L, -1);
    naq_fail(err, NAQ_CONFIGURATION, "job files: %s", message != NULL ? message : "error");
    naq_vm_drop(vm);
    return err->status;
}

naq_status naq_vm_ready(naq_vm *vm, naq_err *err) {
    return vm->L != NULL ? NAQ_OK : open_state(vm, err);
}

bool naq_vm_behind(const naq_vm *vm) {
    return vm->L != NULL && vm->version != naq_codebase_version(vm->o.code);
}

/* Its finalizers are code of jobs: watched, as after a limit. */
static naq_stop close_watched(naq_vm *vm, lua_State *L) {
    naq_limits *limits = &vm->limits;
    bool ours = naq_limits_enter(limits, L) && naq_limits_interrupt(limits, NAQ_STOP_CUT_OFF);
    (void)naq_limits_leave(limits, L);
    lua_close(L);
    naq_stop why = naq_limits_finish(limits);
    return ours && why == NAQ_STOP_CUT_OFF ? NAQ_STOP_NONE : why;
}

naq_stop naq_vm_renew(naq_vm *vm) {
    naq_err err;
    lua_State *before = vm->L;
    naq_refs refs = vm->refs;
    /* Both states count into the same limits: what is used is that of the one that stays. */
    size_t used = vm->limits.used, baseline = vm->limits.baseline;
    naq_stop why = NAQ_STOP_NONE;
    if (open_state(vm, &err) == NAQ_OK) {
        used = vm->limits.used;
        baseline = 0;
        why = close_watched(vm, before);
    } else {
        naq_log(NAQ_ERROR, "a thread keeps its old job files: %s", err.message);
        vm->L = before;
        vm->refs = refs;
    }
    vm->limits.used = used;
    vm->limits.baseline = baseline;
    return why;
}

naq_limits *naq_vm_limits(naq_vm *vm) {
    return &vm->limits;
}

void naq_vm_close(naq_vm *vm) {
    if (vm == NULL) return;
    naq_vm_drop(vm);
    naq_limits_close(&vm->limits);
    naq_buf_free(&vm->what.result);
    naq_buf_free(&vm->what.message);
    naq_buf_free(&vm->what.code);
    naq_buf_free(&vm->what.traceback);
    free(vm);
}
