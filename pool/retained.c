/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/retained.h"
#include "pool/pointers.h"

#include "base/text.h"
#include "base/uuid.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum {
    DIGEST_HEX = 2 * MRMR_DIGEST_SIZE,
    NAME_HEX = 16,
    FOLDER_MODE = 0700,
    LEAF_MODE = 0600,
    LOST_BATCH = 256,
    SAME_INODE = 8
};

static void leaf_path(const struct mrmr_digest *digest, char path[POOL_RETAINED_PATH])
{
    char hex[DIGEST_HEX + 1];
    mrmr_text_hex(digest->bytes, sizeof digest->bytes, hex);
    snprintf(path, POOL_RETAINED_PATH, POOL_RETAINED "/%.2s/%s", hex, hex);
}

/* "../files/<16 hex>#<leaf>"; anything else is MRMR_CORRUPT (I9). */
static mrmr_err pointer_parse(
    const char *target, char ret_path[POOL_RETAINED_PATH], uint64_t *ret_leaf)
{
    static const char before[] = "../files/";
    uint8_t name[NAME_HEX / 2];
    const char *hex = target + strlen(before), *leaf = hex + NAME_HEX + 1;
    if (strncmp(target, before, strlen(before)) != 0 ||
        strlen(target) < strlen(before) + NAME_HEX + 2 || hex[NAME_HEX] != '#' ||
        !mrmr_text_unhex(hex, sizeof name, name) || !mrmr_text_u64(leaf, ret_leaf) ||
        *ret_leaf > UINT64_MAX / META_LEAF - 1)
        return mrmr_fail(MRMR_CORRUPT, "a retained leaf leads nowhere: %.80s", target);
    snprintf(ret_path, POOL_RETAINED_PATH, POOL_RETAINED_FILES "/%.*s", NAME_HEX, hex);
    return MRMR_OK;
}

/* The file in which the leaf lies, and where. */
static mrmr_err leaf_place(
    struct drv *drv, const char *path, char ret_path[POOL_RETAINED_PATH], uint64_t *ret_offset)
{
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    struct drv_stat stat;
    uint64_t leaf = 0;
    MRMR_TRY(drv_stat(drv, path, &stat));
    snprintf(ret_path, POOL_RETAINED_PATH, "%s", path);
    if (stat.type == DRV_SYMLINK) {
        MRMR_TRY(drv_readlink(drv, path, &target));
        MRMR_TRY(mrmr_bytes_add(&target, "", 1));
        MRMR_TRY(pointer_parse(target.data, ret_path, &leaf));
    }
    *ret_offset = leaf * META_LEAF;
    return MRMR_OK;
}

/* The name beside of a whole file. */
static void saved_path(const char *file, char ret_path[POOL_RETAINED_PATH])
{
    snprintf(ret_path, POOL_RETAINED_PATH, POOL_RETAINED_FILES "/" POOL_RETAINED_SAVED "%.40s",
        strrchr(file, '/') + 1);
}

/* One that was taken has the name beside until it is judged, and for longer if that was broken off.
 * Between the two looks it may have been given the other. */
static mrmr_err whole_open(struct drv *drv, const char *path, struct drv_file **ret_file)
{
    char saved[POOL_RETAINED_PATH];
    saved_path(path, saved);
    mrmr_err err = drv_file_open(drv, path, DRV_OPEN_READ, 0, ret_file);
    if (err == MRMR_ABSENT)
        err = drv_file_open(drv, saved, DRV_OPEN_READ, 0, ret_file);
    return err == MRMR_ABSENT ? drv_file_open(drv, path, DRV_OPEN_READ, 0, ret_file) : err;
}

static mrmr_err leaf_open(
    struct drv *drv, const char *path, struct drv_file **ret_file, uint64_t *ret_offset)
{
    char at[POOL_RETAINED_PATH];
    MRMR_TRY(leaf_place(drv, path, at, ret_offset));
    return strcmp(at, path) != 0 ? whole_open(drv, at, ret_file)
                                 : drv_file_open(drv, at, DRV_OPEN_READ, 0, ret_file);
}

/* --- reading --- */

static mrmr_err read_verified(struct drv_file *file, uint64_t offset,
    const struct mrmr_digest *digest, void *buf, uint32_t size)
{
    MRMR_TRY(drv_file_read_exact(file, offset, buf, size));
    struct mrmr_digest got = mrmr_digest_of(buf, size);
    return mrmr_digest_equal(&got, digest) ? MRMR_OK : mrmr_fail(MRMR_DIGEST, NULL);
}

static mrmr_err read_named(
    struct drv *drv, const struct mrmr_digest *digest, void *buf, uint32_t size)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    char path[POOL_RETAINED_PATH];
    uint64_t offset;
    leaf_path(digest, path);
    MRMR_TRY(leaf_open(drv, path, &file, &offset));
    return read_verified(file, offset, digest, buf, size);
}

struct finding {
    struct drv *drv;
    const struct mrmr_digest *digest;
    void *buf;
    uint32_t size;
    bool found;
};

static void file_path(const uint8_t file[POOL_POINTERS_FILE], char path[POOL_RETAINED_PATH])
{
    char hex[NAME_HEX + 1];
    mrmr_text_hex(file, POOL_POINTERS_FILE, hex);
    snprintf(path, POOL_RETAINED_PATH, POOL_RETAINED_FILES "/%s", hex);
}

/* One that leads nowhere, or to other bytes, is not the last that there may be. */
static mrmr_err find_pointed(const struct pool_pointer *pointer, void *arg)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct finding *finding = arg;
    char path[POOL_RETAINED_PATH];
    if (finding->found || !mrmr_digest_equal(&pointer->digest, finding->digest) ||
        pointer->leaf > UINT64_MAX / META_LEAF - 1)
        return MRMR_OK;
    file_path(pointer->file, path);
    mrmr_err err = whole_open(finding->drv, path, &file);
    if (!err)
        err = read_verified(
            file, pointer->leaf * META_LEAF, finding->digest, finding->buf, finding->size);
    finding->found = !err;
    return mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE || mrmr_ran_short(err) ? err : MRMR_OK;
}

mrmr_err pool_retained_read(
    struct drv *drv, const struct mrmr_digest *digest, void *buf, uint32_t size)
{
    struct finding finding = {drv, digest, buf, size, false};
    struct mrmr_story story;
    mrmr_err err = read_named(drv, digest, buf, size);
    if (!err || mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE || mrmr_ran_short(err))
        return err;
    mrmr_story_save(&story);
    MRMR_TRY(pool_pointers_each(drv, find_pointed, &finding));
    return finding.found ? MRMR_OK : mrmr_story_restore(&story);
}

mrmr_err pool_retained_leaf(
    struct pool *pool, const struct meta_extent *extent, uint64_t i, void *buf)
{
    struct pool_drive *drive = pool_drive_by_id(pool, extent->drive);
    if (!pool_drive_readable(drive))
        return mrmr_fail(MRMR_OFFLINE, NULL);
    return mrmr_err_drive(
        pool_retained_read(drive->drv, &extent->digests[i], buf, pool_leaf_size(extent, i)),
        drive->meta.name);
}

/* --- saving --- */

static void folder_of(const char *path, char folder[POOL_RETAINED_PATH])
{
    snprintf(folder, POOL_RETAINED_PATH, "%.*s", (int)(strrchr(path, '/') - path), path);
}

/* The folder that the path lies in, and those above it, durable. */
static mrmr_err folder_make(struct drv *drv, const char *path)
{
    char folder[POOL_RETAINED_PATH];
    folder_of(path, folder);
    MRMR_TRY(drv_mkdirs(drv, folder, FOLDER_MODE));
    MRMR_TRY(drv_dir_sync(drv, POOL_RETAINED));
    return drv_dir_sync(drv, POOL_DOT);
}

static mrmr_err temp_write(struct drv *drv, const char *temp, const void *data, uint32_t size)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    MRMR_TRY(drv_file_open(drv, temp, DRV_OPEN_WRITE | DRV_OPEN_CREATE, LEAF_MODE, &file));
    MRMR_TRY(drv_file_write(file, 0, data, size));
    return drv_file_sync(file);
}

static mrmr_err save_new(struct drv *drv, const char *path, const void *data, uint32_t size)
{
    char temp[POOL_RETAINED_PATH + 18], folder[POOL_RETAINED_PATH];
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    snprintf(temp, sizeof temp, "%s~%016" PRIx64, path, random);
    mrmr_err err = temp_write(drv, temp, data, size);
    if (err == MRMR_ABSENT) {
        MRMR_TRY(folder_make(drv, path));
        err = temp_write(drv, temp, data, size);
    }
    /* A name that is there is a symlink, or has other bytes than it should. */
    if (!err)
        err = drv_rename(drv, temp, path, DRV_RENAME_REPLACE);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, temp);
        return mrmr_story_restore(&story);
    }
    folder_of(path, folder);
    return drv_dir_sync(drv, folder);
}

/* What is there is needed anew: release leaves it alone. */
static mrmr_err retained_renew(struct drv *drv, const char *path)
{
    const struct drv_stat now = {.mtime = mrmr_clock_real()};
    return drv_set_attr(drv, path, DRV_ATTR_MTIME, &now);
}

/* It is saved already, under its own name and with the right bytes. */
static bool save_is_there(
    struct drv *drv, const char *path, const struct mrmr_digest *digest, uint32_t size)
{
    struct drv_stat stat;
    mrmr_autofree void *buf = malloc(size ? size : 1);
    return buf && !drv_stat(drv, path, &stat) && stat.type == DRV_REG && stat.size == size &&
           !read_named(drv, digest, buf, size); /* that others have the bytes does not do */
}

mrmr_err pool_retained_save(
    struct drv *drv, const struct mrmr_digest *digest, const void *data, uint32_t size)
{
    char path[POOL_RETAINED_PATH], folder[POOL_RETAINED_PATH];
    leaf_path(digest, path);
    if (!save_is_there(drv, path, digest, size))
        return save_new(drv, path, data, size);
    MRMR_TRY(retained_renew(drv, path));
    folder_of(path, folder);
    return drv_dir_sync(drv, folder); /* who named it may not have come to that */
}

static mrmr_err save_leaf(
    struct drv *drv, struct drv_file *file, const struct pool_retained_leaf *leaf, void *buf)
{
    mrmr_err err = drv_file_read_exact(file, leaf->leaf * META_LEAF, buf, leaf->size);
    if (err == MRMR_TRUNCATED)
        return MRMR_OK;
    MRMR_TRY(err);
    struct mrmr_digest digest = mrmr_digest_of(buf, leaf->size);
    if (!mrmr_digest_equal(&digest, &leaf->digest))
        return MRMR_OK;
    return pool_retained_save(drv, &digest, buf, leaf->size);
}

mrmr_err pool_retained_save_leaf(
    struct drv *drv, struct drv_file *file, const struct pool_retained_leaf *leaf)
{
    mrmr_autofree void *buf = malloc(META_LEAF);
    return buf ? save_leaf(drv, file, leaf, buf) : mrmr_nomem();
}

mrmr_err pool_retained_save_leaves(struct drv *drv, struct drv_file *file,
    const struct meta_extent extents[], size_t n, uint64_t from, uint64_t to)
{
    mrmr_autofree uint8_t *buf = malloc(META_LEAF);
    if (!buf)
        return mrmr_nomem();
    for (size_t e = 0; e < n; e++) {
        uint64_t end = extents[e].first + extents[e].leaves;
        uint64_t leaf = from > extents[e].first ? from : extents[e].first;
        for (; leaf < to && leaf < end; leaf++) {
            uint64_t i = leaf - extents[e].first;
            const struct pool_retained_leaf one = {
                leaf, pool_leaf_size(&extents[e], i), extents[e].digests[i]};
            MRMR_TRY(save_leaf(drv, file, &one, buf));
        }
    }
    return MRMR_OK;
}

/* --- what counts --- */

static mrmr_err counted_add(const struct meta_extent *extent, struct mrmr_bytes *leaves)
{
    for (uint64_t i = 0; i < extent->leaves; i++) {
        const struct pool_retained_leaf leaf = {
            extent->first + i, pool_leaf_size(extent, i), extent->digests[i]};
        MRMR_TRY(mrmr_bytes_add(leaves, &leaf, sizeof leaf));
    }
    return MRMR_OK;
}

static mrmr_err counted_add_node(
    struct pool *pool, int64_t drive, int64_t node, struct mrmr_bytes *leaves)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    MRMR_TRY(meta_extents_of(pool->meta, node, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (extents[i].drive == drive && extents[i].state != META_GONE)
            MRMR_TRY(counted_add(&extents[i], leaves));
    return MRMR_OK;
}

static int counted_compare(const void *a, const void *b)
{
    const struct pool_retained_leaf *x = a, *y = b;
    return x->leaf < y->leaf ? -1 : x->leaf > y->leaf;
}

static mrmr_err counted_nodes(struct pool *pool, const struct pool_drive *drive, const char *path,
    uint64_t ino, struct meta_node nodes[SAME_INODE], size_t *ret_n)
{
    if (ino)
        return meta_node_by_ino(pool->meta, drive->meta.id, ino, nodes, SAME_INODE, ret_n);
    mrmr_err err = path ? meta_lookup_path(pool->meta, drive->meta.root, path, nodes) : MRMR_ABSENT;
    *ret_n = !err;
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

mrmr_err pool_retained_counted(struct pool *pool, const struct pool_drive *drive, const char *path,
    uint64_t ino, struct pool_retained_leaf **ret_leaves, size_t *ret_n, bool *ret_known)
{
    mrmr_autobytes struct mrmr_bytes leaves = MRMR_BYTES_INIT;
    struct meta_node nodes[SAME_INODE];
    size_t n = 0;
    MRMR_TRY(counted_nodes(pool, drive, path, ino, nodes, &n));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(counted_add_node(pool, drive->meta.id, nodes[i].id, &leaves));
    *ret_known = n > 0;
    *ret_n = leaves.size / sizeof **ret_leaves;
    if (*ret_n)
        qsort(leaves.data, *ret_n, sizeof **ret_leaves, counted_compare);
    *ret_leaves = (struct pool_retained_leaf *)(void *)mrmr_steal(leaves.data);
    return MRMR_OK;
}

/* --- whole files --- */

/* It is kept already: by itself, or, where the file in which it is kept may be any, so that it can be read. */
static bool point_is_there(
    struct drv *drv, const char *path, const struct pool_retained_leaf *leaf, bool by_itself)
{
    if (by_itself)
        return save_is_there(drv, path, &leaf->digest, leaf->size);
    mrmr_autofree void *buf = malloc(META_LEAF);
    return buf && !read_named(drv, &leaf->digest, buf, leaf->size);
}

static mrmr_err point_at(
    struct drv *drv, const char *file, const struct pool_retained_leaf *leaf, bool by_itself)
{
    char path[POOL_RETAINED_PATH], target[POOL_RETAINED_PATH];
    char temp[POOL_RETAINED_PATH + NAME_HEX + 1];
    leaf_path(&leaf->digest, path);
    snprintf(target, sizeof target, "../files/%s#%" PRIu64, strrchr(file, '/') + 1, leaf->leaf);
    mrmr_err err = drv_symlink(drv, target, path);
    if (err == MRMR_ABSENT) {
        MRMR_TRY(folder_make(drv, path));
        err = drv_symlink(drv, target, path);
    }
    if (err != MRMR_EXISTS)
        return err;
    if (point_is_there(drv, path, leaf, by_itself))
        return retained_renew(drv, path);
    /* It leads to a file that never came, or to other bytes. What a pointer leads to is no answer: that
     * may be let go of by itself. */
    snprintf(temp, sizeof temp, "%s~%s", path, strrchr(file, '/') + 1);
    MRMR_TRY(drv_symlink(drv, target, temp));
    return drv_rename(drv, temp, path, DRV_RENAME_REPLACE);
}

/* Their folders are synced once each: 256 at most. */
static mrmr_err point_sync(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n)
{
    bool synced[256] = {false};
    for (size_t i = 0; i < n; i++) {
        char path[POOL_RETAINED_PATH], folder[POOL_RETAINED_PATH];
        if (synced[leaves[i].digest.bytes[0]])
            continue;
        synced[leaves[i].digest.bytes[0]] = true;
        leaf_path(&leaves[i].digest, path);
        folder_of(path, folder);
        MRMR_TRY(drv_dir_sync(drv, folder));
    }
    return MRMR_OK;
}

static mrmr_err files_folder(struct drv *drv, const char path[POOL_RETAINED_PATH])
{
    struct drv_stat stat;
    return drv_stat(drv, POOL_RETAINED_FILES, &stat) ? folder_make(drv, path) : MRMR_OK;
}

static mrmr_err point_all(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    const char path[POOL_RETAINED_PATH], bool by_itself)
{
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(point_at(drv, path, &leaves[i], by_itself));
    return point_sync(drv, leaves, n);
}

/* A name for a retained file. */
static mrmr_err file_name(uint8_t file[POOL_POINTERS_FILE], char ret_path[POOL_RETAINED_PATH])
{
    MRMR_TRY(mrmr_random(file, POOL_POINTERS_FILE));
    file_path(file, ret_path);
    return MRMR_OK;
}

static mrmr_err point(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    bool by_itself, char ret_path[POOL_RETAINED_PATH])
{
    uint8_t file[POOL_POINTERS_FILE];
    MRMR_TRY(file_name(file, ret_path));
    MRMR_TRY(files_folder(drv, ret_path));
    return point_all(drv, leaves, n, ret_path, by_itself);
}

mrmr_err pool_retained_point(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    char ret_path[POOL_RETAINED_PATH])
{
    return point(drv, leaves, n, false, ret_path);
}

/* --- saving several --- */

/* Leaves of a file that follow each other: the one at i is at i * META_LEAF of the file that is made. */
struct run {
    struct drv_file *from, *to;
    bool cloned;
    const struct pool_retained_leaf *leaf;
    size_t n;
    struct pool_retained_leaf kept[POOL_RETAINED_RUN];
    size_t nkept;
};

enum { RUN_PART = 4 }; /* as many digests as are computed side by side; and it stays in the cache */

/* What is cloned is read where it was cloned to. */
static mrmr_err run_read_leaf(const struct run *run, size_t i, uint8_t *buf)
{
    return run->cloned ? drv_file_read_exact(run->to, i * META_LEAF, buf, run->leaf[i].size)
                       : drv_file_read_exact(
                             run->from, run->leaf[i].leaf * META_LEAF, buf, run->leaf[i].size);
}

/* What is not there any more has no size. */
static mrmr_err run_read(const struct run *run, size_t first, size_t n, uint8_t *buf,
    struct mrmr_span ret_span[RUN_PART])
{
    for (size_t i = 0; i < n; i++) {
        uint8_t *at = buf + i * META_LEAF;
        mrmr_err err = run_read_leaf(run, first + i, at);
        if (err && err != MRMR_TRUNCATED)
            return err;
        ret_span[i] = (struct mrmr_span){at, err ? 0 : run->leaf[first + i].size};
    }
    return MRMR_OK;
}

/* Nothing leads to what is not, any more, what was coded. */
static mrmr_err run_fill_part(struct run *run, size_t first, size_t n, uint8_t *buf)
{
    struct mrmr_span span[RUN_PART];
    struct mrmr_digest digest[RUN_PART];
    MRMR_TRY(run_read(run, first, n, buf, span));
    mrmr_digest_batch(n, span, digest);
    for (size_t i = 0; i < n; i++) {
        const struct pool_retained_leaf *leaf = &run->leaf[first + i];
        const uint64_t at = (first + i) * META_LEAF;
        if (!span[i].size || !mrmr_digest_equal(&digest[i], &leaf->digest))
            continue;
        if (!run->cloned)
            MRMR_TRY(drv_file_write(run->to, at, span[i].data, span[i].size));
        run->kept[run->nkept] = *leaf;
        run->kept[run->nkept++].leaf = first + i;
    }
    return MRMR_OK;
}

/* Where the file system cannot clone, or not just this, as with more behind a short leaf, it is copied. */
static mrmr_err run_fill(struct run *run)
{
    const uint64_t size = (run->n - 1) * META_LEAF + run->leaf[run->n - 1].size;
    mrmr_autofree uint8_t *buf = malloc(RUN_PART * META_LEAF);
    if (!buf)
        return mrmr_nomem();
    run->cloned = !drv_file_clone_range(run->from, run->leaf->leaf * META_LEAF, run->to, 0, size);
    for (size_t i = 0; i < run->n; i += RUN_PART)
        MRMR_TRY(run_fill_part(run, i, run->n - i < RUN_PART ? run->n - i : RUN_PART, buf));
    return drv_file_sync(run->to);
}

static mrmr_err run_temp(struct drv *drv, struct run *run, const char *temp)
{
    const unsigned flags = DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE;
    mrmr_err err = drv_file_open(drv, temp, flags, LEAF_MODE, &run->to);
    if (err == MRMR_ABSENT) {
        MRMR_TRY(folder_make(drv, temp));
        err = drv_file_open(drv, temp, flags, LEAF_MODE, &run->to);
    }
    return err ? err : run_fill(run);
}

static mrmr_err run_keep(struct drv *drv, const struct run *run, const char *temp)
{
    char path[POOL_RETAINED_PATH];
    if (!run->nkept)
        return drv_unlink(drv, temp);
    /* Other files in which they lie may be just those that change. */
    MRMR_TRY(point(drv, run->kept, run->nkept, true, path));
    MRMR_TRY(drv_rename(drv, temp, path, DRV_RENAME_REPLACE));
    return drv_dir_sync(drv, POOL_RETAINED_FILES);
}

mrmr_err pool_retained_save_run(
    struct drv *drv, struct drv_file *file, const struct pool_retained_leaf leaves[], size_t n)
{
    char path[POOL_RETAINED_PATH], temp[POOL_RETAINED_PATH + NAME_HEX + 2];
    struct run run = {.from = file, .leaf = leaves, .n = n};
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    leaf_path(&leaves->digest, path);
    snprintf(temp, sizeof temp, "%s~%016" PRIx64, path, random);
    mrmr_err err = run_temp(drv, &run, temp);
    if (!err)
        err = run_keep(drv, &run, temp);
    drv_file_close(run.to);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, temp);
        return mrmr_story_restore(&story);
    }
    return MRMR_OK;
}

/* What it fails with when nothing is left to give. */
static mrmr_err keep_failed(const struct mrmr_story *story)
{
    return mrmr_err_hint(mrmr_story_restore(story),
        "its old bytes must be kept until no parity counts on them, and its drive has no room to "
        "note where; make a little room on the drive, or run: mrmr sync");
}

static mrmr_err keep_named(
    struct drv *drv, const char *path, enum pool_retained_how how, const char *kept)
{
    for (;;) {
        struct mrmr_story story;
        bool gave = false;
        mrmr_err err = how == POOL_RETAINED_LINK ? drv_link(drv, path, kept)
                                                 : drv_rename(drv, path, kept, DRV_RENAME_REPLACE);
        if (err != MRMR_SPACE)
            return err;
        mrmr_story_save(&story);
        if (pool_pointers_give(drv, &gave) || !gave)
            return keep_failed(&story);
    }
}

/* With less than this free, symlinks and their folders would take what is given back for names. */
static bool keep_is_tight(struct drv *drv, size_t n)
{
    static const uint64_t folders = 2 << 20, symlink = 1 << 10;
    struct drv_space space;
    return n && !drv_space(drv, &space) && space.avail < folders + n * symlink;
}

mrmr_err pool_retained_keep(struct drv *drv, const char *path,
    const struct pool_retained_leaf leaves[], size_t n, enum pool_retained_how how,
    char ret_kept[POOL_RETAINED_PATH])
{
    uint8_t file[POOL_POINTERS_FILE];
    struct mrmr_story story;
    MRMR_TRY(file_name(file, ret_kept));
    MRMR_TRY(files_folder(drv, ret_kept));
    bool tight = keep_is_tight(drv, n);
    mrmr_err err = tight ? pool_pointers_add(drv, leaves, n, file)
                         : point_all(drv, leaves, n, ret_kept, false);
    if (err == MRMR_SPACE)
        err = tight ? point_all(drv, leaves, n, ret_kept, false)
                    : pool_pointers_add(drv, leaves, n, file);
    mrmr_story_save(&story);
    if (err)
        return err == MRMR_SPACE ? keep_failed(&story) : err;
    if (how == POOL_RETAINED_TAKE)
        pool_retained_beside(ret_kept);
    return keep_named(drv, path, how, ret_kept);
}

void pool_retained_beside(char kept[POOL_RETAINED_PATH])
{
    char saved[POOL_RETAINED_PATH];
    saved_path(kept, saved);
    memcpy(kept, saved, sizeof saved);
}

/* A name below the folder without what stands before it beside. */
static const char *bare_name(const char *path)
{
    const char *name = strrchr(path, '/') + 1;
    const size_t prefix = strlen(POOL_RETAINED_SAVED);
    return strncmp(name, POOL_RETAINED_SAVED, prefix) ? name : name + prefix;
}

mrmr_err pool_retained_taken(struct drv *drv, const char *taken, const char *path, bool may_give)
{
    char kept[POOL_RETAINED_PATH];
    struct mrmr_story story;
    snprintf(kept, sizeof kept, POOL_RETAINED_FILES "/%.40s", bare_name(taken));
    mrmr_err err = may_give ? keep_named(drv, taken, POOL_RETAINED_TAKE, kept)
                            : drv_rename(drv, taken, kept, DRV_RENAME_REPLACE);
    if (!err)
        return MRMR_OK;
    mrmr_story_save(&story);
    pool_retained_put_back(drv, taken, path);
    return mrmr_story_restore(&story);
}

static mrmr_err to_quarantine(
    struct drv *drv, const char *kept, const char *name, char ret_to[POOL_RETAINED_PATH])
{
    snprintf(ret_to, POOL_RETAINED_PATH, POOL_QUARANTINE "/" POOL_RETAINED_SAVED "%.40s", name);
    MRMR_TRY(drv_mkdirs(drv, POOL_QUARANTINE, FOLDER_MODE));
    return drv_rename(drv, kept, ret_to, DRV_RENAME_REPLACE);
}

mrmr_err pool_retained_put_back(struct drv *drv, const char *kept, const char *path)
{
    char to[POOL_RETAINED_PATH];
    const char *name = bare_name(kept);
    if (!drv_rename(drv, kept, path, DRV_RENAME_NOREPLACE))
        return MRMR_OK;
    mrmr_err err = to_quarantine(drv, kept, name, to);
    if (err) { /* where it lies, under a name that nothing is let go of by */
        snprintf(to, sizeof to, POOL_RETAINED_FILES "/" POOL_RETAINED_SAVED "%.40s", name);
        err = strcmp(kept, to) != 0 ? drv_rename(drv, kept, to, DRV_RENAME_REPLACE) : MRMR_OK;
    }
    if (!err)
        mrmr_log(MRMR_LOG_WARN, "what somebody saved as '%s' is now %s", path, to);
    return err;
}

mrmr_err pool_retained_settle_saved(
    struct pool *pool, const struct pool_job *job, struct pool_drive *drive, const char *name)
{
    char kept[POOL_RETAINED_PATH], to[POOL_RETAINED_PATH];
    const size_t prefix = strlen(POOL_RETAINED_SAVED);
    if (strncmp(name, POOL_RETAINED_SAVED, prefix) != 0 ||
        snprintf(kept, sizeof kept, POOL_RETAINED_FILES "/%s", name) >= (int)sizeof kept)
        return MRMR_OK;
    mrmr_err err = to_quarantine(drive->drv, kept, name + prefix, to);
    if (err == MRMR_ABSENT) /* it was judged since */
        return MRMR_OK;
    MRMR_TRY(err);
    pool_tell(pool, job, true, "saved-aside", drive,
        "a file on drive %s that was being removed may be one that somebody saved just then, and "
        "was "
        "not put back in its place: it is %s there",
        drive->meta.name, to);
    return MRMR_OK;
}

/* --- what the scan makes of it --- */

static mrmr_err kept_add(struct pool_retained_kept *kept, const struct mrmr_digest *digest)
{
    if (kept->n == kept->room) {
        size_t room = kept->room ? 2 * kept->room : 64;
        struct mrmr_digest *grown = realloc(kept->digest, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        kept->digest = grown;
        kept->room = room;
    }
    kept->digest[kept->n++] = *digest;
    kept->sorted = false;
    return MRMR_OK;
}

static int kept_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct mrmr_digest));
}

static bool kept_has(struct pool_retained_kept *kept, const struct mrmr_digest *digest)
{
    if (!kept->sorted && kept->n)
        qsort(kept->digest, kept->n, sizeof *kept->digest, kept_compare);
    kept->sorted = true;
    return kept->n && bsearch(digest, kept->digest, kept->n, sizeof *digest, kept_compare);
}

void pool_retained_kept_free(struct pool_retained_kept *kept)
{
    free(kept->digest);
    *kept = (struct pool_retained_kept){.n = 0};
}

/* An extent of the node's that may be kept on its own drive. */
static bool vanish_concerns(const struct meta_node *node, const struct meta_extent *extent)
{
    return extent->drive == node->drive && extent->state != META_GONE;
}

static mrmr_err note_extent(struct drv *drv, const struct pool_job *job,
    const struct meta_extent *extent, void *buf, struct pool_retained_kept *kept)
{
    for (uint64_t i = 0; i < extent->leaves; i++) {
        mrmr_err err = pool_job_poll(job);
        if (!err)
            err = pool_retained_read(drv, &extent->digests[i], buf, pool_leaf_size(extent, i));
        if (mrmr_ran_short(err) || err == MRMR_CANCELLED)
            return err;
        if (!err)
            MRMR_TRY(kept_add(kept, &extent->digests[i]));
    }
    return MRMR_OK;
}

mrmr_err pool_retained_note(struct pool *pool, const struct pool_job *job,
    const struct meta_node *node, struct pool_retained_kept *kept)
{
    struct pool_drive *drive = pool_drive_by_id(pool, node->drive);
    mrmr_autofree struct meta_extent *extents = NULL;
    mrmr_autofree void *buf = malloc(META_LEAF);
    size_t n;
    if (!buf)
        return mrmr_nomem();
    if (!pool_drive_readable(drive))
        return MRMR_OK;
    MRMR_TRY(meta_extents_of(pool->meta, node->id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (vanish_concerns(node, &extents[i]))
            MRMR_TRY(note_extent(drive->drv, job, &extents[i], buf, kept));
    return MRMR_OK;
}

static mrmr_err vanish_extent(
    struct pool *pool, const struct meta_extent *extent, struct pool_retained_kept *kept)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    bool any = false;
    if (!verdict)
        return mrmr_nomem();
    for (uint64_t i = 0; i < extent->leaves; i++) {
        bool has = kept_has(kept, &extent->digests[i]);
        verdict[i] = (struct meta_verdict){1, has ? META_STALE : extent->state, has};
        any = any || has;
    }
    return any ? meta_extent_judge(pool->meta, extent->id, verdict, extent->leaves) : MRMR_OK;
}

mrmr_err pool_retained_vanish(
    struct pool *pool, const struct meta_node *node, struct pool_retained_kept *kept)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    if (!kept->n)
        return MRMR_OK;
    MRMR_TRY(meta_extents_of(pool->meta, node->id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (vanish_concerns(node, &extents[i]))
            MRMR_TRY(vanish_extent(pool, &extents[i], kept));
    return MRMR_OK;
}

static mrmr_err confirm_extent(struct pool *pool, const struct pool_job *job,
    const struct meta_extent *extent, void *buf, bool *ret_lost)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    bool lost = false;
    if (!verdict)
        return mrmr_nomem();
    for (uint64_t i = 0; i < extent->leaves; i++) {
        MRMR_TRY(pool_job_poll(job));
        mrmr_err err = pool_retained_leaf(pool, extent, i, buf);
        bool gone = mrmr_class_of(err) == MRMR_CLASS_ABSENT ||
                    mrmr_class_of(err) == MRMR_CLASS_CORRUPT ||
                    mrmr_class_of(err) == MRMR_CLASS_INVALID;
        if (err && !gone)
            return err;
        verdict[i] = (struct meta_verdict){1, gone ? META_GONE : META_STALE, false};
        lost = lost || gone;
    }
    *ret_lost = *ret_lost || lost;
    return lost ? meta_extent_judge(pool->meta, extent->id, verdict, extent->leaves) : MRMR_OK;
}

/* What lies on a drive that is away counts as lost already. */
static bool confirm_concerns(struct pool *pool, const struct meta_extent *extent)
{
    return !extent->node && extent->state == META_STALE &&
           pool_drive_present(pool_drive_by_id(pool, extent->drive));
}

mrmr_err pool_retained_confirm(
    struct pool *pool, const struct pool_job *job, const struct meta_stripe *stripe, bool *ret_lost)
{
    mrmr_autofree void *buf = malloc(META_LEAF);
    *ret_lost = false;
    if (!buf)
        return mrmr_nomem();
    for (size_t i = 0; i < stripe->extents; i++)
        if (confirm_concerns(pool, &stripe->extent[i]))
            MRMR_TRY(confirm_extent(pool, job, &stripe->extent[i], buf, ret_lost));
    return MRMR_OK;
}

mrmr_err pool_retained_lost(struct pool *pool, int64_t drive)
{
    int64_t after = 0;
    size_t n;
    do {
        mrmr_autofree struct meta_extent *extents = NULL;
        MRMR_TRY(meta_extents_after(pool->meta, drive, after, &extents, LOST_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            const struct meta_verdict gone = {extents[i].leaves, META_GONE, false};
            after = extents[i].id;
            if (!extents[i].node && extents[i].state == META_STALE)
                MRMR_TRY(meta_extent_judge(pool->meta, extents[i].id, &gone, 1));
        }
    } while (n);
    return MRMR_OK;
}
