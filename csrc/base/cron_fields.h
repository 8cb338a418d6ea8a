/* cron_fields.h -- between the two halves of cron.h: cron_fields.c reads, cron.c searches. */
#ifndef NAQ_BASE_CRON_FIELDS_H
#define NAQ_BASE_CRON_FIELDS_H

#include "base/cron.h"

/* Whether any day matches, ever. */
bool naq_cron_possible(const naq_cron *cron);

#endif
