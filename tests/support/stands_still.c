/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Loaded before all else: a command that the pool's daemon runs (tools/daemon_wire.h) stands still before its main begins.
 */
#include <signal.h>
#include <stdlib.h>

__attribute__((constructor)) static void stand_still(void)
{
    if (getenv("MRMR_DIRECT"))
        raise(SIGSTOP);
}
