/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive's storage root behind a driver: the contract of every backend.
 *
 * Paths are relative to the root, NUL-terminated bytes without a leading or trailing '/', "" being
 * the root itself; a component is 1 to 255 bytes, not "." or "..", and any bytes but '/' and NUL. A
 * path may be longer than PATH_MAX: a driver walks it in pieces. A driver never leaves its root: a
 * symlink in the middle of a path, or where a folder is wanted (list, dir_sync), is MRMR_LOOP,
 * whatever lies in a file system mounted below the root is MRMR_CROSS_DEVICE (the mount point
 * itself can be looked at: its dev differs), and the last component is never followed (I9).
 *
 * Errors. Three classes lead to three different repairs, and a driver never mixes them up:
 *   ABSENT       the name is not there; the drive answered and said so
 *   UNAVAILABLE  the drive did not answer, or its medium failed; nothing is known about the name
 *   CORRUPT      what came back cannot be right (a short read inside the size just reported is
 * TRUNCATED)
 *
 * The root having gone (unmounted, unplugged) is MRMR_OFFLINE, never ABSENT. The story names op and
 * path; the caller adds the drive. A failed call leaves outputs untouched and the drive as it was,
 * save where an op says otherwise.
 *
 * Threads. Every op may be called from any thread, also on the same open file (pread and pwrite are
 * positional). open and close of a handle happen once. A call may block as long as the medium does.
 *
 * Durability. Nothing is durable before file_sync (bytes and size of the file), dir_sync (names in
 * a folder) or sync_all. Where a backend cannot promise that, its caps lack DRV_CAP_DURABLE_FILES
 * or DRV_CAP_DURABLE_NAMES, and the pool keeps the old generation longer (I2).
 *
 * Rights. Where the process is root, a thread may act as another user (drv_act_as): then the kernel
 * checks that user's rights, and what is made belongs to it. That holds for every op that names a
 * path or changes an open file, but not for dir_sync, sync_all and watching, which take no right of
 * a user's. Reading, asking about and syncing an open file needs no right beyond its opening.
 * list acts while it opens the folder; its entries are looked at as the process. Callbacks never run
 * as the other user.
 *
 * Modes of new things. Exactly the given mode, whatever the umask and what the folder hands down.
 * With DRV_MODE_INHERIT or-ed into it the mode is what open(2) or mkdir(2) would be given: a default
 * ACL or the set-gid bit of the folder applies, and nothing is forced afterwards. The umask of the
 * process applies too, unless the folder has a default ACL: who wants none sets it to 0. A backend
 * without inheritance takes the mode as it is.
 *
 * Decorators (fault, later cache and limit) take an inner drive, own it, and forward the ops they
 * do not change.
 *
 * Layers call the drv_*() wrappers, never ops directly: the wrappers check arguments and answer
 * MRMR_UNSUPPORTED for optional ops that a backend lacks. drv_register() refuses a backend that
 * lacks a required op.
 */
#ifndef MRMR_DRIVERS_DRIVER_H
#define MRMR_DRIVERS_DRIVER_H

#include "base/bytes.h"
#include "base/err.h"

struct drv;      /* an open root; made by drv_open */
struct drv_file; /* an open file of it; must be closed before its drv */

enum drv_type { DRV_REG, DRV_DIR, DRV_SYMLINK, DRV_FIFO, DRV_SOCKET, DRV_CHAR, DRV_BLOCK };

/* What a backend can do and which facts of it are stable: the same as long as nobody changes the
 * file, across remounts and restarts. An unstable fact is reported as 0 in drv_stat and never
 * compared (I4). */
enum drv_cap {
    DRV_CAP_STABLE_INO = 1 << 0,
    DRV_CAP_STABLE_CTIME = 1 << 1,
    DRV_CAP_BTIME = 1 << 2,
    DRV_CAP_NS_TIMES = 1 << 3, /* mtime kept to the nanosecond; else see time_grain */
    DRV_CAP_OWNER = 1 << 4,
    DRV_CAP_MODE = 1 << 5,
    DRV_CAP_XATTR = 1 << 6,
    DRV_CAP_HARDLINK = 1 << 7,
    DRV_CAP_SYMLINK = 1 << 8,
    DRV_CAP_SPECIAL = 1 << 9, /* FIFOs and sockets; devices where the process may */
    DRV_CAP_SPARSE = 1 << 10, /* holes are kept, and drv_file_next_data finds them */
    DRV_CAP_REFLINK = 1 << 11,
    DRV_CAP_RENAME_NOREPLACE = 1 << 12,
    DRV_CAP_RENAME_EXCHANGE = 1 << 13,
    DRV_CAP_DURABLE_FILES = 1 << 14,
    DRV_CAP_DURABLE_NAMES = 1 << 15,
    DRV_CAP_CASE_SENSITIVE = 1 << 16,
    DRV_CAP_WRITABLE = 1 << 17,
    /* Changes are stamped with this machine's time; else with another one's, whatever that is. */
    DRV_CAP_OUR_CLOCK = 1 << 18,
};

/* Atomic is what whoever keeps it of a drive that comes and goes may put right while others look. */
struct drv_info {
    _Atomic uint32_t caps;      /* enum drv_cap, found by looking at this root, not assumed */
    _Atomic int64_t time_grain; /* ns: two changes closer than this may leave the same mtime */
    char fs_name[16];           /* "ext4", "xfs", "btrfs", "mem"; for people */
    char fs_id[80]; /* names the file system and the root in it; the same at each mount of it; for
                       people and for telling two drives on one disk; may be "" */
    _Atomic bool is_mountpoint; /* the root is the top of a mounted file system */
};

struct drv_space {
    uint64_t total;       /* bytes */
    uint64_t avail;       /* bytes that this user may still write */
    uint64_t files_avail; /* inodes; UINT64_MAX where there is no limit */
};

struct drv_stat {
    enum drv_type type;
    uint32_t mode; /* permission bits and set-id bits only: 07777 */
    uint32_t uid, gid, nlink;
    uint64_t size;      /* bytes; of a symlink the length of its target */
    uint64_t allocated; /* bytes on the medium */
    uint64_t ino;
    uint64_t dev;  /* tells a file system mounted below the root from the root's own, bind mounts
                      included; a btrfs subvolume has its own too,  and inode numbers of its own, but
                      is not a mount and can be entered */
    uint64_t rdev; /* devices: as in st_rdev */
    int64_t mtime, ctime, btime; /* ns since 1970; 0 where the backend has none */
    int64_t atime;               /* likewise; to be shown, never compared */
};

/* Which attributes drv_set_attr sets. */
enum drv_attr {
    DRV_ATTR_MODE = 1,
    DRV_ATTR_UID = 2,
    DRV_ATTR_MTIME = 4,
    DRV_ATTR_GID = 8,
    DRV_ATTR_ATIME = 16,
    DRV_ATTR_OWNER = DRV_ATTR_UID | DRV_ATTR_GID,
};

/* As mtime or atime to set: now, by the drive's clock. Who may write a file may do this, also where
 * only its owner may set another time. */
#define DRV_TIME_NOW INT64_MAX

#define DRV_MODE_INHERIT (1U << 31) /* in the mode of what is made: see the top */

enum drv_open_flag {
    DRV_OPEN_READ = 1,
    DRV_OPEN_WRITE = 2,
    DRV_OPEN_CREATE = 4, /* MRMR_EXISTS if the name is there (always exclusive) */
};

/* What drv_file_range does to a part of a file. Without KEEP the file grows to the end of the part;
 * with it, and with PUNCH, its size stays. */
enum drv_range {
    DRV_RANGE_ALLOCATE, /* reserve room; the bytes stay */
    DRV_RANGE_ALLOCATE_KEEP,
    DRV_RANGE_PUNCH, /* a hole: the room is given back, and zeros are read */
    DRV_RANGE_ZERO,  /* zeros are read; the room stays */
    DRV_RANGE_ZERO_KEEP,
};

enum drv_rename_flag { DRV_RENAME_REPLACE = 0, DRV_RENAME_NOREPLACE = 1, DRV_RENAME_EXCHANGE = 2 };

/* A user that a thread acts as. */
struct drv_caller {
    uint32_t uid, gid;
    const uint32_t *groups; /* supplementary ones; copied */
    size_t ngroups;
    bool
        bytes; /* only bytes of open files are written: what counts is whose room they may take. The
                   groups stay the process's own, which costs half */
};

/* A file whose name was given or taken, and what that did to the folder. */
struct drv_named {
    struct drv_file *file;  /* open; the caller closes it */
    unsigned flags;         /* for DRV_OPEN_READ, or for both */
    struct drv_stat stat;   /* when it had the name */
    struct drv_stat folder; /* after that; of type DRV_DIR, else it is not known */
};

/* One entry of a folder. name is valid during the call only. stat is NULL if the entry could not be
 * looked at; err then says why (an entry that vanished in between is not reported). Return an error
 * to stop. */
typedef mrmr_err (*drv_list_fn)(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg);

/* One extended attribute. name is NUL-terminated with its namespace ("user.x",
 * "system.posix_acl_access"). */
typedef mrmr_err (*drv_xattr_fn)(const char *name, const void *value, size_t size, void *arg);

/* What a watch saw of a folder. */
enum drv_event {
    DRV_EVENT_NAME,  /* this name came, went, or is another thing now */
    DRV_EVENT_BYTES, /* the bytes of what has this name changed, or may have */
    DRV_EVENT_ATTRS, /* attributes of what has this name changed; name NULL: the folder's own. Of a
                        folder in it that is watched itself, it may be told to that watch alone */
    DRV_EVENT_MOVED, /* the folder itself was moved or removed: other names lead to it, or none */
    DRV_EVENT_END,   /* nothing more is told of it; watch it again */
    DRV_EVENT_LOST, /* too much happened at once, or something was mounted below the root, or unmounted: anything
                       may have changed in any folder (no key) */
    DRV_EVENT_ROOT, /* the root was unmounted, or something was mounted there: what was opened may lead nowhere any
                       more, or to what nobody else sees (no key) */
};
/* Who did it: this process, or any other. */
enum drv_who { DRV_WHO_UNKNOWN, DRV_WHO_US, DRV_WHO_OTHERS };
/* From a thread of the watch. It may call watch_add and watch_remove, nothing else of the driver. */
typedef void (*drv_event_fn)(
    enum drv_event event, enum drv_who who, uint64_t key, const char *name, void *arg);
struct drv_watch { /* every backend's begins with this */
    struct drv *drv;
    bool
        tells_who; /* with each event of a name, of bytes and of attributes. What we do ourselves may
                       be told some 20 ms late then */
};

/* (r) required, (w) required if DRV_CAP_WRITABLE may be reported, (o) optional. */
struct drv_ops {
    const char *scheme; /* "local", "mem", "ssh"; the part of the URI before "://"; a bare path is
                           "local" */

    /* (r) Open the root named by the URI. MRMR_NO_DRIVE if it is not there, MRMR_NOT_DIR if it is
     * not a folder. */
    mrmr_err (*open)(const char *uri, struct drv **ret_drv);
    /* (r) All files closed by then. Never fails. */
    void (*close)(struct drv *drv);
    /* (r) */
    mrmr_err (*info)(struct drv *drv, struct drv_info *ret_info);
    mrmr_err (*space)(struct drv *drv, struct drv_space *ret_space);
    /* (r) lstat. MRMR_NOT_DIR if a middle component is not a folder. */
    mrmr_err (*stat)(struct drv *drv, const char *path, struct drv_stat *ret_stat);
    /* (r) Entries and their stats in one go, in no order, without "." and "..". A folder may change
     * meanwhile: an entry that is there the whole time is reported exactly once. */
    mrmr_err (*list)(struct drv *drv, const char *path, drv_list_fn fn, void *arg);
    /* (r) Regular files only: MRMR_IS_DIR, MRMR_INVALID for others, symlinks included (a FIFO or
     * device is never opened, and never blocks). Reading a file that was opened for writing only,
     * or the other way round, is MRMR_INVALID. Reading does not change access times where that can
     * be had. */
    mrmr_err (*file_open)(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
        struct drv_file **ret_file);
    /* (o) The same, and what it is then, in one go: for a drive that takes its time over each op.
     * Without it the two are called one after the other. */
    mrmr_err (*file_open_stat)(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
        struct drv_file **ret_file, struct drv_stat *ret_stat);
    /* (o) drv_file_make and drv_file_take (below) in one go, likewise. */
    mrmr_err (*file_make)(
        struct drv *drv, const char *path, uint32_t mode, struct drv_named *ret_named);
    mrmr_err (*file_take)(
        struct drv *drv, const char *path, uint64_t ino, struct drv_named *ret_named);
    /* (r) */
    void (*file_close)(struct drv_file *file);
    /* (r) */
    mrmr_err (*file_stat)(struct drv_file *file, struct drv_stat *ret_stat);
    /* (r) Up to size bytes; short only at the end of the file. *ret_got is set even on failure
     * (bytes that did arrive). */
    mrmr_err (*file_read)(
        struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
    /* (o) drv_file_read_sure (below) in one go. */
    mrmr_err (*file_read_sure)(
        struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
    /* (o) The next run of data at or after offset: [*ret_start, *ret_end). At or past the last data
     * both are the size. */
    mrmr_err (*file_next_data)(
        struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);
    /* (o) The file's bytes from offset to offset+size will be read soon, or, with drop, are not
     * needed in memory any more. */
    void (*file_advise)(struct drv_file *file, uint64_t offset, uint64_t size, bool drop);
    /* (o) The system's own descriptor of it, a further one: the caller's to close, and for nothing but
     * to be handed to the kernel. MRMR_UNSUPPORTED where the bytes are not a file of this system. */
    mrmr_err (*file_descriptor)(struct drv_file *file, int *ret_fd);
    /* (o) Whether anybody, in whatever process, has it open for writing, or mapped so that stores go to
     * it, or had a moment ago; this process counts, too. Of a file that is open for reading only.
     * MRMR_DENIED: only its owner and root are told. MRMR_UNSUPPORTED: the file system cannot tell. */
    mrmr_err (*file_is_written)(struct drv_file *file, bool *ret_written);
    /* (o) appends */
    mrmr_err (*readlink)(struct drv *drv, const char *path, struct mrmr_bytes *target);
    /* (o) every one that may be read; of symlinks too */
    mrmr_err (*xattr_list)(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg);
    /* (o) of an open file, whose name may be gone */
    mrmr_err (*file_xattr_list)(struct drv_file *file, drv_xattr_fn fn, void *arg);

    /* (w) All or nothing is not promised: after a failure some bytes may be written. */
    mrmr_err (*file_write)(struct drv_file *file, uint64_t offset, const void *buf, size_t size);
    /* (w) longer: zeros, as a hole where possible */
    mrmr_err (*file_truncate)(struct drv_file *file, uint64_t size);
    /* (o) reserve room for [0,size), size grows */
    mrmr_err (*file_allocate)(struct drv_file *file, uint64_t size);
    /* (o) on [offset, offset+size). MRMR_UNSUPPORTED where the file system cannot do that one. */
    mrmr_err (*file_range)(
        struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size);
    /* (o) Up to size bytes from one open file to another, or to another place of the same, shared
     * where the file system can. May copy fewer; 0 only at the end of `from`. Places in the same
     * file that overlap: MRMR_INVALID. */
    mrmr_err (*file_copy)(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
        uint64_t to_offset, uint64_t size, uint64_t *ret_copied);
    /* (o) The same, always shared and always whole; size 0: up to the end of `from`.
     * MRMR_UNSUPPORTED if they cannot share: also if the range is not made of whole blocks, goes
     * beyond the end of `from`, or the two overlap. */
    mrmr_err (*file_clone_range)(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
        uint64_t to_offset, uint64_t size);
    /* (o) as set_attr; its name may be gone, and it may be open for reading only */
    mrmr_err (*file_set_attr)(struct drv_file *file, unsigned what, const struct drv_stat *attr);
    /* (o) A new file without a name in the file system of this folder, whose rights and inheritance
     * count as if it were made there. It is gone when it is closed, unless file_link names it. */
    mrmr_err (*file_open_unnamed)(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
        struct drv_file **ret_file);
    /* (o) Give an open file a name, or a further one. MRMR_EXISTS; MRMR_ABSENT if its last name was
     * removed. */
    mrmr_err (*file_link)(struct drv_file *file, const char *path);
    /* (w) */
    mrmr_err (*file_sync)(struct drv_file *file);
    /* (w) */
    mrmr_err (*dir_sync)(struct drv *drv, const char *path);
    /* (o) everything written so far, names included */
    mrmr_err (*sync_all)(struct drv *drv);
    /* (w) MRMR_EXISTS */
    mrmr_err (*mkdir)(struct drv *drv, const char *path, uint32_t mode);
    /* (w) not folders: MRMR_IS_DIR */
    mrmr_err (*unlink)(struct drv *drv, const char *path);
    /* (o) drv_unlink_may (below). */
    mrmr_err (*unlink_may)(struct drv *drv, const char *path);
    /* (w) MRMR_NOT_EMPTY */
    mrmr_err (*rmdir)(struct drv *drv, const char *path);
    /* (w) flags: enum drv_rename_flag. REPLACE is atomic: `to` is the old or the new, never missing
     * (two names of one file: nothing happens). A folder replaces an empty folder only
     * (MRMR_NOT_EMPTY, MRMR_NOT_DIR, MRMR_IS_DIR), and does not go into itself (MRMR_INVALID).
     * NOREPLACE: MRMR_EXISTS if `to` is there, atomically where the cap says so, else
     * MRMR_UNSUPPORTED. EXCHANGE likewise. */
    mrmr_err (*rename)(struct drv *drv, const char *from, const char *to, unsigned flags);
    /* (o) MRMR_EXISTS; folders: MRMR_IS_DIR; of a symlink, the link itself */
    mrmr_err (*link)(struct drv *drv, const char *from, const char *to);
    /* (o) MRMR_EXISTS */
    mrmr_err (*symlink)(struct drv *drv, const char *target, const char *path);
    /* (o) */
    mrmr_err (*mknod)(
        struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev);
    /* (w) what: enum drv_attr; from the fields of attr. Never follows a symlink (the mode of one is
     * skipped). */
    mrmr_err (*set_attr)(
        struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr);
    /* (o) drv_set_attr_of (below) in one go. */
    mrmr_err (*set_attr_of)(struct drv *drv, const char *path, const struct drv_stat *of,
        unsigned what, const struct drv_stat *attr, struct drv_stat *ret_stat);
    /* (o) size 0 with value NULL removes the attribute: MRMR_NO_ATTR if it is not there. */
    mrmr_err (*xattr_set)(
        struct drv *drv, const char *path, const char *name, const void *value, size_t size);
    /* (o) `to`, which must not exist, becomes a reflink copy of the bytes of `from`, with its mode;
     * other attributes are new. */
    mrmr_err (*clone)(struct drv *drv, const char *from, const char *to);

    /* (o), all four or none. Tell of changes in folders, whoever makes them; opening is
     * MRMR_UNSUPPORTED where that cannot be had of this root at all. What happens after
     * watch_add has returned is told; a write through a shared mapping only when the file is closed,
     * one through a name of the file in another folder not at all. One key a folder; a folder that
     * is watched already gets the new key. MRMR_SPACE: the system has no more watches, or this
     * process half of those that a user may have. Closing waits for a running fn. */
    mrmr_err (*watch_open)(
        struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch);
    void (*watch_close)(struct drv_watch *watch);
    mrmr_err (*watch_add)(struct drv_watch *watch, const char *path, uint64_t key);
    void (*watch_remove)(struct drv_watch *watch, uint64_t key); /* an unknown one is fine */

    /* (o), both or none. Let go of the root, so that whatever it lies on can be unmounted; a watch goes on. Nobody else is at
     * any op then, nothing of it is open, and until it is taken up again only that, watch_remove, watch_close and close may be called.
     * MRMR_NO_DRIVE: it is not there any more, or another folder is. */
    void (*let_go)(struct drv *drv);
    mrmr_err (*take_up)(struct drv *drv);
};

enum { DRV_MARKS = 257 };

/* Every backend's object begins with this, zeroed but for ops. */
struct drv {
    const struct drv_ops *ops;
    _Atomic int64_t error_at;       /* s, monotonic: the last second in which it answered MRMR_IO */
    _Atomic unsigned error_seconds; /* how many there were */
    /* Of whoever has it open, for what he has to do once on it; at first none is set. Nothing here looks at them. */
    _Atomic bool mark[DRV_MARKS];
};
struct drv_file {
    struct drv *drv;
};

/* Backends of this build: drv_open picks by the URI's scheme. A relative path, an unknown scheme or
 * a malformed URI is MRMR_INVALID with the forms that are understood. Registering happens once,
 * before threads start; local and mem are there from the start. */
mrmr_err drv_register(const struct drv_ops *ops);
/* In how many different seconds it answered MRMR_IO since it was opened, to who looked, read, wrote or synced. */
unsigned drv_error_seconds(const struct drv *drv);
mrmr_err drv_open(const char *uri, struct drv **ret_drv);
void drv_close(struct drv *drv); /* NULL-safe */

/* Nothing is mounted where this place of the computer is, a canonical absolute path, but the system would mount something for whoever looks (autofs(5)).
 * No file system is asked. Where it cannot be known it is none. */
bool drv_is_automount(const char *root);

/* MRMR_INVALID (or NAME_TOO_LONG) if the path breaks the rules at the top of this file. */
mrmr_err drv_path_check(const char *path);

/* From now on the ops of this thread act as this caller, until another call, with NULL: as the
 * process itself. Without effect where the process is not root: files are the process's own then. A
 * thread calls it with NULL before it ends. Where the system does not let the process act so, ops
 * are MRMR_DENIED; without memory for the groups they are MRMR_NOMEM. */
void drv_act_as(const struct drv_caller *caller);

/* Wrappers, one an op. */
mrmr_err drv_info(struct drv *drv, struct drv_info *ret_info);
mrmr_err drv_space(struct drv *drv, struct drv_space *ret_space);
mrmr_err drv_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat);
mrmr_err drv_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg);
mrmr_err drv_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file);
/* Open, and stat; a file that was made stays where the latter failed. */
mrmr_err drv_file_open_stat(struct drv *drv, const char *path, unsigned flags, uint32_t mode,
    struct drv_file **ret_file, struct drv_stat *ret_stat);
void drv_file_close(struct drv_file *file); /* NULL-safe */
mrmr_err drv_file_stat(struct drv_file *file, struct drv_stat *ret_stat);
mrmr_err drv_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
mrmr_err drv_file_next_data(struct drv_file *file, uint64_t offset, uint64_t *ret_start,
    uint64_t *ret_end); /* without the op: all is data */
void drv_file_advise(struct drv_file *file, uint64_t offset, uint64_t size, bool drop);
mrmr_err drv_file_descriptor(struct drv_file *file, int *ret_fd);
mrmr_err drv_file_is_written(struct drv_file *file, bool *ret_written);
mrmr_err drv_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target);
mrmr_err drv_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg);
mrmr_err drv_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg);
mrmr_err drv_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size);
mrmr_err drv_file_truncate(struct drv_file *file, uint64_t size);
mrmr_err drv_file_allocate(struct drv_file *file, uint64_t size);
mrmr_err drv_file_range(struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size);
mrmr_err drv_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied);
mrmr_err drv_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size);
mrmr_err drv_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr);
mrmr_err drv_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file);
mrmr_err drv_file_link(struct drv_file *file, const char *path);
mrmr_err drv_file_sync(struct drv_file *file);
mrmr_err drv_dir_sync(struct drv *drv, const char *path);
mrmr_err drv_sync_all(struct drv *drv);
mrmr_err drv_mkdir(struct drv *drv, const char *path, uint32_t mode);
mrmr_err drv_unlink(struct drv *drv, const char *path);
/* Whether the user that this thread acts as may take this name, by the folder's rights and its sticky bit:
 * MRMR_DENIED if not. Nothing is changed. For who moves what has it elsewhere as the process itself. Fine where the
 * drive knows of no users. */
mrmr_err drv_unlink_may(struct drv *drv, const char *path);
mrmr_err drv_rmdir(struct drv *drv, const char *path);
mrmr_err drv_rename(struct drv *drv, const char *from, const char *to, unsigned flags);
mrmr_err drv_link(struct drv *drv, const char *from, const char *to);
mrmr_err drv_symlink(struct drv *drv, const char *target, const char *path);
mrmr_err drv_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev);
mrmr_err drv_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr);
mrmr_err drv_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size);
mrmr_err drv_clone(struct drv *drv, const char *from, const char *to);
mrmr_err drv_watch_open(struct drv *drv, drv_event_fn fn, void *arg, struct drv_watch **ret_watch);
void drv_watch_close(struct drv_watch *watch); /* NULL-safe */
mrmr_err drv_watch_add(struct drv_watch *watch, const char *path, uint64_t key);
void drv_watch_remove(struct drv_watch *watch, uint64_t key);
/* Without effect where the backend holds nothing. */
void drv_let_go(struct drv *drv);
mrmr_err drv_take_up(struct drv *drv);

/* Built on the ops, the same for every backend. */

/* Make a file and open it for reading and writing, as drv_file_open_stat does. */
mrmr_err drv_file_make(
    struct drv *drv, const char *path, uint32_t mode, struct drv_named *ret_named);
/* Take its only name from the regular file that has this inode, and have it open, for writing where
 * that can be had. The thread acts as another user (drv_act_as) only to take the name. MRMR_CHANGED:
 * something else is at the path, or it has more names, or cannot be opened; nothing was done then. */
mrmr_err drv_file_take(
    struct drv *drv, const char *path, uint64_t ino, struct drv_named *ret_named);

/* Set attributes of what has the type and the inode of `of`, and say what it is then. MRMR_CHANGED:
 * something else is at the path, and nothing was done. */
mrmr_err drv_set_attr_of(struct drv *drv, const char *path, const struct drv_stat *of,
    unsigned what, const struct drv_stat *attr, struct drv_stat *ret_stat);
/* As drv_file_read; MRMR_TRUNCATED if less comes than there is by the file's size. */
mrmr_err drv_file_read_sure(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
/* Exactly size bytes, or an error: MRMR_TRUNCATED if the file ends before. */
mrmr_err drv_file_read_exact(struct drv_file *file, uint64_t offset, void *buf, size_t size);
/* A whole small file, appended to b; MRMR_SPACE if it is longer than most. */
mrmr_err drv_read_all(struct drv *drv, const char *path, size_t most, struct mrmr_bytes *b);
/* Make a folder and its parents; existing ones are fine. Nothing is synced: where the names must
 * last, dir_sync each parent. */
mrmr_err drv_mkdirs(struct drv *drv, const char *path, uint32_t mode);
/* Durable replace of a small file: path + ".new" (one that is there is removed first), sync,
 * rename, dir_sync. The crash argument is base/durable.h's. */
mrmr_err drv_replace(
    struct drv *drv, const char *path, const void *data, size_t size, uint32_t mode);

#endif
