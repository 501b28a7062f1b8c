/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * posix_calls [--user UID:GID] [--only SUBJECT] FOLDER
 *
 * Runs the script in the folder, which stays as it was, and prints the transcript. With --user, which takes root, what
 * only root can do is left out. Ends with 0 whatever the calls gave; to judge them is for whoever compares transcripts.
 */
#include "script.h"

static const struct {
    const char *name;
    void (*run)(void);
    bool only_root;
} subjects[] = {
    {"names", posix_names, false},
    {"files", posix_files, false},
    {"ranges", posix_ranges, false},
    {"space", posix_space, false},
    {"links", posix_links, false},
    {"kinds", posix_kinds, false},
    {"attributes", posix_attributes, false},
    {"times", posix_times, false},
    {"xattrs", posix_xattrs, false},
    {"acl", posix_acl, false},
    {"rename", posix_rename, false},
    {"folders", posix_folders, false},
    {"users", posix_users, true},
    {"setid", posix_setid, false},
    {"locks", posix_locks, false},
    {"mmap", posix_mmap, false},
    {"handles", posix_handles, false},
};

static void run_subject(const char *name, void (*run)(void))
{
    umask(022);
    script_begin(name);
    script_must(name, mkdir(name, 0755) == 0 && chdir(name) == 0);
    run();
    umask(022);
    script_begin(name);
    script_must("..", chdir("..") == 0);
    script_remove(name);
}

static int usage(void)
{
    fputs("usage: posix_calls [--user UID:GID] [--only SUBJECT] FOLDER\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    unsigned uid = 0, gid = 0;
    int at = 1;
    for (; at + 1 < argc && argv[at][0] == '-'; at += 2) {
        if (strcmp(argv[at], "--only") == 0)
            only = argv[at + 1];
        else if (strcmp(argv[at], "--user") != 0 || sscanf(argv[at + 1], "%u:%u", &uid, &gid) != 2)
            return usage();
    }
    if (at + 1 != argc)
        return usage();
    if (chdir(argv[at]) < 0) {
        perror(argv[at]);
        return 1;
    }
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    script_root = geteuid() == 0;
    if (uid)
        script_become(uid, gid, CLUB);
    alarm(240);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        if ((!only || strcmp(only, subjects[i].name) == 0) &&
            (script_root || !subjects[i].only_root))
            run_subject(subjects[i].name, subjects[i].run);
    return fflush(stdout) == 0 ? 0 : 1;
}
