/* line.c -- dialing, and what libnats calls in event-loop mode. */
#include "nats/line.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/thread.h"
#include "nats/nstatus.h"
#include "nats/tls.h"
#include "nats/url.h"

/* Refusals in a row after which a login counts as refused. One may be a server that starts; of
 * several servers one may be away, which libnats does not tell beside a refusal. */
enum { REFUSALS = 2, REFUSALS_OF_SEVERAL = 20 };

static void lines_let_go(naq_lines *lines) {
    if (atomic_fetch_sub(&lines->holders, 1) > 1) return;
    natsOptions_Destroy(lines->options);
    naq_conn_settings_free(lines->settings);
    pthread_cond_destroy(&lines->closed);
    pthread_mutex_destroy(&lines->mu);
    free(lines);
}

static void let_go(naq_line *line) {
    if (atomic_fetch_sub(&line->holders, 1) > 1) return;
    lines_let_go(line->lines);
    free(line);
}

/* libnats' side. After naq_lines_close() there is nobody to wake. */

static void wake(naq_lines *lines) {
    pthread_mutex_lock(&lines->mu);
    if (!lines->closing) lines->wake(lines);
    pthread_mutex_unlock(&lines->mu);
}

static natsStatus on_attach(void **user, void *arg, natsConnection *nc, natsSock socket) {
    (void)nc;
    naq_line *line = arg;
    naq_lines *lines = line->lines;
    *user = line;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = lines->event};
    pthread_mutex_lock(&lines->mu); /* epoll_fd stays until closing */
    bool added = lines->closing || epoll_ctl(lines->epoll_fd, EPOLL_CTL_ADD, socket, &e) == 0 ||
                 (errno == EEXIST && epoll_ctl(lines->epoll_fd, EPOLL_CTL_MOD, socket, &e) == 0);
    pthread_mutex_unlock(&lines->mu);
    atomic_store(&line->socket_fd, socket);
    return added ? NATS_OK : NATS_SYS_ERROR;
}

static natsStatus on_read(void *user, bool add) {
    naq_line *line = user;
    if (add) return NATS_OK;
    int fd = atomic_exchange(&line->socket_fd, -1);
    pthread_mutex_lock(&line->lines->mu);
    if (fd >= 0 && !line->lines->closing)
        (void)epoll_ctl(line->lines->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    pthread_mutex_unlock(&line->lines->mu);
    return NATS_OK;
}

static natsStatus on_write(void *user, bool add) {
    naq_line *line = user;
    atomic_store(&line->want_write, add);
    if (add) wake(line->lines);
    return NATS_OK;
}

/* Comes after "closed", when the line may be gone; reading was removed before. */
static natsStatus on_detach(void *user) {
    (void)user;
    return NATS_OK;
}

static void on_closed(natsConnection *nc, void *arg) {
    (void)nc;
    naq_line *line = arg;
    atomic_store(&line->over, true);
    wake(line->lines);
    let_go(line);
}

/* Dialing */

static natsStatus prepare(naq_line **out, naq_lines *lines) {
    naq_line *line = calloc(1, sizeof *line);
    if (line == NULL) return NATS_NO_MEMORY;
    line->lines = lines;
    atomic_fetch_add(&lines->holders, 1);
    atomic_init(&line->holders, 2);
    atomic_init(&line->socket_fd, -1);
    *out = line;
    natsStatus s =
        natsOptions_SetEventLoop(lines->options, line, on_attach, on_read, on_write, on_detach);
    if (s == NATS_OK) s = natsOptions_SetClosedCB(lines->options, on_closed, line);
    return s;
}

static void never_was(naq_line *line) { /* and calls no "closed" */
    if (line == NULL) return;
    let_go(line);
    let_go(line);
}

static bool pause_unless_closing(naq_lines *lines, int64_t ms) {
    struct timespec until = naq_cond_deadline(ms);
    int over = 0;
    pthread_mutex_lock(&lines->mu);
    while (!lines->closing && over == 0)
        over = pthread_cond_timedwait(&lines->closed, &lines->mu, &until);
    bool go_on = !lines->closing;
    pthread_mutex_unlock(&lines->mu);
    return go_on;
}

static int server_count(const naq_lines *lines) {
    int n = 0;
    if (lines->learned > 0) return lines->learned;
    for (const char *const *s = naq_conn_servers_of(naq_conn_settings_peek(lines->settings));
         *s != NULL; s++)
        n++;
    return n;
}

static bool hopeless(const naq_lines *lines, int rounds, int refusals) {
    int most = naq_conn_settings_peek(lines->settings)->max_reconnect;
    return refusals >= (server_count(lines) > 1 ? REFUSALS_OF_SEVERAL : REFUSALS) ||
           most == NAQ_RECONNECT_NEVER || (most > 0 && rounds >= most);
}

/* True: dialing is over. */
static bool dial_once(naq_lines *lines, int round, int *refusals) {
    const naq_conn_options *o = naq_conn_settings_peek(lines->settings);
    naq_line *line = NULL;
    naq_err why;
    natsStatus s = prepare(&line, lines);
    if (s == NATS_OK)
        s = (natsStatus)naq_conn_connect(&line->nc, lines->options, o, naq_conn_timeout_of(o));
    if (s != NATS_OK) {
        (void)naq_from_nats(&why, s, 0,
                            "the connection is gone for good, reconnecting was given up");
        never_was(line);
        line = NULL;
        *refusals = s == NATS_CONNECTION_AUTH_FAILED ? *refusals + 1 : 0;
        if (!hopeless(lines, round, *refusals)) return false;
    }
    pthread_mutex_lock(&lines->mu);
    lines->dialing = false;
    if (line == NULL) {
        lines->why = why;
        atomic_store(&lines->ended, true);
    } else if (!lines->closing) {
        lines->next = line;
        line = NULL;
    }
    pthread_mutex_unlock(&lines->mu);
    if (line != NULL) { /* nobody wants it any more */
        natsConnection_Close(line->nc);
        naq_line_free(line);
    }
    wake(lines);
    return true;
}

static void *dial(void *arg) {
    naq_lines *lines = arg;
    const naq_conn_options *o = naq_conn_settings_peek(lines->settings);
    int refusals = 0;
    for (int round = 1;; round++) {
        bool at_once = round == 1 && server_count(lines) > 1;
        if (!pause_unless_closing(lines, at_once ? 0 : naq_conn_backoff_ms(o, round))) break;
        if (dial_once(lines, round, &refusals)) break;
    }
    naq_tls_leave_thread();
    lines_let_go(lines);
    return NULL;
}

/* A cluster tells of its other servers: they are dialed too. */
static void learn_servers(naq_lines *lines, naq_line *lost) {
    char **servers = NULL;
    int n = 0;
    if (natsConnection_GetServers(lost->nc, &servers, &n) != NATS_OK) return;
    if (n > 0 && natsOptions_SetServers(lines->options, (const char **)servers, n) == NATS_OK)
        lines->learned = n;
    for (int i = 0; i < n; i++)
        naq_secret_free(servers[i]);
    free(servers);
}

void naq_lines_dial(naq_lines *lines, naq_line *lost) {
    pthread_mutex_lock(&lines->mu);
    bool begin =
        !lines->dialing && lines->next == NULL && !lines->closing && !atomic_load(&lines->ended);
    lines->dialing = lines->dialing || begin;
    pthread_mutex_unlock(&lines->mu);
    if (!begin) return;
    learn_servers(lines, lost);
    atomic_fetch_add(&lines->holders, 1);
    if (naq_thread_apart(dial, lines)) return;
    lines_let_go(lines); /* no thread to be had now: asked again with the next turn */
    pthread_mutex_lock(&lines->mu);
    lines->dialing = false;
    pthread_mutex_unlock(&lines->mu);
}

naq_line *naq_line_take(naq_lines *lines) {
    pthread_mutex_lock(&lines->mu);
    naq_line *line = lines->next;
    lines->next = NULL;
    pthread_mutex_unlock(&lines->mu);
    return line;
}

void naq_line_free(naq_line *line) {
    if (line == NULL) return;
    natsConnection_Destroy(line->nc);
    let_go(line);
}

/* Opening and closing */

static naq_status make_options(naq_lines *lines, const naq_conn_options *o, naq_err *err) {
    naq_status status = naq_conn_options_make(&lines->options, o, err);
    if (status != NAQ_OK) return status;
    natsStatus s = natsOptions_SetAllowReconnect(lines->options, false);
    if (s == NATS_OK) s = natsOptions_SetSendAsap(lines->options, true);
    if (s == NATS_OK) s = natsOptions_SetMaxPendingMsgs(lines->options, 1 << 20);
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "hot connection");
}

naq_status naq_lines_open(naq_lines **out, naq_line **first, const naq_conn_options *o,
                          int epoll_fd, uint32_t event, void (*wake_up)(naq_lines *lines),
                          void *ctx, naq_err *err) {
    naq_lines *lines = calloc(1, sizeof *lines);
    naq_conn_settings *settings = naq_conn_settings_new(o);
    if (lines == NULL || settings == NULL) {
        free(lines);
        naq_conn_settings_free(settings);
        return naq_fail(err, NAQ_CONNECTION, "hot connection: out of memory");
    }
    lines->settings = settings;
    lines->epoll_fd = epoll_fd;
    lines->event = event;
    lines->wake = wake_up;
    lines->ctx = ctx;
    atomic_init(&lines->holders, 1);
    pthread_mutex_init(&lines->mu, NULL);
    naq_cond_init(&lines->closed);
    naq_status status = make_options(lines, o, err);
    naq_line *line = NULL;
    if (status == NAQ_OK) {
        natsStatus s = prepare(&line, lines);
        status = s == NATS_OK ? naq_conn_dial(&line->nc, lines->options, o, err)
                              : naq_from_nats(err, s, 0, "hot connection");
        if (status != NAQ_OK) never_was(line);
    }
    if (status != NAQ_OK) {
        lines_let_go(lines);
        return status;
    }
    *out = lines;
    *first = line;
    return NAQ_OK;
}

void naq_lines_close(naq_lines *lines) {
    if (lines == NULL) return;
    pthread_mutex_lock(&lines->mu);
    lines->closing = true;
    naq_line *next = lines->next;
    lines->next = NULL;
    pthread_cond_broadcast(&lines->closed);
    pthread_mutex_unlock(&lines->mu);
    if (next != NULL) natsConnection_Close(next->nc);
    naq_line_free(next);
    lines_let_go(lines);
}
