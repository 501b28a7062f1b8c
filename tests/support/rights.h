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

/* Of this thread, and those that it starts from then on: a right (CAP_...) that it has may be put down, and taken up again. */
static inline bool right_put(unsigned right, bool up)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    if (syscall(SYS_capget, &head, data) < 0)
        return false;
    if (up)
        data[0].effective |= 1U << right & data[0].permitted;
    else
        data[0].effective &= ~(1U << right);
    return syscall(SYS_capset, &head, data) == 0;
}

#endif
