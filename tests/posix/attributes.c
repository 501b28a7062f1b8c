/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Modes and owners, and the times that go on with every kind of change.
 */
#include "script.h"
#include <sys/statvfs.h>
#include <sys/xattr.h>

static void modes(void)
{
    static const mode_t some[] = {0, 0111, 0222, 0444, 0640, 0777, 01644, 02755, 04755, 07777};
    CASE("chmod");
    script_put("f", "x");
    CALL(mkdir("d", 0755));
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        CALL(chmod("f", some[i]));
        script_stat("f");
        CALL(chmod("d", some[i]));
        script_stat("d");
    }
    CALL(chmod("d", 0755));
    int fd = open("d", O_RDONLY);
    CALL(fchmod(fd, 0711));
    script_stat("d");
    close(fd);
    CALL(chmod("f", 0644));
    fd = open("f", O_RDONLY);
    CALL(fchmod(fd, 0604));
    CALL(fchmod(fd, 0100604));
    script_fstat(fd);
    close(fd);
    CALL(chmod("none", 0644));
    CALL(chmod("f/none", 0644));
    CALL(symlink("f", "s"));
    CALL(fchmodat(AT_FDCWD, "s", 0600, AT_SYMLINK_NOFOLLOW));
    script_stat("f");
    script_stat("s");
}

static void rights_of_the_owner(void)
{
    CASE("access");
    static const mode_t some[] = {0, 0400, 0200, 0100, 0700, 0077};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        MUST(chmod("f", some[i]));
        CALL(access("f", R_OK));
        CALL(access("f", W_OK));
        CALL(access("f", X_OK));
        OPENS(open("f", O_RDONLY));
        OPENS(open("f", O_WRONLY));
        CALL(truncate("f", 0));
    }
    CASE("access to folders");
    script_put("d/f", "x");
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        MUST(chmod("d", some[i]));
        CALL(access("d/f", F_OK));
        script_list("d");
        OPENS(open("d/g", O_RDWR | O_CREAT, 0644));
        CALL(rename("d/f", "d/f2"));
        CALL(rename("d/f2", "d/f"));
        CALL(unlink("d/g"));
    }
    MUST(chmod("d", 0755));
    MUST(chmod("f", 0644));
}

static void owners(void)
{
    CASE("chown");
    CALL(chown("f", (uid_t)-1, (gid_t)-1));
    CALL(chown("f", getuid(), getgid()));
    CALL(chown("f", (uid_t)-1, CLUB));
    script_stat("f");
    CALL(chown("f", BOB, (gid_t)-1));
    script_stat("f");
    CALL(chown("f", BOB, BOB));
    script_stat("f");
    CALL(lchown("s", (uid_t)-1, CLUB));
    script_stat("s");
    CALL(chown("s", (uid_t)-1, getgid()));
    script_stat("f");
    script_stat("s");
    CALL(chown("d", (uid_t)-1, CLUB));
    script_stat("d");
    int fd = open("f", O_RDONLY);
    CALL(fchown(fd, getuid(), CLUB));
    script_fstat(fd);
    close(fd);
    CALL(chown("none", 1, 1));
    CALL(chown("f", 0, 0));
    CALL(chown("d", (uid_t)-1, getgid()));
    CALL(chown("f", getuid(), getgid()));
}

/* What follows a change of a file in it and in its folder. */
#define CHANGE(call, file)                                                                         \
    do {                                                                                           \
        struct stat before_file = script_seen(file), before_folder = script_seen("d");             \
        script_call(#call, (call));                                                                \
        script_changes(file, &before_file);                                                        \
        script_changes("d", &before_folder);                                                       \
    } while (0)

static void times_that_go_on(void)
{
    char value[20];
    CASE("times that go on");
    script_put("d/a", "bytes");
    script_put("d/b", "bytes");
    CHANGE(chmod("d/a", 0600), "d/a");
    CHANGE(chmod("d/a", 0600), "d/a");
    CHANGE(chown("d/a", (uid_t)-1, getgid()), "d/a");
    CHANGE(truncate("d/a", 2), "d/a");
    CHANGE(setxattr("d/a", "user.x", "y", 1, 0), "d/a");
    CHANGE(getxattr("d/a", "user.x", value, sizeof value), "d/a");
    CHANGE(removexattr("d/a", "user.x"), "d/a");
    CHANGE(access("d/a", R_OK), "d/a");
    CHANGE(mkdir("d/new", 0755), "d/a");
    CHANGE(rmdir("d/new"), "d/a");
    CHANGE(symlink("x", "d/s"), "d/a");
    CHANGE(unlink("d/s"), "d/a");
    CHANGE(mkfifo("d/p", 0600), "d/a");
    CHANGE(unlink("d/p"), "d/a");
    CHANGE(link("d/a", "d/l"), "d/a");
    CHANGE(unlink("d/l"), "d/a");
    CHANGE(rename("d/b", "d/c"), "d/a");
    CHANGE(rename("d/c", "d/a"), "d/a");
    CHANGE(utimensat(AT_FDCWD, "d/a", NULL, 0), "d/a");
    CHANGE(unlink("d/none"), "d/a");
    CHANGE(mkdir("d/a", 0755), "d/a");
    CALL(mkdir("d/e", 0755));
    CHANGE(mkdir("d/e/f", 0755), "d/e");
    CHANGE(chmod("d/e/f", 0700), "d/e");
    CHANGE(rename("d/e/f", "d/h"), "d/e");
    struct stat before = script_seen("d/h");
    CALL(rename("d/h", "d/e/f"));
    script_changes("d/e/f", &before);
    before = script_seen("d/a");
    CALL(rename("d/a", "d/e/a"));
    script_changes("d/e/a", &before);
}

static void of_the_file_system(void)
{
    struct statvfs vfs = {0};
    CASE("statvfs");
    CALL(statvfs(".", &vfs));
    FACT("the longest name", "%lu", vfs.f_namemax);
    FACT("read only", "%d", (vfs.f_flag & ST_RDONLY) != 0);
    FACT("free at most", "%d", vfs.f_bavail <= vfs.f_bfree && vfs.f_bfree <= vfs.f_blocks);
    FACT("there is room", "%d", vfs.f_bavail > 0 && vfs.f_bsize > 0 && vfs.f_frsize > 0);
    CALL(pathconf(".", _PC_NAME_MAX));
    CALL(pathconf(".", _PC_PATH_MAX));
    int fd = open("f", O_RDONLY);
    CALL(fstatvfs(fd, &vfs));
    FACT("the longest name", "%lu", vfs.f_namemax);
    close(fd);
    CASE("statx");
    struct statx stx = {0};
    script_put("x", "12345");
    CALL(statx(AT_FDCWD, "x", AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx));
    FACT("basic", "%d", (stx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    FACT("size, mode, links", "%llu %o %u", (unsigned long long)stx.stx_size, stx.stx_mode,
        stx.stx_nlink);
    CALL(statx(AT_FDCWD, "x", AT_STATX_FORCE_SYNC, STATX_SIZE, &stx));
    CALL(statx(AT_FDCWD, "x", AT_STATX_DONT_SYNC, STATX_SIZE, &stx));
    CALL(statx(AT_FDCWD, "none", 0, STATX_SIZE, &stx));
}

void posix_attributes(void)
{
    modes();
    rights_of_the_owner();
    owners();
    times_that_go_on();
    of_the_file_system();
}
