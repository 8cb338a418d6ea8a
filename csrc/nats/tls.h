/* tls.h -- TLS of a connection: its files, and what OpenSSL is told that libnats does not tell it.
 *
 * Verification of the server's certificate, its host name included, is on unless skipped; without a
 * CA file the system's authorities are trusted. */
#ifndef NAQ_NATS_TLS_H
#define NAQ_NATS_TLS_H

#include "nats/conn.h"

/* Between naq_tls_begin() and naq_tls_end() every OpenSSL context that this thread's libnats calls
 * make is given an end of its handshakes after timeout_ms: libnats' own waits for ever, with its
 * connection locked. Around the setting of options, and around connecting. */
void naq_tls_begin(int64_t timeout_ms);
void naq_tls_end(void);

/* The last word of a thread that only connects or closes: frees what OpenSSL keeps for it now,
 * while somebody waits, and not when the process may be ending already. */
void naq_tls_leave_thread(void);

/* Whether o wants TLS: it says so, or one of its servers is a tls:// URL. */
bool naq_tls_wanted(const naq_conn_options *o);
/* Put o's TLS settings into options. NAQ_CONFIGURATION names the file that cannot be used. */
naq_status naq_tls_set(struct __natsOptions *options, const naq_conn_options *o, naq_err *err);

/* "the server's certificate has expired ...", NAQ_CONNECTION, for what libnats says of a failed
 * handshake; NAQ_TIMEOUT when it was not finished in time. */
naq_status naq_tls_explain(const char *text, naq_err *err);

#endif
