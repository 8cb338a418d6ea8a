/* calendar.h -- days of the Gregorian calendar as numbers and back: pure arithmetic. */
#ifndef NAQ_BASE_CALENDAR_H
#define NAQ_BASE_CALENDAR_H

#include <stdint.h>

enum { NAQ_DAY_S = 86400 };

typedef struct naq_date {
    int year, month, day; /* 1 to 12, 1 to 31 */
} naq_date;

/* Days since 1970-01-01, also before it. */
int64_t naq_day_of(naq_date date);
naq_date naq_date_of(int64_t day);
int naq_month_length(int year, int month);
/* 0: Sunday. */
int naq_weekday_of(int64_t day);
/* The day that a second since 1970 lies on, rounded down. */
int64_t naq_day_at(int64_t second);

#endif
