/* log.h -- one leveled sink for everything the core has to say. Any thread.
 *
 * A line is written with a single write(2), so lines of several threads or processes on one file
 * do not mix. Text: `2026-11-21T04:05:06.789Z info  worker host-1-ab: message`; JSON: one object a
 * line {"time", "level", "message"}. Secrets never reach it: URLs are passed through
 * naq_url_public. */
#ifndef NAQ_BASE_LOG_H
#define NAQ_BASE_LOG_H

#include <stdbool.h>

#include "base/status.h"

typedef enum naq_level { NAQ_DEBUG, NAQ_INFO, NAQ_WARNING, NAQ_ERROR } naq_level;

/* level: "debug", "info", "warning" (or "warn"), "error" ("critical"). False when unknown. */
bool naq_level_parse(const char *level, naq_level *out);

/* Process-wide, at any time. path NULL: stderr. */
naq_status naq_log_configure(naq_level level, bool json, const char *path, naq_err *err);

bool naq_log_enabled(naq_level level);
void naq_log(naq_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
