/* url.h -- a server's URL taken apart: nats://user:password@host:port, tls://token@host. Pure. */
#ifndef NAQ_NATS_URL_H
#define NAQ_NATS_URL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct naq_url {
    bool tls;        /* tls:// */
    char *login;     /* "user:password" or "token" as it stands there; NULL: none */
    char scheme[16]; /* "nats" */
    char host[256];  /* without the brackets of an IPv6 address */
    char port[8];    /* "4222" */
} naq_url;

/* False when out of memory. naq_url_clear() wipes and frees the login. */
bool naq_url_parse(naq_url *out, const char *url);
void naq_url_clear(naq_url *u);

/* "nats://host:port": what may be printed. Returns the length as snprintf does. */
int naq_url_public(const naq_url *u, char *out, size_t size);

/* The two parts of a login, percent-decoded; *password NULL when it is a token. The caller wipes
 * and frees both. False when out of memory. */
bool naq_url_login(const char *login, char **user, char **password);

/* Wipe and free a secret; NULL is fine. */
void naq_secret_free(char *secret);

#endif
