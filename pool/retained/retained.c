/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/retained/retained_parts.h"

#include "base/text.h"
#include "base/uuid.h"
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum { DIGEST_HEX = 2 * MRMR_DIGEST_SIZE, LOST_BATCH = 256, SAME_INODE = 8 };

void retained_leaf_path(const struct mrmr_digest *digest, char path[POOL_RETAINED_PATH])
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
    uint8_t name[RETAINED_NAME_HEX / 2];
    const char *hex = target + strlen(before), *leaf = hex + RETAINED_NAME_HEX + 1;
    if (strncmp(target, before, strlen(before)) != 0 ||
        strlen(target) < strlen(before) + RETAINED_NAME_HEX + 2 || hex[RETAINED_NAME_HEX] != '#' ||
        !mrmr_text_unhex(hex, sizeof name, name) || !mrmr_text_u64(leaf, ret_leaf) ||
        *ret_leaf > UINT64_MAX / META_LEAF - 1)
        return mrmr_fail(MRMR_CORRUPT, "a retained leaf leads nowhere: %.80s", target);
    snprintf(ret_path, POOL_RETAINED_PATH, POOL_RETAINED_FILES "/%.*s", RETAINED_NAME_HEX, hex);
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

void retained_saved_path(const char *file, char ret_path[POOL_RETAINED_PATH])
{
    snprintf(ret_path, POOL_RETAINED_PATH, POOL_RETAINED_FILES "/" POOL_RETAINED_SAVED "%.40s",
        strrchr(file, '/') + 1);
}

/* One that was taken has the name beside until it is judged, and for longer if that was broken off.
 * Between the two looks it may have been given the other. */
static mrmr_err whole_open(struct drv *drv, const char *path, struct drv_file **ret_file)
{
    char saved[POOL_RETAINED_PATH];
    retained_saved_path(path, saved);
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

mrmr_err retained_read_named(
    struct drv *drv, const struct mrmr_digest *digest, void *buf, uint32_t size)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    char path[POOL_RETAINED_PATH];
    uint64_t offset;
    retained_leaf_path(digest, path);
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

void retained_file_path(const uint8_t file[POOL_POINTERS_FILE], char path[POOL_RETAINED_PATH])
{
    char hex[RETAINED_NAME_HEX + 1];
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
    retained_file_path(pointer->file, path);
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
    mrmr_err err = retained_read_named(drv, digest, buf, size);
    const bool unknown = mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE && !mrmr_of_one_thing(err);
    if (!err || unknown || mrmr_ran_short(err))
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

void retained_folder_of(const char *path, char folder[POOL_RETAINED_PATH])
{
    snprintf(folder, POOL_RETAINED_PATH, "%.*s", (int)(strrchr(path, '/') - path), path);
}

/* Says that the name of the folder of this path, and those above it, are durable. */
static _Atomic bool *folder_mark(struct drv *drv, const char *path)
{
    enum { FILES = DRV_MARKS - 1, HEX = 16 };
    const char *name = path + sizeof POOL_RETAINED;
    const bool leaves = isxdigit(name[0]) && isxdigit(name[1]) && name[2] == '/';
    return &drv->mark[leaves ? strtoul((char[]){name[0], name[1], '\0'}, NULL, HEX) : FILES];
}

mrmr_err retained_folder_durable(struct drv *drv, const char *path)
{
    _Atomic bool *mark = folder_mark(drv, path);
    if (atomic_load(mark))
        return MRMR_OK;
    MRMR_TRY(drv_dir_sync(drv, POOL_RETAINED));
    MRMR_TRY(drv_dir_sync(drv, POOL_DOT));
    atomic_store(mark, true);
    return MRMR_OK;
}

mrmr_err retained_folder_make(struct drv *drv, const char *path)
{
    char folder[POOL_RETAINED_PATH];
    retained_folder_of(path, folder);
    MRMR_TRY(drv_mkdirs(drv, folder, RETAINED_FOLDER_MODE));
    atomic_store(folder_mark(drv, path), false); /* somebody removed it */
    return retained_folder_durable(drv, path);
}

mrmr_err retained_folder_sync(struct drv *drv, const char *path)
{
    char folder[POOL_RETAINED_PATH];
    retained_folder_of(path, folder);
    MRMR_TRY(drv_dir_sync(drv, folder));
    return retained_folder_durable(drv, path);
}

static mrmr_err temp_write(struct drv *drv, const char *temp, const void *data, uint32_t size)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    MRMR_TRY(drv_file_open(drv, temp, DRV_OPEN_WRITE | DRV_OPEN_CREATE, RETAINED_LEAF_MODE, &file));
    MRMR_TRY(drv_file_write(file, 0, data, size));
    return drv_file_sync(file);
}

mrmr_err retained_folder_make_named(struct drv *drv, pthread_mutex_t *names, const char *path)
{
    mrmr_locked(names);
    return retained_folder_make(drv, path);
}

/* A name that is there is a symlink, or has other bytes than it should. */
static mrmr_err save_named(
    struct drv *drv, pthread_mutex_t *names, const char *temp, const char *path)
{
    mrmr_locked(names);
    return drv_rename(drv, temp, path, DRV_RENAME_REPLACE);
}

static mrmr_err save_new(
    struct drv *drv, pthread_mutex_t *names, const char *path, const void *data, uint32_t size)
{
    char temp[POOL_RETAINED_PATH + 18];
    uint64_t random;
    MRMR_TRY(mrmr_random(&random, sizeof random));
    snprintf(temp, sizeof temp, "%s~%016" PRIx64, path, random);
    mrmr_err err = temp_write(drv, temp, data, size);
    if (err == MRMR_ABSENT) {
        MRMR_TRY(retained_folder_make_named(drv, names, path));
        err = temp_write(drv, temp, data, size);
    }
    if (!err)
        err = save_named(drv, names, temp, path);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        drv_unlink(drv, temp);
        return mrmr_story_restore(&story);
    }
    return retained_folder_sync(drv, path);
}

mrmr_err retained_renew(struct drv *drv, const char *path)
{
    const struct drv_stat now = {.mtime = mrmr_clock_real()};
    return drv_set_attr(drv, path, DRV_ATTR_MTIME, &now);
}

bool retained_is_by_itself(
    struct drv *drv, const char *path, const struct mrmr_digest *digest, uint32_t size)
{
    struct drv_stat stat;
    mrmr_autofree void *buf = malloc(size ? size : 1);
    return buf && !drv_stat(drv, path, &stat) && stat.type == DRV_REG && stat.size == size &&
           !retained_read_named(
               drv, digest, buf, size); /* that others have the bytes does not do */
}

mrmr_err pool_retained_save(struct drv *drv, pthread_mutex_t *names,
    const struct mrmr_digest *digest, const void *data, uint32_t size)
{
    char path[POOL_RETAINED_PATH];
    retained_leaf_path(digest, path);
    if (!retained_is_by_itself(drv, path, digest, size))
        return save_new(drv, names, path, data, size);
    MRMR_TRY(retained_renew(drv, path));
    return retained_folder_sync(drv, path); /* who named it may not have come to that */
}

mrmr_err pool_retained_save_leaf(struct drv *drv, pthread_mutex_t *names, struct drv_file *file,
    const struct pool_retained_leaf *leaf)
{
    mrmr_autofree void *buf = malloc(META_LEAF);
    if (!buf)
        return mrmr_nomem();
    mrmr_err err = drv_file_read_exact(file, leaf->leaf * META_LEAF, buf, leaf->size);
    if (err == MRMR_TRUNCATED)
        return MRMR_OK;
    MRMR_TRY(err);
    struct mrmr_digest digest = mrmr_digest_of(buf, leaf->size);
    if (!mrmr_digest_equal(&digest, &leaf->digest))
        return MRMR_OK;
    return pool_retained_save(drv, names, &digest, buf, leaf->size);
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
