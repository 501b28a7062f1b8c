/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Roots on this machine: what becomes of a drive whose root, mount or medium goes away, what is
 * mounted below it, who races with it, and what a user without rights sees.
 */
#include "base/clock.h"
#include "contract.h"
#include "tests/support/pause.h"
#include "tests/support/skip.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

struct path {
    char text[1024];
};

static struct path below(const struct contract *c, const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", c->host, name);
    return path;
}

static mrmr_err ignore_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name;
    (void)stat;
    (void)arg;
    return err;
}

/* --- the root --- */

static void bad_roots_are_refused(void **state)
{
    struct contract *c = *state;
    struct drv *drv = NULL;
    assert_err(drv_open(below(c, "none").text, &drv), MRMR_NO_DRIVE);
    assert_true(mrmr_story_get()->hint[0]);
    make_file(c, "f", "x");
    assert_err(drv_open(below(c, "f").text, &drv), MRMR_NOT_DIR);
    assert_err(drv_open(below(c, "f/x").text, &drv), MRMR_NOT_DIR);
    assert_null(drv);
}

static void the_root_is_what_was_opened(void **state)
{
    struct contract *c = *state;
    struct drv *drv = NULL;
    struct drv_stat stat;
    struct path link = below(c, "link"), uri;
    assert_ok(drv_mkdir(c->drv, "real", 0755));
    assert_ok(drv_mkdir(c->drv, "other", 0755));
    make_file(c, "real/f", "x");
    assert_int_equal(symlink("real", link.text), 0);
    snprintf(uri.text, sizeof uri.text, "local://%.1000s/", link.text);
    assert_ok(drv_open(uri.text, &drv)); /* a symlink in the URI is the user's own */
    assert_int_equal(unlink(link.text), 0);
    assert_int_equal(symlink("other", link.text), 0);
    assert_ok(drv_stat(drv, "f", &stat));
    assert_ok(drv_rename(c->drv, "real", "moved", DRV_RENAME_REPLACE));
    assert_ok(drv_stat(drv, "f", &stat));
    drv_close(drv);
}

/* How many descriptors of this process lead to the folder, or below it. */
static size_t open_below(const char *folder)
{
    DIR *fds = opendir("/proc/self/fd");
    size_t n = 0;
    assert_non_null(fds);
    for (const struct dirent *fd; (fd = readdir(fds));) {
        char leads_to[1024];
        const ssize_t size = readlinkat(dirfd(fds), fd->d_name, leads_to, sizeof leads_to - 1);
        n += size >= (ssize_t)strlen(folder) && strncmp(leads_to, folder, strlen(folder)) == 0;
    }
    closedir(fds);
    return n;
}

static void a_root_is_let_go_of_and_taken_up(void **state)
{
    struct contract *c = *state;
    const struct path root = below(c, "root"), away = below(c, "away");
    struct drv *drv = NULL;
    struct drv_stat stat;
    assert_int_equal(mkdir(root.text, 0755),
        0); /* not through c->drv, whose threads may have it open for a moment longer */
    assert_int_equal(mkdir(below(c, "root/f").text, 0755), 0);
    assert_ok(drv_open(root.text, &drv));
    assert_true(open_below(root.text) > 0);
    drv_let_go(drv);
    assert_int_equal(open_below(root.text), 0);
    assert_int_equal(rename(root.text, away.text), 0);
    assert_err(drv_take_up(drv), MRMR_NO_DRIVE);
    assert_int_equal(mkdir(root.text, 0755), 0);
    assert_err(drv_take_up(drv), MRMR_NO_DRIVE); /* another one */
    assert_int_equal(open_below(root.text), 0);
    assert_int_equal(rmdir(root.text), 0);
    assert_int_equal(rename(away.text, root.text), 0);
    assert_ok(drv_take_up(drv));
    assert_ok(drv_stat(drv, "f", &stat));
    drv_let_go(drv);
    drv_close(drv);
}

static void a_deleted_root_is_offline(void **state)
{
    struct contract *c = *state;
    struct drv *drv = NULL;
    struct drv_stat stat;
    struct drv_space space;
    struct drv_file *file = NULL;
    assert_ok(drv_mkdir(c->drv, "root", 0755));
    assert_ok(drv_open(below(c, "root").text, &drv));
    assert_err(drv_stat(drv, "f", &stat), MRMR_ABSENT);
    assert_ok(drv_rmdir(c->drv, "root"));
    assert_err(drv_stat(drv, "f", &stat), MRMR_OFFLINE);
    assert_err(drv_stat(drv, "d/f", &stat), MRMR_OFFLINE);
    assert_err(drv_stat(drv, "", &stat), MRMR_OFFLINE);
    assert_err(drv_list(drv, "", ignore_entry, NULL), MRMR_OFFLINE);
    assert_err(drv_file_open(drv, "f", DRV_OPEN_READ, 0, &file), MRMR_OFFLINE);
    assert_err(
        drv_file_open(drv, "f", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file), MRMR_OFFLINE);
    assert_err(drv_mkdir(drv, "d", 0755), MRMR_OFFLINE);
    assert_err(drv_unlink(drv, "f"), MRMR_OFFLINE);
    assert_err(drv_space(drv, &space), MRMR_OFFLINE);
    assert_int_equal(mrmr_class_of(MRMR_OFFLINE), MRMR_CLASS_UNAVAILABLE);
    drv_close(drv);
}

static void a_deleted_folder_is_absent(void **state)
{
    struct contract *c = *state;
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    assert_ok(drv_rmdir(c->drv, "d"));
    assert_err(drv_list(c->drv, "d", ignore_entry, NULL), MRMR_ABSENT);
}

static void info_names_the_file_system(void **state)
{
    struct contract *c = *state;
    assert_true(c->info.fs_name[0]);
    assert_false(c->info.is_mountpoint);
    if (strstr(c->kind, "local")) /* whatever TMPDIR is on */
        return;
    assert_string_equal(c->info.fs_name, c->kind);
    assert_true(c->info.fs_id[0]);
    const uint32_t all = DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME | DRV_CAP_BTIME |
                         DRV_CAP_NS_TIMES | DRV_CAP_OWNER | DRV_CAP_MODE | DRV_CAP_XATTR |
                         DRV_CAP_HARDLINK | DRV_CAP_SYMLINK | DRV_CAP_SPECIAL | DRV_CAP_SPARSE |
                         DRV_CAP_RENAME_NOREPLACE | DRV_CAP_RENAME_EXCHANGE |
                         DRV_CAP_DURABLE_FILES | DRV_CAP_DURABLE_NAMES | DRV_CAP_CASE_SENSITIVE |
                         DRV_CAP_WRITABLE | DRV_CAP_OUR_CLOCK;
    bool reflink = strcmp(c->kind, "ext4") != 0;
    assert_int_equal(c->info.caps, all | (reflink ? DRV_CAP_REFLINK : 0));
    char mount[512];
    struct drv *drv = NULL;
    struct drv_info info;
    snprintf(mount, sizeof mount, "%s", c->host);
    *strrchr(mount, '/') = '\0';
    assert_ok(drv_open(mount, &drv));
    assert_ok(drv_info(drv, &info));
    assert_true(info.is_mountpoint);
    assert_string_not_equal(info.fs_id, c->info.fs_id); /* another root of the same file system */
    drv_close(drv);
}

/* Trying out what the file system can do leaves no trace. */
static void opening_leaves_no_trace(void **state)
{
    struct contract *c = *state;
    const struct drv_stat before = stat_of(c, "");
    contract_reopen(c);
    const struct drv_stat after = stat_of(c, "");
    assert_int_equal(before.mtime, after.mtime);
    assert_int_equal(before.ctime, after.ctime);
    struct dirent *entry;
    DIR *dir = opendir(c->host);
    assert_non_null(dir);
    while ((entry = readdir(dir)))
        assert_true(entry->d_name[0] == '.');
    closedir(dir);
}

/* --- mounts below the root --- */

static void expect_cross_device(struct contract *c)
{
    struct drv_stat stat;
    struct drv_file *file = NULL;
    assert_ok(drv_stat(c->drv, "mnt", &stat));
    assert_true(stat.dev != stat_of(c, "").dev);
    assert_err(drv_list(c->drv, "mnt", ignore_entry, NULL), MRMR_CROSS_DEVICE);
    assert_err(drv_stat(c->drv, "mnt/f", &stat), MRMR_CROSS_DEVICE);
    assert_err(drv_file_open(c->drv, "mnt/f", DRV_OPEN_READ, 0, &file), MRMR_CROSS_DEVICE);
    assert_err(drv_file_open(c->drv, "mnt/new", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file),
        MRMR_CROSS_DEVICE);
    assert_err(drv_mkdir(c->drv, "mnt/d", 0755), MRMR_CROSS_DEVICE);
    assert_err(drv_unlink(c->drv, "mnt/f"), MRMR_CROSS_DEVICE);
    assert_err(drv_rename(c->drv, "f", "mnt/g", DRV_RENAME_REPLACE), MRMR_CROSS_DEVICE);
    assert_err(drv_dir_sync(c->drv, "mnt"), MRMR_CROSS_DEVICE);
    assert_text(c, "f", "x");
}

static void mounts_below_are_not_entered(void **state)
{
    struct contract *c = *state;
    if (!host_may_mount())
        skip_for("mounting needs root");
    make_file(c, "f", "x");
    assert_ok(drv_mkdir(c->drv, "mnt", 0755));
    assert_ok(drv_mkdir(c->drv, "src", 0755));
    make_file(c, "src/f", "y");
    const struct path mnt = below(c, "mnt"), src = below(c, "src");
    assert_int_equal(mount("none", mnt.text, "tmpfs", 0, "size=1m"), 0);
    expect_cross_device(c);
    assert_int_equal(umount(mnt.text), 0);
    /* The same file system, bound: only the mount itself tells. */
    assert_int_equal(mount(src.text, mnt.text, NULL, MS_BIND, NULL), 0);
    expect_cross_device(c);
    assert_int_equal(umount(mnt.text), 0);
    assert_err(drv_list(c->drv, "mnt", ignore_entry, NULL), MRMR_OK);
}

/* --- races and hostile names --- */

struct swapper {
    char dir[600], link[600];
    atomic_bool stop;
};

/* Exchange a folder and a symlink that leads out of the root, again and again. */
static void *swap_names(void *arg)
{
    struct swapper *s = arg;
    while (!atomic_load(&s->stop))
        renameat2(AT_FDCWD, s->dir, AT_FDCWD, s->link, RENAME_EXCHANGE);
    return NULL;
}

static void a_swapped_symlink_leads_nowhere(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_RENAME_EXCHANGE | DRV_CAP_SYMLINK);
    struct path outside;
    struct swapper s = {.stop = false};
    pthread_t thread;
    unsigned inside = 0, refused = 0;
    snprintf(outside.text, sizeof outside.text, "%s-outside", c->host);
    assert_int_equal(mkdir(outside.text, 0755), 0);
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    make_file(c, "d/f", "inside");
    assert_int_equal(symlink(outside.text, below(c, "l").text), 0);
    strncat(outside.text, "/f", 3);
    int fd = open(outside.text, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    snprintf(s.dir, sizeof s.dir, "%.500s/d", c->host);
    snprintf(s.link, sizeof s.link, "%.500s/l", c->host);
    assert_int_equal(pthread_create(&thread, NULL, swap_names, &s), 0);
    for (int i = 0; i < 1000 || ((!inside || !refused) && i < 1000000); i++) {
        mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
        mrmr_err err = drv_read_all(c->drv, "d/f", 100, &b);
        assert_true(err == MRMR_OK || err == MRMR_LOOP);
        inside += !err;
        refused += !!err;
        if (!err)
            assert_string_equal(b.data, "inside");
        err = drv_unlink(c->drv, "d/absent");
        assert_true(err == MRMR_ABSENT || err == MRMR_LOOP);
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    unlink(outside.text);
    outside.text[strlen(outside.text) - 2] = '\0';
    rmdir(outside.text);
    assert_true(inside > 0 && refused > 0);
}

static void a_bound_socket_is_not_opened(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(chdir(c->host), 0); /* socket paths have 108 bytes at most */
    strcpy(addr.sun_path, "sock");
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    assert_int_equal(fchdir(here), 0);
    assert_int_equal(stat_of(c, "sock").type, DRV_SOCKET);
    assert_err(drv_file_open(c->drv, "sock", DRV_OPEN_READ, 0, &file), MRMR_INVALID);
    close(fd);
    close(here);
}

static void access_times_stay(void **state)
{
    struct contract *c = *state;
    struct stat before, after;
    make_file(c, "f", "x");
    const struct path path = below(c, "f");
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
    assert_int_equal(utimensat(AT_FDCWD, path.text, old, 0), 0);
    assert_int_equal(stat(path.text, &before), 0);
    assert_text(c, "f", "x");
    assert_int_equal(stat(path.text, &after), 0);
    assert_int_equal(before.st_atim.tv_sec, after.st_atim.tv_sec);
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_MTIME, &(struct drv_stat){.mtime = 5}));
    assert_int_equal(stat(path.text, &after), 0);
    assert_int_equal(after.st_atim.tv_sec, 1000);
}

/* --- who writes a file --- */

static bool is_written(struct drv_file *file)
{
    bool written = false;
    assert_ok(drv_file_is_written(file, &written));
    return written;
}

/* Through descriptors and mappings of whatever process: not who reads, and not who wrote. */
static void who_writes_a_file_is_told(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    char text[4] = "";
    make_file(c, "f", "abc");
    const struct path path = below(c, "f");
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ, 0, &file));
    while (is_written(file)) /* a drive may close it a little later than we do */
        pause_a_while();
    int reads = open(path.text, O_RDONLY | O_CLOEXEC);
    assert_false(is_written(file));
    int writes = open(path.text, O_RDWR | O_CLOEXEC);
    assert_true(is_written(file));
    void *map = mmap(NULL, 3, PROT_READ | PROT_WRITE, MAP_SHARED, writes, 0);
    assert_true(map != MAP_FAILED);
    close(writes);
    assert_true(is_written(file));
    munmap(map, 3);
    assert_false(is_written(file));
    map = mmap(NULL, 3, PROT_READ, MAP_SHARED, reads, 0);
    assert_true(map != MAP_FAILED);
    assert_false(is_written(file));
    munmap(map, 3);
    close(reads);
    /* Asking leaves nothing behind that would keep a writer waiting. */
    writes = open(path.text, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    assert_true(writes >= 0);
    close(writes);
    int own = -1;
    assert_ok(drv_file_descriptor(file, &own));
    drv_file_close(file);
    assert_int_equal(pread(own, text, 3, 0), 3);
    assert_string_equal(text, "abc");
    assert_true(fcntl(own, F_GETFD) & FD_CLOEXEC);
    close(own);
}

/* Somebody holds a lease on the file, and gives it back on being asked: as whoever asks who writes. */
static void *leased_for_a_moment(void *arg)
{
    int fd = *(int *)arg;
    while (fcntl(fd, F_GETLEASE) == F_RDLCK)
        pause_a_while();
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return NULL;
}

static int lease_take(const struct path *path)
{
    int fd = open(path->text, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETSIG, SIGURG), 0); /* which does nothing */
    while (fcntl(fd, F_SETLEASE, F_RDLCK) < 0) {      /* a guard's thread is closing it yet */
        assert_int_equal(errno, EAGAIN);
        pause_a_while();
    }
    return fd;
}

static void a_lease_is_waited_for(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    pthread_t holder;
    make_file(c, "f", "abc");
    const struct path path = below(c, "f");
    int fd = lease_take(&path);
    assert_int_equal(pthread_create(&holder, NULL, leased_for_a_moment, &fd), 0);
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file));
    pthread_join(holder, NULL);
    drv_file_close(file);
    close(fd);
}

/* Whoever owns a file may keep a lease on it, whatever he is asked: the file is busy to who would write it,
 * before the deadline of any drive, and the drive serves. */
static void a_lease_that_is_kept_is_not_waited_for(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    make_file(c, "f", "abc");
    const struct path path = below(c, "f");
    int fd = lease_take(&path);
    const int64_t began = mrmr_clock_monotonic();
    assert_err(drv_file_open(c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file), MRMR_BUSY);
    assert_true(mrmr_clock_monotonic() - began < 5 * MRMR_NS_PER_S);
    assert_true(mrmr_story_get()->hint[0]);
    assert_text(c, "f", "abc");
    fcntl(fd, F_SETLEASE, F_UNLCK);
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file));
    drv_file_close(file);
    close(fd);
}

/* --- a user without rights --- */

/* In a child that is nobody: 0 if all is as it should be, else the number of the check that failed.
 */
static int as_nobody(const char *root)
{
    struct drv *drv = NULL;
    struct drv_info info;
    struct drv_file *file = NULL;
    struct drv_stat stat;
    char buf[1];
    size_t got;
    if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0 ||
        drv_open(root, &drv))
        return 1;
    if (drv_info(drv, &info) || (info.caps & DRV_CAP_WRITABLE))
        return 2;
    if (drv_file_open(drv, "secret", DRV_OPEN_READ, 0, &file) != MRMR_DENIED)
        return 3;
    if (drv_stat(drv, "closed/f", &stat) != MRMR_DENIED ||
        drv_list(drv, "closed", ignore_entry, NULL) != MRMR_DENIED)
        return 4;
    if (drv_mkdir(drv, "new", 0755) != MRMR_DENIED || drv_unlink(drv, "public") != MRMR_DENIED)
        return 5;
    /* Another's file: O_NOATIME is refused, reading is not. */
    if (drv_file_open(drv, "public", DRV_OPEN_READ, 0, &file) ||
        drv_file_read(file, 0, buf, 1, &got) || got != 1)
        return 6;
    drv_file_close(file);
    if (drv_set_attr(drv, "public", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0777}) != MRMR_DENIED)
        return 7;
    drv_close(drv);
    return 0;
}

static void rights_are_respected(void **state)
{
    struct contract *c = *state;
    int status = 0;
    if (geteuid() != 0)
        skip_for("to become another user takes root");
    make_file(c, "public", "x");
    make_file(c, "secret", "y");
    assert_ok(drv_mkdir(c->drv, "closed", 0700));
    make_file(c, "closed/f", "z");
    assert_ok(drv_set_attr(c->drv, "secret", DRV_ATTR_MODE, &(struct drv_stat){.mode = 0600}));
    int root = open(c->host, O_PATH | O_DIRECTORY | O_CLOEXEC);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) { /* the folders above are closed to nobody: enter while still root */
        _exit(fchdir(root) < 0 || chroot(".") < 0 ? 99
              : mkdir("proc", 0755) < 0 || mount("proc", "proc", "proc", 0, NULL) < 0
                  ? 98
                  : as_nobody("/"));
    }
    assert_true(pid > 0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    umount2(below(c, "proc").text, MNT_DETACH);
    close(root);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 98)
        skip_for("/proc cannot be mounted here");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- a medium that goes away --- */

#define SHUTDOWN_IOC _IOR('X', 125, uint32_t) /* EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN */

static void a_file_system_that_was_shut_down_is_unavailable(void **state)
{
    struct contract *c = *state;
    char path[512], name[32];
    struct drv *drv = NULL;
    struct drv_stat stat;
    struct drv_file *file = NULL, *again = NULL;
    if (strcmp(c->kind, "ext4") != 0 && strcmp(c->kind, "xfs") != 0)
        return; /* the others have no such switch */
    snprintf(name, sizeof name, "%s-shut", c->kind);
    assert_true(host_mount(c->kind, name, path, sizeof path));
    assert_ok(drv_open(path, &drv));
    assert_ok(drv_mkdir(drv, "d", 0755));
    assert_ok(drv_replace(drv, "d/f", "text", 4, 0644));
    assert_ok(drv_file_open(drv, "d/f", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint32_t how = 2; /* without flushing the log */
    assert_int_equal(ioctl(fd, SHUTDOWN_IOC, &how), 0);
    close(fd);
    mrmr_err errs[] = {
        drv_file_write(file, 0, "x", 1),
        drv_file_sync(file),
        drv_mkdir(drv, "new", 0755),
        drv_unlink(drv, "d/f"),
        drv_rename(drv, "d/f", "d/g", DRV_RENAME_REPLACE),
        drv_file_open(drv, "d/f", DRV_OPEN_READ, 0, &again),
        drv_stat(drv, "d/f", &stat),
        drv_stat(drv, "d/never-seen", &stat),
    };
    if (!strcmp(
            c->kind, "ext4")) { /* it goes on telling names and attributes from memory, and truly */
        assert_err(errs[6], MRMR_OK);
        assert_err(errs[7], MRMR_ABSENT);
        errs[6] = errs[7] = MRMR_OFFLINE;
    }
    for (size_t i = 0; i < sizeof errs / sizeof *errs; i++) {
        if (mrmr_class_of(errs[i]) != MRMR_CLASS_UNAVAILABLE)
            print_error("call %zu: %s\n", i, mrmr_err_name(errs[i]));
        assert_int_equal(mrmr_class_of(errs[i]), MRMR_CLASS_UNAVAILABLE);
    }
    drv_file_close(file);
    drv_close(drv);
    assert_int_equal(umount(path), 0);
}

const struct CMUnitTest cases_local[] = {
    CASE(bad_roots_are_refused),
    CASE(the_root_is_what_was_opened),
    CASE(a_root_is_let_go_of_and_taken_up),
    CASE(a_deleted_root_is_offline),
    CASE(a_deleted_folder_is_absent),
    CASE(info_names_the_file_system),
    CASE(opening_leaves_no_trace),
    CASE(mounts_below_are_not_entered),
    CASE(a_swapped_symlink_leads_nowhere),
    CASE(a_bound_socket_is_not_opened),
    CASE(access_times_stay),
    CASE(who_writes_a_file_is_told),
    CASE(a_lease_is_waited_for),
    CASE(a_lease_that_is_kept_is_not_waited_for),
    CASE(rights_are_respected),
    CASE(a_file_system_that_was_shut_down_is_unavailable),
};
const size_t cases_local_count = sizeof cases_local / sizeof *cases_local;
