/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Locks between two processes: flock, those of fcntl by process and by open file.
 */
#include "script.h"
#include <sched.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int lock(int fd, int command, int type, off_t start, off_t length)
{
    struct flock region = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(fd, command, &region);
}

/* What stands in the way of a lock: "nothing", or its kind and place. */
static void tell_in_the_way(int fd, int command, int type, off_t start, off_t length)
{
    struct flock region = {
        .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    if (fcntl(fd, command, &region) < 0)
        script_call("in the way", -1);
    else if (region.l_type == F_UNLCK)
        FACT("in the way", "nothing");
    else
        FACT("in the way", "%s %lld %lld by %s", region.l_type == F_RDLCK ? "read" : "write",
            (long long)region.l_start, (long long)region.l_len,
            region.l_pid == -1          ? "an open file"
            : region.l_pid == getppid() ? "the parent"
                                        : "somebody");
}

static void try_flock(void *unused)
{
    (void)unused;
    int fd = open("f", O_RDONLY);
    CALL(flock(fd, LOCK_SH | LOCK_NB));
    CALL(flock(fd, LOCK_EX | LOCK_NB));
    CALL(flock(fd, LOCK_UN));
    close(fd);
}

static void whole_files(void)
{
    CASE("flock");
    int fd = FD(open("f", O_RDWR)), other = FD(open("f", O_RDWR)), copy = FD(dup(fd));
    CALL(flock(fd, LOCK_EX));
    CALL(flock(other, LOCK_SH | LOCK_NB));
    CALL(flock(copy, LOCK_EX | LOCK_NB));
    script_child(try_flock, NULL);
    CALL(flock(fd, LOCK_SH));
    CALL(flock(other, LOCK_SH | LOCK_NB));
    CALL(flock(other, LOCK_EX | LOCK_NB));
    script_child(try_flock, NULL);
    CALL(flock(copy, LOCK_UN));
    CALL(flock(other, LOCK_EX | LOCK_NB));
    close(other);
    script_child(try_flock, NULL);
    CALL(flock(fd, LOCK_EX | LOCK_NB));
    close(fd);
    script_child(try_flock, NULL);
    close(copy);
    script_child(try_flock, NULL);
    int folder = FD(open(".", O_RDONLY));
    CALL(flock(folder, LOCK_EX | LOCK_NB));
    close(folder);
}

static void try_ranges(void *unused)
{
    (void)unused;
    int fd = open("f", O_RDWR);
    tell_in_the_way(fd, F_GETLK, F_WRLCK, 0, 0);
    tell_in_the_way(fd, F_GETLK, F_RDLCK, 0, 0);
    CALL(lock(fd, F_SETLK, F_WRLCK, 0, 10));
    CALL(lock(fd, F_SETLK, F_WRLCK, 10, 10));
    CALL(lock(fd, F_SETLK, F_WRLCK, 15, 10));
    CALL(lock(fd, F_SETLK, F_RDLCK, 15, 10));
    CALL(lock(fd, F_SETLK, F_RDLCK, 100, 1));
    CALL(lock(fd, F_SETLK, F_WRLCK, 5000000000, 10));
    CALL(lock(fd, F_OFD_SETLK, F_WRLCK, 12, 2));
    tell_in_the_way(fd, F_OFD_GETLK, F_WRLCK, 12, 2);
    close(fd);
}

static void ranges(void)
{
    CASE("fcntl, by process");
    int fd = FD(open("f", O_RDWR));
    CALL(lock(fd, F_SETLK, F_WRLCK, 10, 10));
    CALL(lock(fd, F_SETLK, F_RDLCK, 100, 0));
    script_child(try_ranges, NULL);
    CALL(lock(fd, F_SETLK, F_RDLCK, 12, 4));
    CALL(lock(fd, F_SETLK, F_UNLCK, 16, 2));
    script_child(try_ranges, NULL);
    int other = FD(open("f", O_RDONLY));
    CALL(lock(other, F_SETLK, F_WRLCK, 200, 1));
    close(other); /* and all locks of the process go */
    script_child(try_ranges, NULL);
    close(fd);
    CASE("fcntl, by open file");
    fd = FD(open("f", O_RDWR)), other = FD(open("f", O_RDWR));
    CALL(lock(fd, F_OFD_SETLK, F_WRLCK, 10, 10));
    CALL(lock(other, F_OFD_SETLK, F_RDLCK, 15, 1));
    CALL(lock(other, F_OFD_SETLK, F_RDLCK, 20, 1));
    script_child(try_ranges, NULL);
    close(other);
    CALL(lock(fd, F_OFD_SETLK, F_UNLCK, 10, 5));
    script_child(try_ranges, NULL);
    close(fd);
    script_child(try_ranges, NULL);
}

/* Waits, or has ended already. */
static bool is_asleep(pid_t pid)
{
    char path[40], state = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    if (file)
        fclose(file);
    return state == 'S' || state == 'Z';
}

/* A child that waits for a lock gets it when it is let go, and not before. */
static void waiting(const char *what, int (*take)(int), int (*let_go)(int))
{
    CASE(what);
    volatile int *flag =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = FD(open("f", O_RDWR)), status;
    CALL(take(fd));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        int own = open("f", O_RDWR);
        flag[0] = 1;
        int took = take(own);
        _exit(took == 0 && flag[1] == 1 ? 0 : 1);
    }
    while (flag[0] == 0 || !is_asleep(child))
        sched_yield();
    flag[1] = 1;
    CALL(let_go(fd));
    MUST(waitpid(child, &status, 0));
    FACT("the child had it after that", "%d", WEXITSTATUS(status) == 0);
    close(fd);
    munmap((void *)flag, 4096);
}

static int take_flock(int fd)
{
    return flock(fd, LOCK_EX);
}

static int let_go_flock(int fd)
{
    return flock(fd, LOCK_UN);
}

static int take_range(int fd)
{
    return lock(fd, F_SETLKW, F_WRLCK, 0, 0);
}

static int let_go_range(int fd)
{
    return lock(fd, F_SETLK, F_UNLCK, 0, 0);
}

static int take_open_file(int fd)
{
    return lock(fd, F_OFD_SETLKW, F_WRLCK, 3, 5);
}

static int let_go_open_file(int fd)
{
    return lock(fd, F_OFD_SETLK, F_UNLCK, 0, 0);
}

static void what_cannot_be(void)
{
    CASE("locks that cannot be");
    int fd = FD(open("f", O_RDONLY));
    CALL(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    CALL(lock(fd, F_SETLK, F_RDLCK, -5, 0));
    CALL(lock(fd, F_SETLK, 77, 0, 0));
    CALL(flock(fd, 0));
    close(fd);
    fd = FD(open("f", O_WRONLY));
    CALL(lock(fd, F_SETLK, F_RDLCK, 0, 0));
    CALL(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    close(fd);
    CALL(flock(fd, LOCK_EX));
    CASE("locks stay with a file that is renamed or unlinked");
    fd = FD(open("f", O_RDWR));
    CALL(flock(fd, LOCK_EX));
    CALL(rename("f", "g"));
    script_put("f", "x");
    script_child(try_flock, NULL);
    CALL(rename("g", "f"));
    script_child(try_flock, NULL);
    CALL(unlink("f"));
    CALL(flock(fd, LOCK_UN));
    close(fd);
}

void posix_locks(void)
{
    script_put("f", "0123456789");
    whole_files();
    ranges();
    waiting("waiting for flock", take_flock, let_go_flock);
    waiting("waiting for a process' lock", take_range, let_go_range);
    waiting("waiting for an open file's lock", take_open_file, let_go_open_file);
    what_cannot_be();
}
