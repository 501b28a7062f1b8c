/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the local driver: local.c (open, names), local_path.c (confinement), local_file.c
 * (open files), local_range.c (parts of open files), local_attr.c (attributes), local_act.c (acting
 * as another user), local_watch.c and with it
 * local_fanotify.c and local_inotify.c (changes that others make), local_probe.c (what this root can do).
 *
 * Threads: struct local is immutable once open, but for letting go and taking up, so every op may run on any thread and
 * takes no lock.
 */
#ifndef MRMR_DRIVERS_LOCAL_INTERNAL_H
#define MRMR_DRIVERS_LOCAL_INTERNAL_H

#include "drivers/driver.h"
#include <linux/capability.h>
#include <sys/stat.h>

struct local {
    struct drv drv;
    char *root;  /* canonical, for messages */
    int root_fd; /* O_PATH */
    int sync_fd; /* the root opened for reading, held from the start so that syncfs reports every
                     error since; -1 if unreadable */
    uint64_t dev, ino; /* of the root */
    bool shared; /* what lies there may be changed past this kernel, which then tells nobody */
    struct drv_info info;
};

struct local_file {
    struct drv_file file;
    int fd;
    char path[]; /* as it was opened; for messages */
};

/* --- local_act.c --- */

/* How the thread was before it began to act as another user. */
struct local_act {
    bool acting;
    bool grouped; /* gid and groups are others, too */
    uint32_t uid, gid;
    uint32_t *groups; /* owned */
    size_t ngroups;
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
};

/* Begin to act as the caller of this thread (drv_act_as), if there is one. On failure the thread is
 * as it was. */
mrmr_err local_act_begin(const char *op, const char *path, struct local_act *ret_act);
void local_act_end(struct local_act *act); /* nothing if it did not begin; keeps errno */

/* `LOCAL_ACT(op, path);` acts until the end of the block, or leaves the function with the error. */
#define LOCAL_ACT(op, path)                                                                        \
    __attribute__((cleanup(local_act_end))) struct local_act local_act_ = {0};                     \
    MRMR_TRY(local_act_begin(op, path, &local_act_))

/* --- local_path.c --- */

/* Where the last component of a path lives. Give it back with local_place_put(). */
struct local_place {
    int dir_fd;       /* O_PATH, or the root's own */
    bool owned;       /* close dir_fd */
    const char *name; /* "" for the root itself */
};

mrmr_err local_place_get(
    struct local *local, const char *op, const char *path, struct local_place *ret_place);
void local_place_put(struct local_place *place);
#define local_autoplace __attribute__((cleanup(local_place_put)))
#define LOCAL_PLACE_INIT                                                                           \
    {                                                                                              \
        -1, false, NULL                                                                            \
    }

/* openat2 of the place's name, confined: no symlink, no mount, nothing above. Returns a descriptor
 * or -1 with errno. */
int local_place_open(const struct local_place *place, int flags, unsigned mode);
/* openat2 of a path of any length below the root; likewise. */
mrmr_err local_open(struct local *local, const char *op, const char *path, int flags, int *ret_fd);

/* The error for an errno that a call on this drive gave. ENOENT is ABSENT only if the root still
 * answers, else the drive is OFFLINE; so is EIO if the root gives it too. */
mrmr_err local_fail(const struct local *local, int err, const char *op, const char *path);

/* --- local_attr.c --- */

/* statx of name in dir_fd (never following), or of dir_fd itself if name is "". Returns 0 or an
 * errno. */
int local_statx(const struct local *local, int dir_fd, const char *name, struct drv_stat *ret_stat);
/* The name of what a descriptor refers to, for calls that take a name; following it leads there,
 * also if it has no other name. */
struct local_fd_name {
    char text[32];
};
struct local_fd_name local_fd_name(int fd);
/* chmod of what an O_PATH descriptor names; returns 0 or an errno. */
int local_chmod_fd(int fd, uint32_t mode);
/* Give a thing just made at the place exactly this mode, whatever umask and inherited ACLs said;
 * nothing with DRV_MODE_INHERIT. */
int local_mode_exact(const struct local *local, const struct local_place *place, uint32_t mode);

mrmr_err local_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat);
mrmr_err local_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr);
mrmr_err local_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr);
mrmr_err local_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg);
mrmr_err local_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg);
mrmr_err local_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size);

/* --- local_file.c --- */

mrmr_err local_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file);
mrmr_err local_file_open_stat(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
    struct drv_file **ret_file, struct drv_stat *ret_stat);
void local_file_close(struct drv_file *file);
mrmr_err local_file_stat(struct drv_file *file, struct drv_stat *ret_stat);
mrmr_err local_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
mrmr_err local_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);
mrmr_err local_file_descriptor(struct drv_file *file, int *ret_fd);
mrmr_err local_file_is_written(struct drv_file *file, bool *ret_written);
void local_file_advise(struct drv_file *file, uint64_t offset, uint64_t size, bool drop);
mrmr_err local_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size);
mrmr_err local_file_truncate(struct drv_file *file, uint64_t size);
mrmr_err local_file_sync(struct drv_file *file);
mrmr_err local_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file);
mrmr_err local_file_link(struct drv_file *file, const char *path);
mrmr_err local_clone(struct drv *drv, const char *from, const char *to);

/* The error of a call on an open file. */
mrmr_err local_file_fail(const struct local_file *f, int err, const char *op);

/* --- local_range.c --- */

mrmr_err local_file_allocate(struct drv_file *file, uint64_t size);
mrmr_err local_file_range(
    struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size);
mrmr_err local_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied);
mrmr_err local_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size);
/* The error of an ioctl that shares bytes. */
mrmr_err local_clone_fail(const struct local *local, int err, const char *from);

/* --- local_watch.c --- */

mrmr_err local_watch_open(
    struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch);
void local_watch_close(struct drv_watch *watch);
mrmr_err local_watch_add(struct drv_watch *watch, const char *path, uint64_t key);
void local_watch_remove(struct drv_watch *watch, uint64_t key);

/* --- local_probe.c --- */

/* Fill local->info by looking at the root. */
mrmr_err local_probe(struct local *local);

#endif
