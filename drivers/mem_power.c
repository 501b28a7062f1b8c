/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What of a mem drive is durable, and the power cut; mem.h says the rules.
 *
 * The log holds the changes of the name space that no sync has covered yet, oldest first. A cut
 * takes back a suffix of it, newest first. A dir_sync takes changes out of the middle of the log;
 * what is taken back later never disturbs them, because a change that shares an inode or a folder
 * with one that was made durable has gone out with it.
 */
#include "drivers/mem_internal.h"

#include <string.h>

/* --- the log --- */

mrmr_err mem_log_reserve_locked(struct mem_store *store)
{
    if (!store->tracked || store->log_count < store->log_room)
        return MRMR_OK;
    size_t room = store->log_room ? 2 * store->log_room : 64;
    struct mem_op *log = realloc(store->log, room * sizeof *log);
    if (!log)
        return mrmr_nomem();
    store->log = log;
    store->log_room = room;
    return MRMR_OK;
}

static void change_pin(const struct mem_change *change, int by)
{
    change->dir->pins += (uint32_t)by;
    if (change->before)
        change->before->pins += (uint32_t)by;
    if (change->after)
        change->after->pins += (uint32_t)by;
}

void mem_log_add_locked(struct mem_store *store, unsigned count, const struct mem_change change[])
{
    struct mem_op *op = &store->log[store->log_count++];
    op->count = count;
    for (unsigned i = 0; i < count; i++) {
        op->change[i] = change[i];
        change_pin(&op->change[i], 1);
    }
}

/* Drop one op's references. Each inode is checked last and once, since a check may free it. */
static void op_drop_locked(struct mem_store *store, struct mem_op *op)
{
    struct mem_inode *seen[6];
    unsigned n = 0;
    for (unsigned i = 0; i < op->count; i++) {
        change_pin(&op->change[i], -1);
        free(op->change[i].name);
        seen[n++] = op->change[i].before;
        seen[n++] = op->change[i].after;
        seen[n++] = op->change[i].dir;
    }
    /* Pin what is left, so that a folder that goes with its entries frees none of the others here.
     */
    for (unsigned i = 0; i < n; i++)
        if (seen[i])
            seen[i]->pins++;
    for (unsigned i = 0; i < n; i++) {
        if (!seen[i])
            continue;
        seen[i]->pins--;
        mem_inode_check_locked(store, seen[i]);
    }
}

void mem_log_clear_locked(struct mem_store *store)
{
    for (size_t i = 0; i < store->log_count; i++)
        op_drop_locked(store, &store->log[i]);
    store->log_count = 0;
}

/* --- syncs --- */

static mrmr_err inode_sync_locked(struct mem_inode *inode)
{
    struct mem_state copy;
    if (!inode->dirty)
        return MRMR_OK;
    MRMR_TRY(mem_state_copy(&inode->now, &copy));
    mem_state_move(&inode->synced, &copy);
    inode->dirty = false;
    return MRMR_OK;
}

mrmr_err mem_file_sync(struct drv_file *file)
{
    struct mem_file *f = (struct mem_file *)file;
    struct mem *mem = (struct mem *)file->drv;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "sync", f->path));
    return inode_sync_locked(f->inode);
}

mrmr_err mem_sync_all(struct drv *drv)
{
    struct mem *mem = (struct mem *)drv;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "sync", ""));
    for (struct mem_inode *inode = mem->store->inodes; inode; inode = inode->next)
        MRMR_TRY(inode_sync_locked(inode));
    mem_log_clear_locked(mem->store);
    return MRMR_OK;
}

static bool op_marked(const struct mem_op *op, uint64_t mark)
{
    for (unsigned i = 0; i < op->count; i++) {
        const struct mem_change *c = &op->change[i];
        if (c->dir->mark_dir == mark || (c->before && c->before->mark_child == mark) ||
            (c->after && c->after->mark_child == mark))
            return true;
    }
    return false;
}

/* Earlier changes in these folders, and of these inodes, go out with the op; a rename from one to another also takes
 * along the making of the folder it moves into, or the file would be in neither. */
static void op_mark(struct mem_op *op, uint64_t mark)
{
    const bool moves = op->count == 2 && op->change[0].dir != op->change[1].dir;
    for (unsigned i = 0; i < op->count; i++) {
        struct mem_change *c = &op->change[i];
        c->dir->mark_dir = mark;
        if (c->before)
            c->before->mark_child = mark;
        if (c->after)
            c->after->mark_child = mark;
        for (struct mem_inode *up = moves ? c->dir : NULL; up; up = up->parent)
            up->mark_child = mark;
    }
}

mrmr_err mem_dir_sync(struct drv *drv, const char *path)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_store *store = mem->store;
    struct mem_place place;
    MEM_WRITING(store);
    MRMR_TRY(mem_alive_locked(store, mem->epoch, "sync folder", path));
    MRMR_TRY(mem_find_locked(store, "sync folder", path, &place));
    if (place.inode->type != DRV_DIR)
        return mem_fail(
            place.inode->type == DRV_SYMLINK ? MRMR_LOOP : MRMR_NOT_DIR, "sync folder", path);
    const uint64_t mark = ++store->next_mark;
    size_t kept = store->log_count;
    place.inode->mark_dir = mark;
    /* Newest first: what goes out reaches back only. The ones that stay gather at the end. */
    for (size_t i = store->log_count; i-- > 0;) {
        struct mem_op op = store->log[i];
        if (op_marked(&op, mark)) {
            op_mark(&op, mark);
            op_drop_locked(store, &op);
        } else {
            store->log[--kept] = op;
        }
    }
    if (kept == 0)
        return MRMR_OK;
    store->log_count -= kept;
    memmove(store->log, store->log + kept, store->log_count * sizeof *store->log);
    return MRMR_OK;
}

/* --- the cut --- */

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

enum cut { CUT_DROP, CUT_KEEP, CUT_MIX };

static enum cut cut_choose(uint64_t *random)
{
    return (enum cut)(random_next(random) % 3);
}

/* Take back the newest changes of names, all but the first `keep`. */
static mrmr_err names_revert_locked(struct mem_store *store, size_t keep)
{
    for (size_t i = store->log_count; i-- > keep;) {
        struct mem_op *op = &store->log[i];
        for (unsigned j = op->count; j-- > 0;) {
            struct mem_change *c = &op->change[j];
            char *name = strdup(c->name);
            if (!name || mem_entry_room_locked(c->dir)) {
                free(name);
                return mrmr_nomem();
            }
            mem_entry_set_locked(store, c->dir, name, c->before);
            if (c->before && c->before->now.ctime == op->ctime[j])
                c->before->now.ctime = op->ctime_was[j];
        }
    }
    return MRMR_OK;
}

/* One chunk of the mixture, or nothing: what was durable, what was written, or both torn at a
 * sector. */
static mrmr_err chunk_mix(uint64_t *random, uint64_t index, struct mem_chunk *old,
    struct mem_chunk *new, struct mem_state *to)
{
    enum cut choice = cut_choose(random);
    struct mem_chunk *pick = choice == CUT_KEEP ? new : old, *chunk;
    if (choice != CUT_MIX || old == new) {
        if (pick)
            mem_map_add(&to->map, index, pick);
        return MRMR_OK;
    }
    size_t torn = (1 + random_next(random) % (MEM_CHUNK / MEM_SECTOR - 1)) * MEM_SECTOR;
    MRMR_TRY(mem_state_own(to, index, &chunk));
    if (new)
        memcpy(chunk->bytes, new->bytes, torn);
    if (old)
        memcpy(chunk->bytes + torn, old->bytes + torn, MEM_CHUNK - torn);
    return MRMR_OK;
}

static mrmr_err map_mix(
    uint64_t *random, const struct mem_map *old, const struct mem_map *new, struct mem_state *to)
{
    size_t i = 0, j = 0;
    MRMR_TRY(mem_map_reserve(&to->map, old->count + new->count));
    while (i < old->count || j < new->count) {
        bool take_old =
            i < old->count && (j == new->count || old->slots[i].index <= new->slots[j].index);
        bool take_new =
            j < new->count && (i == old->count || new->slots[j].index <= old->slots[i].index);
        uint64_t index = take_old ? old->slots[i].index : new->slots[j].index;
        MRMR_TRY(chunk_mix(random, index, take_old ? old->slots[i].chunk : NULL,
            take_new ? new->slots[j].chunk : NULL, to));
        i += take_old;
        j += take_new;
    }
    return MRMR_OK;
}

/* Attributes of one state, bytes of both, a size of either. */
static mrmr_err state_mix(uint64_t *random, const struct mem_state *old,
    const struct mem_state *new, struct mem_state *ret_mixed)
{
    struct mem_state mixed;
    bool new_attributes = random_next(random) & 1, new_size = random_next(random) & 1;
    MRMR_TRY(mem_state_copy(new_attributes ? new : old, &mixed));
    mem_map_free(&mixed.map);
    mrmr_err err = map_mix(random, &old->map, &new->map, &mixed);
    mixed.size = UINT64_MAX; /* so that the cut to size zeros the tail */
    if (!err)
        err = mem_state_resize(&mixed, new_size ? new->size : old->size);
    if (err) {
        mem_state_free(&mixed);
        return err;
    }
    *ret_mixed = mixed;
    return MRMR_OK;
}

static mrmr_err inode_cut(struct mem_inode *inode, uint64_t seed)
{
    /* The order of inodes in memory must not matter: each draws from the seed and its own number.
     */
    uint64_t random = seed ^ inode->ino * UINT64_C(0xd1342543de82ef95);
    struct mem_state state;
    if (!inode->dirty || inode->type != DRV_REG)
        return MRMR_OK;
    enum cut choice = cut_choose(&random);
    if (choice == CUT_MIX)
        MRMR_TRY(state_mix(&random, &inode->synced, &inode->now, &state));
    else
        MRMR_TRY(mem_state_copy(choice == CUT_KEEP ? &inode->now : &inode->synced, &state));
    mem_state_move(&inode->now, &state);
    return inode_sync_locked(inode);
}

mrmr_err mem_power_cut_locked(struct mem_store *store, uint64_t seed)
{
    uint64_t random = seed;
    size_t keep = 0;
    switch (cut_choose(&random)) {
    case CUT_DROP:
        break;
    case CUT_KEEP:
        keep = store->log_count;
        break;
    case CUT_MIX:
        keep = random_next(&random) % (store->log_count + 1);
        break;
    }
    MRMR_TRY(names_revert_locked(store, keep));
    mem_log_clear_locked(store);
    store->used = 0;
    for (struct mem_inode *inode = store->inodes; inode; inode = inode->next) {
        MRMR_TRY(inode_cut(inode, seed));
        inode->charged = inode->names > 0 || inode->opens > 0;
        store->used += inode->charged ? inode->now.map.count : 0;
    }
    return MRMR_OK;
}
