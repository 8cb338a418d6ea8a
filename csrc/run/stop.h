/* stop.h -- why a job is stopped, the ceilings it may reach, and the words for both. */
#ifndef NAQ_RUN_STOP_H
#define NAQ_RUN_STOP_H

#include <stddef.h>
#include <stdint.h>

/* Why a job is stopped. */
typedef enum naq_stop {
    NAQ_STOP_NONE,
    NAQ_STOP_TIMEOUT,
    NAQ_STOP_MEMORY,
    NAQ_STOP_CPU,
    NAQ_STOP_INSTRUCTIONS,
    NAQ_STOP_CANCELLED,
    NAQ_STOP_CUT_OFF, /* the worker ends: the job goes back to its queue, as if it had not begun */
    NAQ_STOP_STUCK    /* it could not be stopped: its thread is given up */
} naq_stop;

/* 0: none. */
typedef struct naq_ceilings {
    double timeout, cpu;  /* seconds */
    size_t memory;        /* bytes above the state's own */
    int64_t instructions; /* counted by the thousand */
} naq_ceilings;

/* "JOB_TIMEOUT"; "timeout", the reason of a dead letter; a sentence. */
const char *naq_stop_code(naq_stop why);
const char *naq_stop_reason(naq_stop why);
void naq_stop_describe(naq_stop why, const naq_ceilings *c, char *out, size_t size);

#endif
