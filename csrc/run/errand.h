/* errand.h -- requests to JetStream's API on the hot connection, whose answers come later. I/O
 * thread only; never blocks. */
#ifndef NAQ_RUN_ERRAND_H
#define NAQ_RUN_ERRAND_H

#include "base/json.h"
#include "nats/loop.h"

enum { NAQ_ERRANDS = 64, NAQ_ERRAND_TOKEN = 1u << 31 };

/* The answer, until the function returns; at NULL: none came in time. */
typedef void (*naq_errand_done)(void *ctx, int64_t arg, naq_slice answer);

typedef struct naq_errand {
    naq_errand_done done; /* NULL: free */
    void *ctx;
    int64_t arg, until_ms;
    uint16_t generation;
} naq_errand;

typedef struct naq_errands {
    naq_loop *loop;
    naq_errand all[NAQ_ERRANDS];
    int n;
} naq_errands;

void naq_errands_init(naq_errands *e, naq_loop *loop);
/* False: too many are under way, or it was not sent; done is not called then. */
bool naq_errand_send(naq_errands *e, const char *subject, const void *data, size_t len,
                     int64_t within_ms, naq_errand_done done, void *ctx, int64_t arg);
void naq_errands_replied(naq_errands *e, uint32_t token, naq_msg *m);
/* Give up on those whose time is over. */
void naq_errands_tick(naq_errands *e, int64_t now_ms);
int64_t naq_errands_deadline(const naq_errands *e); /* INT64_MAX: none is under way */

#endif
