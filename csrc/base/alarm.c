/* alarm.c -- a timerfd on the real-time clock. */
#include "base/alarm.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static const int64_t SECOND_US = 1000000;
/* Further off than this is told as this: whoever set it looks again then. */
static const int64_t FAR_US = INT64_C(86400) * 1000000;

naq_status naq_alarm_open(naq_alarm *a, naq_err *err) {
    a->at_us = INT64_MAX;
    a->fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (a->fd < 0) return naq_fail(err, NAQ_INVALID, "no timer to be had: %s", strerror(errno));
    return NAQ_OK;
}

void naq_alarm_close(naq_alarm *a) {
    if (a->fd >= 0) close(a->fd);
    a->fd = -1;
}

void naq_alarm_set(naq_alarm *a, int64_t wall_us) {
    if (a->at_us == wall_us) return;
    a->at_us = wall_us;
    struct itimerspec when = {.it_value = {0, 0}};
    if (wall_us != INT64_MAX) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        int64_t left = wall_us - naq_wall_us();
        if (left > FAR_US) left = FAR_US;
        if (left < 0) left = 0;
        int64_t at = (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000 + left;
        when.it_value.tv_sec = at / SECOND_US;
        when.it_value.tv_nsec = at % SECOND_US * 1000 + 1; /* never zero, which would be: off */
    }
    (void)timerfd_settime(a->fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, NULL);
}

void naq_alarm_rang(naq_alarm *a) {
    uint64_t count;
    if (read(a->fd, &count, sizeof count) < 0) {
        /* ECANCELED: the clock was set. Either way the owner looks at it again. */
    }
    a->at_us = INT64_MIN;
}
