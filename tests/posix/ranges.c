/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Bytes at the ends of files, in holes and far out; files that grow and shrink; copies of ranges.
 */
#include "script.h"
#include <signal.h>
#include <sys/resource.h>

static void ends(void)
{
    CASE("ends");
    int fd = FD(open("e", O_RDWR | O_CREAT | O_TRUNC, 0644));
    script_read(fd, 10, 0);
    CALL(pwrite(fd, "hello", 5, 0));
    script_read(fd, 10, 0);
    script_read(fd, 10, 3);
    script_read(fd, 10, 5);
    script_read(fd, 10, 6);
    script_read(fd, 10, 5 * GIB);
    CALL(pwrite(fd, "y", 1, 5));
    CALL(pwrite(fd, "z", 1, 7));
    script_cat("e");
    CALL(pwrite(fd, "pages", 5, 4094));
    script_read(fd, 4095, 4);
    CALL(pwrite(fd, "far", 3, 3 * MIB - 1));
    script_read(fd, 2 * MIB, MIB + 1);
    script_cat("e");
    script_fstat(fd);
    close(fd);
}

static void many_sizes(void)
{
    static const size_t sizes[] = {
        1, 511, 4095, 4096, 4097, 65535, 131073, 1048575, 1048577, 3000000};
    CASE("sizes");
    char *bytes = malloc(3000000);
    for (size_t i = 0; i < 3000000; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    int fd = FD(open("many", O_RDWR | O_CREAT | O_TRUNC, 0644));
    off_t at = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        CALL(pwrite(fd, bytes, sizes[i], at));
        script_read(fd, sizes[i] + 1, at);
        at += (off_t)sizes[i] - 1;
    }
    script_cat("many");
    script_fstat(fd);
    close(fd);
    free(bytes);
    CALL(unlink("many"));
}

static void past_four_gib(void)
{
    CASE("past 4 GiB");
    int fd = FD(open("big", O_RDWR | O_CREAT | O_TRUNC, 0644));
    CALL(pwrite(fd, "across the line", 15, 4 * GIB - 6));
    script_read(fd, 30, 4 * GIB - 10);
    script_read(fd, 30, 4 * GIB);
    script_read(fd, 30, -6);
    script_read(fd, 30, 0);
    script_fstat(fd);
    CALL(ftruncate(fd, 40 * GIB + 5));
    CALL(pwrite(fd, "at the end", 10, 40 * GIB));
    script_read(fd, 30, 40 * GIB - 3);
    script_fstat(fd);
    CALL(lseek(fd, -10, SEEK_END));
    CALL(write(fd, "AT", 2));
    CALL(lseek(fd, 0, SEEK_CUR));
    script_read(fd, 30, 40 * GIB);
    CALL(truncate("big", 4 * GIB + 1));
    script_read(fd, 30, 4 * GIB - 6);
    close(fd);
    fd = FD(open("big", O_WRONLY | O_APPEND));
    CALL(write(fd, "ppended", 7));
    close(fd);
    fd = FD(open("big", O_RDONLY));
    script_read(fd, 30, 4 * GIB - 6);
    close(fd);
    CALL(unlink("big"));
}

static void up_and_down(void)
{
    CASE("truncating");
    script_put("t", "0123456789");
    int fd = FD(open("t", O_RDWR));
    CALL(ftruncate(fd, 5));
    script_cat("t");
    CALL(ftruncate(fd, 8));
    script_cat("t");
    CALL(truncate("t", 0));
    CALL(truncate("t", 70000));
    script_cat("t");
    CALL(pwrite(fd, "xxxxxxxxxx", 10, 4090));
    CALL(ftruncate(fd, 4093));
    CALL(ftruncate(fd, 9000));
    script_cat("t");
    CALL(pwrite(fd, "z", 1, 8999));
    CALL(ftruncate(fd, 4096));
    CALL(pwrite(fd, "z", 1, 8999));
    script_cat("t");
    struct stat before = script_seen("t");
    CALL(ftruncate(fd, 9000));
    script_changes("t", &before);
    CALL(ftruncate(fd, 9001));
    script_changes("t", &before);
    before = script_seen("t");
    CALL(truncate("t", 1));
    script_changes("t", &before);
    CASE("truncating what cannot be");
    CALL(truncate("none", 0));
    CALL(truncate("t", -1));
    CALL(ftruncate(fd, -1));
    CALL(mkdir("d", 0755));
    CALL(truncate("d", 0));
    CALL(symlink("t", "to-t"));
    CALL(truncate("to-t", 3));
    script_stat("t");
    close(fd);
    fd = FD(open("t", O_RDONLY));
    CALL(ftruncate(fd, 0));
    close(fd);
    CALL(ftruncate(fd, 0));
}

static void limited(void *unused)
{
    (void)unused;
    struct rlimit limit = {70000, 70000};
    signal(SIGXFSZ, SIG_IGN);
    MUST(setrlimit(RLIMIT_FSIZE, &limit));
    static char bytes[20000];
    int fd = FD(open("limited", O_RDWR | O_CREAT | O_TRUNC, 0644));
    CALL(pwrite(fd, bytes, sizeof bytes, 0));
    CALL(pwrite(fd, bytes, sizeof bytes, 60000));
    CALL(pwrite(fd, bytes, 1, 70000));
    CALL(ftruncate(fd, 70001));
    CALL(ftruncate(fd, 70000));
    script_fstat(fd);
    close(fd);
}

static void beyond_the_limit(void)
{
    CASE("more than the limit of a process");
    script_child(limited, NULL);
}

static void copies(void)
{
    CASE("copy_file_range");
    script_put("from", "0123456789abcdef");
    int in = FD(open("from", O_RDWR)), out = FD(open("to", O_RDWR | O_CREAT | O_TRUNC, 0644));
    off_t at = 4, to = 2;
    CALL(copy_file_range(in, &at, out, &to, 6, 0));
    FACT("offsets", "%lld %lld", (long long)at, (long long)to);
    script_cat("to");
    CALL(copy_file_range(in, NULL, out, NULL, 3, 0));
    CALL(lseek(in, 0, SEEK_CUR));
    CALL(lseek(out, 0, SEEK_CUR));
    script_cat("to");
    CALL(copy_file_range(in, &(off_t){10}, out, &(off_t){0}, 100, 0));
    CALL(copy_file_range(in, &(off_t){16}, out, &(off_t){0}, 100, 0));
    CALL(copy_file_range(in, &(off_t){99}, out, &(off_t){0}, 100, 0));
    script_cat("to");
    CASE("copy_file_range within a file");
    CALL(copy_file_range(in, &(off_t){0}, in, &(off_t){12}, 4, 0));
    CALL(copy_file_range(in, &(off_t){0}, in, &(off_t){20}, 4, 0));
    CALL(copy_file_range(in, &(off_t){0}, in, &(off_t){4}, 8, 0));
    CALL(copy_file_range(in, &(off_t){4}, in, &(off_t){0}, 8, 0));
    script_cat("from");
    CASE("copy_file_range of what cannot be");
    CALL(copy_file_range(in, NULL, out, NULL, 1, 1));
    int other = FD(open("to", O_RDONLY));
    CALL(copy_file_range(in, NULL, other, NULL, 1, 0));
    close(other);
    other = FD(open("to", O_WRONLY | O_APPEND));
    CALL(copy_file_range(in, NULL, other, NULL, 1, 0));
    close(other);
    other = FD(open("d", O_RDONLY));
    CALL(copy_file_range(other, NULL, out, NULL, 1, 0));
    close(other);
    close(in);
    close(out);
}

static void large_copies(void)
{
    CASE("large copy_file_range");
    char *bytes = malloc(2500000);
    for (size_t i = 0; i < 2500000; i++)
        bytes[i] = (char)(i * 11 + i / 509);
    int in = FD(open("large", O_RDWR | O_CREAT | O_TRUNC, 0644));
    int out = FD(open("copy", O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(in, bytes, 2500000));
    off_t at = 0, to = 0;
    ssize_t sum = 0, n;
    while ((n = copy_file_range(in, &at, out, &to, 2500000, 0)) > 0)
        sum += n;
    FACT("copied", "%zd, %zd at the end", sum, n);
    script_cat("copy");
    CALL(copy_file_range(in, &(off_t){65536}, out, &(off_t){1048576}, 131072, 0));
    CALL(copy_file_range(in, &(off_t){0}, out, &(off_t){8388608}, 65536, 0));
    script_fstat(out);
    script_cat("copy");
    script_read(in, 2500000, 0);
    struct stat before = script_seen("copy");
    CALL(copy_file_range(in, &(off_t){100}, out, &(off_t){333}, 1000, 0));
    script_changes("copy", &before);
    close(in);
    close(out);
    free(bytes);
}

static void seen_by_others(void)
{
    CASE("two descriptors");
    int one = FD(open("two", O_RDWR | O_CREAT | O_TRUNC, 0644)), other = FD(open("two", O_RDWR));
    CALL(pwrite(one, "first", 5, 0));
    script_read(other, 10, 0);
    CALL(pwrite(other, "F", 1, 0));
    script_read(one, 10, 0);
    CALL(ftruncate(one, 2));
    script_read(other, 10, 0);
    CALL(pwrite(other, "end", 3, 9));
    script_fstat(one);
    CALL(lseek(one, 0, SEEK_END));
    CALL(unlink("two"));
    script_read(one, 20, 0);
    close(one);
    close(other);
    CASE("times of writing");
    int fd = FD(open("w", O_RDWR | O_CREAT, 0644));
    struct stat before = script_seen("w");
    CALL(pwrite(fd, "", 0, 0));
    script_read(fd, 1, 0);
    script_changes("w", &before);
    CALL(pwrite(fd, "x", 1, 0));
    script_changes("w", &before);
    before = script_seen("w");
    CALL(pwrite(fd, "x", 1, 0));
    CALL(fsync(fd));
    script_changes("w", &before);
    before = script_seen("w");
    CALL(fsync(fd));
    close(fd);
    script_changes("w", &before);
}

void posix_ranges(void)
{
    ends();
    many_sizes();
    past_four_gib();
    up_and_down();
    beyond_the_limit();
    copies();
    large_copies();
    seen_by_others();
}
