/* service.h -- start, stop and join for every loop that owns a thread.
 *
 * The body runs until naq_service_stopping() says so and sleeps only in naq_service_sleep(), which
 * a stop ends at once. Stop is safe twice, before start, and from any thread but the loop's own; it
 * returns after the thread ended. All signals are masked in the thread. */
#ifndef NAQ_BASE_SERVICE_H
#define NAQ_BASE_SERVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct naq_service {
    const char *name; /* the thread's name, 15 bytes at most; static storage */
    void (*body)(struct naq_service *self);
    void *ctx; /* for the body */

    pthread_mutex_t mu; /* guards started, stopping, nudged */
    pthread_cond_t wake;
    pthread_t thread;
    bool started;
    bool stopping;
    bool nudged; /* since the last sleep */
} naq_service;

void naq_service_init(naq_service *s, const char *name, void (*body)(naq_service *), void *ctx);
naq_status naq_service_start(naq_service *s, naq_err *err);
bool naq_service_stopping(naq_service *s);
/* Sleep ms milliseconds, or until stopped or nudged. Returns false once stopping. Loop's thread
 * only. */
bool naq_service_sleep(naq_service *s, int64_t ms);
void naq_service_nudge(
    naq_service *s); /* end the current sleep, or the next one, early; any thread */
void naq_service_stop(naq_service *s);

#endif
