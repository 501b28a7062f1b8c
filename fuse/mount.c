/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mrmr-mount: the program that serves a mounted pool. `mrmr mount` and mount(8) start it.
 *
 * Detached (base/background.h), the child opens the pool, mounts and serves; when the mount is there it has no terminal any
 * more, and what it has to say goes to syslog.
 */
#include "fuse/daemon.h"
#include "fuse/mfs.h"

#include "base/background.h"
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>

enum { EXIT_USAGE = 2 };

/* --- what is told --- */

static bool to_syslog; /* set before any thread starts, and once when the mount is there */

static void log_line(enum mrmr_log_level level, const char *line, void *arg)
{
    static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
    (void)arg;
    if (__atomic_load_n(&to_syslog, __ATOMIC_RELAXED))
        syslog(priority[level], "%s", line);
    else
        fprintf(stderr, "mrmr: %s\n", line);
}

static void tell_story(void)
{
    char text[2048];
    fprintf(stderr, "mrmr: %s\n", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

struct readying {
    int pipe; /* to whoever started it; -1: nobody waits */
    struct pool_tree **tree;
    const struct mfs_options *options;
    struct mfs_daemon daemon;
};

static void go_to_background(int *pipe)
{
    openlog("mrmr-mount", LOG_PID, LOG_DAEMON);
    __atomic_store_n(&to_syslog, true, __ATOMIC_RELAXED);
    mrmr_background_alone();
    mrmr_background_ready(pipe);
}

static void mount_ready(void *arg)
{
    struct readying *readying = arg;
    const bool detached = readying->pipe >= 0;
    if (detached)
        go_to_background(&readying->pipe);
    if (!readying->options->daemon)
        return;
    /* Whoever can write the catalog would have root put files on drives, with what owner and mode he likes. */
    if (geteuid() == 0 && pool_is_ours(readying->options->pool))
        mrmr_log_story(
            MRMR_LOG_WARN, "what is new is not protected by itself (its owner may: mrmr daemon)");
    else if (pool_tree_writable(*readying->tree))
        mfs_daemon_start(
            &readying->daemon, readying->options->pool, &readying->options->files, detached);
    else
        mrmr_log(MRMR_LOG_WARN,
            "what is new is not protected by itself: the pool's folder %s "
            "cannot be written",
            readying->options->pool);
}

/* --- the mount --- */

/* Whoever mounts is told which drives are not there before the first of their files comes slowly, or not at
 * all. */
static mrmr_err tell_missing(struct pool *pool)
{
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n = 0;
    MRMR_TRY(pool_drives_known(pool, &views, &n));
    for (size_t i = 0; i < n; i++)
        if (views[i].presence != POOL_PRESENT && views[i].presence != POOL_DETACHED)
            mrmr_log(MRMR_LOG_WARN, "drive %s: %s%s", views[i].name, views[i].why,
                views[i].presence == POOL_DIVERGED
                    ? ""
                    : "; until then what is protected of its files is read by reconstruction");
    return MRMR_OK;
}

static mrmr_err mount_in(
    struct pool *pool, struct mfs_options *options, struct mfs_watchdog *dog, int pipe)
{
    mrmr_autofree char *mountpoint = NULL;
    struct mfs mfs = {
        .dog = dog, .passthrough = options->passthrough, .telling = PTHREAD_RWLOCK_INITIALIZER};
    struct readying readying = {.pipe = pipe, .tree = &mfs.tree, .options = options};
    struct pool_tree_events events = mfs_events;
    events.arg = &mfs;
    MRMR_TRY(mfs_mountpoint_check(pool, options, &mountpoint));
    MRMR_TRY(tell_missing(pool));
    MRMR_TRY(pool_tree_open(pool, &events, &mfs.tree));
    mrmr_err err = options->passthrough ? pool_tree_direct(mfs.tree) : MRMR_OK;
    if (!err)
        err = mfs_session_run(&mfs, options, mountpoint, mount_ready, &readying);
    struct mrmr_story story;
    mrmr_story_save(&story);
    mfs_daemon_stop(&readying.daemon);
    pool_tree_close(mfs.tree); /* if the session never came to it */
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}

static mrmr_err mount_run(struct mfs_options *options)
{
    int pipe = -1;
    struct pool *pool = NULL;
    struct mfs_watchdog dog;
    struct mrmr_story story;
    if (options->passthrough)
        MRMR_TRY(mfs_direct_check());
    if (!options->foreground)
        MRMR_TRY(mrmr_background("the mount", &pipe));
    MRMR_TRY(mfs_watchdog_start(&dog));
    mrmr_err err = pool_open(options->pool, POOL_LOOK, "mount", &pool);
    if (!err)
        err = mount_in(pool, options, &dog, pipe);
    mrmr_story_save(&story);
    pool_close(pool);
    mfs_watchdog_stop(&dog);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}

/* All but the mounting. */
static mrmr_err mount_rehearse(struct mfs_options *options)
{
    mrmr_autofree char *mountpoint = NULL;
    struct pool *pool = NULL;
    struct mrmr_story story;
    if (options->passthrough)
        MRMR_TRY(mfs_direct_check());
    MRMR_TRY(mfs_session_check(options));
    MRMR_TRY(pool_open(options->pool, POOL_LOOK, "mount", &pool));
    mrmr_err err = mfs_mountpoint_check(pool, options, &mountpoint);
    mrmr_story_save(&story);
    pool_close(pool);
    return err ? mrmr_story_restore(&story) : MRMR_OK;
}

int main(int argc, char **argv)
{
    struct mfs_options options = {.daemon = true, .args = FUSE_ARGS_INIT(0, NULL)};
    bool done;
    mrmr_standard_open();
    mallopt(M_ARENA_MAX, 4);
    /* An open file takes a descriptor on its drive. */
    if (getrlimit(RLIMIT_NOFILE, &options.files) == 0) {
        const struct rlimit files = {options.files.rlim_max, options.files.rlim_max};
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
    umask(0); /* each caller's own applies */
    if (mfs_options_parse(argc, argv, &options, &done)) {
        mfs_options_free(&options);
        return EXIT_USAGE;
    }
    mrmr_log_set(log_line, NULL, options.verbose ? MRMR_LOG_DEBUG : MRMR_LOG_WARN);
    mrmr_err err = done ? MRMR_OK : options.fake ? mount_rehearse(&options) : mount_run(&options);
    if (err)
        tell_story();
    mfs_options_free(&options);
    return err ? EXIT_FAILURE : EXIT_SUCCESS;
}
