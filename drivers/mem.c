/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ops of the mem driver: opening, looking, attributes. mem.h says what it is.
 */
#include "drivers/mem_internal.h"

#include "base/text.h"
#include "drivers/driver_internal.h"
#include <string.h>

#define MEM_XATTR_MAX 65536 /* as Linux */

/* --- opening --- */

struct mem_uri {
    char name[64];
    uint64_t limit; /* chunks; 0 if not said */
    bool cut;
};

static mrmr_err uri_fail(const char *uri, const char *why)
{
    mrmr_err err = mrmr_fail(MRMR_INVALID, "'%s': %s", uri, why);
    return mrmr_err_hint(mrmr_err_op(err, "open drive"), "write mem://NAME?size=64M&cut=1");
}

static mrmr_err uri_option(const char *uri, const char *option, struct mem_uri *parsed)
{
    uint64_t bytes;
    if (!strcmp(option, "cut=1")) {
        parsed->cut = true;
        return MRMR_OK;
    }
    if (strncmp(option, "size=", 5) != 0 || !mrmr_text_size(option + 5, &bytes) ||
        bytes < MEM_CHUNK)
        return uri_fail(uri, "options are size (4 KiB at least) and cut=1");
    parsed->limit = bytes / MEM_CHUNK;
    return MRMR_OK;
}

static mrmr_err uri_parse(const char *uri, struct mem_uri *ret_parsed)
{
    struct mem_uri parsed = {.limit = 0};
    const char *rest = drv_uri_rest(uri, drv_mem_ops.scheme);
    size_t n = rest ? strcspn(rest, "?") : 0;
    if (n == 0 || n >= sizeof parsed.name || memchr(rest, '/', n))
        return uri_fail(uri, "a mem drive has a name of 1 to 63 bytes without '/'");
    memcpy(parsed.name, rest, n);
    mrmr_autofree char *options = strdup(rest[n] ? rest + n + 1 : "");
    if (!options)
        return mrmr_nomem();
    char *save = NULL;
    for (char *o = strtok_r(options, "&", &save); o; o = strtok_r(NULL, "&", &save))
        MRMR_TRY(uri_option(uri, o, &parsed));
    *ret_parsed = parsed;
    return MRMR_OK;
}

static mrmr_err store_attach(
    struct mem_store *store, const struct mem_uri *uri, uint64_t *ret_epoch)
{
    MEM_WRITING(store);
    if (store->away)
        return mrmr_fail(MRMR_NO_DRIVE, "mem drive '%s' is unplugged", uri->name);
    if (uri->cut && !store->tracked && store->root && store->root->entry_count)
        return mrmr_fail(MRMR_INVALID, "mem drive '%s' holds files made without cut=1", uri->name);
    store->tracked = store->tracked || uri->cut;
    if (uri->limit)
        store->limit = uri->limit;
    *ret_epoch = store->epoch;
    return MRMR_OK;
}

static mrmr_err mem_open(const char *uri, struct drv **ret_drv)
{
    struct mem_uri parsed;
    MRMR_TRY(uri_parse(uri, &parsed));
    mrmr_autofree struct mem *mem = calloc(1, sizeof *mem);
    if (!mem)
        return mrmr_nomem();
    mem->drv.ops = &drv_mem_ops;
    MRMR_TRY(mem_store_open(parsed.name, &mem->store));
    mrmr_err err = store_attach(mem->store, &parsed, &mem->epoch);
    if (err) {
        mem_store_close(mem->store);
        return mrmr_err_op(err, "open drive");
    }
    *ret_drv = &mrmr_steal(mem)->drv;
    return MRMR_OK;
}

static void mem_close(struct drv *drv)
{
    mem_store_close(((struct mem *)drv)->store);
    free(drv);
}

static mrmr_err mem_info(struct drv *drv, struct drv_info *ret_info)
{
    static const uint32_t all =
        DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME | DRV_CAP_BTIME | DRV_CAP_NS_TIMES |
        DRV_CAP_OWNER | DRV_CAP_MODE | DRV_CAP_XATTR | DRV_CAP_HARDLINK | DRV_CAP_SYMLINK |
        DRV_CAP_SPECIAL | DRV_CAP_SPARSE | DRV_CAP_REFLINK | DRV_CAP_RENAME_NOREPLACE |
        DRV_CAP_RENAME_EXCHANGE | DRV_CAP_DURABLE_FILES | DRV_CAP_DURABLE_NAMES |
        DRV_CAP_CASE_SENSITIVE | DRV_CAP_WRITABLE | DRV_CAP_OUR_CLOCK;
    struct drv_info info = {.caps = all, .time_grain = 1, .fs_name = "mem", .is_mountpoint = true};
    mrmr_autobytes struct mrmr_bytes id = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&id, "mem-%s", ((struct mem *)drv)->store->name));
    memcpy(info.fs_id, id.data, id.size); /* 4 + 63 bytes at most */
    *ret_info = info;
    return MRMR_OK;
}

static mrmr_err mem_space(struct drv *drv, struct drv_space *ret_space)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_store *store = mem->store;
    MEM_READING(store);
    MRMR_TRY(mem_alive_locked(store, mem->epoch, "space", ""));
    ret_space->total = store->limit * MEM_CHUNK;
    ret_space->avail = store->used < store->limit ? (store->limit - store->used) * MEM_CHUNK : 0;
    ret_space->files_avail = UINT64_MAX;
    return MRMR_OK;
}

/* --- looking --- */

static void stat_fill_locked(const struct mem_inode *inode, struct drv_stat *ret_stat)
{
    *ret_stat = (struct drv_stat){
        .type = inode->type,
        .mode = inode->now.mode,
        .uid = inode->now.uid,
        .gid = inode->now.gid,
        .nlink = inode->type == DRV_DIR ? 1 : inode->names,
        .size = inode->now.size,
        .allocated = (uint64_t)inode->now.map.count * MEM_CHUNK,
        .ino = inode->ino,
        .dev = 1,
        .rdev = inode->rdev,
        .mtime = inode->now.mtime,
        .ctime = inode->now.ctime,
        .btime = inode->btime,
        .atime = inode->now.atime,
    };
}

static mrmr_err mem_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_READING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "stat", path));
    MRMR_TRY(mem_find_locked(mem->store, "stat", path, &place));
    stat_fill_locked(place.inode, ret_stat);
    return MRMR_OK;
}

/* What a listing reports, taken in one go, so that callbacks may change the folder. */
struct mem_listing {
    size_t count;
    struct mem_listed {
        char *name;
        struct drv_stat stat;
    } * entries;
};

static void listing_free(struct mem_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->entries[i].name);
    free(listing->entries);
}

static mrmr_err listing_take(struct mem *mem, const char *path, struct mem_listing *listing)
{
    struct mem_place place;
    MEM_READING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "list", path));
    MRMR_TRY(mem_find_locked(mem->store, "list", path, &place));
    const struct mem_inode *dir = place.inode;
    if (dir->type != DRV_DIR)
        return mem_fail(dir->type == DRV_SYMLINK ? MRMR_LOOP : MRMR_NOT_DIR, "list", path);
    listing->entries = calloc(dir->entry_count + 1, sizeof *listing->entries);
    if (!listing->entries)
        return mrmr_nomem();
    for (size_t i = 0; i < dir->entry_count; i++) {
        struct mem_listed *entry = &listing->entries[i];
        entry->name = strdup(dir->entries[i].name);
        if (!entry->name)
            return mrmr_nomem();
        stat_fill_locked(dir->entries[i].inode, &entry->stat);
        listing->count++;
    }
    return MRMR_OK;
}

static mrmr_err mem_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    __attribute__((cleanup(listing_free))) struct mem_listing listing = {0};
    MRMR_TRY(listing_take((struct mem *)drv, path, &listing));
    for (size_t i = 0; i < listing.count; i++)
        MRMR_TRY(fn(listing.entries[i].name, &listing.entries[i].stat, MRMR_OK, arg));
    return MRMR_OK;
}

static mrmr_err mem_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_READING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "readlink", path));
    MRMR_TRY(mem_find_locked(mem->store, "readlink", path, &place));
    if (place.inode->type != DRV_SYMLINK)
        return mem_fail(MRMR_INVALID, "readlink", path);
    return mrmr_bytes_str(target, place.inode->target);
}

/* --- open files --- */

static mrmr_err open_locked(struct mem_store *store, const char *path, unsigned flags,
    uint32_t mode, struct mem_inode **ret_inode)
{
    struct mem_place place;
    if (flags & DRV_OPEN_CREATE)
        return mem_create_locked(store, path, mode, ret_inode);
    MRMR_TRY(mem_find_locked(store, "open", path, &place));
    if (place.inode->type != DRV_REG)
        return mem_fail(place.inode->type == DRV_DIR ? MRMR_IS_DIR : MRMR_INVALID, "open", path);
    *ret_inode = place.inode;
    return MRMR_OK;
}

static struct mem_file *file_create(struct drv *drv, const char *path, unsigned flags)
{
    size_t size = strlen(path) + 1;
    struct mem_file *f = malloc(sizeof *f + size);
    if (!f)
        return NULL;
    f->file.drv = drv;
    f->flags = flags;
    memcpy(f->path, path, size);
    return f;
}

static mrmr_err mem_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    mrmr_autofree struct mem_file *f = file_create(drv, path, flags);
    if (!f)
        return mrmr_nomem();
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "create unnamed", path));
    MRMR_TRY(mem_find_locked(mem->store, "create unnamed", path, &place));
    const enum drv_type type = place.inode->type;
    if (type != DRV_DIR)
        return mem_fail(type == DRV_SYMLINK ? MRMR_LOOP : MRMR_NOT_DIR, "create unnamed", path);
    MRMR_TRY(mem_inode_make_locked(mem->store, DRV_REG, mode, &f->inode));
    f->inode->unnamed = true;
    f->inode->opens++;
    *ret_file = &mrmr_steal(f)->file;
    return MRMR_OK;
}

static mrmr_err mem_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct mem *mem = (struct mem *)drv;
    mrmr_autofree struct mem_file *f = file_create(drv, path, flags);
    if (!f)
        return mrmr_nomem();
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "open", path));
    MRMR_TRY(open_locked(mem->store, path, flags, mode, &f->inode));
    f->inode->opens++;
    *ret_file = &mrmr_steal(f)->file;
    return MRMR_OK;
}

static void mem_file_close(struct drv_file *file)
{
    struct mem_file *f = (struct mem_file *)file;
    struct mem_store *store = ((struct mem *)file->drv)->store;
    MEM_WRITING(store);
    f->inode->opens--;
    mem_inode_check_locked(store, f->inode);
    free(f);
}

static mrmr_err mem_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    struct mem_file *f = (struct mem_file *)file;
    struct mem *mem = (struct mem *)file->drv;
    MEM_READING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "stat", f->path));
    stat_fill_locked(f->inode, ret_stat);
    return MRMR_OK;
}

/* --- attributes --- */

static void set_attr_locked(
    struct mem_store *store, struct mem_inode *inode, unsigned what, const struct drv_stat *attr)
{
    struct mem_state *state = &inode->now;
    if (what & DRV_ATTR_UID)
        state->uid = attr->uid;
    if (what & DRV_ATTR_GID)
        state->gid = attr->gid;
    if ((what & DRV_ATTR_MODE) && inode->type != DRV_SYMLINK)
        state->mode = attr->mode;
    mem_touch_locked(store, inode, false);
    if (what & DRV_ATTR_MTIME)
        state->mtime = attr->mtime == DRV_TIME_NOW ? state->ctime : attr->mtime;
    if (what & DRV_ATTR_ATIME)
        state->atime = attr->atime == DRV_TIME_NOW ? state->ctime : attr->atime;
}

static mrmr_err mem_file_set_attr(struct drv_file *file, unsigned what, const struct drv_stat *attr)
{
    struct mem_file *f = (struct mem_file *)file;
    struct mem *mem = (struct mem *)file->drv;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "set attributes", f->path));
    set_attr_locked(mem->store, f->inode, what, attr);
    return MRMR_OK;
}

static mrmr_err mem_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "set attributes", path));
    MRMR_TRY(mem_find_locked(mem->store, "set attributes", path, &place));
    set_attr_locked(mem->store, place.inode, what, attr);
    return MRMR_OK;
}

/* A private copy to walk without the lock. file: NULL, or an open one that has this path. */
static mrmr_err xattrs_take(
    struct mem *mem, const char *path, const struct mem_file *file, struct mem_state *ret_copy)
{
    struct mem_place place;
    MEM_READING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "list attributes", path));
    if (!file)
        MRMR_TRY(mem_find_locked(mem->store, "list attributes", path, &place));
    struct mem_state attributes = file ? file->inode->now : place.inode->now;
    attributes.map = (struct mem_map){0};
    return mem_state_copy(&attributes, ret_copy);
}

static mrmr_err xattrs_tell(const struct mem_state *state, drv_xattr_fn fn, void *arg)
{
    for (size_t i = 0; i < state->xattr_count; i++)
        MRMR_TRY(fn(state->xattrs[i].name, state->xattrs[i].value, state->xattrs[i].size, arg));
    return MRMR_OK;
}

static mrmr_err mem_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg)
{
    __attribute__((cleanup(mem_state_free))) struct mem_state copy = {0};
    MRMR_TRY(xattrs_take((struct mem *)drv, path, NULL, &copy));
    return xattrs_tell(&copy, fn, arg);
}

static mrmr_err mem_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg)
{
    const struct mem_file *f = (const struct mem_file *)file;
    __attribute__((cleanup(mem_state_free))) struct mem_state copy = {0};
    MRMR_TRY(xattrs_take((struct mem *)file->drv, f->path, f, &copy));
    return xattrs_tell(&copy, fn, arg);
}

static void xattr_remove(struct mem_state *state, size_t at)
{
    free(state->xattrs[at].name);
    free(state->xattrs[at].value);
    state->xattrs[at] = state->xattrs[--state->xattr_count];
}

static mrmr_err xattr_put(
    struct mem_state *state, size_t at, const char *name, const void *value, size_t size)
{
    mrmr_autofree char *new_name = strdup(name);
    mrmr_autofree void *new_value = malloc(size + 1);
    if (!new_name || !new_value)
        return mrmr_nomem();
    if (at == state->xattr_count) {
        struct mem_xattr *xattrs = realloc(state->xattrs, (at + 1) * sizeof *xattrs);
        if (!xattrs)
            return mrmr_nomem();
        state->xattrs = xattrs;
    } else {
        free(state->xattrs[at].name);
        free(state->xattrs[at].value);
    }
    if (size)
        memcpy(new_value, value, size);
    state->xattrs[at] = (struct mem_xattr){mrmr_steal(new_name), mrmr_steal(new_value), size};
    state->xattr_count += at == state->xattr_count;
    return MRMR_OK;
}

static mrmr_err mem_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size)
{
    struct mem *mem = (struct mem *)drv;
    struct mem_place place;
    if (size > MEM_XATTR_MAX)
        return mem_fail(MRMR_VALUE_TOO_LARGE, "set attribute", path);
    MEM_WRITING(mem->store);
    MRMR_TRY(mem_alive_locked(mem->store, mem->epoch, "set attribute", path));
    MRMR_TRY(mem_find_locked(mem->store, "set attribute", path, &place));
    struct mem_state *state = &place.inode->now;
    size_t at = 0;
    while (at < state->xattr_count && strcmp(state->xattrs[at].name, name) != 0)
        at++;
    if (!value && at == state->xattr_count)
        return mem_fail(MRMR_NO_ATTR, "remove attribute", path);
    if (value)
        MRMR_TRY(xattr_put(state, at, name, value, size));
    else
        xattr_remove(state, at);
    mem_touch_locked(mem->store, place.inode, false);
    return MRMR_OK;
}

const struct drv_ops drv_mem_ops = {
    .scheme = "mem",
    .open = mem_open,
    .close = mem_close,
    .info = mem_info,
    .space = mem_space,
    .stat = mem_stat,
    .list = mem_list,
    .file_open = mem_file_open,
    .file_close = mem_file_close,
    .file_stat = mem_file_stat,
    .file_read = mem_file_read,
    .file_next_data = mem_file_next_data,
    .readlink = mem_readlink,
    .xattr_list = mem_xattr_list,
    .file_xattr_list = mem_file_xattr_list,
    .file_write = mem_file_write,
    .file_truncate = mem_file_truncate,
    .file_allocate = mem_file_allocate,
    .file_range = mem_file_range,
    .file_copy = mem_file_copy,
    .file_clone_range = mem_file_clone_range,
    .file_set_attr = mem_file_set_attr,
    .file_open_unnamed = mem_file_open_unnamed,
    .file_link = mem_file_link,
    .file_sync = mem_file_sync,
    .dir_sync = mem_dir_sync,
    .sync_all = mem_sync_all,
    .mkdir = mem_mkdir,
    .unlink = mem_unlink,
    .rmdir = mem_rmdir,
    .rename = mem_rename,
    .link = mem_link,
    .symlink = mem_symlink,
    .mknod = mem_mknod,
    .set_attr = mem_set_attr,
    .xattr_set = mem_xattr_set,
    .clone = mem_clone,
};
