/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Set-id bits, which go when somebody changes the file: for a user always, for root with the owner alone.
 */
#include "script.h"
#include <sys/mman.h>
#include <sys/xattr.h>

static const mode_t kinds[] = {04755, 02755, 06755, 02644, 06711, 04644};

static int make(const char *path, mode_t mode)
{
    unlink(path);
    script_put(path, "bytes");
    MUST(chmod(path, mode));
    MUST(access(path, F_OK));
    return 0;
}

static void tell(const char *what, const char *path)
{
    struct stat st = {0};
    script_must(what, lstat(path, &st) == 0);
    FACT(what, "%04o", st.st_mode & 07777);
}

/* Each way of changing a file, on a file with these bits that this user may write. */
static void change_all(mode_t mode, int (*renew)(const char *, mode_t))
{
    char what[60];
    snprintf(what, sizeof what, "user %u, mode %04o", getuid() ? 1 : 0, mode);
    CASE(what);
    renew("f", mode);
    int fd = open("f", O_RDWR);
    MUST(write(fd, "x", 1));
    tell("after a write", "f");
    MUST(write(fd, "x", 1));
    tell("after another", "f");
    close(fd);
    renew("f", mode);
    MUST(truncate("f", 2));
    tell("after truncate", "f");
    renew("f", mode);
    fd = open("f", O_RDWR | O_TRUNC);
    tell("after O_TRUNC", "f");
    renew("f", mode);
    close(fd);
    fd = open("f", O_RDWR);
    MUST(ftruncate(fd, 100));
    tell("after ftruncate", "f");
    close(fd);
    renew("f", mode);
    fd = open("f", O_RDWR);
    MUST(fallocate(fd, 0, 0, 10000));
    tell("after fallocate", "f");
    close(fd);
    renew("f", mode);
    fd = open("f", O_RDWR);
    MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2));
    tell("after a hole was punched", "f");
    close(fd);
    renew("f", mode);
    fd = open("f", O_RDWR);
    int from = open("source", O_RDONLY);
    MUST(copy_file_range(from, &(off_t){0}, fd, &(off_t){0}, 5, 0));
    tell("after copy_file_range", "f");
    close(fd);
    close(from);
}

static void change_little(mode_t mode, int (*renew)(const char *, mode_t))
{
    renew("f", mode);
    int fd = open("f", O_RDWR);
    MUST(pwrite(fd, "", 0, 0));
    tell("after a write of nothing", "f");
    close(fd);
    fd = open("f", O_RDWR | O_APPEND);
    char byte;
    MUST(read(fd, &byte, 1));
    MUST(fsync(fd));
    tell("after reading", "f");
    close(fd);
    renew("f", mode);
    MUST(rename("f", "g"));
    tell("after rename", "g");
    MUST(link("g", "f"));
    tell("after link", "f");
    MUST(unlink("g"));
}

static void of_ones_own(void)
{
    script_put("source", "source");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        change_all(kinds[i], make);
        change_little(kinds[i], make);
        make("f", kinds[i]);
        MUST(chown("f", (uid_t)-1, getgid()));
        tell("after chown to the same group", "f");
        make("f", kinds[i]);
        MUST(chown("f", (uid_t)-1, CLUB));
        tell("after chown to another group", "f");
        make("f", kinds[i]);
        MUST(chown("f", (uid_t)-1, (gid_t)-1));
        tell("after chown to nobody else", "f");
        make("f", kinds[i]);
        MUST(setxattr("f", "user.x", "y", 1, 0));
        tell("after setxattr", "f");
    }
    CASE("folders");
    MUST(mkdir("d", 0755));
    CALL(chmod("d", 06775));
    script_put("d/f", "x");
    tell("after something in it", "d");
    MUST(chown("d", (uid_t)-1, CLUB));
    tell("after chown", "d");
}

/* As somebody else who may write into it: into a file that root makes anew each time. */
static void write_to_it(void *unused)
{
    (void)unused;
    int fd = open("foreign", O_RDWR);
    CALL(write(fd, "x", 1));
    close(fd);
}

static void truncate_it(void *unused)
{
    (void)unused;
    CALL(truncate("foreign", 2));
}

static void write_through_a_map(void *unused)
{
    (void)unused;
    int fd = open("foreign", O_RDWR);
    char *map = mmap(NULL, 5, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FACT("mapped", "%d", map != MAP_FAILED);
    if (map != MAP_FAILED) {
        map[0] = 'm';
        CALL(msync(map, 5, MS_SYNC));
    }
    close(fd);
}

static void of_others(void)
{
    static void (*const ways[])(void *) = {write_to_it, truncate_it, write_through_a_map};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char what[60];
        snprintf(what, sizeof what, "another's, mode %04o", kinds[i] | 022);
        CASE(what);
        for (size_t way = 0; way < sizeof ways / sizeof *ways; way++) {
            make("foreign", kinds[i] | 022);
            script_as(BOB, BOB, BOB, ways[way], NULL);
            tell("afterwards", "foreign");
        }
        make("foreign", kinds[i]);
        MUST(chown("foreign", ANN, ANN));
        tell("after chown by root", "foreign");
        unlink("foreign");
    }
}

static void new_members(void *unused)
{
    (void)unused;
    CASE("chmod by one who is not of the group");
    CALL(chmod("clubs", 02775));
    tell("by the owner outside the group", "clubs");
    CALL(chmod("clubs", 06775));
    tell("both bits", "clubs");
}

void posix_setid(void)
{
    of_ones_own();
    if (!script_root)
        return;
    of_others();
    script_put("clubs", "x");
    MUST(chown("clubs", BOB, CLUB));
    script_as(BOB, BOB, BOB, new_members, NULL);
}
