/* outbox.h -- what is published while a connection has lost its server: sent when it is back.
 *
 * libnats keeps such messages as well, but behind the connection's lock, which it holds through
 * each attempt to reconnect: with a server that accepts and stays mute, a publish would wait as
 * long as connecting may take. For the conn files alone; any thread. */
#ifndef NAQ_NATS_OUTBOX_H
#define NAQ_NATS_OUTBOX_H

#include <nats/nats.h>

#include "nats/conn.h"

enum { NAQ_OUTBOX_BYTES = 8 << 20 }; /* what libnats keeps, too */

typedef struct naq_outgoing {
    struct naq_outgoing *next;
    natsMsg *m;
} naq_outgoing;

typedef struct naq_outbox { /* guarded by the connection's mu */
    naq_outgoing *first, **last;
    size_t bytes;
} naq_outbox;

/* False: the connection has its server, and nothing was done. Else m is the outbox's, also when it
 * was refused, which *status and err tell: NAQ_TOO_LARGE, NAQ_CONNECTION when it is full. */
bool naq_outbox_take(naq_conn *c, natsMsg *m, naq_status *status, naq_err *err);
/* What is said when it is full, or libnats' own is. */
naq_status naq_outbox_full(naq_conn *c, const char *subject, naq_err *err);
/* On libnats' thread, once it is connected again: everything is handed over, in its order, and only
 * then c counts as not lost any more. */
void naq_outbox_send(naq_conn *c);
/* The connection ended before. */
void naq_outbox_clear(naq_conn *c);

#endif
