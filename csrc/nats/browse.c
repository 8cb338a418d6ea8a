/* browse.c -- one page of a stream: a scan that ends when the page is full. Caller's thread. */
#include "nats/browse.h"

#include <stdio.h>
#include <string.h>

#include "nats/scan.h"

/* Messages may be a megabyte each: what is on its way at once is kept small. */
enum { BATCH = 64 };

typedef struct page {
    naq_browse_visit visit;
    void *ctx;
    int left; /* messages that still fit */
    uint64_t next;
} page;

static bool put(void *ctx, natsMsg *m, const naq_delivery *at) {
    page *p = ctx;
    naq_browsed found = {natsMsg_GetSubject(m), natsMsg_GetData(m),
                         (size_t)natsMsg_GetDataLength(m), at->sequence, at->time_us};
    bool room = p->visit(p->ctx, &found) && --p->left > 0;
    if (!room && at->left > 0) p->next = at->sequence + 1;
    return room;
}

static naq_status check(const naq_browse *b, naq_err *err) {
    if (b->stream[0] == '\0' || strlen(b->stream) > 96 || strpbrk(b->stream, " .*>\t\r\n\"\\"))
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no stream name", b->stream);
    if (b->filter[0] == '\0' || strlen(b->filter) > 200 || strpbrk(b->filter, " \t\r\n"))
        return naq_fail(err, NAQ_INVALID, "\"%.96s\" is no subject", b->filter);
    return NAQ_OK;
}

naq_status naq_browse_page(naq_conn *c, const naq_browse *b, naq_browse_visit visit, void *ctx,
                           uint64_t *next, naq_err *err) {
    char what[160];
    (void)snprintf(what, sizeof what, "reading stream %.96s", b->stream);
    page p = {.visit = visit, .ctx = ctx, .left = b->limit > 0 ? b->limit : 1};
    naq_scan scan = {.stream = b->stream,
                     .filter = b->filter,
                     .what = what,
                     .missing = NAQ_KEY_NOT_FOUND,
                     .from = b->from,
                     .since_us = b->since_us,
                     .batch = BATCH,
                     .limit = p.left};
    naq_status status = check(b, err);
    if (status == NAQ_OK) status = naq_scan_run(c, &scan, put, &p, err);
    *next = p.next;
    return status;
}
