/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/retained/retained_list.h"
#include "pool/retained/pointers.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

struct listing {
    struct retained_drive *to;
    const char *folder; /* below .mrmr/retained */
};

static mrmr_err list_leaf(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    const struct listing *listing = arg;
    struct retained_leaf leaf;
    if (!stat)
        return err;
    if (strchr(name, '~')) {
        MRMR_TRY(
            mrmr_bytes_fmt(&listing->to->temps, POOL_RETAINED "/%s/%s", listing->folder, name));
        return mrmr_bytes_add(&listing->to->temps, "", 1);
    }
    if (strlen(name) != POOL_RETAINED_DIGEST_HEX ||
        !mrmr_text_unhex(name, sizeof leaf.digest.bytes, leaf.digest.bytes))
        return MRMR_OK;
    leaf.ino = stat->ino;
    leaf.mtime = stat->mtime;
    leaf.ctime = stat->ctime;
    leaf.size = stat->type == DRV_REG ? stat->size : 0;
    leaf.needed = false;
    return mrmr_bytes_add(&listing->to->leaves, &leaf, sizeof leaf);
}

static mrmr_err list_name(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)stat;
    (void)err;
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

static mrmr_err list_file(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct retained_file file = {.seen = stat != NULL};
    (void)err;
    if (strlen(name) >= sizeof file.name)
        return MRMR_OK;
    memcpy(file.name, name, strlen(name) + 1);
    if (stat)
        file.stat = *stat;
    return mrmr_bytes_add(arg, &file, sizeof file);
}

static mrmr_err list_folder(struct retained_drive *d, const char *folder)
{
    char path[POOL_RETAINED_PATH];
    struct listing listing = {d, folder};
    bool files = strcmp(folder, "files") == 0;
    snprintf(path, sizeof path, POOL_RETAINED "/%.80s", folder);
    mrmr_err err = files ? drv_list(d->drive->drv, path, list_file, &d->files)
                         : drv_list(d->drive->drv, path, list_leaf, &listing);
    /* What somebody else put there is not ours. */
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

static mrmr_err list_pointer(const struct pool_pointer *pointer, void *arg)
{
    struct retained_drive *d = arg;
    const struct retained_leaf leaf = {.digest = pointer->digest};
    d->pointers++;
    return mrmr_bytes_add(&d->leaves, &leaf, sizeof leaf);
}

/* It concerns this folder, and not the drive or the job. */
static bool list_may_skip(mrmr_err err)
{
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_MEMORY:
    case MRMR_CLASS_CANCELLED:
        return false;
    case MRMR_CLASS_UNAVAILABLE:
        return mrmr_of_one_thing(err);
    default:
        return true;
    }
}

/* What is in a folder that cannot be read stays, and keeps nothing else from being let go of. */
mrmr_err pool_retained_list_folders(struct retained_drive *d)
{
    mrmr_autobytes struct mrmr_bytes folders = MRMR_BYTES_INIT;
    mrmr_err err = drv_list(d->drive->drv, POOL_RETAINED, list_name, &folders);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    for (size_t at = 0; at < folders.size; at += strlen(folders.data + at) + 1) {
        err = list_folder(d, folders.data + at);
        if (!err)
            continue;
        if (!list_may_skip(err))
            return err;
        mrmr_err_drive(err, d->drive->meta.name);
        mrmr_log_story(MRMR_LOG_WARN, "a folder of what is retained stays as it is");
        d->skipped = true;
    }
    return MRMR_OK;
}

static int leaf_compare(const void *a, const void *b)
{
    const struct retained_leaf *x = a, *y = b;
    return memcmp(&x->digest, &y->digest, sizeof x->digest);
}

static mrmr_err list_drive(struct retained_drive *d)
{
    MRMR_TRY(pool_pointers_each(d->drive->drv, list_pointer, d));
    MRMR_TRY(pool_retained_list_folders(d));
    if (d->leaves.size)
        qsort(d->leaves.data, retained_leaves(d), sizeof(struct retained_leaf), leaf_compare);
    return MRMR_OK;
}

void pool_retained_list_free(struct retained_drive *d)
{
    mrmr_bytes_free(&d->leaves);
    mrmr_bytes_free(&d->files);
    mrmr_bytes_free(&d->temps);
}

/* Though nobody can look now. */
static bool may_keep(const struct pool_drive *drive)
{
    return drive->meta.state != META_DRIVE_RETIRED && drive->meta.role != META_ROLE_READONLY;
}

mrmr_err pool_retained_list(struct pool *pool, struct pool_retained **ret_retained)
{
    struct pool_retained *all =
        calloc(1, sizeof *all + pool->ndrives * sizeof(struct retained_drive));
    if (!all)
        return mrmr_nomem();
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < pool->ndrives; i++) {
        if (!pool_drive_writable(pool->drives[i])) {
            all->left_out = all->left_out || may_keep(pool->drives[i]);
            continue;
        }
        struct retained_drive *d = &all->drive[all->n++];
        d->drive = pool->drives[i];
        err = list_drive(d);
        if (err && !mrmr_ran_short(err)) { /* it keeps what it has for now */
            mrmr_err_drive(err, d->drive->meta.name);
            mrmr_log_story(MRMR_LOG_INFO, "looking at what is retained");
            mrmr_bytes_clear(&d->leaves);
            mrmr_bytes_clear(&d->files);
            all->left_out = true;
            err = MRMR_OK;
        }
        all->left_out = all->left_out || d->skipped;
    }
    if (err)
        pool_retained_free(all);
    else
        *ret_retained = all;
    return err;
}

void pool_retained_free(struct pool_retained *retained)
{
    for (size_t i = 0; retained && i < retained->n; i++)
        pool_retained_list_free(&retained->drive[i]);
    free(retained);
}

bool pool_retained_list_any(const struct pool_retained *retained)
{
    for (size_t i = 0; i < retained->n; i++)
        if (retained->drive[i].leaves.size || retained->drive[i].files.size ||
            retained->drive[i].temps.size)
            return true;
    return false;
}

bool pool_retained_left_out(const struct pool_retained *retained)
{
    return retained->left_out;
}

uint64_t pool_retained_freed(const struct pool_retained *retained)
{
    return retained->freed;
}

/* --- looking into it --- */

struct retained_leaf *pool_retained_find(
    const struct retained_drive *d, const struct mrmr_digest *digest)
{
    const struct retained_leaf wanted = {.digest = *digest};
    return !d->leaves.size
               ? NULL
               : bsearch(&wanted, d->leaves.data, retained_leaves(d), sizeof wanted, leaf_compare);
}

struct retained_drive *pool_retained_of(struct pool_retained *retained, int64_t drive)
{
    for (size_t i = 0; i < retained->n; i++)
        if (retained->drive[i].drive->meta.id == drive)
            return &retained->drive[i];
    return NULL;
}

bool pool_retained_is_file_name(const char *name)
{
    uint8_t bytes[POOL_RETAINED_FILE_HEX / 2];
    return strlen(name) == POOL_RETAINED_FILE_HEX && mrmr_text_unhex(name, sizeof bytes, bytes);
}
