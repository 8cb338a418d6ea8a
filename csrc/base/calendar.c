/* calendar.c -- the Gregorian calendar, counted in years that begin in March: the day that leap
 * years add is then the last of its year. */
#include "base/calendar.h"

enum { DAYS_IN_400_YEARS = 146097, MARCH_1_OF_YEAR_0 = -719468 };

static int64_t divide_down(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

int64_t naq_day_at(int64_t second) {
    return divide_down(second, NAQ_DAY_S);
}

int64_t naq_day_of(naq_date date) {
    int64_t year = date.month <= 2 ? date.year - 1 : date.year;
    int64_t era = divide_down(year, 400), of_era = year - era * 400;
    int64_t month = (date.month + 9) % 12; /* 0: March */
    int64_t of_year = (153 * month + 2) / 5 + date.day - 1;
    return MARCH_1_OF_YEAR_0 + era * DAYS_IN_400_YEARS + of_era * 365 + of_era / 4 - of_era / 100 +
           of_year;
}

naq_date naq_date_of(int64_t day) {
    int64_t n = day - MARCH_1_OF_YEAR_0, era = divide_down(n, DAYS_IN_400_YEARS);
    int64_t of_era = n - era * DAYS_IN_400_YEARS;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int month = (int)((5 * of_year + 2) / 153);
    naq_date date = {.day = (int)(of_year - (153 * month + 2) / 5 + 1),
                     .month = month < 10 ? month + 3 : month - 9};
    date.year = (int)(year + era * 400 + (date.month <= 2));
    return date;
}

int naq_month_length(int year, int month) {
    static const int LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 ? 28 + leap : LENGTHS[month - 1];
}

int naq_weekday_of(int64_t day) {
    return (int)(day + 4 - divide_down(day + 4, 7) * 7); /* 1970-01-01 was a Thursday */
}
