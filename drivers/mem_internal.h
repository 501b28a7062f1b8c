/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parts of the mem driver: mem.c (ops), mem_store.c (drives by name, inodes), mem_names.c (the
 * name space), mem_data.c (bytes), mem_power.c (durability, the power cut).
 *
 * Lock order: the registry's mutex, then one store's rwlock. Chunks are shared between files and
 * states of one store, and guarded by its lock like all the rest. Callbacks run with no lock held.
 */
#ifndef MRMR_DRIVERS_MEM_INTERNAL_H
#define MRMR_DRIVERS_MEM_INTERNAL_H

#include "base/cleanup.h"
#include "drivers/driver.h"
#include "drivers/mem.h"
#include <pthread.h>

#define MEM_CHUNK 4096U
#define MEM_SECTOR 512U
#define MEM_NAME_SIZE 256

struct mem_chunk {
    unsigned refs;          /* above 1 it is copied before it is written; 0: it is a spare one */
    struct mem_chunk *next; /* spare one */
    unsigned char bytes[MEM_CHUNK];
};

struct mem_slot {
    uint64_t index; /* offset / MEM_CHUNK */
    struct mem_chunk *chunk;
};

/* The chunks of a file, by index; what is missing is a hole. Bytes past the file's size are zero.
 */
struct mem_map {
    struct mem_slot *slots;
    size_t count, room;
};

struct mem_xattr {
    char *name;
    void *value;
    size_t size;
};

/* All of a file that file_sync makes durable. */
struct mem_state {
    uint64_t size;
    struct mem_map map;
    uint32_t mode, uid, gid;
    int64_t mtime, ctime, atime;
    struct mem_xattr *xattrs;
    size_t xattr_count;
};

struct mem_inode;

struct mem_entry {
    char *name;
    struct mem_inode *inode;
};

struct mem_inode {
    uint64_t ino, rdev;
    enum drv_type type;
    int64_t btime;
    uint32_t names; /* entries that point here */
    uint32_t opens; /* open files, and 1 for the root */
    uint32_t pins;  /* mentions in the log of names */
    bool charged;   /* its chunks are counted in store->used */
    bool unnamed;   /* made without a name, and may still be given one */
    bool dirty;     /* now differs from synced; tracked stores only */
    struct mem_state now, synced;
    char *target;              /* of a symlink */
    struct mem_entry *entries; /* of a folder, sorted by name */
    size_t entry_count, entry_room;
    struct mem_inode *parent;      /* of a folder */
    uint64_t mark_dir, mark_child; /* mem_power.c */
    struct mem_inode *prev, *next; /* all inodes of the store */
    struct mem_inode *doomed;      /* mem_store.c: the work list of a release */
};

/* One entry of one folder changes from one inode to another; NULL is none. */
struct mem_change {
    struct mem_inode *dir;
    char *name;
    struct mem_inode *before, *after;
};

/* One atomic change of the name space. */
struct mem_op {
    struct mem_change change[2];
    unsigned count;
    int64_t ctime[2], ctime_was[2]; /* of each `before`: which this set, and until then */
};

struct mem_store {
    char *name;
    struct mem_store *next; /* guarded by the registry's mutex, as is: */
    unsigned drives;        /* open ones */

    pthread_rwlock_t lock;
    uint64_t epoch; /* handles of an older one are dead */
    bool away, tracked;
    uint64_t limit, used; /* chunks */
    uint64_t next_ino, next_mark;
    int64_t last_time;
    struct mem_inode *root, *inodes;
    struct mem_chunk *zero; /* stands for all that was allocated, and never written; or NULL */
    struct mem_op *log;
    size_t log_count, log_room;
};

struct mem {
    struct drv drv;
    struct mem_store *store;
    uint64_t epoch;
};

struct mem_file {
    struct drv_file file;
    struct mem_inode *inode;
    unsigned flags;
    char path[]; /* as it was opened; for messages */
};

static inline pthread_rwlock_t *mem_lock_read(pthread_rwlock_t *lock)
{
    pthread_rwlock_rdlock(lock);
    return lock;
}
static inline pthread_rwlock_t *mem_lock_write(pthread_rwlock_t *lock)
{
    pthread_rwlock_wrlock(lock);
    return lock;
}
static inline void mem_unlock_auto(pthread_rwlock_t **lock)
{
    pthread_rwlock_unlock(*lock);
}
#define MEM_GUARD(take)                                                                            \
    __attribute__((cleanup(mem_unlock_auto), unused)) pthread_rwlock_t *mem_guard = take
#define MEM_READING(store) MEM_GUARD(mem_lock_read(&(store)->lock))
#define MEM_WRITING(store) MEM_GUARD(mem_lock_write(&(store)->lock))

mrmr_err mem_fail(mrmr_err err, const char *op, const char *path);
/* MRMR_OFFLINE if a handle of that epoch is dead. */
mrmr_err mem_alive_locked(
    const struct mem_store *store, uint64_t epoch, const char *op, const char *path);

/* --- mem_store.c --- */

mrmr_err mem_store_open(const char *name, struct mem_store **ret_store); /* makes it if need be */
void mem_store_close(struct mem_store *store);
int64_t mem_time_locked(struct mem_store *store); /* strictly growing */
mrmr_err mem_inode_make_locked(
    struct mem_store *store, enum drv_type type, uint32_t mode, struct mem_inode **ret_inode);
/* Call after names, opens or pins went down: frees what nothing refers to. */
void mem_inode_check_locked(struct mem_store *store, struct mem_inode *inode);

/* --- mem_names.c --- */

/* Where a path ends: the folder and name of its last component (no folder for the root), and what
 * is there, or NULL. */
struct mem_place {
    struct mem_inode *dir;
    char name[MEM_NAME_SIZE];
    struct mem_inode *inode;
};

mrmr_err mem_walk_locked(
    struct mem_store *store, const char *op, const char *path, struct mem_place *ret_place);
/* The same; MRMR_ABSENT if nothing is there. */
mrmr_err mem_find_locked(
    struct mem_store *store, const char *op, const char *path, struct mem_place *ret_place);
/* Point the entry at an inode, or, with NULL, remove it. Adding needs room made by
 * mem_entry_room_locked(). */
void mem_entry_set_locked(
    struct mem_store *store, struct mem_inode *dir, char *name, struct mem_inode *inode);
mrmr_err mem_entry_room_locked(struct mem_inode *dir);
/* Carry out a change of one or two entries as one, logging it where the store is tracked. */
mrmr_err mem_change_locked(
    struct mem_store *store, unsigned count, const struct mem_change change[]);

mrmr_err mem_unlink(struct drv *drv, const char *path);
mrmr_err mem_rmdir(struct drv *drv, const char *path);
mrmr_err mem_rename(struct drv *drv, const char *from, const char *to, unsigned flags);
mrmr_err mem_link(struct drv *drv, const char *from, const char *to);
mrmr_err mem_mkdir(struct drv *drv, const char *path, uint32_t mode);
mrmr_err mem_symlink(struct drv *drv, const char *target, const char *path);
mrmr_err mem_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev);
mrmr_err mem_clone(struct drv *drv, const char *from, const char *to);
mrmr_err mem_file_link(struct drv_file *file, const char *path);
/* A new regular file at an empty place. */
mrmr_err mem_create_locked(
    struct mem_store *store, const char *path, uint32_t mode, struct mem_inode **ret_inode);

/* --- mem_data.c --- */

void mem_chunk_put(struct mem_chunk *chunk); /* a reference less; NULL does nothing */
size_t mem_map_find(
    const struct mem_map *map, uint64_t index); /* the first slot at or after index */
mrmr_err mem_map_reserve(struct mem_map *map, size_t more);
void mem_map_add(struct mem_map *map, uint64_t index,
    struct mem_chunk *chunk); /* at the end; takes a reference of its own */
void mem_map_free(struct mem_map *map);
mrmr_err mem_state_copy(
    const struct mem_state *from, struct mem_state *ret_to); /* shares the chunks */
void mem_state_free(struct mem_state *state);
void mem_state_move(
    struct mem_state *to, struct mem_state *from); /* frees what `to` was; `from` is empty after */
/* Cut or grow; zeros what lies past the new end. MRMR_NOMEM leaves it as it was. */
mrmr_err mem_state_resize(struct mem_state *state, uint64_t size);
/* A chunk of its own at index, made or copied if need be. */
mrmr_err mem_state_own(struct mem_state *state, uint64_t index, struct mem_chunk **ret_chunk);
void mem_touch_locked(
    struct mem_store *store, struct mem_inode *inode, bool bytes); /* times, dirty */

mrmr_err mem_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got);
mrmr_err mem_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);
mrmr_err mem_file_write(struct drv_file *file, uint64_t offset, const void *buf, size_t size);
mrmr_err mem_file_truncate(struct drv_file *file, uint64_t size);
mrmr_err mem_file_allocate(struct drv_file *file, uint64_t size);
mrmr_err mem_file_range(struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size);
mrmr_err mem_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied);
mrmr_err mem_file_clone_range(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size);

/* --- mem_power.c --- */

mrmr_err mem_log_reserve_locked(struct mem_store *store);
void mem_log_add_locked(struct mem_store *store, unsigned count,
    const struct mem_change change[]); /* takes the names */
void mem_log_clear_locked(struct mem_store *store);
mrmr_err mem_file_sync(struct drv_file *file);
mrmr_err mem_dir_sync(struct drv *drv, const char *path);
mrmr_err mem_sync_all(struct drv *drv);
mrmr_err mem_power_cut_locked(struct mem_store *store, uint64_t seed);

#endif
