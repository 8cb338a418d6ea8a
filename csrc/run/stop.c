/* stop.c -- the words for each reason to stop a job. */
#include "run/stop.h"

#include <stdio.h>

#include "base/amount.h"

const char *naq_stop_code(naq_stop why) {
    static const char *const CODES[] = {
        [NAQ_STOP_NONE] = "",
        [NAQ_STOP_TIMEOUT] = "JOB_TIMEOUT",
        [NAQ_STOP_MEMORY] = "JOB_MEMORY",
        [NAQ_STOP_CPU] = "JOB_CPU",
        [NAQ_STOP_INSTRUCTIONS] = "JOB_INSTRUCTIONS",
        [NAQ_STOP_CANCELLED] = "JOB_CANCELLED",
        [NAQ_STOP_CUT_OFF] = "JOB_CUT_OFF",
        [NAQ_STOP_STUCK] = "JOB_STUCK",
    };
    return CODES[why];
}

const char *naq_stop_reason(naq_stop why) {
    static const char *const REASONS[] = {
        [NAQ_STOP_NONE] = "failed",
        [NAQ_STOP_TIMEOUT] = "timeout",
        [NAQ_STOP_MEMORY] = "memory",
        [NAQ_STOP_CPU] = "cpu",
        [NAQ_STOP_INSTRUCTIONS] = "instructions",
        [NAQ_STOP_CANCELLED] = "cancelled",
        [NAQ_STOP_CUT_OFF] = "cut_off",
        [NAQ_STOP_STUCK] = "stuck",
    };
    return REASONS[why];
}

void naq_stop_describe(naq_stop why, const naq_ceilings *c, char *out, size_t size) {
    char amount[40];
    switch (why) {
    case NAQ_STOP_TIMEOUT:
        (void)snprintf(out, size, "it ran longer than its timeout of %g s", c->timeout);
        break;
    case NAQ_STOP_MEMORY:
        naq_amount_format(c->memory, amount, sizeof amount);
        (void)snprintf(out, size, "it wanted more memory than its limit of %s", amount);
        break;
    case NAQ_STOP_CPU:
        (void)snprintf(out, size, "it used more CPU time than its limit of %g s", c->cpu);
        break;
    case NAQ_STOP_INSTRUCTIONS:
        (void)snprintf(out, size, "it ran more instructions than its limit of %lld",
                       (long long)c->instructions);
        break;
    case NAQ_STOP_CANCELLED:
        (void)snprintf(out, size, "it was cancelled");
        break;
    case NAQ_STOP_CUT_OFF:
        (void)snprintf(out, size, "its worker ended");
        break;
    default:
        (void)snprintf(out, size, "it could not be stopped");
        break;
    }
}
