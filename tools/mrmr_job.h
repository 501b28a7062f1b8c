/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Long work: progress and notices go to the screen, and SIGINT, SIGTERM and SIGHUP make it stop at
 * the next leaf. A second signal ends the process at once, which costs nothing but the work since
 * the last commit. A signal that was ignored when the program started stays ignored.
 *
 * One job at a time; the main thread.
 */
#ifndef MRMR_TOOLS_MRMR_JOB_H
#define MRMR_TOOLS_MRMR_JOB_H

#include "pool/pool.h"
#include "tools/cmd.h"

/* Takes the signals. The result is valid until end. */
const struct pool_job *mrmr_job_start(const struct cmd_call *call);
/* What nobody waits for gives way to everybody: with --background. Before threads are started. */
void mrmr_job_low(void);
/* The same, between the job's start and its work: no faster than worker-rate. */
mrmr_err mrmr_job_pace(const struct cmd_call *call, struct pool *pool);
/* Gives the signals back, and takes the bar off the screen. If err is MRMR_CANCELLED, says so, with
 * `again` as what to run to go on (NULL: says nothing), and sets the exit code. Returns MRMR_OK in this
 * case, else err. */
mrmr_err mrmr_job_end(struct cmd_call *call, mrmr_err err, const char *again);

#endif
