/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * One drive as the commands show it.
 */
#ifndef MRMR_TOOLS_CMD_DRIVE_H
#define MRMR_TOOLS_CMD_DRIVE_H

#include "tools/cmd.h"

/* Its members, into the object that is open. */
void cmd_drive_json(struct mrmr_json *json, const struct pool_drive_view *view);
/* "present", "away", "held", "rebuilding", …: what matters most about it. */
const char *cmd_drive_word(const struct pool_drive_view *view);
/* If it is not there, that needs a look, with the reason. */
mrmr_err cmd_look_presence(struct cmd_call *call, const struct pool_drive_view *view);

#endif
