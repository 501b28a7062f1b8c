/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fault_fs FOLDER MOUNTPOINT: a folder, as a file system that fails as it is told. It has files and
 * folders only: no links, no special files, no extended attributes. For root, whose everything is that
 * is made in it. It stays in the foreground.
 *
 * It is told by lines on standard input, "FAULT PATTERN" or "well", and answers each with a line: how
 * many calls the fault before had befallen. One fault is in force at a time, for the paths (relative
 * to FOLDER) that the pattern of fnmatch(3) matches; in it `*` goes over slashes, and @(a|b) is one of both.
 *
 *   half   a read gives half of what was asked for: what read(2) may do
 *   cut    there is nothing to read behind the middle of a file, whatever its size is said to be
 *   wrong  a bit of every byte at a multiple of 4096 is another one
 *   eio    every call fails
 *   hang   every call waits, until it is told otherwise
 *
 * When standard input ends, as it does when a test dies, nothing fails any more, what hangs goes on, and it unmounts itself. The
 * kernel caches nothing of it, so that a fault is in force at once.
 *
 * Threads: libfuse's, and one that reads what it is told. `lock` guards the fault.
 */
#define FUSE_USE_VERSION 312

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <fuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WRONG_EACH = 4096, LINE_MOST = 1024 };

enum fault { WELL, HALF, CUT, WRONG, FAIL, HANG };
static const char *const fault_names[] = {"well", "half", "cut", "wrong", "eio", "hang"};

static int root;               /* the folder */
static const char *mountpoint; /* absolute */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
/* Guarded by lock. */
static enum fault fault;
static char pattern[LINE_MOST];
static unsigned long befallen;

/* --- faults --- */

static const char *in(const char *path)
{
    return path[1] ? path + 1 : ".";
}

/* path: NULL if the file has lost its name. */
static int is_meant_locked(const char *path)
{
    return fault != WELL && path && fnmatch(pattern, path[1] ? path + 1 : "", FNM_EXTMATCH) == 0;
}

static enum fault read_fault(const char *path)
{
    pthread_mutex_lock(&lock);
    const enum fault now =
        is_meant_locked(path) && (fault == HALF || fault == CUT || fault == WRONG) ? fault : WELL;
    befallen += now != WELL;
    pthread_mutex_unlock(&lock);
    return now;
}

/* What befalls every call: waits, or gives an error. */
static int call_fault(const char *path)
{
    int err = 0;
    pthread_mutex_lock(&lock);
    if (is_meant_locked(path) && fault == FAIL) {
        befallen++;
        err = -EIO;
    } else if (is_meant_locked(path) && fault == HANG) {
        befallen++;
        while (fault == HANG)
            pthread_cond_wait(&told, &lock);
    }
    pthread_mutex_unlock(&lock);
    return err;
}

#define TRY(expr)                                                                                  \
    do {                                                                                           \
        int err_ = (expr);                                                                         \
        if (err_)                                                                                  \
            return err_;                                                                           \
    } while (0)

static unsigned long take_up(enum fault now, const char *of)
{
    pthread_mutex_lock(&lock);
    const unsigned long before = befallen;
    befallen = 0;
    fault = now;
    snprintf(pattern, sizeof pattern, "%s", of);
    pthread_cond_broadcast(&told);
    pthread_mutex_unlock(&lock);
    return before;
}

static void *listen_to(void *arg)
{
    char line[LINE_MOST];
    (void)arg;
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *of = line + strcspn(line, " ");
        of += *of ? (*of = '\0', 1) : 0;
        size_t i = 0;
        while (i < sizeof fault_names / sizeof *fault_names && strcmp(line, fault_names[i]) != 0)
            i++;
        if (i == sizeof fault_names / sizeof *fault_names)
            printf("unknown: %s\n", line);
        else
            printf("%lu\n", take_up((enum fault)i, of));
        fflush(stdout);
    }
    take_up(WELL, "");
    umount2(mountpoint, MNT_DETACH);
    return NULL;
}

/* --- the folder, as it is --- */

static int done(ssize_t rc)
{
    return rc < 0 ? -errno : 0;
}

static void *op_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    pthread_t thread;
    (void)conn;
    config->use_ino = config->hard_remove = config->direct_io = 1;
    config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
    if (pthread_create(&thread, NULL, listen_to, NULL))
        abort();
    pthread_detach(thread);
    return NULL;
}

static int op_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    return done(fi ? fstat((int)fi->fh, st) : fstatat(root, in(path), st, AT_SYMLINK_NOFOLLOW));
}

static int op_mkdir(const char *path, mode_t mode)
{
    TRY(call_fault(path));
    return done(mkdirat(root, in(path), mode));
}

static int op_unlink(const char *path)
{
    TRY(call_fault(path));
    return done(unlinkat(root, in(path), 0));
}

static int op_rmdir(const char *path)
{
    TRY(call_fault(path));
    return done(unlinkat(root, in(path), AT_REMOVEDIR));
}

static int op_rename(const char *path, const char *to, unsigned flags)
{
    TRY(call_fault(path));
    return done(renameat2(root, in(path), root, in(to), flags));
}

static int op_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    return done(fi ? fchmod((int)fi->fh, mode) : fchmodat(root, in(path), mode, 0));
}

static int op_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    return done(fi ? fchown((int)fi->fh, uid, gid)
                   : fchownat(root, in(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int op_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    return done(
        fi ? futimens((int)fi->fh, times) : utimensat(root, in(path), times, AT_SYMLINK_NOFOLLOW));
}

static int open_as(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    int fd = openat(root, in(path), fi->flags | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    fi->fh = (uint64_t)fd;
    return 0;
}

static int op_open(const char *path, struct fuse_file_info *fi)
{
    fi->flags &= ~(O_APPEND | O_DIRECT); /* the kernel says where to write */
    return open_as(path, 0, fi);
}

static int op_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    fi->flags &= ~(O_APPEND | O_DIRECT);
    return open_as(path, mode, fi);
}

static int op_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    if (fi)
        return done(ftruncate((int)fi->fh, size));
    int fd = openat(root, in(path), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int err = done(ftruncate(fd, size));
    close(fd);
    return err;
}

static int op_read(
    const char *path, char *buf, size_t size, off_t offset, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    struct stat st;
    const enum fault now = read_fault(path);
    if (now == CUT) {
        TRY(done(fstat((int)fi->fh, &st)));
        const off_t left = st.st_size / 2 > offset ? st.st_size / 2 - offset : 0;
        size = (size_t)left < size ? (size_t)left : size;
    }
    ssize_t n = pread((int)fi->fh, buf, now == HALF && size > 1 ? size / 2 : size, offset);
    const off_t first = (offset + WRONG_EACH - 1) / WRONG_EACH * WRONG_EACH;
    for (off_t at = first; now == WRONG && at < offset + n; at += WRONG_EACH)
        buf[at - offset] ^= 1;
    return n < 0 ? -errno : (int)n;
}

static int op_write(
    const char *path, const char *buf, size_t size, off_t offset, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    ssize_t n = pwrite((int)fi->fh, buf, size, offset);
    return n < 0 ? -errno : (int)n;
}

static int op_release(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    return done(close((int)fi->fh));
}

static int op_fsync(const char *path, int data, struct fuse_file_info *fi)
{
    TRY(call_fault(path));
    return done(data ? fdatasync((int)fi->fh) : fsync((int)fi->fh));
}

static int op_statfs(const char *path, struct statvfs *fs)
{
    TRY(call_fault(path));
    return done(fstatvfs(root, fs));
}

static int op_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
    struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
    (void)offset;
    (void)fi;
    (void)flags;
    TRY(call_fault(path));
    int fd = openat(root, in(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return -errno;
    for (struct dirent *entry; (entry = readdir(folder));) {
        const struct stat st = {.st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type)};
        fill(buf, entry->d_name, &st, 0, 0);
    }
    closedir(folder);
    return 0;
}

static const struct fuse_operations ops = {
    .init = op_init,
    .getattr = op_getattr,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .rename = op_rename,
    .chmod = op_chmod,
    .chown = op_chown,
    .truncate = op_truncate,
    .open = op_open,
    .create = op_create,
    .read = op_read,
    .write = op_write,
    .statfs = op_statfs,
    .release = op_release,
    .fsync = op_fsync,
    .readdir = op_readdir,
    .utimens = op_utimens,
};

int main(int argc, char **argv)
{
    if (argc != 3 || argv[2][0] != '/') {
        fprintf(stderr, "usage: fault_fs FOLDER MOUNTPOINT (absolute)\n");
        return 2;
    }
    umask(0);
    mountpoint = argv[2];
    root = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    /* What hangs has a thread each. */
    char *args[] = {argv[0], (char *)"-f", (char *)"-o",
        (char *)"fsname=fault,subtype=fault,default_permissions,allow_other,max_threads=100,max_"
                "idle_threads=10",
        argv[2], NULL};
    return fuse_main(sizeof args / sizeof *args - 1, args, &ops, NULL);
}
