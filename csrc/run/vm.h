/* vm.h -- one Lua state, one thread: job files loaded, jobs called, nothing left behind.
 *
 * A state belongs to the thread that opened it; values cross as JSON bytes. The Lua half is
 * lua/naq/runner.lua: it loads the files and decides about retries; the call itself is made from
 * here, because it happens once per job. */
#ifndef NAQ_RUN_VM_H
#define NAQ_RUN_VM_H

#include <lua.h>
#include <stdbool.h>

#include "base/buf.h"
#include "nats/envelope.h"
#include "run/code.h"
#include "run/limits.h"

/* What the layer above hands down, so that this one needs not know it: the opener of naq.core and
 * the codec. */
typedef struct naq_vm_face {
    lua_CFunction open_core;
    naq_status (*encode)(lua_State *L, int index, naq_buf *out, const char *root, size_t max,
                         naq_err *err);
    naq_status (*decode)(lua_State *L, const char *text, size_t len, naq_err *err);
} naq_vm_face;

/* All borrowed: must stay until naq_vm_close(). */
typedef struct naq_vm_options {
    const naq_vm_face *face;
    const char *path, *cpath; /* package.path and package.cpath for the new state */
    const char *runner;       /* JSON: what runner.open() is told (files, dirs, connect, prefix) */
    naq_codebase *code;       /* what its states are made of */
    /* Appends JSON by queue: what is set in NATS for its jobs, when a state is made. NULL: nothing
     */
    void (*policies)(void *ctx, naq_buf *out);
    void *policies_ctx;
} naq_vm_options;

typedef struct naq_vm naq_vm;

/* The calling thread's, without a state yet. NULL: no memory, or no signal to stop jobs with. */
naq_vm *naq_vm_new(const naq_vm_options *o);
/* [reads files] A state, if there is none: the first one, or one after a limit struck, which costs
 * the state. NAQ_CONFIGURATION with file and line when a job file is broken. */
naq_status naq_vm_ready(naq_vm *vm, naq_err *err);
/* Whether its state is made of code that was replaced since. */
bool naq_vm_behind(const naq_vm *vm);
/* A state of the newest code, then the end of the old one; should that fail, the old one stays and
 * the log says so. A job is taken (naq_limits_begin) and does not run yet. NAQ_STOP_NONE: it can
 * begin, anew; NAQ_STOP_STUCK: a finalizer in the old state does not end, and the thread was given
 * up; else the job was stopped meanwhile. */
naq_stop naq_vm_renew(naq_vm *vm);
void naq_vm_close(naq_vm *vm);

/* Stops and ceilings of its jobs. */
naq_limits *naq_vm_limits(naq_vm *vm);

typedef enum naq_did {
    NAQ_DID_RETURN,      /* result holds the value as JSON; empty when it returned nothing */
    NAQ_DID_FAIL,        /* message, code, traceback */
    NAQ_DID_SNOOZE,      /* seconds */
    NAQ_DID_DISCARD,     /* message: why */
    NAQ_DID_UNDECODABLE, /* its arguments are JSON that no Lua value holds exactly: message */
    NAQ_DID_NOT_KNOW,    /* no job of that name here: message, code UNKNOWN_JOB */
    NAQ_DID_CANCEL,      /* it was stopped because somebody cancelled it */
    NAQ_DID_CUT_OFF,     /* it was stopped because the worker ends */
    NAQ_DID_LOSE         /* it was given up as stuck meanwhile: the attempt is another thread's */
} naq_did;

/* What a job is told about itself. */
typedef struct naq_call {
    naq_slice name;
    naq_slice args; /* JSON; at NULL: nil */
    naq_slice id, queue;
    int64_t attempt, enqueued_us;
    int64_t max_retries;        /* -1: the job's own */
    naq_slice trace;            /* at NULL: none */
    naq_envelope_limits limits; /* of the payload */
    size_t max_result;          /* bytes */
} naq_call;

/* Lives in the vm; valid until its next call. */
typedef struct naq_did_what {
    naq_did did;
    const char *reason; /* of the dead letter, should it come to that */
    naq_buf result;
    naq_buf message, code, traceback;
    double seconds;
    double result_ttl; /* the job's own, -1: not given */
} naq_did_what;

/* Run one job in a state that is ready. Never fails: whatever goes wrong is what the job did. */
const naq_did_what *naq_vm_call(naq_vm *vm, const naq_call *call);

typedef struct naq_decision {
    bool retry;
    double delay;        /* seconds until the next attempt */
    int64_t max_retries; /* as resolved: payload, job, queue, default */
} naq_decision;

/* What its retry rules say about a failed attempt: payload over job over queue over default. */
naq_status naq_vm_decide(naq_vm *vm, naq_slice name, naq_slice queue, const char *payload,
                         size_t len, int64_t attempt, const char *message, const char *code,
                         naq_decision *out, naq_err *err);

/* Names of the jobs it knows, for logs: "resize, thumbs" cut to size. */
void naq_vm_jobs(naq_vm *vm, char *out, size_t size);

#endif
