/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The mem drives of this process, by name, and the life of their inodes: one lives while a name, an
 * open file or the log of names refers to it.
 */
#include "drivers/mem_internal.h"

#include "base/clock.h"
#include <string.h>

#define MEM_LIMIT_DEFAULT ((UINT64_C(1) << 40) / MEM_CHUNK)

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct mem_store *registry; /* guarded by registry_lock */

mrmr_err mem_fail(mrmr_err err, const char *op, const char *path)
{
    return mrmr_err_path(mrmr_err_op(mrmr_fail(err, NULL), op), path);
}

mrmr_err mem_alive_locked(
    const struct mem_store *store, uint64_t epoch, const char *op, const char *path)
{
    return store->away || store->epoch != epoch ? mem_fail(MRMR_OFFLINE, op, path) : MRMR_OK;
}

int64_t mem_time_locked(struct mem_store *store)
{
    int64_t now = mrmr_clock_real();
    store->last_time = now > store->last_time ? now : store->last_time + 1;
    return store->last_time;
}

/* --- inodes --- */

mrmr_err mem_inode_make_locked(
    struct mem_store *store, enum drv_type type, uint32_t mode, struct mem_inode **ret_inode)
{
    struct mem_inode *inode = calloc(1, sizeof *inode);
    if (!inode)
        return mrmr_nomem();
    inode->ino = store->next_ino++;
    inode->type = type;
    inode->charged = true;
    inode->btime = mem_time_locked(store);
    inode->now.mode = mode & 07777; /* folders hand nothing down here */
    inode->now.uid = geteuid();
    inode->now.gid = getegid();
    inode->now.mtime = inode->now.ctime = inode->now.atime = inode->btime;
    inode->synced = inode->now; /* no chunks and no attributes yet, so nothing is shared */
    inode->next = store->inodes;
    if (inode->next)
        inode->next->prev = inode;
    store->inodes = inode;
    *ret_inode = inode;
    return MRMR_OK;
}

static void inode_free(struct mem_store *store, struct mem_inode *inode)
{
    if (inode->prev)
        inode->prev->next = inode->next;
    else
        store->inodes = inode->next;
    if (inode->next)
        inode->next->prev = inode->prev;
    mem_state_free(&inode->now);
    mem_state_free(&inode->synced);
    free(inode->entries);
    free(inode->target);
    free(inode);
}

static bool inode_doomed(const struct mem_inode *inode)
{
    return !inode->names && !inode->opens && !inode->pins;
}

/* A folder that goes takes its entries along; `work` collects those nothing else refers to. */
static void entries_drop(struct mem_inode *dir, struct mem_inode **work)
{
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct mem_inode *child = dir->entries[i].inode;
        free(dir->entries[i].name);
        child->names--;
        child->parent = NULL;
        if (inode_doomed(child)) {
            child->doomed = *work;
            *work = child;
        }
    }
    dir->entry_count = 0;
}

void mem_inode_check_locked(struct mem_store *store, struct mem_inode *inode)
{
    if (!inode->names && !inode->opens && inode->charged) {
        inode->charged = false;
        store->used -= inode->now.map.count;
    }
    struct mem_inode *work = inode_doomed(inode) ? inode : NULL;
    while (work) {
        struct mem_inode *next = work;
        work = next->doomed;
        if (next->charged)
            store->used -= next->now.map.count;
        entries_drop(next, &work);
        inode_free(store, next);
    }
}

/* --- stores --- */

static mrmr_err store_root_make(struct mem_store *store)
{
    MRMR_TRY(mem_inode_make_locked(store, DRV_DIR, 0755, &store->root));
    store->root->opens = 1;
    return MRMR_OK;
}

static void store_free(struct mem_store *store)
{
    pthread_rwlock_destroy(&store->lock);
    mem_chunk_put(store->zero);
    free(store->log);
    free(store->name);
    free(store);
}

static struct mem_store *store_make(const char *name)
{
    struct mem_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    pthread_rwlock_init(&store->lock, NULL);
    store->name = strdup(name);
    store->limit = MEM_LIMIT_DEFAULT;
    store->next_ino = 2;
    if (store->name && store_root_make(store) == MRMR_OK)
        return store;
    store_free(store);
    return NULL;
}

/* Drop all content but what open files hold; the root goes too. */
static void store_clear_locked(struct mem_store *store)
{
    struct mem_inode *root = store->root;
    mem_log_clear_locked(store);
    store->epoch++;
    store->root = NULL;
    if (root) {
        root->opens--;
        mem_inode_check_locked(store, root);
    }
}

static struct mem_store *registry_find_locked(const char *name)
{
    struct mem_store *store = registry;
    while (store && strcmp(store->name, name) != 0)
        store = store->next;
    return store;
}

mrmr_err mem_store_open(const char *name, struct mem_store **ret_store)
{
    mrmr_locked(&registry_lock);
    struct mem_store *store = registry_find_locked(name);
    if (!store) {
        store = store_make(name);
        if (!store)
            return mrmr_nomem();
        store->next = registry;
        registry = store;
    }
    store->drives++;
    *ret_store = store;
    return MRMR_OK;
}

void mem_store_close(struct mem_store *store)
{
    mrmr_locked(&registry_lock);
    store->drives--;
}

/* Clear a store; true if it may be freed, because nobody has it open. */
static bool store_reset(struct mem_store *store)
{
    MEM_WRITING(store);
    store_clear_locked(store);
    store->away = store->tracked = false;
    store->limit = MEM_LIMIT_DEFAULT;
    if (!store->drives)
        return true;
    store_root_make(store); /* without memory every op finds no root: mem_walk_locked says so */
    return false;
}

/* NULL: all of them. */
static void registry_reset(const char *name)
{
    mrmr_locked(&registry_lock);
    for (struct mem_store **at = &registry; *at;) {
        struct mem_store *store = *at;
        if ((name && strcmp(store->name, name) != 0) || !store_reset(store)) {
            at = &store->next;
            continue;
        }
        *at = store->next;
        store_free(store);
    }
}

void drv_mem_reset(const char *name)
{
    registry_reset(name);
}

void drv_mem_reset_all(void)
{
    registry_reset(NULL);
}

/* --- what tests do to a drive --- */

static mrmr_err no_such(const char *name)
{
    return mrmr_fail(MRMR_NO_DRIVE, "there is no mem drive '%s'", name);
}

mrmr_err drv_mem_power_cut(const char *name, uint64_t seed)
{
    mrmr_locked(&registry_lock);
    struct mem_store *store = registry_find_locked(name);
    if (!store)
        return no_such(name);
    MEM_WRITING(store);
    if (!store->tracked)
        return mrmr_fail(MRMR_UNSUPPORTED, "mem drive '%s' was not opened with cut=1", name);
    store->epoch++;
    return mem_power_cut_locked(store, seed);
}

mrmr_err drv_mem_unplug(const char *name, bool away)
{
    mrmr_locked(&registry_lock);
    struct mem_store *store = registry_find_locked(name);
    if (!store)
        return no_such(name);
    MEM_WRITING(store);
    store->away = away;
    store->epoch++;
    return MRMR_OK;
}

static mrmr_err rot_locked(struct mem_inode *inode, const char *path, uint64_t offset, uint8_t mask)
{
    struct mem_state *states[2] = {&inode->now, &inode->synced};
    bool found = false;
    for (int i = 0; i < 2; i++) {
        struct mem_chunk *chunk;
        size_t at = mem_map_find(&states[i]->map, offset / MEM_CHUNK);
        if (at == states[i]->map.count || states[i]->map.slots[at].index != offset / MEM_CHUNK ||
            offset >= states[i]->size)
            continue;
        MRMR_TRY(mem_state_own(states[i], offset / MEM_CHUNK, &chunk));
        chunk->bytes[offset % MEM_CHUNK] ^= mask;
        found = found || i == 0;
    }
    return found ? MRMR_OK : mem_fail(MRMR_INVALID, "rot", path);
}

mrmr_err drv_mem_rot(const char *name, const char *path, uint64_t offset, uint8_t mask)
{
    mrmr_locked(&registry_lock);
    struct mem_store *store = registry_find_locked(name);
    if (!store)
        return no_such(name);
    MEM_WRITING(store);
    struct mem_place place;
    MRMR_TRY(mem_find_locked(store, "rot", path, &place));
    return rot_locked(place.inode, path, offset, mask);
}
