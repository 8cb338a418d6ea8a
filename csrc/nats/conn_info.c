/* conn_info.c -- what is known about a connection and its server. Any thread. */
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/greeting.h"
#include "nats/conn_state.h"
#include "nats/reply.h"
#include "nats/url.h"

enum { GREETING_MS = 1000 };

static int count_strings(naq_slice array) {
    int quotes = 0;
    for (size_t i = 0; i < array.len; i++)
        quotes += array.at[i] == '"';
    return quotes / 2; /* addresses hold no escapes */
}

static void read_greeting(const naq_buf *greeting, naq_server_info *info, int *cluster_size) {
    naq_slice all = {greeting->data, greeting->len};
    naq_reply_text(all, "server_id", info->id, sizeof info->id);
    naq_reply_text(all, "server_name", info->name, sizeof info->name);
    naq_reply_text(all, "version", info->version, sizeof info->version);
    naq_reply_text(all, "cluster", info->cluster, sizeof info->cluster);
    int urls = count_strings(naq_reply_member(all, "connect_urls"));
    *cluster_size = info->cluster[0] != '\0' && urls > 1 ? urls : 1;
}

void naq_conn_server_id(naq_conn *c, char *out, size_t size) {
    if (natsConnection_GetConnectedServerId(c->nc, out, size) != NATS_OK) out[0] = '\0';
}

void naq_conn_url(naq_conn *c, char *out, size_t size) {
    char url[320];
    naq_url u;
    out[0] = '\0';
    if (naq_conn_lost(c) || natsConnection_GetConnectedUrl(c->nc, url, sizeof url) != NATS_OK ||
        !naq_url_parse(&u, url))
        return;
    (void)naq_url_public(&u, out, size);
    naq_url_clear(&u);
}

/* Asks the server once and remembers by its id, which is new each time it starts. */
static void look(naq_conn *c, naq_server_info *info, int *cluster_size) {
    char url[320] = "", id[64];
    naq_conn_server_id(c, id, sizeof id);
    pthread_mutex_lock(&c->mu);
    bool known = id[0] != '\0' && strcmp(id, c->known.id) == 0;
    *info = c->known;
    *cluster_size = c->cluster_size;
    pthread_mutex_unlock(&c->mu);
    if (known) return;

    memset(info, 0, sizeof *info);
    *cluster_size = 1;
    if (natsConnection_GetConnectedUrl(c->nc, url, sizeof url) != NATS_OK) return;
    naq_url u;
    if (!naq_url_parse(&u, url)) return;
    (void)naq_url_public(&u, info->url, sizeof info->url);
    naq_buf greeting = {0};
    if (naq_greeting_read(u.host, u.port, GREETING_MS, &greeting) == NAQ_GREETING_READ)
        read_greeting(&greeting, info, cluster_size);
    naq_buf_free(&greeting);
    naq_url_clear(&u);
    bool same = strcmp(info->id, id) == 0; /* else a balancer gave us another server */
    if (!same) {
        info->name[0] = info->version[0] = '\0';
        (void)snprintf(info->id, sizeof info->id, "%s", id);
    }
    pthread_mutex_lock(&c->mu);
    if (same) {
        c->known = *info;
        c->cluster_size = *cluster_size;
    }
    pthread_mutex_unlock(&c->mu);
}

void naq_conn_info(naq_conn *c, naq_server_info *out) {
    int cluster_size;
    look(c, out, &cluster_size);
    out->max_payload = naq_conn_max_payload(c);
}

int naq_conn_cluster_size(naq_conn *c) {
    naq_server_info info;
    int n;
    look(c, &info, &n);
    return n;
}

const char *naq_conn_state_name(naq_conn *c) {
    if (atomic_load(&c->end) != NAQ_CONN_OPEN) return "closed";
    if (naq_conn_lost(c)) return "reconnecting"; /* when its lock may be held for long */
    switch (natsConnection_Status(c->nc)) {
    case NATS_CONN_STATUS_CONNECTED:
        return "connected";
    case NATS_CONN_STATUS_CLOSED:
        return "closed";
    default:
        return "reconnecting";
    }
}

void naq_conn_count(naq_conn *c, naq_conn_counts *out) {
    natsStatistics *s = NULL;
    naq_conn_counts now = {0};
    uint64_t reconnects;
    bool known = !naq_conn_lost(c) && natsStatistics_Create(&s) == NATS_OK &&
                 natsConnection_GetStats(c->nc, s) == NATS_OK &&
                 natsStatistics_GetCounts(s, &now.in_msgs, &now.in_bytes, &now.out_msgs,
                                          &now.out_bytes, &reconnects) == NATS_OK;
    natsStatistics_Destroy(s);
    pthread_mutex_lock(&c->mu);
    if (known) c->counted = now;
    *out = c->counted;
    pthread_mutex_unlock(&c->mu);
}

naq_status naq_conn_rtt(naq_conn *c, int64_t timeout_ms, int64_t *us, naq_err *err) {
    int64_t begin = naq_wall_us();
    naq_status status = naq_conn_flush(c, timeout_ms, err);
    if (status == NAQ_OK) *us = naq_wall_us() - begin;
    return status;
}

bool naq_conn_up(naq_conn *c) {
    return !naq_conn_lost(c) && natsConnection_Status(c->nc) == NATS_CONN_STATUS_CONNECTED;
}

bool naq_conn_dead(naq_conn *c) {
    return atomic_load(&c->end) != NAQ_CONN_OPEN;
}

int naq_conn_reconnects(naq_conn *c) {
    return atomic_load(&c->reconnects);
}

int64_t naq_conn_max_payload(naq_conn *c) {
    return atomic_load(&c->max_payload);
}

const char *naq_libnats_version(void) {
    return nats_GetVersion();
}
