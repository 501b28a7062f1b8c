/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A process's own standing: its standard descriptors, and going to the background.
 *
 * Detached, a program forks at once: the child does all of it, and the parent waits for its word, so that it ends when the
 * child is ready (0), or with why it is not, which the child has said (1).
 *
 * Threads: before any is started.
 */
#ifndef MRMR_BASE_BACKGROUND_H
#define MRMR_BASE_BACKGROUND_H

#include "base/err.h"

/* Standard input, output and error that are closed lead to where nothing can be read or written, so that no file gets their
 * number, and what is meant for them: writing fails as it would. */
void mrmr_standard_open(void);

/* In the child: *ret_pipe is for mrmr_background_ready. In the parent it does not return. what: for the error. */
mrmr_err mrmr_background(const char *what, int *ret_pipe);
/* The standard descriptors lead nowhere, and the working folder is /, so that nothing is kept busy. */
void mrmr_background_alone(void);
/* The parent may end. *pipe is closed, and -1. */
void mrmr_background_ready(int *pipe);

#endif
