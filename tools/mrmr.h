/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of main: the table of commands, what the command line says, and help. Main thread only.
 */
#ifndef MRMR_TOOLS_MRMR_H
#define MRMR_TOOLS_MRMR_H

#include "tools/cmd.h"

/* All commands in the order of help; ends with NULL. */
extern const struct cmd *const mrmr_commands[];
const struct cmd *mrmr_command(const char *name); /* NULL: there is none */

/* What every command understands. */
extern const struct cmd_option mrmr_globals[]; /* ends with a NULL name */

struct mrmr_line {
    const struct cmd *cmd; /* NULL: none was named; then one of help and version is set */
    const char *pool;      /* NULL: not given */
    bool json, quiet, help, version;
    unsigned verbose;
    struct cmd_call call; /* cmd, arg, args, value */
};
/* Reads the command line. On wrong usage says so on stderr and returns MRMR_INVALID. argv is
 * reordered and must outlive the result. */
mrmr_err mrmr_parse(int argc, char **argv, struct mrmr_line *ret_line);

/* On stdout. */
void mrmr_help(void);
void mrmr_help_command(const struct cmd *cmd);

#endif
