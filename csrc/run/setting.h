/* setting.h -- what is set for one queue: by its record in NATS, or by a worker's file. Pure. */
#ifndef NAQ_RUN_SETTING_H
#define NAQ_RUN_SETTING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "base/status.h"

enum {
    NAQ_SET_PAUSED = 1 << 0,
    NAQ_SET_CONCURRENCY = 1 << 1,
    NAQ_SET_RATE = 1 << 2,
    NAQ_SET_ACK_WAIT = 1 << 3
};

typedef struct naq_setting {
    unsigned given; /* which of these it says */
    bool paused;
    int concurrency; /* 0: no limit */
    double rate;     /* jobs a second; 0: no limit */
    int64_t ack_wait_ms;
} naq_setting;

/* The record of a queue, docs/wire.md. Members that naq does not know are nothing to it. A member
 * that cannot be used is left out, and err says which: NAQ_CONFIGURATION, the rest is good. */
naq_status naq_setting_read(naq_setting *out, const char *text, size_t len, naq_err *err);

/* The members of a record that are none of these, as a JSON object: the policy of the queue's jobs,
 * for the states that run them (lua/naq/runner.lua). Nothing is appended when there are none. */
void naq_setting_policy(const char *text, size_t len, naq_buf *out);

/* What holds: the record where it says something, else the file. */
naq_setting naq_setting_over(const naq_setting *record, const naq_setting *file);

/* The first thing that both say, and differently: its name; NULL when there is none. */
const char *naq_setting_differs(const naq_setting *record, const naq_setting *file);

/* "100/s", "600/m", "1000/h", "100": jobs a second; 0 for what is none of these. */
double naq_rate_parse(const char *text, size_t len);

#endif
