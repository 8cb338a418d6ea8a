/* conn_denied.c -- the subjects that a server refused to a connection.
 *
 * Many may be refused at once, each to somebody else: a window of publishes, the threads that share
 * a connection. So they are kept by number, and each asker looks at those since its own mark. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "nats/conn_state.h"

enum { KEPT = 4096 /* a bulk's window */ };

struct naq_denial {
    bool subscription;
    bool cut; /* the subject, with libnats' text of it */
    char subject[250];
};

/* `Permissions Violation for Publish to "a.b"`; `... for Subscription to "a.b" using queue "q"`. */
static void parse(naq_denial *d, const char *sentence) {
    const char *subject = strchr(sentence, '"');
    subject = subject != NULL ? subject + 1 : "";
    size_t len = strcspn(subject, "\"");
    d->cut = subject[len] == '\0' || len >= sizeof d->subject;
    d->subscription = strstr(sentence, "Subscription to") != NULL;
    (void)snprintf(d->subject, sizeof d->subject, "%.*s", (int)len, subject);
}

void naq_conn_note_denial(naq_conn *c, const char *sentence) {
    pthread_mutex_lock(&c->mu);
    /* Most connections are never refused anything. */
    if (c->denied == NULL) c->denied = calloc(KEPT, sizeof *c->denied);
    if (c->denied != NULL) parse(&c->denied[c->denials++ % KEPT], sentence);
    pthread_cond_broadcast(&c->more_denied);
    pthread_mutex_unlock(&c->mu);
}

uint64_t naq_conn_denials(naq_conn *c) {
    pthread_mutex_lock(&c->mu);
    uint64_t n = c->denials;
    pthread_mutex_unlock(&c->mu);
    return n;
}

static bool concerns(const naq_denial *d, const char *subject) {
    if (d->cut)
        return d->subject[0] != '\0' && strncmp(subject, d->subject, strlen(d->subject)) == 0;
    return strcmp(subject, d->subject) == 0;
}

static bool denied_locked(const naq_conn *c, uint64_t mark, bool subscription,
                          const char *subject) {
    if (c->denials > KEPT && mark < c->denials - KEPT) mark = c->denials - KEPT;
    for (; mark < c->denials; mark++) {
        const naq_denial *d = &c->denied[mark % KEPT];
        if (d->subscription == subscription && concerns(d, subject)) return true;
    }
    return false;
}

bool naq_conn_denied(naq_conn *c, uint64_t mark, const char *subject, naq_err *err) {
    pthread_mutex_lock(&c->mu);
    bool denied = denied_locked(c, mark, false, subject);
    pthread_mutex_unlock(&c->mu);
    if (denied)
        (void)naq_fail(err, NAQ_PERMISSION, "%s does not allow this user to use %s", c->servers,
                       subject);
    return denied;
}

bool naq_conn_denied_sub(naq_conn *c, uint64_t mark, const char *subject, int64_t wait_ms,
                         naq_err *err) {
    struct timespec until = naq_cond_deadline(wait_ms);
    int over = wait_ms > 0 ? 0 : ETIMEDOUT;
    pthread_mutex_lock(&c->mu);
    bool denied = denied_locked(c, mark, true, subject);
    while (!denied && over == 0) {
        over = pthread_cond_timedwait(&c->more_denied, &c->mu, &until);
        denied = denied_locked(c, mark, true, subject);
    }
    pthread_mutex_unlock(&c->mu);
    if (denied)
        (void)naq_fail(err, NAQ_PERMISSION, "%s does not allow this user to subscribe to %s",
                       c->servers, subject);
    return denied;
}
