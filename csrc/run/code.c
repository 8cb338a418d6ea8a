/* code.c -- a counted text, and who has the current one. */
#include "run/code.h"

#include <stdlib.h>
#include <string.h>

void naq_code_release(naq_code *code) {
    if (code != NULL && atomic_fetch_sub(&code->refs, 1) == 1) free(code);
}

void naq_codebase_init(naq_codebase *c) {
    memset(c, 0, sizeof *c);
    pthread_mutex_init(&c->mu, NULL);
}

void naq_codebase_close(naq_codebase *c) {
    naq_code_release(c->now);
    pthread_mutex_destroy(&c->mu);
}

naq_code *naq_codebase_acquire(naq_codebase *c, bool *collect) {
    pthread_mutex_lock(&c->mu);
    naq_code *code = c->now;
    if (code != NULL) atomic_fetch_add(&code->refs, 1);
    *collect = code == NULL && !c->collecting;
    if (*collect) c->collecting = true;
    pthread_mutex_unlock(&c->mu);
    return code;
}

bool naq_codebase_leave(naq_codebase *c, const char *text, size_t len) {
    naq_code *code = malloc(sizeof *code + len);
    if (code == NULL) return false;
    atomic_init(&code->refs, 1);
    code->len = len;
    memcpy(code->text, text, len);
    pthread_mutex_lock(&c->mu);
    naq_code *before = c->now;
    c->now = code;
    pthread_mutex_unlock(&c->mu);
    naq_code_release(before);
    return true;
}

void naq_codebase_replace(naq_codebase *c, naq_code *code) {
    pthread_mutex_lock(&c->mu);
    naq_code *before = c->now;
    c->now = code;
    atomic_fetch_add(&c->version, 1);
    pthread_mutex_unlock(&c->mu);
    naq_code_release(before);
}

void naq_codebase_touch(naq_codebase *c) {
    atomic_fetch_add_explicit(&c->version, 1, memory_order_release);
}
