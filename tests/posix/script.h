/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A fixed script of system calls, and its transcript: one line a call,
 *
 *   subject/case: the call as it stands in the source = what came of it
 *
 * where that is a number, "fd" for a descriptor, or the name of an errno. The lines and their order are the same on
 * every file system, whatever fails; what comes of them is the same wherever file systems behave the same. So nothing
 * is printed that differs by nature: inode numbers, device numbers, times, blocks, the order of a listing, the size
 * of a folder. How such things relate is ("ctime went on", "the same inode").
 *
 * Each subject runs in a folder of its own, which is the working directory. Not for threads.
 */
#ifndef MRMR_TESTS_POSIX_SCRIPT_H
#define MRMR_TESTS_POSIX_SCRIPT_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

/* Users and a group that nothing else knows; ANN is a member of CLUB, BOB is not. */
enum { ANN = 61001, BOB = 61002, CLUB = 61003 };

#define KIB ((off_t)1024)
#define MIB ((off_t)1048576)
#define GIB ((off_t)1073741824)

/* Whether the script runs as root, who may do everything. */
extern bool script_root;

/* Begins a case; its name stands in the lines that follow. */
#define CASE(name) script_case(name)

/* A call that gives 0 or a number, or -1 and errno; gives what the call gave. */
#define CALL(call) script_call(#call, (long)(call))

/* A call that gives a descriptor. On failure gives -1, with which later calls fail, too: EBADF. */
#define FD(call) script_fd(#call, (call))

/* A call that gives a descriptor, which is closed at once. */
#define OPENS(call) script_opens(#call, (call))

/* A line of the caller's own. */
#define FACT(...) script_fact(__VA_ARGS__)

void script_begin(const char *subject);
void script_case(const char *name);
long script_call(const char *text, long result);
int script_fd(const char *text, int fd);
void script_opens(const char *text, int fd);
void script_fact(const char *what, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "EACCES", or "0". */
const char *script_errno(int error);

/* Prepares something that is no call under test: a line appears only if it fails. */
void script_put(const char *path, const char *text);
void script_must(const char *what, bool done);
#define MUST(call) script_must(#call, (call) >= 0)

/* The bytes of a file, or of a piece of an open one: as text, as runs of one byte, or as a digest. */
void script_cat(const char *path);
void script_read(int fd, size_t size, off_t at);
void script_bytes(const char *what, const void *bytes, size_t size);

/* What lies at the path, which is not followed: kind, mode, owner, for files and links size and link count. */
void script_stat(const char *path);
void script_fstat(int fd);

/* The names in a folder, sorted; each kind that the listing tells wrongly is marked. */
void script_list(const char *path);

/* The names of the extended attributes, sorted, but for those that a system adds by itself (security.selinux). */
void script_attributes(const char *path);

/* What is at a path now; before that, waits until the clock that file systems read has gone on. */
struct stat script_seen(const char *path);

/* What differs from what was seen: "mtime ctime size", or "nothing". A line. */
void script_changes(const char *path, const struct stat *before);
bool script_same_inode(const char *one, const char *other);

/* A child process runs the function, and its lines are part of the transcript; how it ended is one if it was not by itself. */
void script_child(void (*run)(void *), void *arg);

/* The same as a user and group, with one supplementary group. Only root can. */
void script_as(uid_t uid, gid_t gid, gid_t extra, void (*run)(void *), void *arg);
void script_become(uid_t uid, gid_t gid, gid_t extra);

/* Removes whatever is below the path, and the path. */
void script_remove(const char *path);

/* The subjects; each begins with script_begin(). */
void posix_names(void);
void posix_files(void);
void posix_ranges(void);
void posix_space(void);
void posix_links(void);
void posix_kinds(void);
void posix_attributes(void);
void posix_times(void);
void posix_xattrs(void);
void posix_acl(void);
void posix_rename(void);
void posix_folders(void);
void posix_users(void);
void posix_setid(void);
void posix_locks(void);
void posix_mmap(void);
void posix_handles(void);

#endif
