/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who may do what: rights of owners, groups and others, sticky folders, set-id bits. Takes root, who becomes ANN, of CLUB,
 * and BOB, who is not.
 */
#include "script.h"
#include <sys/fsuid.h>

static void make(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    script_put(path, "bytes");
    MUST(chown(path, uid, gid));
    MUST(chmod(path, mode));
}

static void make_folder(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    MUST(mkdir(path, 0755));
    MUST(chown(path, uid, gid));
    MUST(chmod(path, mode));
}

static void try_file(void *path_)
{
    const char *path = path_;
    char what[80];
    snprintf(what, sizeof what, "user %u: %s", getuid(), path);
    FACT(what, "access %s%s%s, %s, %s, truncate %s", access(path, R_OK) == 0 ? "r" : "-",
        access(path, W_OK) == 0 ? "w" : "-", access(path, X_OK) == 0 ? "x" : "-",
        open(path, O_RDONLY) >= 0 ? "reads" : script_errno(errno),
        open(path, O_WRONLY) >= 0 ? "writes" : script_errno(errno),
        truncate(path, 3) == 0 ? "0" : script_errno(errno));
}

static void try_as_all(void (*try)(void *), const char *path)
{
    char copy[40];
    snprintf(copy, sizeof copy, "%s", path);
    try(copy);
    script_as(ANN, ANN, CLUB, try, copy);
    script_as(BOB, BOB, BOB, try, copy);
}

static void rights_on_files(void)
{
    static const mode_t modes[] = {0600, 0640, 0660, 0644, 0666, 0077, 0707, 0755, 0000, 0111};
    CASE("rights on files");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char path[40];
        snprintf(path, sizeof path, "ann %04o", modes[i]);
        make(path, modes[i], ANN, ANN);
        try_as_all(try_file, path);
        snprintf(path, sizeof path, "club %04o", modes[i]);
        make(path, modes[i], 0, CLUB);
        try_as_all(try_file, path);
        snprintf(path, sizeof path, "root %04o", modes[i]);
        make(path, modes[i], 0, 0);
        try_as_all(try_file, path);
    }
}

static void try_folder(void *folder)
{
    char path[60];
    script_list(folder);
    snprintf(path, sizeof path, "%s/f", (const char *)folder);
    CALL(access(path, R_OK));
    if (CALL(chdir(folder)) < 0)
        return;
    CALL(access("f", F_OK));
    OPENS(open("f", O_RDONLY));
    OPENS(open("new", O_RDWR | O_CREAT, 0644));
    CALL(mkdir("d", 0755));
    CALL(symlink("x", "s"));
    CALL(mkfifo("p", 0600));
    CALL(link("f", "l"));
    CALL(rename("f", "g"));
    CALL(rename("g", "f"));
    script_stat("new");
    CALL(unlink("new"));
    CALL(rmdir("d"));
    CALL(unlink("s"));
    CALL(unlink("p"));
    CALL(unlink("l"));
}

static void rights_on_folders(void)
{
    static const mode_t modes[] = {0777, 0775, 0755, 0744, 0711, 0733, 0700, 0070, 0007, 01777};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char path[40], file[50];
        snprintf(path, sizeof path, "folder %04o", modes[i]);
        snprintf(file, sizeof file, "%s/f", path);
        CASE(path);
        make_folder(path, modes[i], 0, CLUB);
        make(file, 0666, 0, 0);
        script_child(try_folder, path); /* as root */
        script_as(ANN, ANN, CLUB, try_folder, path);
        script_as(BOB, BOB, BOB, try_folder, path);
    }
}

static void make_own(void *unused)
{
    (void)unused;
    script_put("sticky/anns", "x");
    MUST(mkdir("sticky/anns folder", 0777));
    MUST(chmod("sticky/anns", 0666));
}

static void try_sticky(void *unused)
{
    (void)unused;
    CALL(rename("sticky/anns", "sticky/stolen"));
    CALL(unlink("sticky/anns"));
    CALL(rmdir("sticky/anns folder"));
    CALL(rename("sticky/anns folder", "sticky/moved"));
    script_put("sticky/bobs", "y");
    CALL(rename("sticky/bobs", "sticky/anns"));
    CALL(renameat2(AT_FDCWD, "sticky/bobs", AT_FDCWD, "sticky/anns", 2));
    CALL(rename("sticky/bobs", "sticky/mine"));
    CALL(unlink("sticky/mine"));
    CALL(link("sticky/anns", "sticky/link"));
    CALL(chmod("sticky", 0777));
    OPENS(open("sticky/anns", O_WRONLY | O_APPEND));
}

static void in_sticky_folders(void)
{
    CASE("a sticky folder");
    make_folder("sticky", 01777, 0, 0);
    script_as(ANN, ANN, CLUB, make_own, NULL);
    script_as(BOB, BOB, BOB, try_sticky, NULL);
    CASE("a sticky folder of one's own");
    MUST(chown("sticky", BOB, BOB));
    script_as(BOB, BOB, BOB, try_sticky, NULL);
    script_list("sticky");
}

static void try_attributes(void *path_)
{
    const char *path = path_;
    const struct timespec some[] = {{5, 5}, {6, 6}}, now[] = {{0, UTIME_NOW}, {0, UTIME_NOW}};
    const struct timespec half[] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    CALL(chmod(path, 0666));
    CALL(chown(path, ANN, (gid_t)-1));
    CALL(chown(path, BOB, (gid_t)-1));
    CALL(chown(path, (uid_t)-1, CLUB));
    CALL(chown(path, (uid_t)-1, BOB));
    CALL(chown(path, (uid_t)-1, 0));
    CALL(chown(path, (uid_t)-1, (gid_t)-1));
    CALL(utimensat(AT_FDCWD, path, some, 0));
    CALL(utimensat(AT_FDCWD, path, now, 0));
    CALL(utimensat(AT_FDCWD, path, half, 0));
    CALL(utimensat(AT_FDCWD, path, NULL, 0));
    OPENS(open(path, O_RDONLY | O_NOATIME));
    script_stat(path);
}

static void others_attributes(void)
{
    CASE("attributes of others' files");
    make("anns", 0644, ANN, ANN);
    script_as(ANN, ANN, CLUB, try_attributes, (char[]){"anns"});
    script_as(BOB, BOB, BOB, try_attributes, (char[]){"anns"});
    make("closed", 0600, ANN, ANN);
    script_as(BOB, BOB, BOB, try_attributes, (char[]){"closed"});
    make("open to all", 0666, ANN, ANN);
    script_as(BOB, BOB, BOB, try_attributes, (char[]){"open to all"});
}

static void make_in_shared(void *unused)
{
    (void)unused;
    umask(0);
    OPENS(open("shared/file", O_RDWR | O_CREAT, 0666));
    OPENS(open("shared/program", O_RDWR | O_CREAT, 02777));
    CALL(mkdir("shared/folder", 0777));
    CALL(symlink("x", "shared/link"));
    CALL(mkfifo("shared/fifo", 0666));
    OPENS(open("shared/folder/file", O_RDWR | O_CREAT, 0666));
    script_stat("shared/file");
    script_stat("shared/program");
    script_stat("shared/folder");
    script_stat("shared/link");
    script_stat("shared/fifo");
    script_stat("shared/folder/file");
    CALL(chmod("shared/file", 02755));
    script_stat("shared/file");
}

static void in_shared_folders(void)
{
    CASE("a folder that passes its group on");
    make_folder("shared", 02777, 0, CLUB);
    script_as(ANN, ANN, CLUB, make_in_shared, NULL);
    script_remove("shared");
    CASE("the same, by one who is not of the group");
    make_folder("shared", 02777, 0, CLUB);
    script_as(BOB, BOB, BOB, make_in_shared, NULL);
    script_remove("shared");
    CASE("a folder that does not");
    make_folder("shared", 0777, 0, CLUB);
    script_as(BOB, BOB, BOB, make_in_shared, NULL);
}

static void act_as_another(void *unused)
{
    (void)unused;
    setfsgid(ANN);
    setfsuid(ANN);
    OPENS(open("club 0600", O_RDONLY));
    OPENS(open("ann 0600", O_RDWR));
    OPENS(open("open/by fsuid", O_RDWR | O_CREAT, 0644));
    script_stat("open/by fsuid");
    CALL(mkdir("shut/d", 0755));
    CALL(access("ann 0600", W_OK));
}

static void with_the_rights_of_files(void)
{
    CASE("a thread with another's file rights");
    make_folder("open", 0777, 0, 0);
    make_folder("shut", 0755, 0, 0);
    script_child(act_as_another, NULL);
}

static void open_by_rights(void *unused)
{
    (void)unused;
    OPENS(open("anns readonly", O_WRONLY));
    OPENS(open("anns readonly", O_RDONLY | O_TRUNC));
    OPENS(open("anns readonly", O_WRONLY | O_CREAT, 0644));
    CALL(unlink("open/readonly"));
    CALL(rename("shut/f", "open/f"));
    CALL(rename("open/g", "shut/g"));
    CALL(link("closed", "open/link"));
    CALL(mknod("open/null", S_IFCHR | 0666, 0x103));
    CALL(mknod("open/fifo", S_IFIFO | 0666, 0));
    CALL(chroot("."));
}

static void odds_and_ends(void)
{
    CASE("odds and ends");
    make("anns readonly", 0444, ANN, ANN);
    make("open/readonly", 0400, 0, 0);
    make("shut/f", 0666, 0, 0);
    make("open/g", 0666, 0, 0);
    script_as(ANN, ANN, CLUB, open_by_rights, NULL);
    script_as(BOB, BOB, BOB, open_by_rights, NULL);
    CASE("rights are those of the open");
    make("taken", 0666, BOB, BOB);
    int fd = FD(open("taken", O_RDWR));
    CALL(chmod("taken", 0));
    script_become(ANN, ANN, CLUB);
    CALL(write(fd, "still", 5));
    script_read(fd, 10, 0);
    CALL(ftruncate(fd, 1));
    CALL(fchmod(fd, 0644));
    OPENS(open("taken", O_RDONLY));
    close(fd);
}

static void last(void *unused)
{
    (void)unused;
    odds_and_ends();
}

void posix_users(void)
{
    rights_on_files();
    rights_on_folders();
    in_sticky_folders();
    others_attributes();
    in_shared_folders();
    with_the_rights_of_files();
    script_child(last, NULL);
}
