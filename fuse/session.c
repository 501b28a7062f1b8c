/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * libfuse's session: mounted, served by many threads with a clone of the device each, unmounted.
 */
#include "fuse/mfs.h"

#include <stdio.h>
#include <string.h>

/* A thread waits at most as long as a drive may take to answer: so many that a drive which hangs
 * leaves some for the others. */
enum { THREADS_MOST = 64, THREADS_IDLE = 16 };

/* What libfuse said last, for the story of a mount that failed. */
static char fuse_words[256];

/* libfuse says some of its lines piece by piece. */
__attribute__((format(printf, 2, 0))) static void fuse_said(
    enum fuse_log_level level, const char *fmt, va_list args)
{
    static _Thread_local char line[sizeof fuse_words];
    const size_t used = strlen(line), said = strlen(fmt);
    vsnprintf(line + used, sizeof line - used, fmt, args);
    line[strcspn(line, "\n")] = '\0';
    if (level <= FUSE_LOG_ERR)
        memcpy(fuse_words, line, sizeof line);
    if (!said || fmt[said - 1] != '\n')
        return;
    mrmr_log(level <= FUSE_LOG_ERR ? MRMR_LOG_INFO : MRMR_LOG_DEBUG, "%s", line);
    line[0] = '\0';
}

static mrmr_err session_serve(struct mfs *mfs)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (!config)
        return mrmr_nomem();
    fuse_loop_cfg_set_clone_fd(config, 1);
    fuse_loop_cfg_set_max_threads(config, THREADS_MOST);
    fuse_loop_cfg_set_idle_threads(config, THREADS_IDLE);
    int failed = fuse_session_loop_mt(mfs->session, config);
    fuse_loop_cfg_destroy(config);
    /* A positive value is the signal that ended it. */
    return failed < 0 ? mrmr_fail_errno(-failed, "serve", "") : MRMR_OK;
}

static mrmr_err session_mount(struct mfs *mfs, const char *mountpoint)
{
    if (fuse_session_mount(mfs->session, mountpoint) == 0)
        return MRMR_OK;
    return mrmr_err_path(
        mrmr_fail(MRMR_DENIED, "it cannot be mounted%s%s", fuse_words[0] ? ": " : "", fuse_words),
        mountpoint);
}

static mrmr_err session_new(
    struct mfs *mfs, struct mfs_options *options, struct fuse_session **ret_session)
{
    fuse_set_log_func(fuse_said);
    *ret_session = fuse_session_new(&options->args, &mfs_ops, sizeof mfs_ops, mfs);
    return *ret_session ? MRMR_OK
                        : mrmr_err_hint(mrmr_fail(MRMR_INVALID, "libfuse refuses the options: %s",
                                            fuse_words),
                              "those that are known: man 8 mount.fuse3, and MOUNT in man 1 mrmr");
}

mrmr_err mfs_session_check(struct mfs_options *options)
{
    struct fuse_session *session;
    MRMR_TRY(session_new(NULL, options, &session));
    fuse_session_destroy(session);
    return MRMR_OK;
}

mrmr_err mfs_session_run(struct mfs *mfs, struct mfs_options *options, const char *mountpoint,
    void (*ready)(void *arg), void *arg)
{
    struct fuse_session *session;
    MRMR_TRY(session_new(mfs, options, &session));
    mrmr_err err = fuse_set_signal_handlers(session) == 0
                       ? MRMR_OK
                       : mrmr_fail(MRMR_INTERNAL, "signals cannot be handled");
    mfs->session = session;
    if (!err)
        err = session_mount(mfs, mountpoint);
    if (!err) {
        mfs_watchdog_mounted(mfs->dog, mountpoint);
        pool_tree_shown_at(mfs->tree, mountpoint);
        ready(arg);
        err = session_serve(mfs);
        mfs_watchdog_abort(mfs->dog);
        mfs_mute(mfs);
        fuse_session_unmount(session);
        if (mfs->refused)
            err = mfs_direct_refused();
    }
    fuse_remove_signal_handlers(session);
    /* The tree's threads may still tell: it is closed before the session is destroyed. */
    struct mrmr_story story;
    mrmr_story_save(&story);
    pool_tree_close(mfs->tree);
    mfs->tree = NULL;
    fuse_session_destroy(session);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}
