/* withdrawn.h -- jobs that somebody is taking out of the delayed store, so that their payload is
 * not published from our memory. One thread. */
#ifndef NAQ_RUN_WITHDRAWN_H
#define NAQ_RUN_WITHDRAWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

enum { NAQ_WITHDRAWN = 256 };

typedef struct naq_withdrawn {
    struct {
        char id[NAQ_ID_MAX + 1];
        int64_t at_ms;
    } ring[NAQ_WITHDRAWN];
    unsigned next;
    int64_t last_ms;   /* of the latest one; 0: none yet */
    int64_t unsaid_ms; /* of the latest one that is not in the ring any more */
} naq_withdrawn;

/* Told before the message is deleted. */
void naq_withdrawn_add(naq_withdrawn *w, const char *id, int64_t now_ms);
/* Whether what was read at read_ms may have been deleted since, or was about to be. */
bool naq_withdrawn_may_be(const naq_withdrawn *w, const char *id, int64_t read_ms);

#endif
