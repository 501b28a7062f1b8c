/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The ops of the fault driver: each asks the rules, forwards, and asks them again. An optional op
 * that the inner drive lacks is MRMR_UNSUPPORTED through its wrapper as it would be without the
 * decorator.
 */
#include "drivers/driver_internal.h"
#include "drivers/fault_internal.h"

#include "base/cleanup.h"
#include <string.h>

struct fault {
    struct drv drv;
    struct drv *inner;
    struct drv_fault *rules;
};

struct fault_file {
    struct drv_file file;
    struct drv_file *inner;
    struct drv_fault *rules;
    char path[];
};

/* Run one forwarding call between the two halves of the rules. */
#define FAULT_FORWARD(rules, op, path, other, size, call)                                          \
    do {                                                                                           \
        struct fault_turn fault_turn_;                                                             \
        mrmr_err fault_err_ = fault_begin(rules, op, path, other, size, &fault_turn_);             \
        if (fault_err_)                                                                            \
            return fault_err_;                                                                     \
        return fault_end(&fault_turn_, call);                                                      \
    } while (0)

/* --- open and close --- */

mrmr_err drv_fault_wrap(struct drv *inner, struct drv_fault *rules, struct drv **ret_drv)
{
    struct fault *fault = calloc(1, sizeof *fault);
    if (!fault)
        return mrmr_nomem();
    fault_get(rules);
    *fault = (struct fault){{.ops = &fault_ops}, inner, rules};
    *ret_drv = &fault->drv;
    return MRMR_OK;
}

static mrmr_err open_inner(struct drv_fault *rules, const char *uri, struct drv **ret_drv)
{
    struct drv *inner = NULL;
    MRMR_TRY(drv_open(uri, &inner));
    mrmr_err err = drv_fault_wrap(inner, rules, ret_drv);
    if (err)
        drv_close(inner);
    return err;
}

static mrmr_err fault_open(const char *uri, struct drv **ret_drv)
{
    const char *name = drv_uri_rest(uri, fault_ops.scheme);
    struct drv_fault *rules = NULL;
    struct fault_turn turn;
    mrmr_autofree char *inner_uri = NULL;
    if (!name)
        return mrmr_fail(MRMR_INVALID, "'%s' is not fault://NAME", uri);
    MRMR_TRY(fault_served(name, &rules, &inner_uri));
    struct drv *drv = NULL;
    mrmr_err err = fault_begin(rules, DRV_FAULT_OPEN, "", NULL, 0, &turn);
    if (!err)
        err = fault_end(&turn, open_inner(rules, inner_uri, &drv));
    if (err)
        drv_close(drv);
    else
        *ret_drv = drv;
    fault_put(rules); /* the drive has its own reference */
    return err;
}

static void fault_close(struct drv *drv)
{
    struct fault *fault = (struct fault *)drv;
    drv_close(fault->inner);
    fault_put(fault->rules);
    free(fault);
}

/* --- looking --- */

static mrmr_err fault_info(struct drv *drv, struct drv_info *ret_info)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_INFO, "", NULL, 0, drv_info(f->inner, ret_info));
}

static mrmr_err fault_space(struct drv *drv, struct drv_space *ret_space)
{
    struct fault *f = (struct fault *)drv;
    struct fault_turn turn;
    struct drv_space space;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_SPACE, "", NULL, 0, &turn));
    MRMR_TRY(fault_end(&turn, drv_space(f->inner, &space)));
    uint64_t room = fault_room(f->rules);
    if (space.avail > room)
        space.avail = room;
    *ret_space = space;
    return MRMR_OK;
}

static mrmr_err fault_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    struct fault *f = (struct fault *)drv;
    struct fault_turn turn;
    struct drv_stat stat;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_STAT, path, NULL, 0, &turn));
    MRMR_TRY(fault_end(&turn, drv_stat(f->inner, path, &stat)));
    *ret_stat = stat;
    return MRMR_OK;
}

/* A listing that stops after `left` entries. */
struct short_list {
    drv_list_fn fn;
    void *arg;
    uint64_t left;
    const struct fault_turn *turn;
    bool ended;
};

static mrmr_err short_list_entry(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct short_list *s = arg;
    if (s->left == 0) {
        s->ended = true;
        return MRMR_CANCELLED; /* stops the inner listing; never seen outside */
    }
    s->left--;
    return s->fn(name, stat, err, s->arg);
}

static mrmr_err list_short(
    struct fault *f, const char *path, drv_list_fn fn, void *arg, const struct fault_turn *turn)
{
    struct short_list s = {.fn = fn, .arg = arg, .left = turn->bytes};
    mrmr_err err = drv_list(f->inner, path, short_list_entry, &s);
    if (err && !s.ended)
        return err;
    return turn->err ? fault_error(turn) : MRMR_OK;
}

static mrmr_err fault_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    struct fault *f = (struct fault *)drv;
    struct fault_turn turn;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_LIST, path, NULL, 0, &turn));
    if (turn.decided && turn.action == DRV_FAULT_SHORT)
        return list_short(f, path, fn, arg, &turn);
    return fault_end(&turn, drv_list(f->inner, path, fn, arg));
}

static mrmr_err fault_readlink(struct drv *drv, const char *path, struct mrmr_bytes *target)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_READLINK, path, NULL, 0, drv_readlink(f->inner, path, target));
}

static mrmr_err fault_xattr_list(struct drv *drv, const char *path, drv_xattr_fn fn, void *arg)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_XATTR_LIST, path, NULL, 0, drv_xattr_list(f->inner, path, fn, arg));
}

/* --- open files --- */

static struct fault_file *file_create(struct drv *drv, const char *path)
{
    size_t size = strlen(path) + 1;
    struct fault_file *file = calloc(1, sizeof *file + size);
    if (!file)
        return NULL;
    file->file.drv = drv;
    file->rules = ((struct fault *)drv)->rules;
    memcpy(file->path, path, size);
    return file;
}

static mrmr_err fault_file_open_unnamed(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct fault *f = (struct fault *)drv;
    struct fault_turn turn;
    mrmr_autofree struct fault_file *file = file_create(drv, path);
    if (!file)
        return mrmr_nomem();
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_CREATE, path, NULL, 0, &turn));
    mrmr_err err =
        fault_end(&turn, drv_file_open_unnamed(f->inner, path, flags, mode, &file->inner));
    if (err) {
        drv_file_close(file->inner);
        return err;
    }
    *ret_file = &mrmr_steal(file)->file;
    return MRMR_OK;
}

static mrmr_err fault_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    struct fault *f = (struct fault *)drv;
    struct fault_turn turn;
    mrmr_autofree struct fault_file *file = file_create(drv, path);
    if (!file)
        return mrmr_nomem();
    const enum drv_fault_op op = flags & DRV_OPEN_CREATE ? DRV_FAULT_CREATE : DRV_FAULT_FILE_OPEN;
    MRMR_TRY(fault_begin(f->rules, op, path, NULL, 0, &turn));
    mrmr_err err = fault_end(&turn, drv_file_open(f->inner, path, flags, mode, &file->inner));
    if (err) {
        drv_file_close(file->inner);
        return err;
    }
    *ret_file = &mrmr_steal(file)->file;
    return MRMR_OK;
}

static void fault_file_close(struct drv_file *file)
{
    drv_file_close(((struct fault_file *)file)->inner);
    free(file);
}

static mrmr_err fault_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    struct fault_file *f = (struct fault_file *)file;
    struct fault_turn turn;
    struct drv_stat stat;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_FILE_STAT, f->path, NULL, 0, &turn));
    MRMR_TRY(fault_end(&turn, drv_file_stat(f->inner, &stat)));
    *ret_stat = stat;
    return MRMR_OK;
}

static mrmr_err fault_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct fault_file *f = (struct fault_file *)file;
    struct fault_turn turn;
    *ret_got = 0;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_FILE_READ, f->path, NULL, size, &turn));
    bool cut = turn.decided && turn.action == DRV_FAULT_SHORT;
    if (cut && size > turn.bytes)
        size = (size_t)turn.bytes;
    mrmr_err err = drv_file_read(f->inner, offset, buf, size, ret_got);
    if (!err && cut && turn.err)
        return fault_error(&turn);
    if (!err && turn.decided && turn.action == DRV_FAULT_FLIP && *ret_got)
        ((uint8_t *)buf)[turn.bytes % *ret_got] ^= turn.mask;
    return fault_end(&turn, err);
}

static mrmr_err fault_file_next_data(
    struct drv_file *file, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
    struct fault_file *f = (struct fault_file *)file;
    struct fault_turn turn;
    uint64_t start, end;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_FILE_NEXT_DATA, f->path, NULL, 0, &turn));
    MRMR_TRY(fault_end(&turn, drv_file_next_data(f->inner, offset, &start, &end)));
    *ret_start = start;
    *ret_end = end;
    return MRMR_OK;
}

static void fault_file_advise(struct drv_file *file, uint64_t offset, uint64_t size, bool drop)
{
    drv_file_advise(((struct fault_file *)file)->inner, offset, size, drop);
}

static mrmr_err fault_file_write(
    struct drv_file *file, uint64_t offset, const void *buf, size_t size)
{
    struct fault_file *f = (struct fault_file *)file;
    struct fault_turn turn;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_FILE_WRITE, f->path, NULL, size, &turn));
    bool cut = turn.decided && turn.action == DRV_FAULT_SHORT;
    if (cut && size > turn.bytes)
        size = (size_t)turn.bytes;
    mrmr_err err = drv_file_write(f->inner, offset, buf, size);
    if (!err && cut && turn.err)
        return fault_error(&turn);
    return fault_end(&turn, err);
}

static mrmr_err fault_file_truncate(struct drv_file *file, uint64_t size)
{
    struct fault_file *f = (struct fault_file *)file;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_FILE_TRUNCATE, f->path, NULL, 0, drv_file_truncate(f->inner, size));
}

static mrmr_err fault_file_allocate(struct drv_file *file, uint64_t size)
{
    struct fault_file *f = (struct fault_file *)file;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_FILE_ALLOCATE, f->path, NULL, size, drv_file_allocate(f->inner, size));
}

static mrmr_err fault_file_range(
    struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size)
{
    struct fault_file *f = (struct fault_file *)file;
    const uint64_t room = what == DRV_RANGE_PUNCH ? 0 : size;
    FAULT_FORWARD(f->rules, DRV_FAULT_FILE_RANGE, f->path, NULL, room,
        drv_file_range(f->inner, what, offset, size));
}

static mrmr_err fault_file_copy(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size, uint64_t *ret_copied)
{
    struct fault_file *src = (struct fault_file *)from, *dst = (struct fault_file *)to;
    struct fault_turn turn;
    uint64_t copied;
    MRMR_TRY(fault_begin(src->rules, DRV_FAULT_FILE_COPY, src->path, dst->path, size, &turn));
    bool cut = turn.decided && turn.action == DRV_FAULT_SHORT;
    if (cut && size > turn.bytes)
        size = turn.bytes;
    mrmr_err err = drv_file_copy(src->inner, from_offset, dst->inner, to_offset, size, &copied);
    if (!err && cut && turn.err)
        return fault_error(&turn);
    MRMR_TRY(fault_end(&turn, err));
    *ret_copied = copied;
    return MRMR_OK;
}

static mrmr_err fault_file_clone_range(struct drv_file *from, uint64_t from_offset,
    struct drv_file *to, uint64_t to_offset, uint64_t size)
{
    struct fault_file *src = (struct fault_file *)from, *dst = (struct fault_file *)to;
    FAULT_FORWARD(src->rules, DRV_FAULT_CLONE, src->path, dst->path, 0,
        drv_file_clone_range(src->inner, from_offset, dst->inner, to_offset, size));
}

static mrmr_err fault_file_xattr_list(struct drv_file *file, drv_xattr_fn fn, void *arg)
{
    struct fault_file *f = (struct fault_file *)file;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_XATTR_LIST, f->path, NULL, 0, drv_file_xattr_list(f->inner, fn, arg));
}

static mrmr_err fault_file_set_attr(
    struct drv_file *file, unsigned what, const struct drv_stat *attr)
{
    struct fault_file *f = (struct fault_file *)file;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_SET_ATTR, f->path, NULL, 0, drv_file_set_attr(f->inner, what, attr));
}

static mrmr_err fault_file_descriptor(struct drv_file *file, int *ret_fd)
{
    return drv_file_descriptor(((struct fault_file *)file)->inner, ret_fd);
}

static mrmr_err fault_file_is_written(struct drv_file *file, bool *ret_written)
{
    struct fault_file *f = (struct fault_file *)file;
    struct fault_turn turn;
    MRMR_TRY(fault_begin(f->rules, DRV_FAULT_FILE_STAT, f->path, NULL, 0, &turn));
    return fault_end(&turn, drv_file_is_written(f->inner, ret_written));
}

static mrmr_err fault_file_link(struct drv_file *file, const char *path)
{
    struct fault_file *f = (struct fault_file *)file;
    FAULT_FORWARD(f->rules, DRV_FAULT_LINK, f->path, path, 0, drv_file_link(f->inner, path));
}

static mrmr_err fault_file_sync(struct drv_file *file)
{
    struct fault_file *f = (struct fault_file *)file;
    FAULT_FORWARD(f->rules, DRV_FAULT_FILE_SYNC, f->path, NULL, 0, drv_file_sync(f->inner));
}

/* --- names and attributes --- */

static mrmr_err fault_dir_sync(struct drv *drv, const char *path)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_DIR_SYNC, path, NULL, 0, drv_dir_sync(f->inner, path));
}

static mrmr_err fault_sync_all(struct drv *drv)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_SYNC_ALL, "", NULL, 0, drv_sync_all(f->inner));
}

static mrmr_err fault_mkdir(struct drv *drv, const char *path, uint32_t mode)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_MKDIR, path, NULL, 0, drv_mkdir(f->inner, path, mode));
}

static mrmr_err fault_unlink(struct drv *drv, const char *path)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_UNLINK, path, NULL, 0, drv_unlink(f->inner, path));
}

static mrmr_err fault_unlink_may(struct drv *drv, const char *path)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_STAT, path, NULL, 0, drv_unlink_may(f->inner, path));
}

static mrmr_err fault_rmdir(struct drv *drv, const char *path)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_RMDIR, path, NULL, 0, drv_rmdir(f->inner, path));
}

static mrmr_err fault_rename(struct drv *drv, const char *from, const char *to, unsigned flags)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_RENAME, from, to, 0, drv_rename(f->inner, from, to, flags));
}

static mrmr_err fault_link(struct drv *drv, const char *from, const char *to)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_LINK, from, to, 0, drv_link(f->inner, from, to));
}

static mrmr_err fault_symlink(struct drv *drv, const char *target, const char *path)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_SYMLINK, path, NULL, 0, drv_symlink(f->inner, target, path));
}

static mrmr_err fault_mknod(
    struct drv *drv, const char *path, enum drv_type type, uint32_t mode, uint64_t rdev)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_MKNOD, path, NULL, 0, drv_mknod(f->inner, path, type, mode, rdev));
}

static mrmr_err fault_set_attr(
    struct drv *drv, const char *path, unsigned what, const struct drv_stat *attr)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(
        f->rules, DRV_FAULT_SET_ATTR, path, NULL, 0, drv_set_attr(f->inner, path, what, attr));
}

static mrmr_err fault_xattr_set(
    struct drv *drv, const char *path, const char *name, const void *value, size_t size)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_XATTR_SET, path, NULL, 0,
        drv_xattr_set(f->inner, path, name, value, size));
}

static mrmr_err fault_clone(struct drv *drv, const char *from, const char *to)
{
    struct fault *f = (struct fault *)drv;
    FAULT_FORWARD(f->rules, DRV_FAULT_CLONE, from, to, 0, drv_clone(f->inner, from, to));
}

const struct drv_ops fault_ops = {
    .scheme = "fault",
    .open = fault_open,
    .close = fault_close,
    .info = fault_info,
    .space = fault_space,
    .stat = fault_stat,
    .list = fault_list,
    .file_open = fault_file_open,
    .file_close = fault_file_close,
    .file_stat = fault_file_stat,
    .file_read = fault_file_read,
    .file_next_data = fault_file_next_data,
    .file_descriptor = fault_file_descriptor,
    .file_is_written = fault_file_is_written,
    .file_advise = fault_file_advise,
    .readlink = fault_readlink,
    .xattr_list = fault_xattr_list,
    .file_xattr_list = fault_file_xattr_list,
    .file_write = fault_file_write,
    .file_truncate = fault_file_truncate,
    .file_allocate = fault_file_allocate,
    .file_range = fault_file_range,
    .file_copy = fault_file_copy,
    .file_clone_range = fault_file_clone_range,
    .file_set_attr = fault_file_set_attr,
    .file_open_unnamed = fault_file_open_unnamed,
    .file_link = fault_file_link,
    .file_sync = fault_file_sync,
    .dir_sync = fault_dir_sync,
    .sync_all = fault_sync_all,
    .mkdir = fault_mkdir,
    .unlink = fault_unlink,
    .unlink_may = fault_unlink_may,
    .rmdir = fault_rmdir,
    .rename = fault_rename,
    .link = fault_link,
    .symlink = fault_symlink,
    .mknod = fault_mknod,
    .set_attr = fault_set_attr,
    .xattr_set = fault_xattr_set,
    .clone = fault_clone,
};
