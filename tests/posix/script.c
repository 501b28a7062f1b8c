/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "script.h"
#include <dirent.h>
#include <ftw.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

bool script_root;

static char subject[40], current[100];

void script_begin(const char *name)
{
    snprintf(subject, sizeof subject, "%s", name);
    script_case("");
}

void script_case(const char *name)
{
    snprintf(current, sizeof current, "%s", name);
    fflush(stdout); /* if a case never ends, it shows which */
}

const char *script_errno(int error)
{
    const char *name = error ? strerrorname_np(error) : "0";
    return name ? name : "unknown";
}

/* Bytes as text on one line; what is not plain is escaped. */
static size_t print_escaped(const char *bytes, size_t size, char *text, size_t room)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < size && used + 4 < room; i++)
        used += (size_t)snprintf(text + used, room - used,
            bytes[i] >= ' ' && bytes[i] <= '~' ? "%c" : "\\%02x", (unsigned char)bytes[i]);
    return used;
}

void script_fact(const char *what, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[400];
    print_escaped(what, strlen(what), text, sizeof text);
    printf("%s/%s: %s = ", subject, current, text);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
}

long script_call(const char *text, long result)
{
    int error = errno;
    if (result < 0)
        script_fact(text, "%s", script_errno(error));
    else
        script_fact(text, "%ld", result);
    return result;
}

int script_fd(const char *text, int fd)
{
    int error = errno;
    script_fact(text, "%s", fd < 0 ? script_errno(error) : "fd");
    return fd;
}

void script_opens(const char *text, int fd)
{
    if (script_fd(text, fd) >= 0)
        close(fd);
}

void script_must(const char *what, bool done)
{
    int error = errno;
    if (!done)
        script_fact(what, "%s, which had to work", script_errno(error));
}

void script_put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    script_must(path, fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    if (fd >= 0)
        close(fd);
}

static size_t run_length(const unsigned char *bytes, size_t size)
{
    size_t length = 1;
    while (length < size && bytes[length] == bytes[0])
        length++;
    return length;
}

/* Runs of one byte while they are few, else a digest (FNV-1a). */
static void describe(const unsigned char *bytes, size_t size, char *text, size_t room)
{
    enum { RUNS = 8 };
    size_t used = 0, at = 0;
    for (int runs = 0; at < size && runs < RUNS; runs++) {
        size_t length = run_length(bytes + at, size - at);
        used += (size_t)snprintf(text + used, room - used, "[%02x x %zu]", bytes[at], length);
        at += length;
    }
    if (at == size)
        return;
    uint64_t hash = 0xcbf29ce484222325u;
    for (at = 0; at < size; at++)
        hash = (hash ^ bytes[at]) * 0x100000001b3u;
    snprintf(text, room, "#%016" PRIx64, hash);
}

void script_bytes(const char *what, const void *bytes, size_t size)
{
    char text[400] = "";
    if (size <= 64) {
        print_escaped(bytes, size, text, sizeof text);
        script_fact(what, "\"%s\"", text);
        return;
    }
    describe(bytes, size, text, sizeof text);
    script_fact(what, "%zu bytes %s", size, text);
}

void script_read(int fd, size_t size, off_t at)
{
    char what[80];
    snprintf(what, sizeof what, "bytes at %lld", (long long)at);
    char *bytes = malloc(size + 1);
    ssize_t got = bytes ? pread(fd, bytes, size, at) : -1;
    if (got < 0)
        script_call(what, -1);
    else
        script_bytes(what, bytes, (size_t)got);
    free(bytes);
}

void script_cat(const char *path)
{
    char what[80];
    snprintf(what, sizeof what, "bytes of %.60s", path);
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        script_call(what, -1);
        return;
    }
    size_t room = (size_t)st.st_size + 100, got = 0;
    char *bytes = malloc(room);
    for (ssize_t n = 1; bytes && n > 0 && got<room; got += n> 0 ? (size_t)n : 0)
        n = read(fd, bytes + got, room - got);
    script_bytes(what, bytes ? bytes : "", bytes ? got : 0);
    free(bytes);
    close(fd);
}

static const char *kind_name(mode_t mode)
{
    return S_ISREG(mode)    ? "file"
           : S_ISDIR(mode)  ? "folder"
           : S_ISLNK(mode)  ? "link"
           : S_ISFIFO(mode) ? "fifo"
           : S_ISSOCK(mode) ? "socket"
           : S_ISCHR(mode)  ? "char"
                            : "block";
}

static void tell_stat(const char *what, const struct stat *st)
{
    char more[80] = "";
    if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode))
        snprintf(more, sizeof more, " size %lld", (long long)st->st_size);
    if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode))
        snprintf(more, sizeof more, " device %u:%u", major(st->st_rdev), minor(st->st_rdev));
    if (!S_ISDIR(st->st_mode))
        snprintf(more + strlen(more), sizeof more - strlen(more), " links %lu",
            (unsigned long)st->st_nlink);
    script_fact(what, "%s %04o owner %u:%u%s", kind_name(st->st_mode), st->st_mode & 07777,
        st->st_uid, st->st_gid, more);
}

void script_stat(const char *path)
{
    char what[80];
    struct stat st;
    snprintf(what, sizeof what, "stat of %.60s", path);
    if (lstat(path, &st) < 0)
        script_call(what, -1);
    else
        tell_stat(what, &st);
}

void script_fstat(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        script_call("stat of the open file", -1);
    else
        tell_stat("stat of the open file", &st);
}

static int listed(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **one, const struct dirent **other)
{
    return strcmp((*one)->d_name, (*other)->d_name);
}

static void add_name(const char *folder, const struct dirent *entry, char *text, size_t room)
{
    char path[600];
    struct stat st;
    size_t used = strlen(text);
    snprintf(path, sizeof path, "%.255s/%s", folder, entry->d_name);
    bool known = entry->d_type != DT_UNKNOWN && lstat(path, &st) == 0;
    const char *mark = known && (mode_t)DTTOIF(entry->d_type) != (st.st_mode & S_IFMT)
                           ? " (wrong kind)"
                       : known && entry->d_ino != st.st_ino ? " (wrong inode)"
                                                            : "";
    used += (size_t)snprintf(text + used, room - used, used ? ", " : "");
    used += print_escaped(entry->d_name, strlen(entry->d_name), text + used, room - used);
    snprintf(text + used, room - used, "%s", mark);
}

void script_list(const char *path)
{
    char what[80], text[8000] = "";
    struct dirent **entries;
    snprintf(what, sizeof what, "names in %.60s", path);
    int count = scandir(path, &entries, listed, by_bytes);
    if (count < 0) {
        script_call(what, -1);
        return;
    }
    for (int i = 0; i < count; i++) {
        add_name(path, entries[i], text, sizeof text);
        free(entries[i]);
    }
    free(entries);
    script_fact(what, "%d: %s", count, text);
}

static int by_name(const void *one, const void *other)
{
    return strcmp(*(char *const *)one, *(char *const *)other);
}

void script_attributes(const char *path)
{
    char names[8192], what[80], text[8192] = "", *found[200];
    size_t count = 0;
    snprintf(what, sizeof what, "attributes of %s", path);
    ssize_t size = llistxattr(path, names, sizeof names);
    if (size < 0) {
        script_call(what, -1);
        return;
    }
    for (char *name = names; name < names + size && count < 200; name += strlen(name) + 1)
        if (strncmp(name, "security.", 9) != 0)
            found[count++] = name;
    qsort(found, count, sizeof *found, by_name);
    for (size_t i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", found[i]);
    script_fact(what, "%s", text);
}

static void wait_for_the_clock(void)
{
    struct timespec start, now;
    clock_gettime(CLOCK_REALTIME_COARSE, &start);
    do {
        nanosleep(&(struct timespec){0, 300000}, NULL);
        clock_gettime(CLOCK_REALTIME_COARSE, &now);
    } while (now.tv_sec == start.tv_sec && now.tv_nsec == start.tv_nsec);
}

struct stat script_seen(const char *path)
{
    struct stat st = {0};
    script_must(path, lstat(path, &st) == 0);
    wait_for_the_clock();
    return st;
}

static const char *time_change(
    const char *name, const struct timespec *before, const struct timespec *after, char *room)
{
    bool later = after->tv_sec > before->tv_sec ||
                 (after->tv_sec == before->tv_sec && after->tv_nsec > before->tv_nsec);
    bool same = after->tv_sec == before->tv_sec && after->tv_nsec == before->tv_nsec;
    snprintf(room, 40, " %s%s", name, later ? " on" : " back");
    return same ? "" : room;
}

void script_changes(const char *path, const struct stat *before)
{
    char what[80], text[200], mtime[40], ctime_[40];
    struct stat st;
    snprintf(what, sizeof what, "changes of %.60s", path);
    if (lstat(path, &st) < 0) {
        script_call(what, -1);
        return;
    }
    bool sized = !S_ISDIR(st.st_mode);
    snprintf(text, sizeof text, "%s%s%s%s%s%s",
        time_change("mtime", &before->st_mtim, &st.st_mtim, mtime),
        time_change("ctime", &before->st_ctim, &st.st_ctim, ctime_),
        st.st_mode != before->st_mode ? " mode" : "",
        sized && st.st_size != before->st_size ? " size" : "",
        sized && st.st_nlink != before->st_nlink ? " links" : "",
        st.st_ino != before->st_ino ? " inode" : "");
    script_fact(what, "%s", *text ? text + 1 : "nothing");
}

bool script_same_inode(const char *one, const char *other)
{
    struct stat a, b;
    return lstat(one, &a) == 0 && lstat(other, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

void script_child(void (*run)(void *), void *arg)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        run(arg);
        fflush(stdout);
        _exit(0);
    }
    script_must("a child process", child > 0 && waitpid(child, &status, 0) == child);
    if (child > 0 && WIFSIGNALED(status))
        script_fact("the child", "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
}

void script_become(uid_t uid, gid_t gid, gid_t extra)
{
    MUST(setgroups(1, &extra));
    MUST(setresgid(gid, gid, gid));
    MUST(setresuid(uid, uid, uid));
    script_root = false;
}

struct as {
    uid_t uid;
    gid_t gid, extra;
    void (*run)(void *);
    void *arg;
};

static void run_as(void *arg)
{
    const struct as *as = arg;
    script_become(as->uid, as->gid, as->extra);
    as->run(as->arg);
}

void script_as(uid_t uid, gid_t gid, gid_t extra, void (*run)(void *), void *arg)
{
    struct as as = {uid, gid, extra, run, arg};
    script_child(run_as, &as);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void script_remove(const char *path)
{
    script_must("removing everything", nftw(path, remove_one, 20, FTW_DEPTH | FTW_PHYS) == 0);
}
