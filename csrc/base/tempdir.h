/* tempdir.h -- directories below the temporary folder ($TMPDIR, else /tmp): made and removed. */
#ifndef NAQ_BASE_TEMPDIR_H
#define NAQ_BASE_TEMPDIR_H

#include <stddef.h>

#include "base/status.h"

/* Make <temporary folder>/<prefix>-XXXXXX, readable by its owner only. */
naq_status naq_tempdir_make(const char *prefix, char *out, size_t size, naq_err *err);

/* Remove a directory below the temporary folder with everything in it. Follows no symbolic link
 * and refuses every other path; one that does not exist is fine. */
naq_status naq_tempdir_remove(const char *path, naq_err *err);

#endif
