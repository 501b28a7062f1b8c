/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The log: lines for whoever operates the program. One sink for the process, set once at start by
 * the program (the default drops everything), so a library never prints. A message is one line, whatever names it has in
 * it: control characters are '?'. Never log a password or file content. Any thread; the sink is called with no
 * lock of ours held.
 */
#ifndef MRMR_BASE_LOG_H
#define MRMR_BASE_LOG_H

#include "base/err.h"

enum mrmr_log_level { MRMR_LOG_ERROR, MRMR_LOG_WARN, MRMR_LOG_INFO, MRMR_LOG_DEBUG };

typedef void (*mrmr_log_sink)(enum mrmr_log_level level, const char *line, void *arg);

/* Call before threads start. sink may be NULL. */
void mrmr_log_set(mrmr_log_sink sink, void *arg, enum mrmr_log_level most);

void mrmr_log(enum mrmr_log_level level, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The story of this thread's last error, after "what: ". */
void mrmr_log_story(enum mrmr_log_level level, const char *what);

#endif
