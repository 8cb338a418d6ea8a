/* code.h -- the Lua sources that a worker's states are made of: one snapshot at a time.
 *
 * The first state reads the job files from disk and leaves their texts here; every later one, as in
 * place of a state that a limit cost, is made of the same texts, whatever happens on disk
 * meanwhile. The states that a worker starts with read the files at the same time, each for itself:
 * replaced in that moment, they may differ until a reload. (To compare what each has read costs 250
 * kB a thread, to wait for the first one the time of a start.) A reload replaces the snapshot once
 * a new one was proved (reload.h). Any thread. */
#ifndef NAQ_RUN_CODE_H
#define NAQ_RUN_CODE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Immutable, counted. */
typedef struct naq_code {
    atomic_int refs;
    size_t len;
    char text[]; /* lua/naq/sources.lua writes and reads it */
} naq_code;

void naq_code_release(naq_code *code); /* NULL is fine */

typedef struct naq_codebase {
    pthread_mutex_t mu; /* guards now, collecting */
    naq_code *now;      /* NULL: nothing was read yet */
    bool collecting;    /* somebody reads the files and is to leave their texts here */
    atomic_uint version;
} naq_codebase;

void naq_codebase_init(naq_codebase *c);
void naq_codebase_close(naq_codebase *c);

/* The snapshot to make a state of, with a reference; NULL: read the files. *collect: and leave the
 * texts here (one caller is told so). */
naq_code *naq_codebase_acquire(naq_codebase *c, bool *collect);
/* The texts that were collected; false: out of memory. */
bool naq_codebase_leave(naq_codebase *c, const char *text, size_t len);
/* [takes code] From now on states are made of this; those that exist are behind. */
void naq_codebase_replace(naq_codebase *c, naq_code *code);

/* States that exist are behind, though their sources are the same. */
void naq_codebase_touch(naq_codebase *c);

/* Changes when the snapshot is replaced. Cheap. */
static inline unsigned naq_codebase_version(naq_codebase *c) {
    return atomic_load_explicit(&c->version, memory_order_acquire);
}

#endif
