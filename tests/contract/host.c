/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A scratch folder and loop-mounted file systems that vanish with the process, even if it is
 * killed: the mounts live in a name space of their own, each image is unlinked as soon as it is
 * mounted, and a guard process, which sees the end of a pipe when this one dies, removes the
 * folder.
 */
#include "contract.h"

#include <fcntl.h>
#include <ftw.h>
#include <mntent.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char base[256];
static int guard_pipe = -1;
static pid_t guard_pid;
static bool may_mount;

const char *host_base(void)
{
    return base;
}

bool host_may_mount(void)
{
    return may_mount;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

/* Paths below may be longer than PATH_MAX: nftw steps into folders, and where it cannot, rm(1) can.
 */
static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    if (access(path, F_OK) == 0)
        host_run((const char *const[]){"rm", "-rf", "--one-file-system", path, NULL});
}

static void guard_run(int fd)
{
    char c;
    setsid();
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    while (read(fd, &c, 1) < 0 && errno == EINTR)
        ;
    remove_tree(base);
    _exit(0);
}

static bool is_below(const char *path, const char *folder)
{
    const size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && path[n] == '/';
}

/* What other tests have mounted would live on in this namespace when they unmount it, and their servers and devices with it.
 * The last ones first: they may lie on others. */
static void let_go(const char *tmp)
{
    enum { MOST = 1024 };
    static char *path[MOST];
    size_t n = 0;
    FILE *mounts = setmntent("/proc/self/mounts", "r");
    for (struct mntent *entry; mounts && n < MOST && (entry = getmntent(mounts));)
        if (is_below(entry->mnt_dir, tmp) || is_below(entry->mnt_dir, "/dev/shm"))
            path[n++] = strdup(entry->mnt_dir);
    if (mounts)
        endmntent(mounts);
    while (n > 0) {
        umount2(path[--n], MNT_DETACH);
        free(path[n]);
    }
}

void host_start(void)
{
    const char *tmp = getenv("TMPDIR");
    int fds[2];
    snprintf(base, sizeof base, "%s/mrmr-contract-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(base) || pipe2(fds, O_CLOEXEC) < 0) {
        perror(base);
        exit(1);
    }
    fflush(NULL);
    guard_pid = fork();
    if (guard_pid == 0) {
        close(fds[1]);
        guard_run(fds[0]);
    }
    close(fds[0]);
    guard_pipe = fds[1];
    may_mount = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
                mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
    if (may_mount)
        let_go(tmp && *tmp ? tmp : "/tmp");
    if (!may_mount)
        print_message("SKIPPED: ext4, xfs, btrfs and mounts below a root: only root may mount\n");
}

void host_stop(void)
{
    close(guard_pipe);
    waitpid(guard_pid, NULL, 0);
}

/* Spawned, not forked: a sanitizer's process has much to copy. */
int host_run(const char *const argv[])
{
    extern char **environ;
    posix_spawn_file_actions_t quiet;
    pid_t pid;
    int status = 0;
    fflush(NULL);
    posix_spawn_file_actions_init(&quiet);
    for (int fd = 0; fd < 3; fd++)
        posix_spawn_file_actions_addopen(&quiet, fd, "/dev/null", O_RDWR, 0);
    int err = posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&quiet);
    if (err)
        return 127;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static bool make_image(const char *fs, const char *image)
{
    char mkfs[32];
    int fd = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, 400 << 20) < 0) /* the least that mkfs.xfs takes is 300 MiB */
        return false;
    close(fd);
    snprintf(mkfs, sizeof mkfs, "mkfs.%s", fs);
    return host_run((const char *const[]){mkfs, !strcmp(fs, "ext4") ? "-q" : "-f", image, NULL}) ==
           0;
}

bool host_mount(const char *fs, const char *name, char *ret_path, size_t size)
{
    char image[300], path[300];
    if (!may_mount)
        return false;
    snprintf(image, sizeof image, "%s/%s.img", base, name);
    snprintf(path, sizeof path, "%s/%s", base, name);
    bool ok = make_image(fs, image) && mkdir(path, 0755) == 0 &&
              host_run((const char *const[]){"mount", "-o", "loop", image, path, NULL}) == 0;
    unlink(image);
    if (ok)
        snprintf(ret_path, size, "%s", path);
    else
        print_message("SKIPPED: %s: mkfs or a loop mount does not work here\n", fs);
    return ok;
}
