/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Times as they are set: to the nanosecond, left out, now, before 1970 and after 2038.
 */
#include "script.h"
#include <sys/time.h>
#include <time.h>
#include <utime.h>

static void tell(const char *path)
{
    char what[80];
    struct stat st;
    snprintf(what, sizeof what, "times of %s", path);
    if (lstat(path, &st) < 0)
        script_call(what, -1);
    else
        FACT(what, "%lld.%09ld %lld.%09ld", (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
            (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void set(time_t atime, long atime_ns, time_t mtime, long mtime_ns)
{
    char what[120];
    struct timespec times[] = {{atime, atime_ns}, {mtime, mtime_ns}};
    snprintf(what, sizeof what, "setting %lld.%09ld %lld.%09ld", (long long)atime, atime_ns,
        (long long)mtime, mtime_ns);
    script_call(what, utimensat(AT_FDCWD, "f", times, 0));
    tell("f");
}

/* Every file system here knows the years from 1902 to 2400. */
static void far_times(void)
{
    CASE("far times");
    set(1500000000, 123456789, 1600000000, 987654321);
    set(0, 0, 0, 1);
    set(-1, 500000000, -1, 999999999);
    set(-86400, 1, -2000000000, 5);
    set(2147483647, 999999999, 2147483648, 0);
    set(4294967295, 1, 4294967296, 2);
    set(5000000000, 3, 13500000000, 999999999);
    CASE("what is no time");
    set(1, 1000000000, 1, 0);
    set(1, 0, 1, -1);
    set(1, 0, 1, 1234567890123);
}

static bool is_about_now(const struct timespec *time)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return time->tv_sec <= now.tv_sec && time->tv_sec > now.tv_sec - 100;
}

static void tell_now(void)
{
    struct stat st = {0};
    MUST(lstat("f", &st));
    FACT("which is now", "atime %s, mtime %s, ctime %s", is_about_now(&st.st_atim) ? "yes" : "no",
        is_about_now(&st.st_mtim) ? "yes" : "no", is_about_now(&st.st_ctim) ? "yes" : "no");
}

static void omitted_and_now(void)
{
    const struct timespec only_mtime[] = {{0, UTIME_OMIT}, {77, 7}};
    const struct timespec only_atime[] = {{88, 8}, {0, UTIME_OMIT}};
    const struct timespec neither[] = {{5, UTIME_OMIT}, {5, UTIME_OMIT}};
    const struct timespec now_and_set[] = {{0, UTIME_NOW}, {99, 9}};
    const struct timespec omit_and_now[] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
    CASE("UTIME_OMIT and UTIME_NOW");
    set(11, 1, 22, 2);
    CALL(utimensat(AT_FDCWD, "f", only_mtime, 0));
    tell("f");
    CALL(utimensat(AT_FDCWD, "f", only_atime, 0));
    tell("f");
    struct stat before = script_seen("f");
    CALL(utimensat(AT_FDCWD, "f", neither, 0));
    script_changes("f", &before);
    CALL(utimensat(AT_FDCWD, "f", now_and_set, 0));
    tell_now();
    set(11, 1, 22, 2);
    CALL(utimensat(AT_FDCWD, "f", omit_and_now, 0));
    tell_now();
    set(11, 1, 22, 2);
    CALL(utimensat(AT_FDCWD, "f", NULL, 0));
    tell_now();
    set(11, 1, 22, 2);
    script_changes("f", &before);
    CALL(utimensat(AT_FDCWD, "none", neither, 0));
    CALL(utimensat(AT_FDCWD, "none", only_mtime, 0));
}

static void other_things(void)
{
    const struct timespec times[] = {{1000, 1}, {2000, 2}};
    CASE("times of other things");
    CALL(mkdir("d", 0755));
    CALL(symlink("f", "s"));
    CALL(mkfifo("p", 0600));
    set(11, 1, 22, 2);
    CALL(utimensat(AT_FDCWD, "s", times, AT_SYMLINK_NOFOLLOW));
    tell("s");
    tell("f");
    CALL(utimensat(AT_FDCWD, "p", times, 0));
    tell("p");
    CALL(utimensat(AT_FDCWD, "d", times, 0));
    tell("d");
    script_put("d/f", "x");
    struct stat st = {0};
    MUST(stat("d", &st));
    FACT("a folder that changed is of now", "%d", is_about_now(&st.st_mtim));
    int fd = FD(open("f", O_RDONLY));
    CALL(futimens(fd, times));
    tell("f");
    close(fd);
    CASE("times stay");
    set(11, 1, 22, 2);
    CALL(rename("f", "g"));
    tell("g");
    CALL(link("g", "f"));
    tell("f");
    CALL(chmod("f", 0600));
    tell("f");
    CALL(unlink("g"));
    fd = FD(open("f", O_RDWR));
    tell("f");
    CALL(write(fd, "now", 3));
    CALL(futimens(fd, times));
    close(fd);
    tell("f");
    CASE("older calls");
    CALL(utime("f", &(struct utimbuf){5, 6}));
    tell("f");
    CALL(utimes("f", (struct timeval[]){{5, 6}, {7, 8}}));
    tell("f");
}

void posix_times(void)
{
    script_put("f", "x");
    far_times();
    omitted_and_now();
    other_things();
}
