/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mapped files: what is stored is read, what is written is seen, and where a map ends.
 */
#include "script.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { PAGE = 4096 };

static char *map_of(int fd, size_t size, int flags)
{
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
    script_must("mapping", map != MAP_FAILED);
    return map == MAP_FAILED ? NULL : map;
}

static void stored_and_written(void)
{
    CASE("shared");
    int fd = FD(open("s", O_RDWR | O_CREAT, 0644)), other = FD(open("s", O_RDWR));
    CALL(ftruncate(fd, 3 * PAGE));
    char *map = map_of(fd, 3 * PAGE, MAP_SHARED);
    if (!map)
        return;
    memcpy(map + 10, "stored", 6);
    script_read(other, 20, 0);
    CALL(msync(map, 3 * PAGE, MS_SYNC));
    script_read(fd, 20, 0);
    script_cat("s");
    CALL(pwrite(other, "written", 7, 2 * PAGE));
    script_bytes("seen in the map", map + 2 * PAGE, 10);
    memcpy(map + PAGE - 3, "across", 6);
    CALL(msync(map, 3 * PAGE, MS_ASYNC));
    CALL(fsync(other));
    script_read(other, 20, PAGE - 10);
    char *second = map_of(other, 3 * PAGE, MAP_SHARED);
    if (second) {
        second[0] = '2';
        script_bytes("seen in the other map", map, 16);
        CALL(munmap(second, 3 * PAGE));
    }
    CALL(madvise(map, 3 * PAGE, MADV_DONTNEED));
    script_bytes("after MADV_DONTNEED", map + PAGE - 5, 10);
    map[100] = 'u';
    CALL(munmap(map, 3 * PAGE));
    close(fd);
    close(other);
    script_cat("s");
    CASE("times of stores");
    fd = FD(open("s", O_RDWR));
    struct stat before = script_seen("s");
    map = map_of(fd, PAGE, MAP_SHARED);
    if (map) {
        map[7] = '7';
        CALL(msync(map, PAGE, MS_SYNC));
        munmap(map, PAGE);
    }
    close(fd);
    script_changes("s", &before);
}

static void private_maps(void)
{
    CASE("private");
    script_put("p", "the bytes");
    int fd = FD(open("p", O_RDONLY));
    char *map = map_of(fd, PAGE, MAP_PRIVATE);
    if (map) {
        memcpy(map, "own", 3);
        script_bytes("the map", map, 9);
        script_read(fd, 20, 0);
        CALL(msync(map, PAGE, MS_SYNC));
        munmap(map, PAGE);
    }
    script_cat("p");
    CASE("what cannot be mapped");
    CALL(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    CALL(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1) == MAP_FAILED ? -1 : 0);
    CALL(mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    close(fd);
    fd = FD(open("p", O_WRONLY));
    CALL(mmap(NULL, PAGE, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    close(fd);
    fd = FD(open(".", O_RDONLY));
    CALL(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    close(fd);
}

static void touch(void *at)
{
    volatile char *byte = at;
    signal(SIGBUS, SIG_DFL); /* a sanitizer would catch it */
    FACT("touched", "%d", *byte);
    *byte = 'x';
    FACT("stored", "%d", *byte);
}

static void where_a_map_ends(void)
{
    CASE("beyond the end");
    script_put("e", "0123456789");
    int fd = FD(open("e", O_RDWR));
    char *map = map_of(fd, 4 * PAGE, MAP_SHARED);
    if (!map)
        return;
    script_bytes("the rest of the page", map, 16);
    script_child(touch, map + PAGE);
    CALL(ftruncate(fd, PAGE + 5));
    script_child(touch, map + PAGE);
    script_child(touch, map + 2 * PAGE);
    script_read(fd, 20, PAGE);
    memcpy(map + PAGE, "tails", 5);
    memcpy(map + PAGE + 5, "not in the file", 15);
    CALL(msync(map, 2 * PAGE, MS_SYNC));
    script_fstat(fd);
    script_read(fd, 100, PAGE);
    CALL(ftruncate(fd, 2 * PAGE));
    script_read(fd, 100, PAGE);
    CALL(ftruncate(fd, 5));
    script_child(touch, map + PAGE);
    script_child(touch, map);
    CALL(pwrite(fd, "far", 3, 3 * PAGE));
    script_bytes("it grew", map + 3 * PAGE, 5);
    script_bytes("a hole", map + PAGE, 5);
    map[2 * PAGE] = 'h';
    CALL(fdatasync(fd));
    script_cat("e");
    munmap(map, 4 * PAGE);
    close(fd);
}

static void store_as_child(void *map)
{
    memcpy(map, "by the child", 12);
}

static void lives_on(void)
{
    CASE("after the descriptor is closed and the file unlinked");
    script_put("l", "bytes");
    int fd = FD(open("l", O_RDWR)), other = FD(open("l", O_RDONLY));
    MUST(ftruncate(fd, 2 * PAGE));
    char *map = map_of(fd, 2 * PAGE, MAP_SHARED);
    if (!map)
        return;
    close(fd);
    map[PAGE] = 'c';
    script_read(other, 10, PAGE);
    script_child(store_as_child, map);
    script_read(other, 20, 0);
    CALL(unlink("l"));
    memcpy(map + 100, "unlinked", 8);
    CALL(msync(map, 2 * PAGE, MS_SYNC));
    script_read(other, 20, 95);
    close(other);
    script_bytes("the map", map + 100, 8);
    CALL(msync(map, 2 * PAGE, MS_SYNC));
    map = mremap(map, 2 * PAGE, PAGE, 0);
    FACT("shrunk", "%d", map != MAP_FAILED);
    if (map != MAP_FAILED)
        munmap(map, PAGE);
}

static void calls_with_mapped_bytes(void)
{
    CASE("written from its own map");
    int fd = FD(open("w", O_RDWR | O_CREAT, 0644));
    MUST(ftruncate(fd, 4 * PAGE));
    MUST(pwrite(fd, "source", 6, 0));
    char *map = map_of(fd, 4 * PAGE, MAP_SHARED);
    if (!map)
        return;
    CALL(pwrite(fd, map, PAGE, PAGE));
    CALL(pwrite(fd, map + PAGE, 6, 2 * PAGE + 100));
    script_read(fd, 110, 2 * PAGE);
    CALL(pread(fd, map + 3 * PAGE, 6, 2 * PAGE + 100));
    CALL(msync(map, 4 * PAGE, MS_SYNC));
    script_cat("w");
    munmap(map, 4 * PAGE);
    close(fd);
}

enum { COUNTERS = 4, TURNS = 500 };

/* Each process counts up its own word of one page. */
static void several_processes(void)
{
    CASE("several processes");
    script_put("c", "");
    MUST(truncate("c", PAGE));
    fflush(stdout);
    for (int i = 0; i < COUNTERS; i++)
        if (fork() == 0) {
            int fd = open("c", O_RDWR);
            volatile int *words = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            for (int turn = 0; (void *)words != MAP_FAILED && turn < TURNS; turn++)
                words[i * 16]++;
            _exit(0);
        }
    for (int i = 0; i < COUNTERS; i++)
        MUST(wait(NULL));
    int words[PAGE / sizeof(int)] = {0}, fd = FD(open("c", O_RDONLY));
    CALL(read(fd, words, PAGE));
    for (int i = 0; i < COUNTERS; i++)
        FACT("counted", "%d", words[i * 16]);
    close(fd);
}

static void large(void)
{
    CASE("four mebibytes");
    size_t size = (size_t)(4 * MIB);
    int fd = FD(open("b", O_RDWR | O_CREAT, 0644));
    CALL(ftruncate(fd, (off_t)size));
    unsigned char *map = (unsigned char *)map_of(fd, size, MAP_SHARED);
    if (!map)
        return;
    for (size_t i = 0; i < size; i++)
        map[i] = (unsigned char)(i * 13 + i / 997);
    script_read(fd, size, 0);
    CALL(msync(map, size, MS_SYNC));
    CALL(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    munmap(map, size);
    close(fd);
    script_cat("b");
    CASE("a map far out");
    fd = FD(open("far", O_RDWR | O_CREAT, 0644));
    CALL(ftruncate(fd, 5 * GIB));
    char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 5 * GIB - PAGE);
    if (at != MAP_FAILED) {
        memcpy(at + 50, "far out", 7);
        CALL(msync(at, PAGE, MS_SYNC));
        munmap(at, PAGE);
    }
    script_read(fd, 20, 5 * GIB - PAGE + 45);
    script_fstat(fd);
    close(fd);
}

void posix_mmap(void)
{
    stored_and_written();
    private_maps();
    where_a_map_ends();
    lives_on();
    calls_with_mapped_bytes();
    several_processes();
    large();
}
