/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mount, umount. What serves a mount is a program of its own, mrmr-mount, which lies beside this
 * one: so libfuse is no part of the command, and a mount goes on whatever becomes of it.
 */
#include "tools/cmd.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mounts.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* --- mount --- */

#define MOUNT_PROGRAM "mrmr-mount"

/* The program beside this one; free(). */
static mrmr_err mount_program(char **ret_path)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return mrmr_fail_errno(errno, "mount", "/proc/self/exe");
    self[n] = '\0';
    char *slash = strrchr(self, '/');
    if (asprintf(ret_path, "%.*s/%s", (int)(slash - self), self, MOUNT_PROGRAM) < 0)
        return mrmr_nomem();
    if (access(*ret_path, X_OK) == 0)
        return MRMR_OK;
    mrmr_err err = mrmr_fail_errno(errno, "mount", *ret_path);
    free(*ret_path);
    *ret_path = NULL;
    return mrmr_err_hint(err, "it belongs beside the command: install both");
}

static mrmr_err mount_run(struct cmd_call *call)
{
    mrmr_autofree char *program = NULL;
    const char *options = cmd_value(call, "options");
    char *args[9];
    size_t n = 0;
    MRMR_TRY(mount_program(&program));
    args[n++] = program;
    args[n++] = (char *)"--pool";
    args[n++] = (char *)call->dir;
    if (cmd_flag(call, "foreground"))
        args[n++] = (char *)"-f";
    if (options)
        args[n++] = (char *)"-o";
    if (options)
        args[n++] = (char *)options;
    args[n++] = (char *)"--";
    args[n++] = call->arg[0];
    args[n] = NULL;
    fflush(stdout);
    execv(program, args);
    return mrmr_fail_errno(errno, "mount", program);
}

const struct cmd cmd_mount = {
    .name = "mount",
    .args = "DIR",
    .summary = "show the pool as one tree, to read and write",
    .text = "Mounts the pool on an empty folder: all drives as one tree, as it is on them at this "
            "moment, to read and write.\nFiles of a drive that is away are read by reconstruction. "
            "What is new is protected by itself\n(mrmr daemon), unless -o nodaemon is said. "
            "Options are those of\nmount.fuse3(8), and passthrough: ro, noexec, allow_other, ... "
            "As root "
            "everyone may use it, as far as\nowner and mode allow.",
    .least = 1,
    .most = 1,
    .options = {{"foreground", 'f', NULL, "stay in the foreground, and log to standard error"},
        {"options", 'o', "OPTIONS", "mount options, separated by commas"}},
    .run = mount_run,
};

/* --- umount --- */

/* What another program mounted is not ours to take down. */
static mrmr_err umount_check(const char *path, struct mrmr_mounted *ret_mounted)
{
    MRMR_TRY(mrmr_mounts_at(path, ret_mounted));
    if (!*ret_mounted->type)
        return mrmr_err_hint(
            mrmr_err_path(mrmr_fail(MRMR_INVALID, "nothing is mounted there"), path),
            "what is mounted: findmnt -t " MRMR_MOUNTS_POOL);
    if (strcmp(ret_mounted->type, MRMR_MOUNTS_POOL) != 0)
        return mrmr_mounts_hint(
            mrmr_err_path(
                mrmr_fail(MRMR_INVALID, "a file system of type %s is mounted there, and no pool",
                    ret_mounted->type),
                path),
            "if it is not needed: umount", path);
    if (geteuid() != 0 && ret_mounted->user != getuid())
        return mrmr_err_hint(
            mrmr_err_path(
                mrmr_fail(MRMR_DENIED, "the user %lu mounted it", ret_mounted->user), path),
            "he can unmount it, and root");
    return MRMR_OK;
}

static mrmr_err umount_busy(mrmr_err err)
{
    return mrmr_err_hint(err, "close what is open there, or say --lazy");
}

/* As a user; what fusermount3 has to say goes to stderr. */
static mrmr_err umount_by_helper(const char *path, bool lazy)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        if (lazy)
            execlp("fusermount3", "fusermount3", "-u", "-z", "--", path, (char *)NULL);
        else
            execlp("fusermount3", "fusermount3", "-u", "--", path, (char *)NULL);
        _exit(127);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return mrmr_fail_errno(errno, "umount", path);
    if (child < 0)
        return mrmr_fail_errno(errno, "umount", path);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return MRMR_OK;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return mrmr_err_hint(
            mrmr_fail(MRMR_UNSUPPORTED, "fusermount3 is missing"), "install the package fuse3");
    return umount_busy(mrmr_err_path(mrmr_fail(MRMR_BUSY, "it was not unmounted"), path));
}

static mrmr_err umount_now(const char *path, bool lazy)
{
    if (geteuid() != 0)
        return umount_by_helper(path, lazy);
    if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
        return MRMR_OK;
    int why = errno;
    mrmr_err err = mrmr_fail_errno(why, "umount", path);
    return why == EBUSY ? umount_busy(err) : err;
}

/* So that the drives can be unmounted, or the pool mounted anew, right after it. */
static void umount_ended(const char *pool, const char *path)
{
    static const int64_t waits = 10 * MRMR_NS_PER_S;
    bool ended;
    if (pool_mount_ended(pool, path, waits, &ended))
        mrmr_log_story(MRMR_LOG_INFO, "whether the mount's process has ended");
    else if (!ended)
        mrmr_log(MRMR_LOG_WARN, "it is unmounted, but the process that served it has not ended "
                                "yet, and may use the drives still");
}

static mrmr_err umount_run(struct cmd_call *call)
{
    mrmr_autofree char *path = NULL;
    struct mrmr_mounted mounted;
    bool lazy = cmd_flag(call, "lazy");
    MRMR_TRY(mrmr_mounts_path(call->arg[0], "umount", &path));
    MRMR_TRY(umount_check(path, &mounted));
    MRMR_TRY(umount_now(path, lazy));
    if (!lazy)
        umount_ended(mounted.source, path);
    return MRMR_OK;
}

const struct cmd cmd_umount = {
    .name = "umount",
    .args = "DIR",
    .summary = "take a mounted pool down",
    .text = "Unmounts what mrmr mount mounted, and nothing else; the drives stay as they are. It "
            "returns once the process that "
            "served the mount has let go of them; with --lazy at once.",
    .least = 1,
    .most = 1,
    .options = {{"lazy", 'z', NULL,
        "also while files there are open: it goes when they are closed"}},
    .run = umount_run,
};
