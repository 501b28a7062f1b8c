/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The name space of the mem driver. Every change is one or two entries that change together
 * (mem_change_locked), so a rename is atomic, and a power cut can take it back as one.
 */
#include "drivers/mem_internal.h"

#include <string.h>

/* --- entries --- */

static size_t entry_find(const struct mem_inode *dir, const char *name, bool *ret_there)
{
    size_t low = 0, high = dir->entry_count;
    *ret_there = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = strcmp(dir->entries[mid].name, name);
        if (order == 0) {
            *ret_there = true;
            return mid;
        }
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

mrmr_err mem_entry_room_locked(struct mem_inode *dir)
{
    if (dir->entry_count + 2 <= dir->entry_room)
        return MRMR_OK;
    size_t room = dir->entry_room ? 2 * dir->entry_room : 4;
    struct mem_entry *entries = realloc(dir->entries, room * sizeof *entries);
    if (!entries)
        return mrmr_nomem();
    dir->entries = entries;
    dir->entry_room = room;
    return MRMR_OK;
}

/* Takes name, which is freed where it is not needed. Inodes are only counted here; who calls checks
 * what is left over. */
void mem_entry_set_locked(
    struct mem_store *store, struct mem_inode *dir, char *name, struct mem_inode *inode)
{
    bool there;
    size_t at = entry_find(dir, name, &there);
    struct mem_entry *entry = &dir->entries[at];
    const size_t after = dir->entry_count - at;
    if (there && --entry->inode->names == 0)
        entry->inode->parent = NULL;
    if (there && !inode) {
        free(entry->name);
        memmove(entry, entry + 1, (after - 1) * sizeof *entry);
        dir->entry_count--;
    } else if (!there && inode) {
        memmove(entry + 1, entry, after * sizeof *entry);
        dir->entry_count++;
        entry->name = mrmr_steal(name);
    }
    if (inode) {
        entry->inode = inode;
        inode->names++;
        if (inode->type == DRV_DIR)
            inode->parent = dir;
    }
    free(name);
    dir->now.mtime = dir->now.ctime = mem_time_locked(store);
}

/* --- paths --- */

mrmr_err mem_walk_locked(
    struct mem_store *store, const char *op, const char *path, struct mem_place *ret_place)
{
    struct mem_inode *at = store->root, *dir = NULL;
    char name[MEM_NAME_SIZE] = "";
    if (!at)
        return mem_fail(MRMR_OFFLINE, op, path);
    for (const char *p = path; *p;) {
        size_t n = strcspn(p, "/");
        bool there;
        if (!at || at->type != DRV_DIR)
            return mem_fail(!at                       ? MRMR_ABSENT
                            : at->type == DRV_SYMLINK ? MRMR_LOOP
                                                      : MRMR_NOT_DIR,
                op, path);
        memcpy(name, p, n);
        name[n] = '\0';
        dir = at;
        size_t i = entry_find(dir, name, &there);
        at = there ? dir->entries[i].inode : NULL;
        p += n + (p[n] == '/');
    }
    ret_place->dir = dir;
    memcpy(ret_place->name, name, sizeof name);
    ret_place->inode = at;
    return MRMR_OK;
}

mrmr_err mem_find_locked(
    struct mem_store *store, const char *op, const char *path, struct mem_place *ret_place)
{
    MRMR_TRY(mem_walk_locked(store, op, path, ret_place));
    return ret_place->inode ? MRMR_OK : mem_fail(MRMR_ABSENT, op, path);
}

/* --- changes --- */

/* The names of a change, each as a copy to give away; nothing is kept if one cannot be had. */
static mrmr_err names_copy(unsigned count, const struct mem_change change[], char *ret_names[2])
{
    ret_names[0] = ret_names[1] = NULL;
    for (unsigned i = 0; i < count; i++) {
        ret_names[i] = strdup(change[i].name);
        if (!ret_names[i]) {
            free(ret_names[0]);
            return mrmr_nomem();
        }
    }
    return MRMR_OK;
}

mrmr_err mem_change_locked(
    struct mem_store *store, unsigned count, const struct mem_change change[])
{
    struct mem_change logged[2] = {{0}};
    char *names[2], *log_names[2] = {NULL, NULL};
    for (unsigned i = 0; i < count; i++)
        MRMR_TRY(mem_entry_room_locked(change[i].dir));
    MRMR_TRY(mem_log_reserve_locked(store));
    MRMR_TRY(names_copy(count, change, names));
    if (store->tracked && names_copy(count, change, log_names)) {
        free(names[0]);
        free(names[1]);
        return mrmr_nomem();
    }
    for (unsigned i = 0; i < count; i++) {
        logged[i] = change[i];
        logged[i].name = log_names[i];
    }
    if (store->tracked)
        mem_log_add_locked(store, count, logged);
    for (unsigned i = 0; i < count; i++)
        mem_entry_set_locked(store, change[i].dir, names[i], change[i].after);
    for (unsigned i = 0; i < count; i++) {
        struct mem_inode *left = change[i].before;
        if (!left)
            continue;
        const int64_t was = left->now.ctime;
        left->now.ctime = mem_time_locked(store);
        left->dirty = store->tracked;
        if (store->tracked) {
            struct mem_op *op = &store->log[store->log_count - 1];
            op->ctime[i] = left->now.ctime;
            op->ctime_was[i] = was;
        }
    }
    /* The two may be one inode (a rename): check it once only, it may go. */
    if (change[0].before)
        mem_inode_check_locked(store, change[0].before);
    if (count == 2 && change[1].before && change[1].before != change[0].before)
        mem_inode_check_locked(store, change[1].before);
    return MRMR_OK;
}

/* Find both ends of a two-path op on a drive that is alive. */
static mrmr_err two_places_locked(struct mem *mem, const char *op, const char *from, const char *to,
    struct mem_place *ret_from, struct mem_place *ret_to)
{
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, op, from));
    MRMR_TRY(mem_find_locked(mem->store, op, from, ret_from));
    return mem_walk_locked(mem->store, op, to, ret_to);
}

/* Give a new inode its first name. */
static mrmr_err name_new_locked(
    struct mem_store *store, const struct mem_place *place, struct mem_inode *inode)
{
    const struct mem_change change = {place->dir, (char *)place->name, NULL, inode};
    mrmr_err err = mem_change_locked(store, 1, &change);
    if (err)
        mem_inode_check_locked(store, inode);
    return err;
}

/* An inode of a type at a place where nothing is yet. */
static mrmr_err make_locked(struct mem_store *store, const char *op, const char *path,
    enum drv_type type, uint32_t mode, struct mem_place *ret_place)
{
    MRMR_TRY(mem_walk_locked(store, op, path, ret_place));
    if (ret_place->inode)
        return mem_fail(MRMR_EXISTS, op, path);
    return mem_inode_make_locked(store, type, mode, &ret_place->inode);
}

mrmr_err mem_create_locked(
    struct mem_store *store, const char *path, uint32_t mode, struct mem_inode **ret_inode)
{
    struct mem_place place;
    MRMR_TRY(make_locked(store, "create", path, DRV_REG, mode, &place));
    MRMR_TRY(name_new_locked(store, &place, place.inode));
    *ret_inode = place.inode;
    return MRMR_OK;
}

mrmr_err mem_mkdir(struct drv *drv, const char *path, uint32_t mode)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "mkdir", path));
    MRMR_TRY(make_locked(mem->store, "mkdir", path, DRV_DIR, mode, &place));
    return name_new_locked(mem->store, &place, place.inode);
}

mrmr_err mem_symlink(struct drv *drv, const char *target, const char *path)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "symlink", path));
    MRMR_TRY(make_locked(mem->store, "symlink", path, DRV_SYMLINK, 0777, &place));
    place.inode->target = strdup(target);
    if (!place.inode->target) {
        mem_inode_check_locked(mem->store, place.inode);
        return mrmr_nomem();
    }
    place.inode->now.size = strlen(target);
    return name_new_locked(mem->store, &place, place.inode);
}

mrmr_err mem_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "mknod", path));
    MRMR_TRY(make_locked(mem->store, "mknod", path, type, mode, &place));
    if (type == DRV_CHAR || type == DRV_BLOCK)
        place.inode->rdev = rdev;
    return name_new_locked(mem->store, &place, place.inode);
}

mrmr_err mem_clone(struct drv *drv, const char *from, const char *to)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_store *store = mem->store;
    struct mem_place src;
    struct mem_inode *copy;
    MEM_WRITING(store);
    MRMR_TRY(mem_alive_locked(store, mem->epoch, "clone", from));
    MRMR_TRY(mem_find_locked(store, "clone", from, &src));
    if (src.inode->type != DRV_REG)
        return mem_fail(src.inode->type == DRV_DIR ? MRMR_IS_DIR : MRMR_INVALID, "clone", from);
    struct mem_state bytes;
    if (src.inode->now.map.count >
        store->limit - (store->used < store->limit ? store->used : store->limit))
        return mem_fail(MRMR_SPACE, "clone", to);
    MRMR_TRY(mem_state_copy(&src.inode->now, &bytes));
    mrmr_err err = mem_create_locked(store, to, bytes.mode, &copy);
    if (!err) {
        copy->now.size = bytes.size;
        copy->now.map = bytes.map;
        bytes.map = (struct mem_map){0};
        store->used += copy->now.map.count;
        copy->dirty = store->tracked;
    }
    mem_state_free(&bytes);
    return err;
}

mrmr_err mem_link(struct drv *drv, const char *from, const char *to)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place src, dst;
    MEM_WRITING(mem->store);
    MRMR_TRY(two_places_locked(mem, "link", from, to, &src, &dst));
    if (dst.inode)
        return mem_fail(MRMR_EXISTS, "link", to);
    if (src.inode->type == DRV_DIR)
        return mem_fail(MRMR_IS_DIR, "link", from);
    const struct mem_change change = {dst.dir, dst.name, NULL, src.inode};
    MRMR_TRY(mem_change_locked(mem->store, 1, &change));
    mem_touch_locked(mem->store, src.inode, false);
    return MRMR_OK;
}

mrmr_err mem_file_link(struct drv_file *file, const char *path)
{
    struct mem_inode *inode = ((struct mem_file *)file)->inode;
    struct mem *mem = (struct mem *)file->drv;
    struct mem_place dst;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "link", path));
    MRMR_TRY(mem_walk_locked(mem->store, "link", path, &dst));
    if (dst.inode)
        return mem_fail(MRMR_EXISTS, "link", path);
    if (!inode->names && !inode->unnamed)
        return mem_fail(MRMR_ABSENT, "link", path);
    const struct mem_change change = {dst.dir, dst.name, NULL, inode};
    MRMR_TRY(mem_change_locked(mem->store, 1, &change));
    inode->unnamed = false;
    mem_touch_locked(mem->store, inode, false);
    return MRMR_OK;
}

mrmr_err mem_unlink(struct drv *drv, const char *path)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "unlink", path));
    MRMR_TRY(mem_find_locked(mem->store, "unlink", path, &place));
    if (place.inode->type == DRV_DIR)
        return mem_fail(MRMR_IS_DIR, "unlink", path);
    const struct mem_change change = {place.dir, place.name, place.inode, NULL};
    return mem_change_locked(mem->store, 1, &change);
}

mrmr_err mem_rmdir(struct drv *drv, const char *path)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "rmdir", path));
    MRMR_TRY(mem_find_locked(mem->store, "rmdir", path, &place));
    if (place.inode->type != DRV_DIR)
        return mem_fail(MRMR_NOT_DIR, "rmdir", path);
    if (place.inode->entry_count)
        return mem_fail(MRMR_NOT_EMPTY, "rmdir", path);
    const struct mem_change change = {place.dir, place.name, place.inode, NULL};
    return mem_change_locked(mem->store, 1, &change);
}

/* --- rename --- */

/* dir is the folder `top` or lies below it. */
static bool is_inside(const struct mem_inode *dir, const struct mem_inode *top)
{
    while (dir && dir != top)
        dir = dir->parent;
    return dir != NULL;
}

/* What a rename may replace. */
static mrmr_err replace_check(
    const struct mem_inode *from, const struct mem_inode *to, const char *path)
{
    if (to->type == DRV_DIR && from->type != DRV_DIR)
        return mem_fail(MRMR_IS_DIR, "rename", path);
    if (to->type != DRV_DIR && from->type == DRV_DIR)
        return mem_fail(MRMR_NOT_DIR, "rename", path);
    if (to->type == DRV_DIR && to->entry_count)
        return mem_fail(MRMR_NOT_EMPTY, "rename", path);
    return MRMR_OK;
}

static mrmr_err rename_check(const struct mem_place *src, const struct mem_place *dst,
    unsigned flags, const char *from, const char *to)
{
    if (flags == DRV_RENAME_NOREPLACE && dst->inode)
        return mem_fail(MRMR_EXISTS, "rename", to);
    if (flags == DRV_RENAME_EXCHANGE && !dst->inode)
        return mem_fail(MRMR_ABSENT, "rename", to);
    if (is_inside(dst->dir, src->inode))
        return mem_fail(MRMR_INVALID, "rename", from);
    if (dst->inode && is_inside(src->dir, dst->inode))
        return mem_fail(flags == DRV_RENAME_EXCHANGE ? MRMR_INVALID : MRMR_NOT_EMPTY, "rename", to);
    if (dst->inode && dst->inode != src->inode && flags == DRV_RENAME_REPLACE)
        return replace_check(src->inode, dst->inode, to);
    return MRMR_OK;
}

mrmr_err mem_rename(struct drv *drv, const char *from, const char *to, unsigned flags)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place src, dst;
    MEM_WRITING(mem->store);
    MRMR_TRY(two_places_locked(mem, "rename", from, to, &src, &dst));
    MRMR_TRY(rename_check(&src, &dst, flags, from, to));
    if (src.inode == dst.inode) /* two names of one file: POSIX wants nothing done */
        return MRMR_OK;
    /* The new name first, so that the inode never has none. */
    const struct mem_change change[2] = {
        {dst.dir, dst.name, dst.inode, src.inode},
        {src.dir, src.name, src.inode, flags == DRV_RENAME_EXCHANGE ? dst.inode : NULL},
    };
    return mem_change_locked(mem->store, 2, change);
}
