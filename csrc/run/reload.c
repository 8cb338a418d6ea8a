/* reload.c -- a trial: a whole state made of the files as they are now, closed again when it works.
 *
 * A trial is shared by its thread and the I/O thread, and owns all it needs: the worker may be gone
 * before it ends. */
#include "run/reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

enum { JOBS_TEXT = 200 };

struct naq_trial {
    naq_vm_options vm;
    char *strings[3]; /* vm's */
    naq_codebase code;

    pthread_mutex_t mu; /* guards all below */
    int refs;
    naq_loop *loop; /* NULL: nobody is interested any more */
    bool ended;
    naq_status status;
    naq_err err;
    char jobs[JOBS_TEXT];
};

static void release(naq_trial *t) {
    pthread_mutex_lock(&t->mu);
    bool last = --t->refs == 0;
    pthread_mutex_unlock(&t->mu);
    if (!last) return;
    naq_codebase_close(&t->code);
    pthread_mutex_destroy(&t->mu);
    for (int i = 0; i < 3; i++)
        free(t->strings[i]);
    free(t);
}

static void *prove(void *arg) {
    naq_trial *t = arg;
    naq_err err;
    char jobs[JOBS_TEXT] = "";
    naq_vm *vm = naq_vm_new(&t->vm);
    naq_status status =
        vm != NULL ? naq_vm_ready(vm, &err) : naq_fail(&err, NAQ_CONFIGURATION, "out of memory");
    if (status == NAQ_OK) naq_vm_jobs(vm, jobs, sizeof jobs);
    naq_vm_close(vm);
    pthread_mutex_lock(&t->mu);
    t->ended = true;
    t->status = status;
    if (status != NAQ_OK) t->err = err;
    memcpy(t->jobs, jobs, sizeof jobs);
    if (t->loop != NULL) naq_loop_wake(t->loop);
    pthread_mutex_unlock(&t->mu);
    release(t);
    return NULL;
}

static bool copy_strings(naq_trial *t) {
    const char **const fields[] = {&t->vm.path, &t->vm.cpath, &t->vm.runner};
    for (int i = 0; i < 3; i++) {
        if (*fields[i] == NULL) continue;
        *fields[i] = t->strings[i] = strdup(*fields[i]);
        if (*fields[i] == NULL) return false;
    }
    return true;
}

static naq_trial *start(const naq_reload *r) {
    naq_trial *t = calloc(1, sizeof *t);
    if (t == NULL) return NULL;
    t->vm = *r->vm;
    t->vm.code = &t->code;
    t->vm.policies = NULL; /* the worker's, which may be gone; they prove nothing about files */
    t->loop = r->loop;
    t->refs = 1;
    pthread_mutex_init(&t->mu, NULL);
    naq_codebase_init(&t->code);
    if (copy_strings(t)) {
        t->refs = 2;
        if (naq_thread_apart(prove, t)) return t;
        t->refs = 1;
    }
    release(t);
    return NULL;
}

void naq_reload_want(naq_reload *r) {
    r->wanted = true;
}

static naq_reloaded harvest(naq_trial *t, naq_code **code, char *jobs, size_t size, naq_err *err) {
    bool collect;
    pthread_mutex_lock(&t->mu);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->mu);
    if (!ended) return NAQ_RELOAD_NOTHING;
    if (t->status != NAQ_OK) {
        *err = t->err;
        return NAQ_RELOAD_BROKEN;
    }
    *code = naq_codebase_acquire(&t->code, &collect);
    (void)snprintf(jobs, size, "%s", t->jobs);
    return NAQ_RELOAD_PROVED;
}

naq_reloaded naq_reload_turn(naq_reload *r, naq_code **code, char *jobs, size_t size,
                             naq_err *err) {
    if (r->trial != NULL) {
        naq_reloaded what = harvest(r->trial, code, jobs, size, err);
        if (what == NAQ_RELOAD_NOTHING) return what;
        release(r->trial);
        r->trial = NULL;
        if (r->wanted) naq_loop_wake(r->loop); /* asked for again meanwhile */
        return what;
    }
    if (!r->wanted) return NAQ_RELOAD_NOTHING;
    r->wanted = false;
    r->trial = start(r);
    if (r->trial != NULL) return NAQ_RELOAD_NOTHING;
    (void)naq_fail(err, NAQ_CONFIGURATION, "no memory, or no thread, to load them");
    return NAQ_RELOAD_BROKEN;
}

void naq_reload_close(naq_reload *r) {
    naq_trial *t = r->trial;
    r->trial = NULL;
    if (t == NULL) return;
    pthread_mutex_lock(&t->mu);
    t->loop = NULL;
    pthread_mutex_unlock(&t->mu);
    release(t);
}
