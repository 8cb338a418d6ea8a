/* credentials.c -- see credentials.h.
 *
 * libnats 3.4.1 puts user, password, token and client name between quotes into its CONNECT as they
 * stand, and takes those of a URL apart without decoding them. So URLs are given to it without a
 * login, and texts as the inside of a JSON string. */
#include "nats/credentials.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "nats/nkey.h"
#include "nats/nstatus.h"
#include "nats/url.h"

/* The inside of text's JSON string; NULL when out of memory. */
static char *escaped(const char *text) {
    naq_buf b = {0};
    naq_buf_json_string(&b, text, strlen(text));
    char *inside = b.failed || b.len < 2 ? NULL : strndup(b.data + 1, b.len - 2);
    if (b.data != NULL) explicit_bzero(b.data, b.cap);
    naq_buf_free(&b);
    return inside;
}

static natsStatus set_text(natsStatus (*set)(natsOptions *, const char *), natsOptions *options,
                           const char *text) {
    char *inside = escaped(text);
    natsStatus s = inside != NULL ? set(options, inside) : NATS_NO_MEMORY;
    naq_secret_free(inside);
    return s;
}

static natsStatus set_user(natsOptions *options, const char *user, const char *password) {
    char *u = escaped(user), *p = escaped(password != NULL ? password : "");
    natsStatus s = u != NULL && p != NULL ? natsOptions_SetUserInfo(options, u, p) : NATS_NO_MEMORY;
    naq_secret_free(u);
    naq_secret_free(p);
    return s;
}

static natsStatus set_login(natsOptions *options, const char *login) {
    char *user = NULL, *password = NULL;
    if (!naq_url_login(login, &user, &password)) return NATS_NO_MEMORY;
    natsStatus s = password != NULL ? set_user(options, user, password)
                                    : set_text(natsOptions_SetToken, options, user);
    naq_secret_free(user);
    naq_secret_free(password);
    return s;
}

/* One server's part: its place in urls, and the login if it is the first that has one. */
static naq_status add_server(const char *server, char url[320], char **login, naq_err *err) {
    naq_url u;
    if (!naq_url_parse(&u, server))
        return naq_fail(err, NAQ_CONNECTION, "reading a server's URL: out of memory");
    naq_status status = NAQ_OK;
    (void)naq_url_public(&u, url, 320);
    long port = strtol(u.port, NULL, 10);
    if (strcasecmp(u.scheme, "nats") != 0 && !u.tls)
        status = naq_fail(err, NAQ_CONFIGURATION,
                          "server %s: it begins with neither nats:// nor "
                          "tls://",
                          url);
    else if (port < 1 || port > 65535 || u.port[strspn(u.port, "0123456789")] != '\0')
        status = naq_fail(err, NAQ_CONFIGURATION, "server %s: its port is none", url);
    else if (u.login != NULL && *login != NULL && strcmp(u.login, *login) != 0)
        status = naq_fail(err, NAQ_CONFIGURATION,
                          "server %s: its URL names another user than the one before; servers of "
                          "one cluster share theirs",
                          url);
    if (status == NAQ_OK && *login == NULL) {
        *login = u.login;
        u.login = NULL;
    }
    naq_url_clear(&u);
    return status;
}

static naq_status set_servers(natsOptions *options, const naq_conn_options *o, char **login,
                              naq_err *err) {
    const char *const *servers = naq_conn_servers_of(o);
    size_t n = 0, all;
    while (servers[n] != NULL)
        n++;
    for (all = n; o->further != NULL && o->further[all - n] != NULL;)
        all++;
    char(*urls)[320] = calloc(all, sizeof *urls);
    const char **list = calloc(all, sizeof *list);
    naq_status status = NAQ_OK;
    natsStatus s = urls != NULL && list != NULL ? NATS_OK : NATS_NO_MEMORY;
    for (size_t i = 0; s == NATS_OK && status == NAQ_OK && i < all; i++) {
        list[i] = urls[i];
        status = add_server(i < n ? servers[i] : o->further[i - n], urls[i], login, err);
    }
    if (s == NATS_OK && status == NAQ_OK) s = natsOptions_SetServers(options, list, (int)all);
    if (s != NATS_OK) status = naq_from_nats(err, s, 0, "servers");
    free(list);
    free(urls);
    return status;
}

static naq_status check(const naq_conn_options *o, naq_err *err) {
    if (o->creds_file != NULL && o->nkey_seed_file != NULL)
        return naq_fail(err, NAQ_CONFIGURATION,
                        "creds_file and nkey_seed_file are both given: one connection has one");
    if (o->password != NULL && o->user == NULL)
        return naq_fail(err, NAQ_CONFIGURATION, "a password is given, and no user");
    return NAQ_OK;
}

static naq_status set_files(natsOptions *options, const naq_conn_options *o, naq_err *err) {
    char public_key[NAQ_NKEY_TEXT];
    natsStatus s = NATS_OK;
    if (o->creds_file != NULL) {
        if (naq_creds_check(o->creds_file, err) != NAQ_OK) return err->status;
        s = natsOptions_SetUserCredentialsFromFiles(options, o->creds_file, NULL);
    } else if (o->nkey_seed_file != NULL) {
        if (naq_nkey_public(o->nkey_seed_file, public_key, err) != NAQ_OK) return err->status;
        s = natsOptions_SetNKeyFromSeed(options, public_key, o->nkey_seed_file);
    }
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "credentials");
}

naq_status naq_credentials_set(natsOptions *options, const naq_conn_options *o, naq_err *err) {
    char *login = NULL;
    naq_status status = check(o, err);
    if (status == NAQ_OK) status = set_servers(options, o, &login, err);
    if (status == NAQ_OK) {
        natsStatus s = set_text(natsOptions_SetName, options, o->name != NULL ? o->name : "naq");
        if (s == NATS_OK && login != NULL) {
            s = set_login(options, login);
        } else {
            if (s == NATS_OK && o->user != NULL) s = set_user(options, o->user, o->password);
            if (s == NATS_OK && o->token != NULL)
                s = set_text(natsOptions_SetToken, options, o->token);
        }
        if (s != NATS_OK) status = naq_from_nats(err, s, 0, "credentials");
    }
    if (status == NAQ_OK) status = set_files(options, o, err);
    naq_secret_free(login);
    return status;
}
