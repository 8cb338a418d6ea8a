/* rate.c -- arithmetic of the shared line of time. */
#include "run/rate.h"

#include "base/json.h"
#include "nats/reply.h"

enum {
    BATCH_US = 100000,
    SLACK_US = 200000, /* who waits and comes late by less than this has lost nothing */
    BREAK_MS = 1000,
    FAR_US = 500000,
    FAR_SAMPLES = 32,
    SMOOTH = 64
};

int naq_rate_take(double rate, int wanted, int64_t slack_us, int64_t now_us, int64_t *until_us,
                  int64_t *open_us) {
    double each_us = 1e6 / rate;
    double batch = BATCH_US / each_us;
    int most = batch < 1 ? 1 : batch > 1e9 ? 1000000000 : (int)batch;
    /* Further ahead than the largest batch nobody can have taken by this rate: the limit was lower
     * then, or a clock was set back. */
    double ahead = (double)now_us + most * each_us + SLACK_US;
    double at = (double)*until_us;
    if (at < (double)(now_us - slack_us)) at = (double)(now_us - slack_us);
    if (at > ahead) at = ahead;
    *open_us = (int64_t)at;
    if (*open_us > now_us || wanted <= 0) return 0;
    int n = wanted < most ? wanted : most;
    *until_us = (int64_t)(at + n * each_us);
    return n;
}

int64_t naq_rate_slack_us(naq_hunger *h, int64_t now_ms) {
    if (now_ms > h->lasts_ms) h->since_ms = now_ms;
    h->lasts_ms = now_ms + BREAK_MS;
    int64_t waited_us = (now_ms - h->since_ms) * 1000;
    return waited_us < SLACK_US ? waited_us : SLACK_US;
}

void naq_rate_wait(naq_hunger *h, int64_t open_ms) {
    h->lasts_ms = open_ms + BREAK_MS;
}

int64_t naq_rate_read(const char *text, size_t len) {
    return naq_reply_int((naq_slice){text, len}, "until", 0);
}

void naq_server_clock_begin(naq_server_clock *c, int64_t wall_us, int64_t mono_us) {
    c->ahead_us = wall_us - mono_us;
    c->late = -1; /* the first sample is better than our own clock */
}

/* A sample is late by the time the message took, so the earliest count most. */
void naq_server_clock_sample(naq_server_clock *c, int64_t stored_us, int64_t mono_us) {
    int64_t sample = stored_us - mono_us, behind = c->ahead_us - sample;
    if (behind <= 0 || c->late < 0) {
        c->ahead_us = sample;
        c->late = 0;
    } else if (behind < FAR_US) {
        c->ahead_us -= behind / SMOOTH;
        c->late = 0;
    } else if (++c->late >= FAR_SAMPLES) {
        c->ahead_us = sample; /* the server's clock was set back */
        c->late = 0;
    }
}
