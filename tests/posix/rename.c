/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Renaming: what may replace what, what stays open meanwhile, and the flags of renameat2.
 */
#include "script.h"
#include <linux/fs.h>

static int flagged(const char *from, const char *to, unsigned flags)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void of_files(void)
{
    CASE("files");
    script_put("a", "bytes of a");
    script_put("b", "bytes of b");
    CALL(mkdir("d", 0755));
    CALL(link("a", "a-too"));
    CALL(rename("a", "c"));
    CALL(access("a", F_OK));
    FACT("the same inode", "%d", script_same_inode("a-too", "c"));
    CALL(rename("c", "d/a"));
    FACT("the same inode", "%d", script_same_inode("a-too", "d/a"));
    CALL(rename("d/a", "b"));
    script_cat("b");
    FACT("the same inode", "%d", script_same_inode("a-too", "b"));
    CALL(rename("b", "b"));
    script_stat("b");
    CALL(rename("a-too", "b"));
    script_list(".");
    script_stat("a-too");
    CALL(unlink("a-too"));
    script_stat("b");
    CASE("files that cannot be renamed");
    CALL(rename("none", "e"));
    CALL(rename("b", "none/e"));
    CALL(rename("b", "b/e"));
    CALL(rename("none/e", "b"));
    CALL(rename("b", "d"));
    CALL(rename("d", "b"));
    CALL(rename("b", "."));
    CALL(rename("b", "d/.."));
    CALL(rename("b", ""));
    CALL(rename("", "b"));
    script_cat("b");
}

static void of_open_files(void)
{
    CASE("open files");
    script_put("a", "a");
    script_put("b", "b");
    int one = FD(open("a", O_RDWR | O_APPEND)), two = FD(open("b", O_RDWR | O_APPEND));
    CALL(rename("a", "d/moved"));
    CALL(write(one, "1", 1));
    script_cat("d/moved");
    CALL(rename("d/moved", "b"));
    CALL(write(one, "2", 1));
    CALL(write(two, "3", 1));
    script_cat("b");
    script_read(one, 10, 0);
    script_read(two, 10, 0);
    script_fstat(one);
    script_fstat(two);
    CALL(fchmod(one, 0600));
    script_stat("b");
    close(one);
    close(two);
}

static void of_folders(void)
{
    CASE("folders");
    CALL(mkdir("one", 0755));
    CALL(mkdir("one/in", 0755));
    script_put("one/in/f", "deep");
    CALL(mkdir("empty", 0755));
    CALL(mkdir("full", 0755));
    script_put("full/f", "x");
    CALL(rename("one", "full"));
    CALL(rename("one", "empty"));
    script_list("empty");
    script_cat("empty/in/f");
    CALL(rename("empty", "full/one"));
    script_list("full");
    script_cat("full/one/in/f");
    FACT("its parent", "%d", script_same_inode("full/one/..", "full"));
    CALL(rename("full/one/in", "in"));
    FACT("its parent", "%d", script_same_inode("in/..", "."));
    script_list("full/one");
    CALL(rename("in", "in"));
    CASE("folders that cannot be renamed");
    CALL(rename("full", "full/one/full"));
    CALL(rename("full", "full/full"));
    CALL(rename("full/one", "full"));
    CALL(rename("full/one/.", "x"));
    CALL(rename("full/one/..", "x"));
    CALL(rename("full", "full/f"));
    CALL(rename("full", "in/f"));
    CALL(rename("full/f", "full/one"));
    CALL(rename(".", "x"));
    CALL(rename("..", "x"));
    script_list("full");
}

static void of_folders_in_use(void)
{
    CASE("folders in use");
    CALL(mkdir("use", 0755));
    script_put("use/f", "x");
    int folder = FD(open("use", O_RDONLY | O_DIRECTORY)),
        file = FD(open("use/f", O_RDWR | O_APPEND));
    int here = open(".", O_RDONLY | O_DIRECTORY);
    CALL(chdir("use"));
    CALL(renameat(here, "use", here, "full/used"));
    script_cat("f");
    script_put("g", "made after");
    CALL(access("../f", F_OK));
    CALL(write(file, "y", 1));
    OPENS(openat(folder, "h", O_RDWR | O_CREAT, 0644));
    CALL(fchdir(here));
    script_list("full/used");
    script_cat("full/used/f");
    script_cat("full/used/g");
    OPENS(open("use/f", O_RDONLY));
    close(folder);
    close(file);
    close(here);
}

static void of_links(void)
{
    char text[20];
    CASE("symlinks");
    CALL(symlink("b", "s"));
    CALL(symlink("nowhere", "dangling"));
    CALL(rename("s", "t"));
    CALL(readlink("t", text, sizeof text));
    CALL(rename("dangling", "t"));
    CALL(readlink("t", text, sizeof text));
    script_cat("b");
    CALL(rename("b", "t"));
    script_stat("t");
    CALL(symlink("d", "to-d"));
    CALL(rename("to-d", "d"));
    CALL(rename("d", "to-d"));
    CALL(rename("to-d/", "e"));
    CALL(rename("to-d", "e"));
    script_stat("e");
    CALL(rename("t", "e"));
    script_cat("e");
}

static void without_replacing(void)
{
    CASE("RENAME_NOREPLACE");
    script_put("a", "a");
    script_put("b", "b");
    CALL(flagged("a", "b", RENAME_NOREPLACE));
    script_cat("b");
    CALL(flagged("a", "c", RENAME_NOREPLACE));
    script_cat("c");
    CALL(flagged("d", "full", RENAME_NOREPLACE));
    CALL(flagged("d", "d2", RENAME_NOREPLACE));
    CALL(flagged("d2", "d", RENAME_NOREPLACE));
    CALL(flagged("a", "c", RENAME_NOREPLACE));
    CALL(flagged("c", "c", RENAME_NOREPLACE));
    CALL(symlink("nowhere", "dangling"));
    CALL(flagged("c", "dangling", RENAME_NOREPLACE));
    CALL(flagged("c", "a", RENAME_NOREPLACE | RENAME_EXCHANGE));
    CALL(flagged("c", "a", 1 << 10));
    CALL(rename("c", "a"));
    script_list(".");
}

static void exchanging(void)
{
    CASE("RENAME_EXCHANGE");
    CALL(chmod("a", 0600));
    struct stat a = script_seen("a");
    CALL(flagged("a", "b", RENAME_EXCHANGE));
    script_cat("a");
    script_cat("b");
    script_stat("b");
    script_changes("b", &a);
    CALL(flagged("a", "d", RENAME_EXCHANGE));
    script_stat("a");
    script_stat("d");
    CALL(flagged("a", "d", RENAME_EXCHANGE));
    CALL(flagged("d", "full", RENAME_EXCHANGE));
    script_list("d");
    script_list("full");
    CALL(flagged("d", "full", RENAME_EXCHANGE));
    CALL(flagged("a", "full/f", RENAME_EXCHANGE));
    script_cat("full/f");
    CALL(flagged("a", "dangling", RENAME_EXCHANGE));
    script_stat("a");
    script_cat("dangling");
    CALL(flagged("a", "none", RENAME_EXCHANGE));
    CALL(flagged("none", "a", RENAME_EXCHANGE));
    CALL(flagged("full", "full/one", RENAME_EXCHANGE));
    CALL(flagged("full/one", "full", RENAME_EXCHANGE));
    CALL(flagged("b", "b", RENAME_EXCHANGE));
    CALL(link("b", "b2"));
    CALL(flagged("b", "b2", RENAME_EXCHANGE));
    script_stat("b2");
    script_list(".");
}

static void again_and_again(void)
{
    int done = 0, seen = 0;
    CASE("again and again");
    script_put("x0", "travels");
    script_put("y", "stays");
    for (int i = 0; i < 200; i++) {
        char from[20], to[20];
        snprintf(from, sizeof from, "x%d", i);
        snprintf(to, sizeof to, "x%d", i + 1);
        done += rename(from, to) == 0;
        seen += access(from, F_OK) < 0 && access(to, F_OK) == 0;
    }
    FACT("renamed, and seen so at once", "%d %d", done, seen);
    script_cat("x200");
}

void posix_rename(void)
{
    of_files();
    of_open_files();
    of_folders();
    of_folders_in_use();
    of_links();
    without_replacing();
    exchanging();
    again_and_again();
}
