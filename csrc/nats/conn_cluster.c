/* conn_cluster.c -- the servers of its cluster that a connection was told of. libnats uses them for
 * itself; who opens another connection to the same servers wants them too, since those that are
 * configured may be away by then.
 *
 * A copy is kept, because libnats answers only while it is not connecting. */
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats/conn_state.h"
#include "nats/url.h"

enum { URL_TEXT = 320 };

void naq_conn_cluster_free(char **servers) {
    for (char **at = servers; at != NULL && *at != NULL; at++)
        free(*at);
    free(servers);
}

/* Without its secrets, which belong to all servers alike and are set beside them. */
static char *public_form(const char *url) {
    naq_url u;
    char *out = malloc(URL_TEXT);
    if (out == NULL || !naq_url_parse(&u, url)) {
        free(out);
        return NULL;
    }
    (void)naq_url_public(&u, out, URL_TEXT);
    naq_url_clear(&u);
    return out;
}

void naq_conn_learn(naq_conn *c) {
    char **told = NULL, **servers = NULL;
    int n = 0;
    if (natsConnection_GetServers(c->nc, &told, &n) != NATS_OK) return;
    servers = calloc((size_t)n + 1, sizeof *servers);
    for (int i = 0, at = 0; i < n; i++) {
        if (servers != NULL && (servers[at] = public_form(told[i])) != NULL) at++;
        naq_secret_free(told[i]);
    }
    free(told);
    pthread_mutex_lock(&c->mu);
    char **before = c->cluster;
    c->cluster = servers;
    pthread_mutex_unlock(&c->mu);
    naq_conn_cluster_free(before);
}

bool naq_conn_clustered(naq_conn *c) {
    pthread_mutex_lock(&c->mu);
    bool several = c->cluster != NULL && c->cluster[0] != NULL && c->cluster[1] != NULL;
    pthread_mutex_unlock(&c->mu);
    return several;
}

char **naq_conn_cluster(naq_conn *c) {
    pthread_mutex_lock(&c->mu);
    size_t n = 0;
    while (c->cluster != NULL && c->cluster[n] != NULL)
        n++;
    char **copy = n > 0 ? calloc(n + 1, sizeof *copy) : NULL;
    for (size_t i = 0, at = 0; copy != NULL && i < n; i++)
        if ((copy[at] = strdup(c->cluster[i])) != NULL) at++;
    pthread_mutex_unlock(&c->mu);
    return copy;
}
