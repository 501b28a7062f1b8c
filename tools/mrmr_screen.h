/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Standard error: lines, and the progress of long work. On a terminal progress is one line that is
 * drawn again and again, as wide as the terminal; elsewhere it is a plain line when work begins and
 * every ten seconds at most. Lines and progress never mix up: the bar is cleared for a line and
 * drawn again after it.
 *
 * One screen for the process; any thread. Errors of the stream are ignored: work goes on when
 * nobody can look.
 */
#ifndef MRMR_TOOLS_MRMR_SCREEN_H
#define MRMR_TOOLS_MRMR_SCREEN_H

#include "base/log.h"
#include "pool/pool.h"

/* progress: whether to show it at all. */
void mrmr_screen_setup(bool progress, enum mrmr_log_level most);

/* Progress goes to this descriptor, too, in plain lines, whether it is shown or not: when a phase begins, and once a second at most.
 * Who writes there must not have to wait; what does not go in at once is left out. The descriptor is the caller's, and stays. */
void mrmr_screen_tell(int fd);

/* A line, with its line end added. */
void mrmr_screen_line(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The story of this thread's last error, after "mrmr: ". */
void mrmr_screen_story(void);

/* stopping: somebody has interrupted it. */
void mrmr_screen_progress(const struct pool_progress *progress, bool stopping);

/* The work has ended: the bar goes. */
void mrmr_screen_end(void);

#endif
