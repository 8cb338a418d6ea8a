/* url.c -- see url.h. A password may hold '@', ':' and '/' unescaped: the last '@' ends it. */
#include "nats/url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void naq_secret_free(char *secret) {
    if (secret == NULL) return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

bool naq_url_parse(naq_url *out, const char *url) {
    memset(out, 0, sizeof *out);
    const char *rest = strstr(url, "://"), *at = NULL;
    (void)snprintf(out->scheme, sizeof out->scheme, "%.*s", rest != NULL ? (int)(rest - url) : 4,
                   rest != NULL ? url : "nats");
    out->tls = strcasecmp(out->scheme, "tls") == 0;
    rest = rest != NULL ? rest + 3 : url;
    at = strrchr(rest, '@');
    if (at != NULL) {
        if (at > rest) {
            out->login = strndup(rest, (size_t)(at - rest));
            if (out->login == NULL) return false;
        }
        rest = at + 1;
    }
    size_t n = strcspn(rest, "/"); /* nats://host:4222/ is seen, too */
    const char *end = rest + n, *colon = memchr(rest, ':', n), *port = "4222";
    size_t digits = 4;
    if (rest[0] == '[') {
        const char *bracket = memchr(rest, ']', n);
        rest++;
        colon = bracket != NULL && bracket + 1 < end && bracket[1] == ':' ? bracket + 1 : NULL;
        if (bracket != NULL) n = (size_t)(bracket - rest);
    } else if (colon != NULL && memchr(colon + 1, ':', (size_t)(end - colon - 1)) == NULL) {
        n = (size_t)(colon - rest);
    } else {
        colon = NULL; /* an IPv6 address without brackets has no port */
    }
    if (colon != NULL && colon + 1 < end) {
        port = colon + 1;
        digits = (size_t)(end - port);
    }
    (void)snprintf(out->host, sizeof out->host, "%.*s", (int)n, rest);
    (void)snprintf(out->port, sizeof out->port, "%.*s", (int)digits, port);
    if (out->host[0] == '\0') (void)snprintf(out->host, sizeof out->host, "localhost");
    return true;
}

void naq_url_clear(naq_url *u) {
    naq_secret_free(u->login);
    u->login = NULL;
}

int naq_url_public(const naq_url *u, char *out, size_t size) {
    bool v6 = strchr(u->host, ':') != NULL;
    return snprintf(out, size, "%s://%s%s%s:%s", u->scheme, v6 ? "[" : "", u->host, v6 ? "]" : "",
                    u->port);
}

/* "%40" is '@'; what is no escape stands for itself. */
static char *decoded(const char *text, size_t n) {
    char *out = malloc(n + 1), *to = out;
    if (out == NULL) return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;
        bool escape = text[i] == '%' && i + 2 < n && isxdigit((unsigned char)text[i + 1]) &&
                      isxdigit((unsigned char)text[i + 2]);
        char hex[3] = {escape ? text[i + 1] : '0', escape ? text[i + 2] : '0', '\0'};
        if (escape) byte = (unsigned)strtoul(hex, NULL, 16);
        *to++ = byte != 0 ? (char)byte : text[i];
        if (byte != 0) i += 2;
    }
    *to = '\0';
    return out;
}

bool naq_url_login(const char *login, char **user, char **password) {
    const char *colon = strchr(login, ':');
    *password = NULL;
    *user = decoded(login, colon != NULL ? (size_t)(colon - login) : strlen(login));
    if (colon != NULL) *password = decoded(colon + 1, strlen(colon + 1));
    if (*user != NULL && (colon == NULL || *password != NULL)) return true;
    naq_secret_free(*user);
    naq_secret_free(*password);
    *user = *password = NULL;
    return false;
}
