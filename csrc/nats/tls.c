/* tls.c -- see tls.h.
 *
 * libnats 3.4.1 makes the socket blocking for SSL_do_handshake(), without a timeout: a server that
 * stops answering in mid-handshake would hold the caller, and after a reconnect everybody who
 * touches the connection. It hands out neither socket nor context. OpenSSL tells about both: a
 * constructor of ex_data sees each new SSL_CTX, and an info callback each handshake. */
#include "nats/tls.h"

#include <errno.h>
#include <nats/nats.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nats/nstatus.h"
#include "nats/url.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int timeout_index = -1;
static _Thread_local int64_t making_ms; /* contexts made by this thread now are ours; 0: are not */

static void on_handshake(const SSL *ssl, int where, int ret) {
    (void)ret;
    if ((where & (SSL_CB_HANDSHAKE_START | SSL_CB_HANDSHAKE_DONE)) == 0) return;
    intptr_t ms = (intptr_t)SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), timeout_index);
    struct timeval t = {0}; /* none, once it is done */
    if (where & SSL_CB_HANDSHAKE_START) {
        ms -= ms / 5; /* so that a mute one is told as such before the time for the whole is over */
        t = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
        /* What another user of OpenSSL left in this thread would be taken for our failure. */
        ERR_clear_error();
    }
    int fd = SSL_get_fd(ssl);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
}

static _Thread_local bool asked; /* for a pass phrase */

/* Without it OpenSSL asks for the pass phrase of a key on the terminal, and waits. */
static int no_pass_phrase(char *buf, int size, int writing, void *arg) {
    (void)buf, (void)size, (void)writing, (void)arg;
    asked = true;
    return -1;
}

static void on_context(void *context, void *unused, CRYPTO_EX_DATA *data, int index, long l,
                       void *arg) {
    (void)unused, (void)l, (void)arg;
    if (making_ms == 0) return; /* somebody else's */
    if (CRYPTO_set_ex_data(data, index, (void *)(intptr_t)making_ms) != 1) return;
    SSL_CTX_set_info_callback(context, on_handshake);
    SSL_CTX_set_default_passwd_cb(context, no_pass_phrase);
}

static void register_once(void) {
    timeout_index = SSL_CTX_get_ex_new_index(0, NULL, on_context, NULL, NULL);
}

void naq_tls_begin(int64_t timeout_ms) {
    pthread_once(&once, register_once);
    making_ms = timeout_ms;
    asked = false;
}

void naq_tls_end(void) {
    making_ms = 0;
}

void naq_tls_leave_thread(void) {
    OPENSSL_thread_stop();
}

bool naq_tls_wanted(const naq_conn_options *o) {
    for (const char *const *s = o->servers; s != NULL && *s != NULL; s++)
        if (strncasecmp(*s, "tls://", 6) == 0) return true;
    return o->tls;
}

static naq_status readable(const char *what, const char *path, naq_err *err) {
    if (path == NULL || access(path, R_OK) == 0) return NAQ_OK;
    return naq_fail(err, NAQ_CONFIGURATION, "%s %s cannot be read: %s", what, path,
                    strerror(errno));
}

static naq_status unusable(natsStatus s, naq_err *err, const char *what, const char *path) {
    naq_from_nats(err, s, 0, "%s %s cannot be used", what, path);
    return err->status = NAQ_CONFIGURATION;
}

static naq_status load_pair(natsOptions *options, const naq_conn_options *o, naq_err *err) {
    natsStatus s = natsOptions_LoadCertificatesChain(options, o->cert_file, o->key_file);
    if (s == NATS_OK) return NAQ_OK;
    if (strstr(nats_GetLastError(NULL), "private key") == NULL)
        return unusable(s, err, "tls.cert_file", o->cert_file);
    if (asked)
        return naq_fail(err, NAQ_CONFIGURATION,
                        "tls.key_file %s cannot be used: it is locked with a pass phrase",
                        o->key_file);
    return unusable(s, err, "tls.key_file", o->key_file);
}

naq_status naq_tls_set(natsOptions *options, const naq_conn_options *o, naq_err *err) {
    bool wanted = naq_tls_wanted(o);
    if ((o->cert_file == NULL) != (o->key_file == NULL))
        return naq_fail(err, NAQ_CONFIGURATION,
                        "tls.cert_file and tls.key_file belong together: %s is missing",
                        o->cert_file == NULL ? "tls.cert_file" : "tls.key_file");
    naq_status status = readable("tls.ca_file", o->ca_file, err);
    if (status == NAQ_OK) status = readable("tls.cert_file", o->cert_file, err);
    if (status == NAQ_OK) status = readable("tls.key_file", o->key_file, err);
    if (status != NAQ_OK) return status;
    if (wanted || o->ca_file != NULL || o->cert_file != NULL)
        ERR_clear_error(); /* the reason of a failure is the oldest entry */
    natsStatus s = wanted ? natsOptions_SetSecure(options, true) : NATS_OK;
    if (s != NATS_OK) {
        naq_from_nats(err, s, 0, "TLS");
        return err->status = NAQ_UNSUPPORTED; /* a libnats built without it */
    }
    /* Kept without TLS as well: libnats turns to it where the server requires it. */
    if (o->ca_file != NULL) {
        s = natsOptions_LoadCATrustedCertificates(options, o->ca_file);
        if (s != NATS_OK) return unusable(s, err, "tls.ca_file", o->ca_file);
    }
    if (o->cert_file != NULL) {
        if (load_pair(options, o, err) != NAQ_OK) return err->status;
    }
    if (o->tls_skip_verify) s = natsOptions_SkipServerVerification(options, true);
    return s == NATS_OK ? NAQ_OK : naq_from_nats(err, s, 0, "tls.verify");
}

/* "<words>:depth=0:cert=/CN=a:issuer=/CN=b" as "/CN=a, issued by /CN=b". */
static void whose(const char *words, char *out, size_t size) {
    const char *cert = strstr(words, ":cert="), *issuer = strstr(words, ":issuer=");
    if (cert != NULL && issuer > cert)
        (void)snprintf(out, size, "%.*s, issued by %s", (int)(issuer - cert) - 6, cert + 6,
                       issuer + 8);
    else
        (void)snprintf(out, size, "%s", cert != NULL ? cert + 6 : words);
}

/* libnats writes "SSL handshake error: <X509_V_ERR number>:<words>:..." of a certificate it
 * refused, and OpenSSL's own words of anything else. */
naq_status naq_tls_explain(const char *text, naq_err *err) {
    const char *why = strstr(text, "error: ");
    why = why != NULL ? why + 7 : text;
    if (strcmp(why, "(null)") == 0) /* nothing in OpenSSL's queue: our own limit ended it */
        return naq_fail(err, NAQ_TIMEOUT, "no answer in the TLS handshake");
    char *rest = NULL;
    long number = strtol(why, &rest, 10);
    if (rest == why || *rest != ':') {
        return naq_fail(err, NAQ_CONNECTION, "the TLS handshake failed: %s", why);
    }
    char cert[300];
    whose(rest + 1, cert, sizeof cert);
    switch (number) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
    case X509_V_ERR_EMAIL_MISMATCH:
        return naq_fail(err, NAQ_CONNECTION,
                        "the server's certificate is for another host (%s): connect by a name that "
                        "stands in it",
                        cert);
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return naq_fail(err, NAQ_CONNECTION, "the server's certificate has expired (%s)", cert);
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return naq_fail(err, NAQ_CONNECTION, "the server's certificate is not valid yet (%s)",
                        cert);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return naq_fail(err, NAQ_CONNECTION,
                        "the server's certificate is from an authority that is not trusted here "
                        "(%s): tls.ca_file names the one to trust",
                        cert);
    default:
        return naq_fail(err, NAQ_CONNECTION, "the server's certificate is refused: %s", rest + 1);
    }
}
