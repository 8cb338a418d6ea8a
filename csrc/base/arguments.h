/* arguments.h -- this process's command line, as other users see it with ps. */
#ifndef NAQ_BASE_ARGUMENTS_H
#define NAQ_BASE_ARGUMENTS_H

/* Overwrite each place where text stands in it with stars. Call it while there is one thread.
 * Linux alone; elsewhere, and where /proc is not mounted, nothing happens. */
void naq_arguments_hide(const char *text);

#endif
