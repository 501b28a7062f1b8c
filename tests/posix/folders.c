/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Folders: making and removing them, and reading them while names come and go.
 */
#include "script.h"
#include <dirent.h>
#include <sys/inotify.h>

static void making_and_removing(void)
{
    char cwd[4096];
    CASE("making");
    CALL(mkdir("d", 0755));
    CALL(mkdir("d", 0700));
    script_put("f", "x");
    CALL(mkdir("f", 0755));
    CALL(mkdir("none/d", 0755));
    CALL(mkdir("f/d", 0755));
    CALL(mkdir("bits", 07777));
    script_stat("bits");
    umask(077);
    CALL(mkdir("closed", 0777));
    script_stat("closed");
    umask(022);
    CASE("removing");
    script_put("d/f", "x");
    CALL(rmdir("d"));
    CALL(rmdir("f"));
    CALL(rmdir("none"));
    CALL(rmdir("none/d"));
    CALL(unlink("d"));
    CALL(unlink("d/f"));
    CALL(mkdir("d/e", 0755));
    CALL(rmdir("d"));
    CALL(rmdir("d/e"));
    CALL(rmdir("d"));
    CALL(access("d", F_OK));
    CALL(rmdir("bits"));
    CALL(remove("closed"));
    CASE("removing where somebody is");
    int here = open(".", O_RDONLY | O_DIRECTORY);
    CALL(mkdir("d", 0755));
    CALL(chdir("d"));
    CALL(rmdir("../d"));
    OPENS(open("f", O_RDWR | O_CREAT, 0644));
    CALL(mkdir("e", 0755));
    OPENS(open(".", O_RDONLY));
    CALL(access("..", F_OK));
    CALL(getcwd(cwd, sizeof cwd) ? 0 : -1);
    script_list(".");
    CALL(fchdir(here));
    close(here);
}

/* What is made may get the numbers of what was removed, but not of what somebody still holds. */
static void made_while_removed_ones_are_held(void)
{
    char name[20];
    CASE("made while removed ones are held");
    CALL(mkdir("d", 0755));
    script_put("f", "old");
    CALL(symlink("x", "s"));
    int folder = FD(open("d", O_RDONLY | O_DIRECTORY)), file = FD(open("f", O_PATH));
    int link_ = FD(open("s", O_PATH | O_NOFOLLOW));
    CALL(rmdir("d"));
    CALL(unlink("f"));
    CALL(unlink("s"));
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "m%d", i);
        CALL(mkdir(name, 0755));
        snprintf(name, sizeof name, "m%d/in", i);
        script_put(name, "new");
        script_cat(name);
        script_stat(name);
    }
    script_list("m0");
    script_fstat(folder);
    script_fstat(file);
    script_fstat(link_);
    close(folder);
    close(file);
    close(link_);
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "m%d", i);
        script_list(name);
        script_remove(name);
    }
}

/* Not every file system counts them. */
static void counts(void)
{
    struct stat st = {0};
    CASE("link counts of folders");
    CALL(mkdir("d", 0755));
    CALL(mkdir("d/one", 0755));
    CALL(mkdir("d/two", 0755));
    script_put("d/file", "x");
    MUST(stat("d", &st));
    FACT("with two below", "%lu", (unsigned long)st.st_nlink);
    CALL(rmdir("d/one"));
    MUST(stat("d", &st));
    FACT("with one below", "%lu", (unsigned long)st.st_nlink);
    script_remove("d");
}

static void nested(void)
{
    char path[400] = "n";
    int made = 0, gone = 0;
    CASE("nested");
    for (int i = 0; i < 60; i++) {
        made += mkdir(path, 0755) == 0;
        strcat(path, "/n");
    }
    FACT("made", "%d", made);
    path[strlen(path) - 2] = 0;
    script_stat(path);
    CALL(rmdir("n"));
    for (int i = 0; i < 60; i++) {
        gone += rmdir(path) == 0;
        path[strlen(path) > 2 ? strlen(path) - 2 : 0] = 0;
    }
    FACT("removed", "%d", gone);
}

enum { STEADY = 300 };

static void fill(void)
{
    char name[40];
    MUST(mkdir("many", 0755));
    for (int i = 0; i < STEADY; i++) {
        snprintf(name, sizeof name, "many/steady %d", i);
        MUST(mknod(name, S_IFREG | 0644, 0));
        snprintf(name, sizeof name, "many/going %d", i);
        MUST(mknod(name, S_IFREG | 0644, 0));
    }
}

/* Counts how often each steady name comes from here on. */
static void count_names(DIR *dir, int most, int *seen)
{
    int number;
    for (struct dirent *entry; most > 0 && (entry = readdir(dir)); most--)
        if (sscanf(entry->d_name, "steady %d", &number) == 1 && number < STEADY)
            seen[number]++;
}

static void tell_seen(const char *what, const int *seen)
{
    int never = 0, once = 0, often = 0;
    for (int i = 0; i < STEADY; i++) {
        never += seen[i] == 0;
        once += seen[i] == 1;
        often += seen[i] > 1;
    }
    FACT(what, "never %d, once %d, more often %d", never, once, often);
}

static void come_and_go(int from, int to)
{
    char name[40];
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof name, "many/going %d", i);
        MUST(unlink(name));
        snprintf(name, sizeof name, "many/coming %d", i);
        MUST(mknod(name, S_IFREG | 0644, 0));
    }
}

static void reading_while_names_come_and_go(void)
{
    int seen[STEADY] = {0}, others[STEADY] = {0}, after[STEADY] = {0};
    CASE("reading while names come and go");
    fill();
    DIR *dir = opendir("many"), *other = opendir("many");
    if (!dir || !other)
        return;
    count_names(dir, 100, seen);
    come_and_go(0, 100);
    count_names(other, 1, others);
    count_names(dir, 100, seen);
    come_and_go(100, 200);
    count_names(dir, 1 << 20, seen);
    count_names(other, 1 << 20, others);
    tell_seen("in three parts", seen);
    tell_seen("by another in two", others);
    rewinddir(dir);
    count_names(dir, 1 << 20, after);
    tell_seen("from the start again", after);
    closedir(other);
    closedir(dir);
}

static void going_back_in_a_folder(void)
{
    int first[STEADY] = {0}, second[STEADY] = {0};
    char name[300] = "", again[300] = "";
    CASE("telldir and seekdir");
    DIR *dir = opendir("many");
    if (!dir)
        return;
    count_names(dir, 150, first);
    memcpy(second, first, sizeof second);
    long place = telldir(dir);
    struct dirent *entry = readdir(dir);
    snprintf(name, sizeof name, "%s", entry ? entry->d_name : "");
    seekdir(dir, place);
    entry = readdir(dir);
    snprintf(again, sizeof again, "%s", entry ? entry->d_name : "");
    FACT("the same name comes again", "%d", *name && strcmp(name, again) == 0);
    seekdir(dir, place);
    count_names(dir, 1 << 20, first);
    tell_seen("from a place on", first);
    come_and_go(200, STEADY);
    seekdir(dir, place);
    count_names(dir, 1 << 20, second);
    tell_seen("from it again, after changes", second);
    FACT("nothing after the end", "%d", readdir(dir) == NULL);
    closedir(dir);
}

static void removing_while_reading(void)
{
    char path[300];
    int removed = 0, dots = 0;
    CASE("removing while reading");
    DIR *dir = opendir("many");
    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        snprintf(path, sizeof path, "many/%.255s", entry->d_name);
        dots += entry->d_name[0] == '.';
        removed += entry->d_name[0] != '.' && unlink(path) == 0;
    }
    closedir(dir);
    FACT("removed", "%d", removed);
    FACT("dots", "%d", dots);
    CALL(rmdir("many"));
}

static void listed_kinds(void)
{
    CASE("kinds in a listing");
    CALL(mkdir("k", 0755));
    CALL(mkdir("k/folder", 0755));
    CALL(mkfifo("k/fifo", 0600));
    CALL(symlink("x", "k/link"));
    script_put("k/file", "x");
    script_list("k");
    struct dirent *entry;
    int same = 0;
    struct stat st, above;
    MUST(stat("k", &st));
    MUST(stat(".", &above));
    DIR *dir = opendir("k");
    while (dir && (entry = readdir(dir)))
        same += (strcmp(entry->d_name, ".") == 0 && entry->d_ino == st.st_ino) ||
                (strcmp(entry->d_name, "..") == 0 && entry->d_ino == above.st_ino);
    FACT("dots with the right inodes", "%d", same);
    if (dir)
        closedir(dir);
}

/* How often each kind of event came. */
static void tell_events(int fd)
{
    static const struct {
        unsigned mask;
        const char *name;
    } kinds[] = {{IN_CREATE, "create"}, {IN_MODIFY, "modify"}, {IN_ATTRIB, "attributes"},
        {IN_CLOSE_WRITE, "close"}, {IN_MOVED_FROM, "from"}, {IN_MOVED_TO, "to"},
        {IN_DELETE, "delete"}};
    int counts_of[7] = {0};
    _Alignas(8) char events[8192];
    ssize_t size = read(fd, events, sizeof events);
    for (ssize_t at = 0; at < size;) {
        const struct inotify_event *event = (const struct inotify_event *)(events + at);
        for (int i = 0; i < 7; i++)
            counts_of[i] += (event->mask & kinds[i].mask) != 0;
        at += (ssize_t)(sizeof *event + event->len);
    }
    for (int i = 0; i < 7; i++)
        FACT(kinds[i].name, "%d", counts_of[i]);
}

static void watched(void)
{
    CASE("events of what is done here");
    CALL(mkdir("w", 0755));
    int fd = inotify_init1(IN_NONBLOCK);
    MUST(inotify_add_watch(
        fd, "w", IN_CREATE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE | IN_DELETE));
    int file = open("w/f", O_RDWR | O_CREAT, 0644);
    MUST(write(file, "x", 1));
    MUST(close(file));
    MUST(chmod("w/f", 0600));
    MUST(rename("w/f", "w/g"));
    MUST(mkdir("w/d", 0755));
    MUST(unlink("w/g"));
    MUST(rmdir("w/d"));
    tell_events(fd);
    close(fd);
}

void posix_folders(void)
{
    making_and_removing();
    made_while_removed_ones_are_held();
    counts();
    nested();
    reading_while_names_come_and_go();
    going_back_in_a_folder();
    removing_while_reading();
    listed_kinds();
    watched();
}
