/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Room and holes: fallocate in all its modes, SEEK_DATA and SEEK_HOLE.
 */
#include "script.h"

static const char pattern[] = "0123456789abcdef";

/* A file of that many bytes, not one of them zero. */
static int filled(const char *path, off_t size)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    char *bytes = malloc((size_t)size);
    for (off_t i = 0; i < size; i++)
        bytes[i] = pattern[i / 4096 % 16];
    script_must("filling a file", fd >= 0 && write(fd, bytes, (size_t)size) == size);
    free(bytes);
    return fd;
}

static void allocating(void)
{
    CASE("allocating");
    int fd = FD(open("a", O_RDWR | O_CREAT | O_TRUNC, 0644));
    struct stat before = script_seen("a");
    CALL(fallocate(fd, 0, 0, 100000));
    script_changes("a", &before);
    script_cat("a");
    CALL(pwrite(fd, "in there", 8, 50000));
    CALL(fallocate(fd, 0, 0, 100000));
    CALL(fallocate(fd, 0, 10, 20));
    script_cat("a");
    script_fstat(fd);
    CALL(fallocate(fd, 0, 150000, 50));
    script_fstat(fd);
    CASE("KEEP_SIZE");
    CALL(fallocate(fd, FALLOC_FL_KEEP_SIZE, 150000, 100000));
    script_fstat(fd);
    CALL(pwrite(fd, "x", 1, 200000));
    script_cat("a");
    CALL(posix_fallocate(fd, 0, 300000));
    script_fstat(fd);
    close(fd);
    CASE("room before it is written");
    fd = FD(open("b", O_RDWR | O_CREAT | O_TRUNC, 0644));
    CALL(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 1000000));
    script_fstat(fd);
    CALL(write(fd, "short", 5));
    script_cat("b");
    CALL(ftruncate(fd, 5));
    close(fd);
}

static void punching(void)
{
    const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    CASE("PUNCH_HOLE");
    int fd = filled("p", 65536);
    struct stat before = script_seen("p");
    CALL(fallocate(fd, punch, 8192, 4096));
    script_changes("p", &before);
    script_read(fd, 20480, 0);
    CALL(fallocate(fd, punch, 20000, 100));
    script_read(fd, 200, 19950);
    CALL(fallocate(fd, punch, 30000, 10000));
    script_read(fd, 14336, 28672);
    CALL(fallocate(fd, punch, 60000, 100000));
    script_fstat(fd);
    script_read(fd, 8192, 57344);
    CALL(fallocate(fd, punch, 200000, 1000));
    script_fstat(fd);
    CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 4096));
    CALL(fallocate(fd, punch, 0, 65536));
    script_cat("p");
    CALL(pwrite(fd, "again", 5, 30000));
    script_cat("p");
    close(fd);
}

static void zeroing(void)
{
    CASE("ZERO_RANGE");
    int fd = filled("z", 65536);
    CALL(fallocate(fd, FALLOC_FL_ZERO_RANGE, 5000, 5000));
    script_read(fd, 12288, 0);
    CALL(fallocate(fd, FALLOC_FL_ZERO_RANGE, 60000, 10000));
    script_fstat(fd);
    script_read(fd, 16384, 57344);
    CALL(fallocate(fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 65000, 10000));
    script_fstat(fd);
    script_read(fd, 16384, 57344);
    CALL(pwrite(fd, "again", 5, 5100));
    script_read(fd, 12288, 0);
    close(fd);
}

static void moving_what_follows(void)
{
    CASE("COLLAPSE and INSERT");
    int fd = filled("c", 16 * 65536);
    bool collapsed = CALL(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 65536, 65536)) == 0;
    bool inserted = CALL(fallocate(fd, FALLOC_FL_INSERT_RANGE, 65536, 65536)) == 0;
    struct stat st;
    MUST(fstat(fd, &st));
    off_t wanted = (16 - collapsed + inserted) * 65536;
    FACT("the size goes with them", "%s", st.st_size == wanted ? "yes" : "no");
    close(fd);
}

static void what_cannot_be(void)
{
    CASE("what cannot be allocated");
    int fd = FD(open("a", O_RDWR));
    CALL(fallocate(fd, 0, 0, 0));
    CALL(fallocate(fd, 0, -1, 10));
    CALL(fallocate(fd, 0, 0, -10));
    CALL(fallocate(fd, 0x4000, 0, 10));
    CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, 10));
    close(fd);
    fd = FD(open("a", O_RDONLY));
    CALL(fallocate(fd, 0, 0, 10));
    close(fd);
    fd = FD(open(".", O_RDONLY));
    CALL(fallocate(fd, 0, 0, 10));
    close(fd);
    int ends[2];
    MUST(pipe(ends));
    CALL(fallocate(ends[1], 0, 0, 10));
    close(ends[0]);
    close(ends[1]);
}

static void data_and_holes(void)
{
    CASE("SEEK_DATA and SEEK_HOLE");
    int fd = FD(open("h", O_RDWR | O_CREAT | O_TRUNC, 0644)), data = filled("data", MIB);
    CALL(lseek(fd, 0, SEEK_DATA));
    CALL(lseek(fd, 0, SEEK_HOLE));
    CALL(ftruncate(fd, 8 * MIB));
    CALL(lseek(fd, 0, SEEK_DATA));
    CALL(lseek(fd, 5, SEEK_HOLE));
    char *bytes = malloc((size_t)MIB);
    MUST(pread(data, bytes, (size_t)MIB, 0));
    CALL(pwrite(fd, bytes, (size_t)MIB, 2 * MIB));
    CALL(pwrite(fd, bytes, (size_t)MIB, 5 * MIB));
    for (int synced = 0; synced < 2; synced++) {
        CALL(lseek(fd, 0, SEEK_DATA));
        CALL(lseek(fd, 2 * MIB + 17, SEEK_DATA));
        CALL(lseek(fd, 0, SEEK_HOLE));
        CALL(lseek(fd, 2 * MIB, SEEK_HOLE));
        CALL(lseek(fd, 3 * MIB, SEEK_DATA));
        CALL(lseek(fd, 5 * MIB + 1, SEEK_HOLE));
        CALL(lseek(fd, 6 * MIB, SEEK_DATA));
        CALL(lseek(fd, 6 * MIB, SEEK_HOLE));
        CALL(lseek(fd, 8 * MIB, SEEK_DATA));
        CALL(lseek(fd, 8 * MIB, SEEK_HOLE));
        CALL(lseek(fd, 8 * MIB - 1, SEEK_HOLE));
        CALL(fsync(fd));
    }
    CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * MIB, MIB));
    CALL(lseek(fd, 0, SEEK_DATA));
    CALL(lseek(data, 0, SEEK_HOLE));
    CALL(lseek(data, 0, SEEK_DATA));
    CALL(lseek(fd, 7 * MIB, SEEK_SET));
    CALL(write(fd, bytes, (size_t)MIB));
    CALL(lseek(fd, 6 * MIB, SEEK_DATA));
    CALL(lseek(fd, 7 * MIB, SEEK_HOLE));
    free(bytes);
    close(data);
    close(fd);
}

void posix_space(void)
{
    allocating();
    punching();
    zeroing();
    moving_what_follows();
    what_cannot_be();
    data_and_holes();
}
