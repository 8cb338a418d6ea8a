/* pool.c -- connections of this process, shared by everything with the same servers and
 * credentials.
 *
 * Owns the table and each entry's count. Does not own reconnecting; libnats does. A connection is
 * opened and closed outside the lock: both wait for libnats' threads. */
#include "nats/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef enum entry_state { OPENING, OPEN, FAILED } entry_state;

typedef struct entry {
    struct entry *next;
    naq_conn_settings *settings;
    naq_conn *conn; /* NULL until OPEN */
    entry_state state;
    naq_err why; /* FAILED: what all who waited are told */
    int users;   /* handles, and threads waiting for the opening */
} entry;

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* guards entries and all in them */
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static entry *entries;

/* A connection that libnats has given up stays with those who hold it, and is offered to nobody
 * else. */
static entry *find_entry_locked(const char *key) {
    for (entry *e = entries; e != NULL; e = e->next)
        if (e->state != FAILED && strcmp(naq_conn_settings_key_peek(e->settings), key) == 0 &&
            !(e->state == OPEN && naq_conn_dead(e->conn)))
            return e;
    return NULL;
}

/* One user less; the last one gets the entry, unlinked, to dispose of outside the lock. */
static entry *leave_locked(entry *e) {
    if (--e->users > 0) return NULL;
    entry **at = &entries;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    return e;
}

static void dispose(entry *e) {
    if (e == NULL) return;
    naq_conn_drop(e->conn);
    naq_conn_settings_free(e->settings);
    free(e);
}

static naq_status wait_until_open(entry *e, naq_conn **out, naq_err *err) {
    while (e->state == OPENING)
        pthread_cond_wait(&opened, &mu);
    if (e->state == OPEN) {
        *out = e->conn;
        return NAQ_OK;
    }
    *err = e->why;
    return err->status;
}

naq_status naq_pool_acquire(naq_conn **out, const naq_conn_options *o, naq_err *err) {
    /* Before the lock: a fork may have copied it locked. */
    naq_status status = naq_conn_fork_check(err);
    if (status != NAQ_OK) return status;
    naq_conn_settings *settings = naq_conn_settings_new(o);
    entry *fresh = calloc(1, sizeof *fresh);
    if (settings == NULL || fresh == NULL) {
        naq_conn_settings_free(settings);
        free(fresh);
        return naq_fail(err, NAQ_CONNECTION, "opening a connection: out of memory");
    }

    pthread_mutex_lock(&mu);
    entry *e = find_entry_locked(naq_conn_settings_key_peek(settings));
    if (e != NULL) {
        e->users++;
        status = wait_until_open(e, out, err);
        entry *last = status == NAQ_OK ? NULL : leave_locked(e);
        pthread_mutex_unlock(&mu);
        dispose(last);
        naq_conn_settings_free(settings);
        free(fresh);
        return status;
    }
    *fresh = (entry){.next = entries, .settings = settings, .state = OPENING, .users = 1};
    entries = fresh;
    pthread_mutex_unlock(&mu);

    naq_conn *conn = NULL;
    status = naq_conn_open(&conn, naq_conn_settings_peek(settings), err);

    pthread_mutex_lock(&mu);
    fresh->conn = conn;
    fresh->state = status == NAQ_OK ? OPEN : FAILED;
    if (status != NAQ_OK) fresh->why = *err;
    pthread_cond_broadcast(&opened);
    entry *last = status == NAQ_OK ? NULL : leave_locked(fresh);
    pthread_mutex_unlock(&mu);
    dispose(last);
    if (status == NAQ_OK) *out = conn;
    return status;
}

void naq_pool_retain(naq_conn *c) {
    pthread_mutex_lock(&mu);
    for (entry *e = entries; e != NULL; e = e->next)
        if (e->conn == c) e->users++;
    pthread_mutex_unlock(&mu);
}

void naq_pool_release(naq_conn *c) {
    naq_err ignored;
    if (c == NULL || naq_pool_check(c, &ignored) != NAQ_OK) return; /* the parent's, not ours */
    pthread_mutex_lock(&mu);
    entry *e = entries;
    while (e != NULL && e->conn != c)
        e = e->next;
    entry *last = e != NULL ? leave_locked(e) : NULL;
    pthread_mutex_unlock(&mu);
    dispose(last);
}

naq_status naq_pool_check(const naq_conn *c, naq_err *err) {
    return naq_conn_check(c, err);
}
