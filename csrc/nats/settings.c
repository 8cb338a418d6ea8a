/* settings.c -- connection options: kept beyond a call, as a pool key, as natsOptions, in print.
 *
 * Pure but for naq_conn_options_make(), the first call into libnats on every way to a connection:
 * the fork guard stands there. */
#include "nats/conn.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "nats/credentials.h"
#include "nats/library.h"
#include "nats/nstatus.h"
#include "nats/tls.h"
#include "nats/url.h"

static const char *const DEFAULT_SERVERS[] = {"nats://127.0.0.1:4222", NULL};
enum { CONNECT_MS = 5000, RECONNECT_WAIT_MS = 250, RECONNECT_WAIT_MAX_MS = 1000 };

const char *const *naq_conn_servers_of(const naq_conn_options *o) {
    return o->servers != NULL && o->servers[0] != NULL ? o->servers : DEFAULT_SERVERS;
}

int64_t naq_conn_timeout_of(const naq_conn_options *o) {
    return o->connection_timeout_ms > 0 ? o->connection_timeout_ms : CONNECT_MS;
}

struct naq_conn_settings {
    naq_conn_options options; /* its strings are below */
    const char **servers;
    char *text[9]; /* name, user, password, token, creds, nkey, ca, cert, key */
    char *key;
};

static bool copy(char **to, const char **field, const char *from) {
    if (from == NULL) return true;
    *to = strdup(from);
    *field = *to;
    return *to != NULL;
}

/* Each part with its length in front, so that no two settings share a key. */
static char *make_key(const naq_conn_options *o) {
    const char *parts[] = {o->user,           o->password, o->token,     o->creds_file,
                           o->nkey_seed_file, o->ca_file,  o->cert_file, o->key_file};
    naq_buf b = {0};
    for (const char *const *s = naq_conn_servers_of(o); *s != NULL; s++)
        naq_buf_printf(&b, "%zu:%s ", strlen(*s), *s);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        naq_buf_printf(&b, "|%zu:%s", parts[i] != NULL ? strlen(parts[i]) : 0,
                       parts[i] != NULL ? parts[i] : "");
    naq_buf_printf(&b, "|%d%d", o->tls, o->tls_skip_verify);
    naq_buf_putc(&b, '\0');
    if (b.failed) naq_buf_free(&b);
    return b.data;
}

naq_conn_settings *naq_conn_settings_new(const naq_conn_options *o) {
    naq_conn_settings *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    s->options = *o;
    s->options.further = NULL;
    size_t n = 0;
    while (naq_conn_servers_of(o)[n] != NULL)
        n++;
    s->servers = calloc(n + 1, sizeof *s->servers);
    bool whole = s->servers != NULL;
    for (size_t i = 0; whole && i < n; i++) {
        s->servers[i] = strdup(naq_conn_servers_of(o)[i]);
        whole = s->servers[i] != NULL;
    }
    s->options.servers = s->servers;
    whole = whole && copy(&s->text[0], &s->options.name, o->name) &&
            copy(&s->text[1], &s->options.user, o->user) &&
            copy(&s->text[2], &s->options.password, o->password) &&
            copy(&s->text[3], &s->options.token, o->token) &&
            copy(&s->text[4], &s->options.creds_file, o->creds_file) &&
            copy(&s->text[5], &s->options.nkey_seed_file, o->nkey_seed_file) &&
            copy(&s->text[6], &s->options.ca_file, o->ca_file) &&
            copy(&s->text[7], &s->options.cert_file, o->cert_file) &&
            copy(&s->text[8], &s->options.key_file, o->key_file);
    if (whole) s->key = make_key(o);
    if (s->key == NULL) {
        naq_conn_settings_free(s);
        return NULL;
    }
    return s;
}

void naq_conn_settings_free(naq_conn_settings *s) {
    if (s == NULL) return;
    for (size_t i = 0; s->servers != NULL && s->servers[i] != NULL; i++)
        naq_secret_free((char *)s->servers[i]);
    free(s->servers);
    for (size_t i = 0; i < sizeof s->text / sizeof *s->text; i++)
        naq_secret_free(s->text[i]);
    naq_secret_free(s->key);
    free(s);
}

const naq_conn_options *naq_conn_settings_peek(const naq_conn_settings *s) {
    return &s->options;
}

const char *naq_conn_settings_key_peek(const naq_conn_settings *s) {
    return s->key;
}

void naq_conn_servers_public(const naq_conn_options *o, char *out, size_t size) {
    size_t n = 0;
    out[0] = '\0';
    for (const char *const *s = naq_conn_servers_of(o); *s != NULL && n < size; s++) {
        naq_url u;
        char url[320];
        if (!naq_url_parse(&u, *s)) return; /* out of memory: better nothing than a secret */
        (void)naq_url_public(&u, url, sizeof url);
        naq_url_clear(&u);
        int wrote = snprintf(out + n, size - n, "%s%s", n > 0 ? ", " : "", url);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
}

static int64_t first_wait(const naq_conn_options *o) {
    return o->reconnect_wait_ms > 0 ? o->reconnect_wait_ms : RECONNECT_WAIT_MS;
}

/* The jitter keeps a fleet from coming back in one wave. */
static int64_t back_off(int64_t wait, int attempts) {
    int64_t most = wait > RECONNECT_WAIT_MAX_MS ? wait : RECONNECT_WAIT_MAX_MS;
    for (int i = 1; i < attempts && wait < most; i++)
        wait *= 2;
    if (wait > most) wait = most;
    unsigned char jitter = 0;
    (void)!getrandom(&jitter, sizeof jitter, GRND_NONBLOCK);
    return wait - wait * jitter / 2048; /* up to an eighth less */
}

/* On one of libnats' threads. attempts counts rounds over all servers, from 1. */
static int64_t reconnect_delay(natsConnection *nc, int attempts, void *closure) {
    (void)nc;
    return back_off((int64_t)(intptr_t)closure, attempts);
}

int64_t naq_conn_backoff_ms(const naq_conn_options *o, int round) {
    return back_off(first_wait(o), round);
}

static natsStatus set_plain(natsOptions *options, const naq_conn_options *o) {
    int64_t ping = o->ping_interval_ms > 0 ? o->ping_interval_ms : 20000;
    int64_t wait = first_wait(o);
    natsStatus s = natsOptions_SetTimeout(options, naq_conn_timeout_of(o));
    if (s == NATS_OK) s = natsOptions_SetPingInterval(options, ping);
    if (s == NATS_OK)
        s = natsOptions_SetMaxPingsOut(options, o->max_pings_out > 0 ? o->max_pings_out : 2);
    if (s == NATS_OK)
        s = natsOptions_SetMaxReconnect(options, o->max_reconnect > 0 ? o->max_reconnect : -1);
    if (s == NATS_OK && o->max_reconnect == NAQ_RECONNECT_NEVER)
        s = natsOptions_SetAllowReconnect(options, false);
    if (s == NATS_OK)
        s = natsOptions_SetCustomReconnectDelay(options, reconnect_delay, (void *)(intptr_t)wait);
    if (s == NATS_OK) s = natsOptions_SetIOBufSize(options, 65536);
    /* A request that was under way when the connection broke is better sent again at once. */
    if (s == NATS_OK) s = natsOptions_SetFailRequestsOnDisconnect(options, true);
    /* Without it a request waits about 1 ms for libnats' flusher thread. */
    if (s == NATS_OK) s = natsOptions_SetSendAsap(options, true);
    return s;
}

naq_status naq_conn_options_make(natsOptions **out, const naq_conn_options *o, naq_err *err) {
    naq_status status = naq_conn_fork_check(err);
    if (status == NAQ_OK) status = naq_library_open(err);
    if (status != NAQ_OK) return status;
    natsOptions *options = NULL;
    natsStatus s = natsOptions_Create(&options);
    if (s == NATS_OK) s = set_plain(options, o);
    if (s != NATS_OK) {
        status = naq_from_nats(err, s, 0, "connection options");
        if (status == NAQ_INVALID) status = err->status = NAQ_CONFIGURATION;
    }
    if (status == NAQ_OK) status = naq_credentials_set(options, o, err);
    if (status == NAQ_OK) {
        naq_tls_begin(naq_conn_timeout_of(o));
        status = naq_tls_set(options, o, err);
        naq_tls_end();
    }
    if (status == NAQ_OK)
        *out = options;
    else
        natsOptions_Destroy(options);
    return status;
}
