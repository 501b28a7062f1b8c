/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Names: their length, their bytes, their case; paths that are long, end in a slash, or lead nowhere.
 */
#include "script.h"
#include <sys/syscall.h>

static char longest[256], too_long[257]; /* 255 and 256 bytes */

static void lengths(void)
{
    CASE("255 bytes");
    OPENS(open(longest, O_RDWR | O_CREAT | O_EXCL, 0644));
    CALL(access(longest, F_OK));
    CALL(rename(longest, "short"));
    CALL(rename("short", longest));
    CALL(unlink(longest));
    CALL(mkdir(longest, 0755));
    CALL(rmdir(longest));
    CALL(symlink("x", longest));
    CALL(unlink(longest));
    CASE("256 bytes");
    script_put("f", "x");
    OPENS(open(too_long, O_RDWR | O_CREAT, 0644));
    OPENS(open(too_long, O_RDONLY));
    CALL(mkdir(too_long, 0755));
    CALL(symlink("x", too_long));
    CALL(link("f", too_long));
    CALL(rename("f", too_long));
    CALL(rename(too_long, "f"));
    CALL(mkfifo(too_long, 0644));
    CALL(unlink(too_long));
    CALL(rmdir(too_long));
    CALL(access(too_long, F_OK));
    CALL(truncate(too_long, 0));
    script_list(".");
    CALL(unlink("f"));
}

static void letters_of_several_bytes(void)
{
    CASE("127 letters of two bytes");
    char name[255] = "";
    for (int i = 0; i < 127; i++)
        strcat(name, "\xc3\xa9");
    OPENS(open(name, O_RDWR | O_CREAT | O_EXCL, 0644));
    CALL(unlink(name));
    CASE("composed and decomposed");
    script_put("\xc3\xa9", "one");
    script_put("e\xcc\x81", "two");
    script_list(".");
    script_cat("\xc3\xa9");
    CALL(unlink("\xc3\xa9"));
    CALL(unlink("e\xcc\x81"));
}

static void any_bytes(void)
{
    CASE("any bytes");
    static const char *const odd[] = {"new\nline", "\xff\xfe", "\x01", "...", ".hidden", " ",
        " leading", "trailing ", "dot.", "back\\slash", "colon:", "*?[x]", "-rf", "\"quote'",
        "$HOME", "%41", "tab\t", "con", "\xed\xa0\x80", "\x7f", "~", "#", ";", "a|b", "<>"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        script_put(odd[i], odd[i]);
    script_list(".");
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        script_cat(odd[i]);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        CALL(unlink(odd[i]));
    CASE("every byte");
    int made = 0, gone = 0;
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {'b', (char)byte, 0};
        made += byte != '/' && mknod(name, S_IFREG | 0644, 0) == 0;
    }
    for (int byte = 1; byte < 256; byte++) {
        char name[] = {'b', (char)byte, 0};
        gone += unlink(name) == 0;
    }
    FACT("made and unlinked", "%d %d", made, gone);
    script_list(".");
}

static void upper_and_lower(void)
{
    CASE("case");
    script_put("Name", "upper");
    CALL(access("name", F_OK));
    script_put("name", "lower");
    script_cat("Name");
    script_cat("name");
    CALL(rename("name", "NAME"));
    script_list(".");
    CALL(unlink("name"));
    CALL(unlink("NAME"));
    CALL(unlink("Name"));
    CALL(unlink("Name"));
}

static void dots(void)
{
    CASE("dots");
    OPENS(open("", O_RDONLY));
    OPENS(open("", O_RDWR | O_CREAT, 0644));
    CALL(mkdir("", 0755));
    CALL(mkdir(".", 0755));
    CALL(mkdir("..", 0755));
    CALL(rmdir("."));
    CALL(unlink("."));
    CALL(unlink(".."));
    OPENS(open(".", O_RDWR | O_CREAT, 0644));
    CALL(symlink("x", "."));
    CALL(mkfifo("..", 0644));
    CALL(mkdir("d", 0755));
    CALL(mkdir("d/.", 0755));
    CALL(rmdir("d/."));
    CALL(rmdir("d/.."));
    CALL(mkdir("d/../e", 0755));
    CALL(rmdir("e"));
    CALL(rmdir("d"));
}

static void slashes(void)
{
    CASE("slashes");
    script_put("f", "x");
    CALL(mkdir("d/", 0755));
    CALL(symlink("d", "to-d"));
    CALL(symlink("f", "to-f"));
    CALL(access("f/", F_OK));
    CALL(access("d//", F_OK));
    CALL(access("f/x", F_OK));
    CALL(access("to-d/", F_OK));
    CALL(access("to-f/", F_OK));
    OPENS(open("f/", O_RDONLY));
    OPENS(open("new/", O_RDWR | O_CREAT, 0644));
    CALL(unlink("f/"));
    CALL(unlink("d/"));
    CALL(unlink("to-d/"));
    CALL(rmdir("to-d/"));
    CALL(rmdir("f/"));
    CALL(rename("f", "g/"));
    CALL(rename("d/", "e"));
    CALL(rename("e", "d/"));
    CALL(mkdir("no/where", 0755));
    CALL(mkdir("f/where", 0755));
    CALL(unlink("no/where"));
    CALL(unlink("f/where"));
    CALL(link("f", "no/where"));
    CALL(link("f", "new/"));
    CALL(symlink("x", "new/"));
    CALL(truncate("f/", 0));
    script_list(".");
    MUST(unlink("to-d"));
    MUST(unlink("to-f"));
    MUST(unlink("f"));
    CALL(rmdir("d//"));
}

static void long_paths(void)
{
    CASE("long paths");
    static char path[5000];
    for (int i = 0; i < 2046; i++)
        strcat(path, "./");
    strcat(path, "n"); /* 4093 bytes */
    OPENS(open(path, O_RDWR | O_CREAT, 0644));
    memcpy(path + 4092, "./n", 4);
    OPENS(open(path, O_RDWR | O_CREAT, 0644));
    memcpy(path + 4094, "./n", 4);
    OPENS(open(path, O_RDWR | O_CREAT, 0644));
    CALL(mkdir(path, 0755));
    CALL(unlink("n"));
}

/* 30 folders of 200 letters below one another: a path of 6,000 bytes, which no call takes whole. */
static void deep(void)
{
    enum { DEPTH = 30 };
    CASE("deeper than a path can say");
    static char name[201], cwd[20000];
    memset(name, 'd', 200);
    int top = open(".", O_RDONLY | O_DIRECTORY), here = dup(top), made = 0, gone = 0;
    for (int i = 0; i < DEPTH; i++) {
        made += mkdirat(here, name, 0755) == 0;
        int next = openat(here, name, O_RDONLY | O_DIRECTORY);
        close(here);
        here = next;
    }
    FACT("folders made", "%d", made);
    CALL(fchdir(here));
    CALL(syscall(SYS_getcwd, cwd, sizeof cwd) > 0 ? 0 : -1);
    script_put("f", "down here");
    script_cat("f");
    CALL(rename("f", "g"));
    CALL(link("g", "h"));
    CALL(symlink("g", "s"));
    script_cat("s");
    CALL(chmod("g", 0600));
    script_stat("h");
    script_list(".");
    CALL(linkat(here, "h", top, "up", 0));
    CALL(unlink("g"));
    CALL(unlink("h"));
    CALL(unlink("s"));
    for (int i = 0; i < DEPTH; i++)
        gone += chdir("..") == 0 && rmdir(name) == 0;
    FACT("folders removed", "%d", gone);
    CALL(fchdir(top));
    script_cat("up");
    CALL(unlink("up"));
    script_list(".");
    close(here);
    close(top);
}

void posix_names(void)
{
    memset(longest, 'n', 255);
    memset(too_long, 'n', 256);
    lengths();
    letters_of_several_bytes();
    any_bytes();
    upper_and_lower();
    dots();
    slashes();
    long_paths();
    deep();
}
