/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/ours.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

mrmr_err mrmr_ours_check(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return mrmr_fail_errno(errno, "look at", path);
    const uintmax_t owner = st.st_uid, user = geteuid();
    if (owner != user && owner != 0) {
        mrmr_fail(MRMR_DENIED, "%s belongs to user %ju, who would decide for user %ju", path, owner,
            user);
        return mrmr_err_hint(MRMR_DENIED, "run mrmr as its owner, or give it to root");
    }
    if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        mrmr_fail(MRMR_DENIED, "%s can be written by %s, who would decide for user %ju", path,
            st.st_mode & S_IWOTH ? "everybody" : "its group", user);
        return mrmr_err_hint(MRMR_DENIED, "take that away: chmod go-w %s", path);
    }
    return MRMR_OK;
}
