/* listing.h -- the files below a directory. [reads the disk] */
#ifndef NAQ_BASE_LISTING_H
#define NAQ_BASE_LISTING_H

#include "base/buf.h"
#include "base/status.h"

/* Paths of all regular files below dir whose name ends in suffix, relative to dir, sorted, each
 * with its NUL, appended to out. Names that begin with a dot are passed over. NAQ_CONFIGURATION
 * when dir cannot be read. */
naq_status naq_list_files(const char *dir, const char *suffix, naq_buf *out, naq_err *err);

#endif
