/* library.h -- libnats itself: opened once a process, at the first connection. */
#ifndef NAQ_NATS_LIBRARY_H
#define NAQ_NATS_LIBRARY_H

#include "base/status.h"

/* Any thread; opens libnats the first time. Its threads do not survive a fork: pool.h guards that.
 */
naq_status naq_library_open(naq_err *err);

#endif
