/* withdrawn.c -- the latest ones, in a ring; of those before only when the last of them was. */
#include "run/withdrawn.h"

#include <stdio.h>
#include <string.h>

/* From the notice to the deletion: two requests of whoever withdraws. */
enum { DELETED_WITHIN_MS = 1000 };

void naq_withdrawn_add(naq_withdrawn *w, const char *id, int64_t now_ms) {
    unsigned i = w->next++ % NAQ_WITHDRAWN;
    if (w->ring[i].at_ms > w->unsaid_ms) w->unsaid_ms = w->ring[i].at_ms;
    (void)snprintf(w->ring[i].id, sizeof w->ring[i].id, "%s", id);
    w->ring[i].at_ms = w->last_ms = now_ms;
}

bool naq_withdrawn_may_be(const naq_withdrawn *w, const char *id, int64_t read_ms) {
    if (w->last_ms == 0 || read_ms > w->last_ms + DELETED_WITHIN_MS) return false;
    if (w->unsaid_ms > 0 && read_ms <= w->unsaid_ms + DELETED_WITHIN_MS) return true;
    for (unsigned i = 0; i < NAQ_WITHDRAWN && i < w->next; i++)
        if (read_ms <= w->ring[i].at_ms + DELETED_WITHIN_MS && strcmp(w->ring[i].id, id) == 0)
            return true;
    return false;
}
