/* alarm.h -- a descriptor that can be read when the wall clock reaches a moment, or was set to
 * another time. One thread.
 *
 * It goes by naq_wall_us(), also where a test has replaced that. */
#ifndef NAQ_BASE_ALARM_H
#define NAQ_BASE_ALARM_H

#include <stdint.h>

#include "base/status.h"

typedef struct naq_alarm {
    int fd; /* for an epoll set; -1: closed */
    int64_t at_us;
} naq_alarm;

naq_status naq_alarm_open(naq_alarm *a, naq_err *err);
void naq_alarm_close(naq_alarm *a); /* idempotent */
/* INT64_MAX: none, then a changed clock is not told of either. */
void naq_alarm_set(naq_alarm *a, int64_t wall_us);
/* The descriptor could be read: be silent again, and set to nothing. */
void naq_alarm_rang(naq_alarm *a);

#endif
