/* conn_state.h -- what a connection is made of: for the conn files alone. */
#ifndef NAQ_NATS_CONN_STATE_H
#define NAQ_NATS_CONN_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "nats/conn.h"
#include "nats/events.h"
#include "nats/inbox.h"
#include "nats/mailbox.h"
#include "nats/outbox.h"

typedef enum naq_conn_end {
    NAQ_CONN_OPEN,
    NAQ_CONN_GIVEN_UP, /* libnats has, after max_reconnect_attempts */
    NAQ_CONN_SHUT,     /* for everybody, by naq_conn_shut() */
    NAQ_CONN_DROPPED   /* by its last holder: nothing more is told */
} naq_conn_end;

typedef struct naq_denial naq_denial;

struct naq_conn {
    natsConnection *nc;
    pid_t pid;
    atomic_int holders;
    atomic_bool unsaid;   /* published, and nothing heard from the server since */
    atomic_llong mute_ms; /* until then it counts as mute */
    atomic_int end;       /* a naq_conn_end: every use of the connection asks for it first */
    atomic_bool lost;     /* it has no server now; known a moment late */
    atomic_int closed;    /* conn_close.c: was libnats asked to, has it said so */
    atomic_bool quiet;
    atomic_int reconnects;
    atomic_llong max_payload; /* of the server connected to last */
    char servers[256];        /* for messages */
    naq_events events;

    pthread_mutex_t closing; /* held while closing; guards the end of nc */
    pthread_mutex_t telling; /* guards listeners; held while they are told */
    naq_conn_listener *listeners;
    pthread_mutex_t mu; /* guards the rest; a leaf: nothing is called while it is held */
    naq_denial *denied; /* the last of them; NULL: none so far */
    uint64_t denials;   /* how many there were */
    pthread_cond_t more_denied;
    naq_conn_bounded *bounded;
    naq_mailbox *mailboxes; /* idle ones */
    naq_grave *graves;      /* subscriptions that are over, or are to be */
    naq_outbox outbox;      /* empty while it is not lost */
    naq_server_info known;  /* what the greeting of server known.id said */
    int cluster_size;
    char **cluster;          /* see naq_conn_cluster() */
    naq_conn_counts counted; /* when it was last asked, and had its server */
};

/* conn_close.c. One holder less; the last one frees it. */
void naq_conn_let_go(naq_conn *c);
/* conn_close.c. The last word of libnats about c. */
void naq_conn_said_closed(naq_conn *c);
/* conn_close.c. False when it ended before: only the first end counts. */
bool naq_conn_end_as(naq_conn *c, naq_conn_end end);
/* conn_cluster.c. What it knows of its cluster by now; while it is connected. */
void naq_conn_learn(naq_conn *c);
/* conn_denied.c. The server's sentence that refuses a subject. */
void naq_conn_note_denial(naq_conn *c, const char *sentence);
/* conn_watch.c. Have libnats tell c what happens to the connection made with options. */
natsStatus naq_conn_watch(natsOptions *options, naq_conn *c);

#endif
