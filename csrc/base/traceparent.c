/* traceparent.c -- https://www.w3.org/TR/trace-context/#traceparent-header-field-values */
#include "base/traceparent.h"

#include <string.h>

enum { LENGTH = 55, TRACE = 3, SPAN = 36, FLAGS = 53 };

/* n lower-case hex digits; *zero: all of them are 0. */
static bool hex(const char *s, size_t n, bool *zero) {
    *zero = true;
    for (size_t i = 0; i < n; i++) {
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) return false;
        if (s[i] != '0') *zero = false;
    }
    return true;
}

bool naq_traceparent_valid(const char *s, size_t n) {
    bool zero, no_trace, no_span;
    if (n < LENGTH || !hex(s, 2, &zero) || memcmp(s, "ff", 2) == 0) return false;
    if (zero ? n != LENGTH : n > LENGTH && s[LENGTH] != '-') return false;
    return s[TRACE - 1] == '-' && s[SPAN - 1] == '-' && s[FLAGS - 1] == '-' &&
           hex(s + TRACE, SPAN - 1 - TRACE, &no_trace) && !no_trace &&
           hex(s + SPAN, FLAGS - 1 - SPAN, &no_span) && !no_span && hex(s + FLAGS, 2, &zero);
}
