/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What this process may do.
 */
#ifndef MRMR_TESTS_RIGHTS_H
#define MRMR_TESTS_RIGHTS_H

#include <linux/capability.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Among other things, watch a whole file system. */
static inline bool may_administer(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    return syscall(SYS_capget, &head, data) == 0 && data[0].effective >> CAP_SYS_ADMIN & 1;
}

#endif
