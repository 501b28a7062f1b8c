/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * mount_model FOLDER REFERENCE SEED OPERATIONS [LARGEST]
 *
 * Does the same random things to three files in two folders: writes, appends, truncates, stores through maps, holes, copies,
 * reads, with descriptors and maps that live on and files that are renamed and made anew. Whatever differs between the
 * folders (a result, an errno, a byte, a size) is told with the operation's number, and ends it with 1. The second folder
 * lies on a file system that is believed. Files that are there already are gone on with, if they are the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES = 3, SIDES = 2, PAGE = 4096, PIECE = 1 << 18, LEAF = 1 << 20 };

struct side {
    char path[4000], other[4000];
    int fd, append;
    char *map; /* of the piece at mapped, or NULL */
};

struct file {
    struct side sides[SIDES];
    off_t size, mapped; /* as the model has it */
};

static struct file files[FILES];
static uint64_t state;
static off_t largest = 5 * LEAF + 12345;
static long number;
static char story[200];

static uint64_t draw(uint64_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return below ? (state >> 11) % below : 0;
}

/* Says what was being done, and the difference; never returns. */
static _Noreturn void differs(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void differs(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("operation %ld, %s: ", number, story);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    exit(1);
}

static void doing(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void doing(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(story, sizeof story, format, args);
    va_end(args);
}

/* Does it on both sides; the results must be the same. Gives what came of it. */
#define BOTH(file, side, call)                                                                     \
    ({                                                                                             \
        long results_[SIDES];                                                                      \
        for (int i_ = 0; i_ < SIDES; i_++) {                                                       \
            side = &(file)->sides[i_];                                                             \
            results_[i_] = one((long)(call));                                                      \
        }                                                                                          \
        both((file), results_);                                                                    \
    })

static long one(long result)
{
    return result < 0 ? -(long)errno : result;
}

static long both(const struct file *file, const long *results)
{
    if (results[0] != results[1])
        differs("file %d gave %ld (%s), the reference %ld (%s)", (int)(file - files), results[0],
            results[0] < 0 ? strerror((int)-results[0]) : "", results[1],
            results[1] < 0 ? strerror((int)-results[1]) : "");
    return results[0];
}

/* Where leaves and pages begin and end more happens than elsewhere. */
static off_t draw_place(off_t below)
{
    off_t at = (off_t)draw((uint64_t)below + 1);
    uint64_t kind = draw(6);
    if (kind == 0)
        at = at / LEAF * LEAF + (off_t)draw(9) - 4;
    else if (kind == 1)
        at = at / PAGE * PAGE + (off_t)draw(3) - 1;
    else if (kind == 2)
        at = below - (off_t)draw(5000);
    return at < 0 ? 0 : at > largest ? largest : at;
}

static size_t draw_size(void)
{
    uint64_t kind = draw(10);
    return (size_t)(1 + draw(kind < 5 ? 200 : kind < 9 ? 20000 : PIECE));
}

static const char *draw_bytes(size_t size)
{
    static char bytes[PIECE + 8];
    uint64_t word = draw(0), step = state | 1;
    if (draw(12) == 0)
        word = step = 0; /* zeros are bytes, too */
    for (size_t i = 0; i < size; i += 8, word += step)
        memcpy(bytes + i, &word, 8);
    return bytes;
}

static void grew(struct file *file, off_t end)
{
    if (end > file->size)
        file->size = end;
}

static void compare(struct file *file, off_t at, size_t size)
{
    static char bytes[SIDES][PIECE];
    struct side *side;
    doing("read %zu at %lld of file %d", size, (long long)at, (int)(file - files));
    long got = BOTH(file, side, pread(side->fd, bytes[side - file->sides], size, at));
    for (long i = 0; i < got; i++)
        if (bytes[0][i] != bytes[1][i])
            differs("byte %lld is %02x, in the reference %02x", (long long)at + i,
                (unsigned char)bytes[0][i], (unsigned char)bytes[1][i]);
}

static void compare_all(struct file *file)
{
    struct stat st;
    struct side *side;
    for (off_t at = 0; at <= file->size; at += PIECE)
        compare(file, at, PIECE);
    doing("size of file %d", (int)(file - files));
    if (BOTH(file, side, fstat(side->fd, &st) < 0 ? -1 : st.st_size) != file->size)
        differs("the model says %lld", (long long)file->size);
}

static void unmap(struct file *file)
{
    for (int i = 0; i < SIDES; i++) {
        if (file->sides[i].map)
            munmap(file->sides[i].map, PIECE);
        file->sides[i].map = NULL;
    }
}

static void write_some(struct file *file)
{
    struct side *side;
    size_t size = draw_size();
    off_t at = draw_place(draw(3) ? file->size : largest);
    const char *bytes = draw_bytes(size);
    doing("write %zu at %lld", size, (long long)at);
    BOTH(file, side, pwrite(side->fd, bytes, size, at));
    grew(file, at + (off_t)size);
}

static void append_some(struct file *file)
{
    struct side *side;
    size_t size = draw_size();
    if (file->size + (off_t)size > largest)
        return;
    const char *bytes = draw_bytes(size);
    doing("append %zu", size);
    BOTH(file, side, write(side->append, bytes, size));
    file->size += (off_t)size;
}

static void truncate_it(struct file *file)
{
    struct side *side;
    off_t to = draw(4) ? draw_place(file->size) : draw_place(largest);
    if (draw(10) && to < file->size / 2)
        to = file->size - to / 8; /* or little would be left most of the time */
    bool by_path = draw(2);
    doing("truncate to %lld by %s", (long long)to, by_path ? "path" : "descriptor");
    BOTH(file, side, by_path ? truncate(side->path, to) : ftruncate(side->fd, to));
    file->size = to;
}

static void allocate(struct file *file)
{
    static const int modes[] = {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
        FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE};
    struct side *side;
    int mode = modes[draw(6)];
    off_t at = draw_place(file->size), size = (off_t)draw_size();
    doing("fallocate %d, %lld at %lld", mode, (long long)size, (long long)at);
    if (BOTH(file, side, fallocate(side->fd, mode, at, size)) == 0 && !(mode & FALLOC_FL_KEEP_SIZE))
        grew(file, at + size);
}

/* Through the map that is there, or a new one, which may stay. */
static void store(struct file *file)
{
    struct side *side;
    if (!file->sides[0].map) {
        file->mapped = draw_place(file->size) / PAGE * PAGE;
        doing("map %lld", (long long)file->mapped);
        for (int i = 0; i < SIDES; i++) {
            void *map = mmap(
                NULL, PIECE, PROT_READ | PROT_WRITE, MAP_SHARED, file->sides[i].fd, file->mapped);
            if (map == MAP_FAILED)
                differs("side %d: %s", i, strerror(errno));
            file->sides[i].map = map;
        }
    }
    off_t room = file->size - file->mapped;
    if (room <= 0) {
        unmap(file);
        return;
    }
    size_t most = room > PIECE ? PIECE : (size_t)room, at = draw(most), size = draw_size();
    if (size > most - at)
        size = most - at;
    const char *bytes = draw_bytes(size);
    doing("store %zu at %lld", size, (long long)file->mapped + (long long)at);
    for (int i = 0; i < SIDES; i++)
        memcpy(file->sides[i].map + at, bytes, size);
    uint64_t next = draw(4);
    if (next == 0)
        BOTH(file, side, msync(side->map, PIECE, MS_SYNC));
    if (next <= 1)
        unmap(file);
}

static void copy_some(struct file *file)
{
    const struct file *to = file;
    struct side *side;
    size_t size = draw_size();
    off_t from_at = draw_place(file->size), to_at = draw_place(file->size);
    if (from_at + (off_t)size > file->size || llabs(from_at - to_at) < (long long)size)
        return;
    doing("copy %zu from %lld to %lld", size, (long long)from_at, (long long)to_at);
    for (int i = 0; i < SIDES; i++) {
        off_t from = from_at, at = to_at;
        while (from < from_at + (off_t)size) {
            side = &file->sides[i];
            ssize_t n = copy_file_range(
                side->fd, &from, to->sides[i].fd, &at, (size_t)(from_at + (off_t)size - from), 0);
            if (n <= 0)
                differs("side %d gave %zd: %s", i, n, strerror(errno));
        }
    }
    grew(file, to_at + (off_t)size);
}

static int open_side(struct side *side)
{
    side->fd = open(side->path, O_RDWR | O_CREAT, 0644);
    side->append = open(side->path, O_RDWR | O_APPEND);
    return side->fd < 0 || side->append < 0 ? -1 : 0;
}

static int close_side(struct side *side)
{
    int gave = close(side->fd);
    return close(side->append) < 0 ? -1 : gave;
}

static void open_again(struct file *file)
{
    struct side *side;
    if (draw(2))
        unmap(file);
    doing("close and open");
    BOTH(file, side, close_side(side));
    BOTH(file, side, open_side(side));
}

static void sync_it(struct file *file)
{
    struct side *side;
    bool forget = draw(2);
    doing("fsync%s", forget ? ", and the cache is dropped" : "");
    BOTH(file, side, fsync(side->fd));
    if (forget)
        BOTH(file, side, posix_fadvise(side->fd, 0, 0, POSIX_FADV_DONTNEED));
}

/* Under another name and back, or replaced by an empty one. */
static void rename_it(struct file *file)
{
    struct side *side;
    if (draw(8)) {
        doing("rename to and fro");
        BOTH(file, side, rename(side->path, side->other));
        write_some(file);
        BOTH(file, side, rename(side->other, side->path));
        return;
    }
    doing("unlink");
    BOTH(file, side, unlink(side->path));
    write_some(file);
    compare_all(file);
    unmap(file);
    BOTH(file, side, close_side(side));
    doing("make anew");
    BOTH(file, side, open_side(side));
    file->size = 0;
}

static void step(void)
{
    struct file *file = &files[draw(FILES)];
    uint64_t kind = draw(100);
    if (kind < 30)
        write_some(file);
    else if (kind < 38)
        append_some(file);
    else if (kind < 46)
        truncate_it(file);
    else if (kind < 56)
        allocate(file);
    else if (kind < 72)
        store(file);
    else if (kind < 78)
        copy_some(file);
    else if (kind < 81)
        open_again(file);
    else if (kind < 84)
        sync_it(file);
    else if (kind < 85)
        rename_it(file);
    else if (kind < 86)
        compare_all(file);
    else
        compare(file, draw_place(file->size), draw_size());
}

static void begin(char **folders)
{
    struct side *side;
    struct stat st;
    for (int f = 0; f < FILES; f++) {
        for (int i = 0; i < SIDES; i++) {
            struct side *one_side = &files[f].sides[i];
            snprintf(one_side->path, sizeof one_side->path, "%.3900s/model %d", folders[i], f);
            snprintf(one_side->other, sizeof one_side->other, "%.3900s/renamed %d", folders[i], f);
        }
        doing("open");
        BOTH(&files[f], side, open_side(side));
        files[f].size = BOTH(&files[f], side, fstat(side->fd, &st) < 0 ? -1 : st.st_size);
        compare_all(&files[f]);
    }
}

int main(int argc, char **argv)
{
    if (argc < 5 || argc > 6) {
        fputs("usage: mount_model FOLDER REFERENCE SEED OPERATIONS [LARGEST]\n", stderr);
        return 2;
    }
    state = strtoull(argv[3], NULL, 10) * 0x9e3779b97f4a7c15u + 1;
    long operations = atol(argv[4]);
    if (argc == 6)
        largest = atoll(argv[5]);
    begin(argv + 1);
    for (number = 1; number <= operations; number++)
        step();
    for (int f = 0; f < FILES; f++) {
        unmap(&files[f]);
        compare_all(&files[f]);
    }
    printf("%ld operations, sizes %lld %lld %lld\n", operations, (long long)files[0].size,
        (long long)files[1].size, (long long)files[2].size);
    return 0;
}
