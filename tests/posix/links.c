/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Hard links and symlinks, and files that are unlinked while they are open.
 */
#include "script.h"
#include <dirent.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static void counts(void)
{
    CASE("link counts");
    script_put("a", "bytes");
    CALL(mkdir("d", 0755));
    int fd = FD(open("a", O_RDWR));
    CALL(link("a", "b"));
    CALL(link("b", "d/c"));
    script_stat("a");
    script_stat("b");
    script_stat("d/c");
    script_fstat(fd);
    FACT("the same inode", "%d %d", script_same_inode("a", "b"), script_same_inode("a", "d/c"));
    script_put("b", "by another name");
    script_cat("a");
    script_cat("d/c");
    CALL(chmod("d/c", 0640));
    script_stat("a");
    CALL(unlink("a"));
    script_fstat(fd);
    script_stat("b");
    CALL(rename("b", "a"));
    script_stat("d/c");
    CALL(unlink("a"));
    script_stat("d/c");
    CALL(unlink("d/c"));
    script_fstat(fd);
    script_read(fd, 20, 0);
    close(fd);
    script_list("d");
}

static void times_of_links(void)
{
    CASE("times of links");
    script_put("a", "x");
    struct stat file = script_seen("a"), folder = script_seen("d");
    CALL(link("a", "d/b"));
    script_changes("a", &file);
    script_changes("d", &folder);
    file = script_seen("a"), folder = script_seen("d");
    CALL(unlink("d/b"));
    script_changes("a", &file);
    script_changes("d", &folder);
    CALL(unlink("a"));
}

static void what_cannot_be_linked(void)
{
    CASE("what cannot be linked");
    script_put("a", "x");
    script_put("b", "y");
    CALL(link("a", "b"));
    CALL(link("a", "a"));
    CALL(link("none", "c"));
    CALL(link("d", "e"));
    CALL(link("a", "none/c"));
    CALL(link("a", "b/c"));
    CALL(link("a", "d"));
    CALL(symlink("a", "s"));
    CALL(link("a", "s"));
    CALL(linkat(AT_FDCWD, "s", AT_FDCWD, "to-s", 0));
    script_stat("to-s");
    CALL(linkat(AT_FDCWD, "s", AT_FDCWD, "to-a", AT_SYMLINK_FOLLOW));
    script_stat("to-a");
    CALL(mkfifo("fifo", 0600));
    CALL(link("fifo", "d/fifo"));
    script_stat("d/fifo");
    CALL(unlink("d"));
    CALL(unlink("none"));
    CALL(unlink("a/none"));
    script_list(".");
    script_remove("d");
    static const char *const made[] = {"a", "b", "s", "to-s", "to-a", "fifo"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++)
        MUST(unlink(made[i]));
}

static void many_links(void)
{
    char name[20];
    int made = 0, gone = 0;
    CASE("200 links");
    script_put("a", "x");
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "l%d", i);
        made += link("a", name) == 0;
    }
    FACT("made", "%d", made);
    script_stat("l199");
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "l%d", i);
        gone += unlink(name) == 0;
    }
    FACT("unlinked", "%d", gone);
    script_stat("a");
    CALL(unlink("a"));
}

static void unlinked_while_open(void)
{
    char path[40], value[10];
    CASE("unlinked while open");
    script_put("u", "the old bytes");
    int fd = FD(open("u", O_RDWR)), other = FD(open("u", O_RDONLY));
    CALL(unlink("u"));
    CALL(access("u", F_OK));
    script_fstat(fd);
    script_read(other, 20, 0);
    CALL(pwrite(fd, "NEW", 3, 4));
    script_read(other, 20, 0);
    script_put("u", "another file");
    script_read(fd, 20, 0);
    script_cat("u");
    CALL(fchmod(fd, 0600));
    CALL(futimens(fd, (struct timespec[]){{1000000000, 5}, {1100000000, 7}}));
    struct stat st = {0};
    CALL(fstat(fd, &st));
    FACT("its time", "%lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    CALL(ftruncate(fd, 7));
    CALL(fallocate(fd, 0, 0, 100));
    CALL(fsetxattr(fd, "user.a", "value", 5, 0));
    CALL(fgetxattr(fd, "user.a", value, sizeof value));
    CALL(fsync(fd));
    script_fstat(other);
    script_stat("u");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CALL(linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW));
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) {
        memcpy(map, "mapped", 6);
        CALL(msync(map, 4096, MS_SYNC));
        munmap(map, 4096);
    }
    script_read(other, 8, 0);
    int again = FD(open(path, O_RDWR | O_APPEND));
    CALL(write(again, "appended", 8));
    script_read(other, 20, 96);
    close(again);
    close(other);
    close(fd);
    CALL(unlink("u"));
}

static void replaced_while_open(void)
{
    CASE("replaced while open");
    script_put("r", "old");
    script_put("new", "new");
    int fd = FD(open("r", O_RDWR | O_APPEND));
    CALL(rename("new", "r"));
    script_fstat(fd);
    CALL(write(fd, " and more", 9));
    script_read(fd, 20, 0);
    script_cat("r");
    close(fd);
    CALL(unlink("r"));
    CASE("a folder removed while open");
    CALL(mkdir("d", 0755));
    fd = FD(open("d", O_RDONLY | O_DIRECTORY));
    CALL(rmdir("d"));
    OPENS(openat(fd, "f", O_RDWR | O_CREAT, 0644));
    CALL(mkdirat(fd, "e", 0755));
    CALL(faccessat(fd, "f", F_OK, 0));
    CALL(faccessat(fd, ".", F_OK, 0));
    CALL(fchmod(fd, 0700));
    DIR *dir = fdopendir(fd);
    int names = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        names += entry->d_name[0] != '.';
    FACT("names in it", "%d", names);
    if (dir)
        closedir(dir);
    else
        close(fd);
}

static void symlinks(void)
{
    char target[5000], text[20] = "";
    CASE("symlinks");
    script_put("f", "the file");
    CALL(symlink("f", "s"));
    script_stat("s");
    script_cat("s");
    CALL(readlink("s", text, 20));
    CALL(symlink("nowhere/at/all", "dangling"));
    script_stat("dangling");
    CALL(access("dangling", F_OK));
    ssize_t size = CALL(readlink("dangling", text, 7));
    script_bytes("cut off", text, size > 0 ? (size_t)size : 0);
    CALL(readlink("f", text, 20));
    CALL(readlink("none", text, 20));
    CALL(symlink("x", "s"));
    CALL(symlink("", "empty"));
    CALL(symlink("\xff\n ", "odd"));
    size = CALL(readlink("odd", text, 20));
    script_bytes("odd", text, size > 0 ? (size_t)size : 0);
    CALL(chmod("s", 0600));
    script_stat("f");
    CALL(unlink("s"));
    script_cat("f");
    CASE("long symlinks"); /* between 1024 and 4095 bytes file systems differ */
    static const int lengths[] = {59, 60, 255, 1023, 4096};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        char what[40];
        memset(target, 'x', sizeof target);
        target[lengths[i]] = 0;
        snprintf(what, sizeof what, "a target of %d bytes", lengths[i]);
        script_call(what, symlink(target, "long"));
        script_call(what, readlink("long", target, sizeof target));
        unlink("long");
    }
}

static void loops(void)
{
    char name[20], target[20];
    CASE("chains of symlinks");
    CALL(symlink("me", "me"));
    OPENS(open("me", O_RDONLY));
    OPENS(open("me", O_RDWR | O_CREAT, 0644));
    CALL(access("me/x", F_OK));
    CALL(chmod("me", 0600));
    CALL(unlink("me"));
    script_put("l0", "at the end");
    for (int i = 1; i <= 41; i++) {
        snprintf(name, sizeof name, "l%d", i);
        snprintf(target, sizeof target, "l%d", i - 1);
        MUST(symlink(target, name));
    }
    script_cat("l40");
    script_cat("l41");
    for (int i = 0; i <= 41; i++) {
        snprintf(name, sizeof name, "l%d", i);
        MUST(unlink(name));
    }
    CASE("symlinks in paths");
    CALL(mkdir("real", 0755));
    CALL(symlink("real", "way"));
    script_put("way/f", "through");
    script_cat("real/f");
    CALL(symlink("../real/f", "real/up"));
    script_cat("way/up");
    CALL(rename("way/f", "way/g"));
    script_list("way/");
    CALL(rmdir("way"));
    CALL(mkdir("way", 0755));
    CALL(mkdir("dangling", 0755));
    CALL(unlink("way"));
    script_list("real");
}

void posix_links(void)
{
    counts();
    times_of_links();
    what_cannot_be_linked();
    many_links();
    unlinked_while_open();
    replaced_while_open();
    symlinks();
    loops();
}
