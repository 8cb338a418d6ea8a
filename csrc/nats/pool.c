/* pool.c -- connections of this process, shared by everything with the same servers and
 * credentials. pool.h says who gets which.
 *
 * Owns the table, each entry's count and the numbers. Does not own reconnecting; libnats does. A
 * connection is opened and closed outside the lock: both wait for libnats' threads. */
#include "nats/pool.h"

#include <nats/nats.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "nats/url.h"

enum { POOL_SIZE = 4, KEYS_KEPT = 64, CLOSE_FLUSH_MS = 1000, APART_MS = 1000, EXIT_MS = 250 };

typedef enum entry_state { OPENING, OPEN, FAILED } entry_state;

typedef struct entry {
    struct entry *next;  /* of the same key */
    struct entry *aside; /* in the list of those to dispose of, or to close */
    struct pool_key *key;
    uint64_t id; /* for the memory of threads */
    naq_conn_settings *settings;
    naq_conn *conn; /* NULL until OPEN */
    entry_state state;
    naq_err why;        /* FAILED: what all who waited are told */
    int users;          /* handles, and threads waiting for the opening */
    bool retired;       /* offered to nobody any more; gone with its last user */
    bool kept;          /* opened or taken with `kept`, and in use since */
    const void *thread; /* that took it when it was idle */
} entry;

typedef struct pool_key {
    struct pool_key *next;
    char *text; /* secret */
    entry *entries;
    naq_pool_stats sum; /* of entries that are gone, where it is about connections */
} pool_key;

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER; /* guards all below, and all in them */
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static pool_key *keys;
static size_t n_keys;
static naq_pool_stats bygone; /* of keys that were forgotten; and the last opening of all */
static uint64_t last_id;
static bool closes_at_exit;

/* The connections that this thread used last. Its address stands for the thread. */
enum { MINE = 4 };
static _Thread_local struct {
    uint64_t ids[MINE];
    unsigned next;
} mine;

static bool is_mine(const entry *e) {
    for (int i = 0; i < MINE; i++)
        if (mine.ids[i] == e->id) return true;
    return false;
}

static void remember(const entry *e) {
    if (!is_mine(e)) mine.ids[mine.next++ % MINE] = e->id;
}

/* ---- entries come and go ---- */

static void add_sums(naq_pool_stats *to, const naq_pool_stats *from) {
    to->opened += from->opened;
    to->reused += from->reused;
    to->failed += from->failed;
    to->reconnects += from->reconnects;
    to->connect_us += from->connect_us;
}

static entry *unlink_locked(entry *e) {
    entry **at = &e->key->entries;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    e->aside = NULL;
    if (e->conn != NULL) e->key->sum.reconnects += (uint64_t)naq_conn_reconnects(e->conn);
    return e;
}

/* One user less. When it was the last of one that nobody shall get again, that is unlinked, for the
 * caller to dispose of outside the lock. */
static entry *leave_locked(entry *e) {
    if (--e->users > 0) return NULL;
    e->kept = false;
    if (e->conn != NULL) naq_conn_quiet(e->conn, true);
    return e->retired || e->state == FAILED ? unlink_locked(e) : NULL;
}

static void dispose(entry *list) {
    while (list != NULL) {
        entry *e = list;
        list = e->aside;
        if (e->conn != NULL)
            naq_log(NAQ_DEBUG, "nats: closing a connection to %s", naq_conn_servers_peek(e->conn));
        naq_conn_drop(e->conn);
        naq_conn_settings_free(e->settings);
        free(e);
    }
}

static void key_free(pool_key *k) {
    if (k != NULL) naq_secret_free(k->text);
    free(k);
}

/* The oldest key without a connection stands last. */
static pool_key *forget_one_locked(void) {
    pool_key **found = NULL;
    for (pool_key **at = &keys; *at != NULL; at = &(*at)->next)
        if ((*at)->entries == NULL) found = at;
    if (found == NULL) return NULL;
    pool_key *k = *found;
    *found = k->next;
    n_keys--;
    add_sums(&bygone, &k->sum);
    return k;
}

static pool_key *find_key_locked(const char *text) {
    for (pool_key *k = keys; k != NULL; k = k->next)
        if (strcmp(k->text, text) == 0) return k;
    return NULL;
}

/* ---- who gets which ---- */

static bool same_text(const char *a, const char *b) {
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static bool same_manner(const naq_conn_options *a, const naq_conn_options *b) {
    return same_text(a->name, b->name) && a->reconnect_wait_ms == b->reconnect_wait_ms &&
           a->max_reconnect == b->max_reconnect && a->ping_interval_ms == b->ping_interval_ms &&
           a->max_pings_out == b->max_pings_out;
}

/* Takes out what can be given to nobody: ended, or idle and without its server. */
static void sweep_locked(pool_key *k, entry **gone) {
    naq_err ignored;
    for (entry *e = k->entries, *next; e != NULL; e = next) {
        next = e->next;
        if (e->state != OPEN) continue;
        if (naq_conn_check(e->conn, &ignored) != NAQ_OK ||
            (e->users == 0 && naq_conn_lost(e->conn)))
            e->retired = true;
        if (!e->retired || e->users > 0) continue;
        unlink_locked(e)->aside = *gone;
        *gone = e;
    }
}

enum { OTHER_MANNER, BUSY, BUSY_MINE, IDLE, IDLE_MINE, HELD };

static int rank(const entry *e, const naq_conn_options *o) {
    if (!same_manner(naq_conn_settings_peek(e->settings), o)) return OTHER_MANNER;
    if (e->users == 0) return is_mine(e) ? IDLE_MINE : IDLE;
    if (e->thread == &mine) return HELD;
    return is_mine(e) ? BUSY_MINE : BUSY;
}

/* NULL: open another. */
static entry *choose_locked(pool_key *k, const naq_conn_options *o, entry **gone) {
    entry *best = NULL, *unfit = NULL;
    int best_rank = -1, n = 0;
    sweep_locked(k, gone);
    for (entry *e = k->entries; e != NULL; e = e->next) {
        if (e->retired || e->state == FAILED) continue;
        n++;
        int r = rank(e, o);
        if (r == OTHER_MANNER && e->users == 0) unfit = e;
        if (r > best_rank || (r == best_rank && e->users < best->users)) {
            best = e;
            best_rank = r;
        }
    }
    if (best_rank >= IDLE) return best;
    if (n < (o->pool_size > 0 ? o->pool_size : POOL_SIZE)) return NULL;
    if (unfit == NULL) return best;
    unlink_locked(unfit)->aside = *gone; /* makes room */
    *gone = unfit;
    return NULL;
}

/* ---- acquire ---- */

static void close_at_exit(void);

/* What the connections that there are know of their cluster. */
static char **cluster_locked(const pool_key *k) {
    for (entry *e = k->entries; e != NULL; e = e->next) {
        char **servers = e->state == OPEN ? naq_conn_cluster(e->conn) : NULL;
        if (servers != NULL) return servers;
    }
    return NULL;
}

/* With the lock held, which it lets go of meanwhile. */
static naq_status open_locked(entry *e, naq_err *err) {
    naq_pool_stats *sum = &e->key->sum; /* stays: a key with an entry is not forgotten */
    naq_conn_options o = *naq_conn_settings_peek(e->settings);
    char **further = cluster_locked(e->key);
    pthread_mutex_unlock(&mu);
    o.further = (const char *const *)further;
    naq_conn *conn = NULL;
    int64_t begun = naq_wall_us();
    naq_status status = naq_conn_open(&conn, &o, err);
    naq_conn_cluster_free(further);
    int64_t took = naq_wall_us() - begun;
    if (status == NAQ_OK)
        naq_log(NAQ_DEBUG, "nats: opened a connection to %s in %.1f ms", sum->servers,
                (double)took / 1000);
    pthread_mutex_lock(&mu);
    e->conn = conn;
    e->state = status == NAQ_OK ? OPEN : FAILED;
    if (status == NAQ_OK) {
        sum->opened++;
        sum->connect_us += took;
        sum->last_connect_us = bygone.last_connect_us = took;
        /* After libnats was opened, so that this runs before libnats' own handler. */
        if (!closes_at_exit) closes_at_exit = atexit(close_at_exit) == 0;
    } else {
        sum->failed++;
        e->why = *err;
    }
    pthread_cond_broadcast(&opened);
    return status;
}

static naq_status wait_locked(entry *e, naq_err *err) {
    while (e->state == OPENING)
        pthread_cond_wait(&opened, &mu);
    if (e->state == FAILED) {
        *err = e->why;
        return err->status;
    }
    e->key->sum.reused++;
    return NAQ_OK;
}

/* What acquiring may put into the table, made before the lock. */
typedef struct supplies {
    naq_conn_settings *settings;
    pool_key *key;
    entry *entry;
} supplies;

static void supplies_free(supplies *s) {
    naq_conn_settings_free(s->settings);
    key_free(s->key);
    free(s->entry);
}

static bool supplies_make(supplies *s, const naq_conn_options *o) {
    *s =
        (supplies){naq_conn_settings_new(o), calloc(1, sizeof(pool_key)), calloc(1, sizeof(entry))};
    if (s->settings != NULL && s->key != NULL)
        s->key->text = strdup(naq_conn_settings_key_peek(s->settings));
    if (s->entry != NULL && s->key != NULL && s->key->text != NULL) return true;
    supplies_free(s);
    return false;
}

static pool_key *key_locked(supplies *s, const naq_conn_options *o, pool_key **forgotten) {
    pool_key *k = find_key_locked(s->key->text);
    if (k != NULL) return k;
    if (n_keys >= KEYS_KEPT) *forgotten = forget_one_locked();
    k = s->key;
    s->key = NULL;
    naq_conn_servers_public(o, k->sum.servers, sizeof k->sum.servers);
    k->next = keys;
    keys = k;
    n_keys++;
    return k;
}

static entry *entry_locked(supplies *s, pool_key *k) {
    entry *e = s->entry;
    *e = (entry){.next = k->entries, .key = k, .settings = s->settings, .state = OPENING};
    e->id = ++last_id;
    k->entries = e;
    s->entry = NULL;
    s->settings = NULL;
    return e;
}

/* One try. *stale: what it found was idle, and its server just gone. */
static naq_status acquire_once(naq_conn **out, const naq_conn_options *o, bool *stale,
                               naq_err *err) {
    supplies s;
    if (!supplies_make(&s, o))
        return naq_fail(err, NAQ_CONNECTION, "opening a connection: out of memory");
    pool_key *forgotten = NULL;
    entry *gone = NULL;
    naq_status status;

    pthread_mutex_lock(&mu);
    pool_key *k = key_locked(&s, o, &forgotten);
    entry *e = choose_locked(k, o, &gone);
    bool idle = e != NULL && e->users == 0, fresh = e == NULL;
    if (fresh) e = entry_locked(&s, k);
    if (e->users++ == 0) e->thread = &mine;
    if (o->kept) e->kept = true;
    status = fresh ? open_locked(e, err) : wait_locked(e, err);
    if (status != NAQ_OK) {
        entry *last = leave_locked(e);
        if (last != NULL) {
            last->aside = gone;
            gone = last;
        }
    } else {
        remember(e);
        naq_conn_quiet(e->conn, false);
        *out = e->conn;
    }
    pthread_mutex_unlock(&mu);
    dispose(gone);
    key_free(forgotten);
    supplies_free(&s);
    *stale = idle && status == NAQ_OK && !naq_conn_up(*out);
    return status;
}

static void retire(naq_conn *c);

naq_status naq_pool_acquire(naq_conn **out, const naq_conn_options *o, naq_err *err) {
    for (;;) {
        /* Before the lock: a fork may have copied it locked. */
        naq_status status = naq_conn_fork_check(err);
        if (status != NAQ_OK) return status;
        naq_conn *c = NULL;
        bool stale = false;
        status = acquire_once(&c, o, &stale, err);
        if (!stale) {
            if (status == NAQ_OK) *out = c;
            return status;
        }
        retire(c);
        naq_pool_release(c);
    }
}

/* ---- release ---- */

static entry *find_entry_locked(const naq_conn *c) {
    for (pool_key *k = keys; k != NULL; k = k->next)
        for (entry *e = k->entries; e != NULL; e = e->next)
            if (e->conn == c) return e;
    return NULL;
}

static void retire(naq_conn *c) {
    pthread_mutex_lock(&mu);
    find_entry_locked(c)->retired = true;
    pthread_mutex_unlock(&mu);
}

void naq_pool_retain(naq_conn *c) {
    pthread_mutex_lock(&mu);
    find_entry_locked(c)->users++;
    pthread_mutex_unlock(&mu);
}

void naq_pool_release(naq_conn *c) {
    if (c == NULL || !naq_pool_ours(c)) return; /* the parent's, not ours */
    pthread_mutex_lock(&mu);
    entry *last = leave_locked(find_entry_locked(c));
    pthread_mutex_unlock(&mu);
    dispose(last);
}

naq_status naq_pool_check(const naq_conn *c, naq_err *err) {
    return naq_conn_check(c, err);
}

bool naq_pool_ours(const naq_conn *c) {
    return naq_conn_pid(c) == (int)getpid();
}

/* ---- close ---- */

static bool same_place(const char *a, const char *b) {
    naq_url one, other;
    if (!naq_url_parse(&one, a)) return false;
    bool same = naq_url_parse(&other, b);
    if (same) {
        same = strcmp(one.host, other.host) == 0 && strcmp(one.port, other.port) == 0;
        naq_url_clear(&other);
    }
    naq_url_clear(&one);
    return same;
}

static bool names(const char *const *servers, const naq_conn_options *o) {
    if (servers == NULL) return true;
    for (; *servers != NULL; servers++)
        for (const char *const *s = naq_conn_servers_of(o); *s != NULL; s++)
            if (same_place(*servers, *s)) return true;
    return false;
}

static bool kept(const pool_key *k) {
    for (const entry *e = k->entries; e != NULL; e = e->next)
        if (e->kept) return true;
    return false;
}

static int close_all(const char *const *servers, bool exiting) {
    naq_err ignored;
    entry *list = NULL;
    int n = 0;
    pthread_mutex_lock(&mu);
    for (pool_key *k = keys; k != NULL; k = k->next) {
        if (kept(k) && !exiting) continue;
        for (entry *e = k->entries; e != NULL; e = e->next) {
            if (e->state != OPEN || e->retired || naq_conn_check(e->conn, &ignored) != NAQ_OK ||
                !names(servers, naq_conn_settings_peek(e->settings)))
                continue;
            e->retired = true;
            e->users++;
            e->aside = list;
            list = e;
            n++;
        }
    }
    pthread_mutex_unlock(&mu);

    int64_t end = naq_mono_ms() + CLOSE_FLUSH_MS;
    for (entry *e = list; e != NULL; e = e->aside) {
        int64_t left = end - naq_mono_ms();
        if (left > 0) naq_conn_settle(e->conn, left);
        naq_conn_shut(e->conn);
    }

    entry *gone = NULL;
    pthread_mutex_lock(&mu);
    for (entry *e = list, *next; e != NULL; e = next) {
        next = e->aside;
        entry *last = leave_locked(e);
        if (last == NULL) continue;
        last->aside = gone;
        gone = last;
    }
    pthread_mutex_unlock(&mu);
    dispose(gone);
    return n;
}

int naq_pool_close(const char *const *servers) {
    return naq_conn_library_here() ? close_all(servers, false) : 0;
}

/* Other threads may still run, and use connections: they are told CLOSED.
 *
 * Those that libnats still has may be freeing things: a message when its collector has ended, which
 * then stays; a connection, with locks that OpenSSL's own handler, the next, frees; their last
 * error, whose place libnats' own takes away. So its threads are waited for, first those that
 * deliver and the ones that close a connection without a server, then the rest; not for ever: one
 * may be connecting, and something may still hold another. */
static void close_at_exit(void) {
    if (!naq_conn_library_here()) return;
    (void)close_all(NULL, true);
    naq_thread_await_apart(APART_MS);
    (void)nats_CloseAndWait(EXIT_MS);
}

/* ---- numbers ---- */

static void read_key_locked(const pool_key *k, naq_pool_stats *out) {
    *out = k->sum;
    for (const entry *e = k->entries; e != NULL; e = e->next) {
        naq_err ignored;
        if (e->state != OPEN) continue;
        out->reconnects += (uint64_t)naq_conn_reconnects(e->conn);
        if (naq_conn_check(e->conn, &ignored) != NAQ_OK) continue;
        out->open++;
        out->active += e->users > 0;
        out->users += e->users;
    }
}

size_t naq_pool_stats_read(naq_pool_stats *total, naq_pool_stats *out, size_t room) {
    size_t n = 0;
    memset(total, 0, sizeof *total);
    if (!naq_conn_library_here()) return 0;
    pthread_mutex_lock(&mu);
    *total = bygone;
    for (const pool_key *k = keys; k != NULL; k = k->next, n++) {
        naq_pool_stats one;
        read_key_locked(k, &one);
        add_sums(total, &one);
        total->open += one.open;
        total->active += one.active;
        total->users += one.users;
        if (n < room) out[n] = one;
    }
    pthread_mutex_unlock(&mu);
    return n;
}
