/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Opening files: every flag, and what a descriptor does afterwards.
 */
#include "script.h"
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

static void creating(void)
{
    CASE("creating");
    OPENS(open("f", O_RDWR));
    OPENS(open("f", O_RDWR | O_CREAT, 0666));
    script_stat("f");
    OPENS(open("f", O_RDWR | O_CREAT, 0600));
    script_stat("f");
    OPENS(open("f", O_RDWR | O_CREAT | O_EXCL, 0666));
    CALL(mkdir("d", 0755));
    CALL(symlink("nothing", "dangling"));
    CALL(symlink("f", "to-f"));
    OPENS(open("d", O_RDONLY | O_CREAT, 0666));
    OPENS(open("d", O_RDONLY | O_CREAT | O_EXCL, 0666));
    OPENS(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0666));
    OPENS(open("to-f", O_RDWR | O_CREAT | O_EXCL, 0666));
    OPENS(open("dangling", O_RDWR | O_CREAT, 0666));
    script_stat("nothing");
    OPENS(open("d/none/f", O_RDWR | O_CREAT, 0666));
    OPENS(open("f/none", O_RDWR | O_CREAT, 0666));
    script_list(".");
}

static void modes_of_new_files(void)
{
    static const mode_t masks[] = {0, 022, 027, 077, 0777};
    CASE("modes of new files");
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        umask(masks[i]);
        OPENS(open("m", O_RDWR | O_CREAT | O_EXCL, 0666));
        script_stat("m");
        CALL(unlink("m"));
        OPENS(open("m", O_RDWR | O_CREAT | O_EXCL, 06755));
        script_stat("m");
        CALL(unlink("m"));
    }
    umask(022);
    int fd = FD(open("m", O_RDWR | O_CREAT | O_EXCL, 0));
    CALL(write(fd, "written all the same", 20));
    script_read(fd, 30, 0);
    script_fstat(fd);
    close(fd);
    fd = FD(open("n", O_WRONLY | O_CREAT | O_EXCL, 0444));
    CALL(write(fd, "and this", 8));
    close(fd);
    script_cat("n");
    CALL(unlink("m"));
    CALL(unlink("n"));
}

static void truncating(void)
{
    CASE("O_TRUNC");
    script_put("t", "some bytes");
    int old = FD(open("t", O_RDWR));
    struct stat before = script_seen("t");
    OPENS(open("t", O_WRONLY | O_TRUNC));
    script_changes("t", &before);
    script_read(old, 20, 0);
    CALL(pwrite(old, "after", 5, 3));
    script_cat("t");
    OPENS(open("t", O_RDONLY | O_TRUNC));
    script_stat("t");
    before = script_seen("t");
    OPENS(open("t", O_WRONLY | O_TRUNC));
    script_changes("t", &before);
    OPENS(open("d", O_WRONLY | O_TRUNC));
    OPENS(open("new", O_WRONLY | O_CREAT | O_TRUNC, 0640));
    script_stat("new");
    OPENS(creat("t", 0600));
    script_stat("t");
    close(old);
    CASE("O_TRUNC for reading alone"); /* and nobody else has it open */
    script_put("t", "some bytes");
    old = FD(open("t", O_RDONLY | O_TRUNC));
    script_fstat(old);
    CALL(ftruncate(old, 1));
    script_put("t", "some bytes");
    OPENS(open("t", O_RDONLY | O_TRUNC)); /* or for reading alone, too */
    script_fstat(old);
    close(old);
}

static void kinds_of_opens(void)
{
    CASE("folders and links");
    OPENS(open("d", O_RDONLY));
    OPENS(open("d", O_WRONLY));
    OPENS(open("d", O_RDWR));
    OPENS(open("d", O_RDONLY | O_DIRECTORY));
    OPENS(open("f", O_RDONLY | O_DIRECTORY));
    OPENS(open("to-f", O_RDONLY | O_DIRECTORY));
    OPENS(open("to-f", O_RDONLY | O_NOFOLLOW));
    OPENS(open("to-f", O_RDONLY));
    OPENS(open("f", O_RDONLY | O_NOFOLLOW));
    OPENS(open("none", O_RDONLY | O_NOFOLLOW));
    CASE("O_PATH");
    char text[20];
    int fd = FD(open("f", O_PATH));
    CALL(read(fd, text, sizeof text));
    CALL(write(fd, "x", 1));
    CALL(fchmod(fd, 0600));
    CALL(ftruncate(fd, 0));
    script_fstat(fd);
    snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    int again = FD(open(text, O_RDWR));
    CALL(write(again, "by another way", 14));
    script_cat("f");
    close(again);
    close(fd);
    fd = FD(open("to-f", O_PATH | O_NOFOLLOW));
    script_fstat(fd);
    ssize_t size = CALL(readlinkat(fd, "", text, sizeof text));
    script_bytes("target", text, size > 0 ? (size_t)size : 0);
    close(fd);
    fd = FD(open("d", O_PATH | O_DIRECTORY));
    OPENS(openat(fd, "in-d", O_RDWR | O_CREAT, 0644));
    CALL(unlinkat(fd, "in-d", 0));
    close(fd);
}

static void appending(void)
{
    CASE("two that append");
    int one = FD(open("a", O_WRONLY | O_CREAT | O_APPEND, 0644));
    int two = FD(open("a", O_RDWR | O_APPEND));
    for (int i = 0; i < 3; i++) {
        CALL(write(one, "one ", 4));
        CALL(write(two, "two ", 4));
    }
    script_cat("a");
    CALL(lseek(one, 0, SEEK_CUR));
    CALL(lseek(two, 0, SEEK_SET));
    CALL(write(two, "end", 3));
    CALL(lseek(two, 0, SEEK_CUR));
    CALL(pwrite(two, "!", 1, 0));
    script_cat("a");
    CALL(truncate("a", 2));
    CALL(write(one, "shorter", 7));
    script_cat("a");
    CASE("O_APPEND set later");
    int three = FD(open("a", O_WRONLY));
    CALL(fcntl(three, F_SETFL, O_APPEND));
    CALL(write(three, "+", 1));
    CALL(fcntl(three, F_SETFL, 0));
    CALL(pwrite(three, "-", 1, 0));
    CALL(lseek(three, 0, SEEK_SET));
    CALL(write(three, "=", 1));
    script_cat("a");
    close(one);
    close(two);
    close(three);
}

enum { WRITERS = 4, RECORDS = 50, RECORD = 16 };

static void append_records(int writer)
{
    char record[RECORD + 1];
    int fd = open("log", O_WRONLY | O_APPEND);
    for (int i = 0; i < RECORDS; i++) {
        snprintf(record, sizeof record, "%3d %10d\n", writer, i);
        script_must("appending", write(fd, record, 15) == 15);
    }
    _exit(0);
}

/* Each writer's records are there, whole and in its order. */
static void processes_that_append(void)
{
    int next[WRITERS] = {0}, whole = 0, writer, number, status;
    char line[100];
    CASE("processes that append");
    script_put("log", "");
    fflush(stdout);
    for (int i = 0; i < WRITERS; i++)
        if (fork() == 0)
            append_records(i);
    for (int i = 0; i < WRITERS; i++)
        MUST(wait(&status));
    FILE *file = fopen("log", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%d %d", &writer, &number) == 2 && strlen(line) == 15 &&
            writer < WRITERS && next[writer] == number)
            next[writer]++, whole++;
    FACT("records, whole and in order", "%d", whole);
    script_stat("log");
    if (file)
        fclose(file);
}

static void offsets(void)
{
    char text[20] = "";
    CASE("offsets");
    script_put("o", "0123456789");
    int fd = FD(open("o", O_RDWR)), copy = FD(dup(fd)), own = FD(open("o", O_RDONLY));
    CALL(read(fd, text, 4));
    CALL(read(copy, text + 4, 2));
    CALL(read(own, text + 6, 1));
    script_bytes("read", text, strlen(text));
    CALL(lseek(fd, -3, SEEK_END));
    CALL(lseek(copy, -1, SEEK_CUR));
    CALL(lseek(fd, -100, SEEK_CUR));
    CALL(lseek(fd, 100, SEEK_SET));
    CALL(read(fd, text, 4));
    CALL(lseek(fd, -1, SEEK_SET));
    CALL(write(own, "x", 1));
    CALL(pwrite(fd, "x", 1, -1));
    CALL(pread(fd, text, 1, -1));
    CALL(pwrite(fd, "", 0, 50));
    script_fstat(fd);
    close(own);
    own = FD(open("o", O_WRONLY));
    CALL(read(own, text, 1));
    CALL(pread(own, text, 1, 0));
    CALL(write(own, "abc", 3));
    script_read(fd, 20, 0);
    close(own);
    close(copy);
    close(fd);
    CALL(write(fd, "x", 1));
    fd = FD(open("d", O_RDONLY));
    CALL(read(fd, text, 1));
    CALL(ftruncate(fd, 0));
    close(fd);
}

static void pieces(void)
{
    char a[4] = "", b[20] = "";
    struct iovec out[] = {{(char[]){"scat"}, 4}, {(char[]){""}, 0}, {(char[]){"tered"}, 5}};
    struct iovec in[] = {{a, 3}, {b, sizeof b}};
    CASE("pieces");
    int fd = FD(open("v", O_RDWR | O_CREAT | O_TRUNC, 0644));
    CALL(writev(fd, out, 3));
    CALL(pwritev(fd, out, 3, 20));
    CALL(preadv(fd, in, 2, 0));
    script_bytes("first", a, 3);
    script_bytes("second", b, 20);
    CASE("sendfile and splice");
    int to = FD(open("w", O_RDWR | O_CREAT | O_TRUNC, 0644)), ends[2];
    off_t at = 5;
    CALL(sendfile(to, fd, &at, 100));
    FACT("offset", "%lld", (long long)at);
    MUST(pipe(ends));
    CALL(splice(fd, &(off_t){20}, ends[1], NULL, 4, 0));
    CALL(splice(ends[0], NULL, to, &(off_t){2}, 4, 0));
    script_cat("w");
    CALL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    CALL(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    CALL(readahead(fd, 0, 100));
    close(ends[0]);
    close(ends[1]);
    close(to);
    close(fd);
}

static void direct(void)
{
    CASE("O_DIRECT");
    char *page = aligned_alloc(65536, 65536);
    int fd = FD(open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644));
    memset(page, 'd', 65536);
    CALL(pwrite(fd, page, 65536, 0));
    CALL(pwrite(fd, page, 4096, 131072));
    memset(page, 0, 65536);
    CALL(pread(fd, page, 65536, 65536));
    script_bytes("a hole", page, 65536);
    CALL(pread(fd, page, 65536, 131072));
    script_bytes("the end", page, 8192);
    CASE("O_DIRECT beside the page cache");
    int plain = FD(open("direct", O_RDWR));
    script_read(plain, 8192, 0);
    CALL(pwrite(plain, "by the cache", 12, 0));
    CALL(pread(fd, page, 4096, 0));
    script_bytes("read directly", page, 16);
    memset(page, 'e', 4096);
    CALL(pwrite(fd, page, 4096, 4096));
    script_read(plain, 16, 4090);
    CALL(fsync(fd));
    script_cat("direct");
    close(plain);
    close(fd);
    free(page);
}

static void nameless(void)
{
    char path[40];
    CASE("O_TMPFILE");
    int fd = FD(open(".", O_TMPFILE | O_RDWR, 0640));
    CALL(write(fd, "nameless", 8));
    script_fstat(fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CALL(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    script_stat("named");
    script_cat("named");
    close(fd);
    fd = FD(open(".", O_TMPFILE | O_RDWR | O_EXCL, 0640));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CALL(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
    close(fd);
}

static void durable(void)
{
    CASE("syncing");
    int fd = FD(open("s", O_RDWR | O_CREAT, 0644));
    CALL(write(fd, "bytes", 5));
    CALL(fdatasync(fd));
    CALL(fsync(fd));
    CALL(fsync(fd));
    CALL(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
    CALL(syncfs(fd));
    close(fd);
    fd = FD(open("s", O_RDONLY));
    CALL(fsync(fd));
    close(fd);
    fd = FD(open("d", O_RDONLY));
    CALL(fsync(fd));
    CALL(fdatasync(fd));
    close(fd);
    fd = FD(open("s", O_WRONLY | O_SYNC));
    CALL(write(fd, "BY", 2));
    close(fd);
    fd = FD(open("s", O_WRONLY | O_DSYNC | O_APPEND));
    CALL(write(fd, "TES", 3));
    close(fd);
    script_cat("s");
}

static void programs(void)
{
    CASE("programs");
    int status = -1, in = open("/bin/true", O_RDONLY),
        out = FD(open("true", O_WRONLY | O_CREAT, 0755));
    while (sendfile(out, in, NULL, 1 << 20) > 0)
        ;
    close(in);
    close(out);
    fflush(stdout);
    for (int i = 0; i < 2; i++) {
        pid_t child = fork();
        if (child == 0) {
            execl("./true", "true", (char *)NULL);
            _exit(errno == EACCES ? 13 : 1);
        }
        MUST(waitpid(child, &status, 0));
        FACT("the program gave", "%d", WEXITSTATUS(status));
        CALL(chmod("true", 0644));
    }
    script_put("script", "#!/bin/sh\nexit 7\n");
    CALL(chmod("script", 0755));
    FACT("the script gave", "%d", WEXITSTATUS(system("./script")));
}

static void run_and_write(void)
{
    CASE("writing to a program that runs");
    int input[2], output[2], in = open("/bin/cat", O_RDONLY);
    int out = FD(open("cat", O_WRONLY | O_CREAT, 0755));
    while (sendfile(out, in, NULL, 1 << 20) > 0)
        ;
    close(in);
    close(out);
    MUST(pipe(input));
    MUST(pipe(output));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(input[0], 0);
        dup2(output[1], 1);
        execl("./cat", "cat", "script", "-", (char *)NULL);
        _exit(1);
    }
    close(output[1]);
    char byte;
    FACT("it runs", "%d", read(output[0], &byte, 1) == 1);
    OPENS(open("cat", O_WRONLY));
    CALL(truncate("cat", 0));
    CALL(unlink("cat"));
    kill(child, SIGKILL);
    MUST(waitpid(child, NULL, 0));
    close(output[0]);
    close(input[0]);
    close(input[1]);
}

void posix_files(void)
{
    creating();
    modes_of_new_files();
    truncating();
    kinds_of_opens();
    appending();
    processes_that_append();
    offsets();
    pieces();
    direct();
    nameless();
    durable();
    programs();
    run_and_write();
}
