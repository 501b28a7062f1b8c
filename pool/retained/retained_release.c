/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Letting go of what is retained (retained.h). A job lists what is there before it looks at the
 * drives. When it has ended, each extent of the drive in the catalog is looked at: what has a leaf
 * on the list and is not LIVE needs it, and what is LIVE needs it if it is not in its place, durably, in the very file that
 * the catalog has: that is synced after it was read, for bytes that were written back may be in memory alone, and older ones come
 * back when the power goes. What
 * came, or was needed anew, after the list was made has other times than on it, and stays for the
 * next job.
 *
 * A whole file that has another name keeps that. Its change time is noted in the catalog after its name here went, and a clock
 * tick after that (I4): a cut in between costs one reading of it.
 */
#include "pool/drive/hung.h"
#include "pool/records/short.h"
#include "pool/retained/pointers.h"
#include "pool/retained/retained_list.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum {
    RELEASE_BATCH = 64,
    LOOK_BATCH = 256,
    DIGEST_HEX = POOL_RETAINED_DIGEST_HEX,
    FILE_HEX = POOL_RETAINED_FILE_HEX
};

/* --- what is still counted on --- */

/* The original of the extent that was looked at last stays open; NULL: nobody has it in its place. */
struct looking {
    struct pool *pool;
    struct retained_drive *d;
    struct drv_file *file;
    int64_t node;
    uint8_t *buf; /* a leaf */
};

/* The very file, by its inode where the drive has those: another one at its path may have the same bytes, as what replaced
 * it has, and whoever changes that keeps nothing for this one. */
static mrmr_err looking_open(struct looking *l, int64_t node)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct meta_node known;
    struct drv_stat stat;
    drv_file_close(mrmr_steal(l->file));
    l->node = node;
    MRMR_TRY(meta_node_get(l->pool->meta, node, &known));
    MRMR_TRY(pool_node_open(l->pool, node, &file));
    MRMR_TRY(drv_file_stat(file, &stat));
    if (!pool_node_is(&l->d->drive->info, &known, &stat))
        return mrmr_fail(MRMR_ABSENT, "another file has its name");
    l->file = mrmr_steal(file);
    return MRMR_OK;
}

/* *ret_there: the leaf lies where the catalog has it. */
static mrmr_err look_in_place(
    struct looking *l, const struct meta_extent *extent, uint64_t i, bool *ret_there)
{
    uint32_t size = pool_leaf_size(extent, i);
    mrmr_err err = MRMR_OK;
    *ret_there = false;
    if (!l->file || l->node != extent->node)
        err = looking_open(l, extent->node);
    if (!err)
        err = drv_file_read_exact(l->file, (extent->first + i) * META_LEAF, l->buf, size);
    if (err)
        return mrmr_ran_short(err) ? err : MRMR_OK;
    struct mrmr_digest got = mrmr_digest_of(l->buf, size);
    *ret_there = mrmr_digest_equal(&got, &extent->digests[i]);
    return MRMR_OK;
}

/* There may be several of one digest: a leaf and pointers. */
static void leaves_needed(struct retained_drive *d, struct retained_leaf *found)
{
    struct retained_leaf *first = retained_leaf_at(d, 0), *end = first + retained_leaves(d),
                         *leaf = found;
    while (leaf > first && mrmr_digest_equal(&leaf[-1].digest, &found->digest))
        leaf--;
    for (; leaf < end && mrmr_digest_equal(&leaf->digest, &found->digest); leaf++)
        leaf->needed = true;
}

/* What was in its place was read from memory, and may be there alone. */
static mrmr_err look_durable(
    struct looking *l, const struct meta_extent *extent, const uint64_t in_place[], size_t n)
{
    mrmr_err err = n ? drv_file_sync(l->file) : MRMR_OK;
    for (size_t i = 0; err && i < n; i++)
        leaves_needed(l->d, pool_retained_find(l->d, &extent->digests[in_place[i]]));
    return mrmr_ran_short(err) ? err : MRMR_OK;
}

static mrmr_err look_at_extent(struct looking *l, const struct meta_extent *extent)
{
    mrmr_autofree uint64_t *in_place = NULL;
    size_t n = 0;
    for (uint64_t i = 0; i < extent->leaves; i++) {
        struct retained_leaf *leaf = pool_retained_find(l->d, &extent->digests[i]);
        bool there = false;
        if (!leaf || leaf->needed)
            continue;
        if (extent->state == META_LIVE)
            MRMR_TRY(look_in_place(l, extent, i, &there));
        if (there && !in_place && !(in_place = calloc(extent->leaves, sizeof *in_place)))
            return mrmr_nomem();
        if (there)
            in_place[n++] = i;
        else
            leaves_needed(l->d, leaf);
    }
    return look_durable(l, extent, in_place, n);
}

static mrmr_err look_at_extents(struct looking *l, const struct pool_job *job)
{
    int64_t after = 0;
    size_t n;
    do {
        mrmr_autofree struct meta_extent *extents = NULL;
        MRMR_TRY(pool_job_poll(job));
        MRMR_TRY(meta_extents_after(
            l->pool->meta, l->d->drive->meta.id, after, &extents, LOOK_BATCH, &n));
        for (size_t i = 0; i < n; i++)
            MRMR_TRY(look_at_extent(l, &extents[i]));
        after = n ? extents[n - 1].id : after;
    } while (n);
    return MRMR_OK;
}

/* Marks the leaves that are needed. */
static mrmr_err look_at_drive(
    struct pool *pool, const struct pool_job *job, struct retained_drive *d)
{
    struct looking looking = {.pool = pool, .d = d, .buf = malloc(META_LEAF)};
    if (!looking.buf)
        return mrmr_nomem();
    mrmr_err err = look_at_extents(&looking, job);
    drv_file_close(looking.file);
    free(looking.buf);
    return err;
}

/* --- letting go --- */

/* As it was on the list. Writers stand still. */
static mrmr_err release_leaf(struct drv *drv, const struct retained_leaf *leaf, uint64_t *freed)
{
    char hex[DIGEST_HEX + 1], path[POOL_RETAINED_PATH];
    struct drv_stat stat;
    mrmr_text_hex(leaf->digest.bytes, sizeof leaf->digest.bytes, hex);
    snprintf(path, sizeof path, POOL_RETAINED "/%.2s/%s", hex, hex);
    mrmr_err err = drv_stat(drv, path, &stat);
    if (!err && (stat.ino != leaf->ino || stat.mtime != leaf->mtime || stat.ctime != leaf->ctime))
        return MRMR_OK;
    if (!err)
        err = drv_unlink(drv, path);
    *freed += err ? 0 : leaf->size;
    return err == MRMR_ABSENT ? MRMR_OK : err;
}

/* Writers are let through between batches. */
static mrmr_err release_leaves(
    struct pool *pool, const struct pool_job *job, struct retained_drive *d)
{
    size_t n = retained_leaves(d);
    for (size_t at = 0; at < n; at += RELEASE_BATCH) {
        MRMR_TRY(pool_stop_for(pool, job, &d->drive->meta.id, 1));
        mrmr_err err = MRMR_OK;
        for (size_t i = at; !err && i < n && i < at + RELEASE_BATCH; i++)
            if (!retained_leaf_at(d, i)->needed)
                err = release_leaf(d->drive->drv, retained_leaf_at(d, i), &d->freed);
        pool_writers_go(pool->writers);
        MRMR_TRY(err);
    }
    return MRMR_OK;
}

struct letting_go {
    struct retained_drive *d;
    size_t seen;
    struct mrmr_bytes left; /* struct pool_pointer */
};

/* What came after the list was made stays. */
static mrmr_err let_go_pointer(const struct pool_pointer *pointer, void *arg)
{
    struct letting_go *l = arg;
    const struct retained_leaf *leaf = pool_retained_find(l->d, &pointer->digest);
    if (l->seen++ < l->d->pointers && leaf && !leaf->needed)
        return MRMR_OK;
    return mrmr_bytes_add(&l->left, pointer, sizeof *pointer);
}

/* Writers stand still. */
static mrmr_err let_go_pointers(struct letting_go *l)
{
    struct drv *drv = l->d->drive->drv;
    MRMR_TRY(pool_pointers_each(drv, let_go_pointer, l));
    size_t n = l->left.size / sizeof(struct pool_pointer);
    if (n == l->seen)
        return MRMR_OK;
    mrmr_err err = pool_pointers_replace(drv, (const struct pool_pointer *)(void *)l->left.data, n);
    if (err != MRMR_SPACE)
        return err;
    l->d->skipped = true; /* some more stay for now */
    return MRMR_OK;
}

static mrmr_err release_pointers(
    struct pool *pool, const struct pool_job *job, struct retained_drive *d)
{
    struct letting_go l = {.d = d};
    if (!d->pointers)
        return MRMR_OK;
    MRMR_TRY(pool_stop_for(pool, job, &d->drive->meta.id, 1));
    mrmr_err err = let_go_pointers(&l);
    pool_writers_go(pool->writers);
    mrmr_bytes_free(&l.left);
    return err;
}

static mrmr_err release_temps(struct retained_drive *d)
{
    for (size_t at = 0; at < d->temps.size; at += strlen(d->temps.data + at) + 1) {
        mrmr_err err = drv_unlink(d->drive->drv, d->temps.data + at);
        if (err && err != MRMR_ABSENT)
            return err;
    }
    return MRMR_OK;
}

/* The name of the file that a retained leaf's symlink leads to, appended; nothing for one that is
 * no symlink. */
static mrmr_err file_in_use(
    struct retained_drive *d, const struct retained_leaf *leaf, struct mrmr_bytes *names)
{
    mrmr_autobytes struct mrmr_bytes target = MRMR_BYTES_INIT;
    char hex[DIGEST_HEX + 1], path[POOL_RETAINED_PATH];
    mrmr_text_hex(leaf->digest.bytes, sizeof leaf->digest.bytes, hex);
    snprintf(path, sizeof path, POOL_RETAINED "/%.2s/%s", hex, hex);
    mrmr_err err = drv_readlink(d->drive->drv, path, &target);
    if (err == MRMR_ABSENT || err == MRMR_INVALID)
        return MRMR_OK;
    MRMR_TRY(err);
    const char *slash = !target.size ? NULL : memrchr(target.data, '/', target.size);
    size_t left = slash ? target.size - (size_t)(slash + 1 - target.data) : 0;
    return left > FILE_HEX ? mrmr_bytes_add(names, slash + 1, FILE_HEX) : MRMR_OK;
}

static mrmr_err file_pointed(const struct pool_pointer *pointer, void *arg)
{
    char hex[FILE_HEX + 1];
    mrmr_text_hex(pointer->file, sizeof pointer->file, hex);
    return mrmr_bytes_add(arg, hex, FILE_HEX);
}

static int name_compare(const void *a, const void *b)
{
    return memcmp(a, b, FILE_HEX);
}

/* Names of FILE_HEX bytes, sorted. *ret_all: there are no others, for all that leads to one was seen. */
static mrmr_err files_in_use(struct retained_drive *d, struct mrmr_bytes *names, bool *ret_all)
{
    struct retained_drive now = {.drive = d->drive};
    mrmr_err err = pool_retained_list_folders(&now);
    for (size_t i = 0; !err && i < retained_leaves(&now); i++)
        err = file_in_use(d, retained_leaf_at(&now, i), names);
    if (!err)
        err = pool_pointers_each(d->drive->drv, file_pointed, names);
    pool_retained_list_free(&now);
    *ret_all = !now.skipped;
    if (!err && names->size)
        qsort(names->data, names->size / FILE_HEX, FILE_HEX, name_compare);
    return err;
}

/* Something leads to the file of this name. */
static bool file_is_used(const struct mrmr_bytes *used, const char *name)
{
    return used->size && bsearch(name, used->data, used->size / FILE_HEX, FILE_HEX, name_compare);
}

/* --- files that have a name of the user's, too --- */

/* On its way. Open as long as what it was tells what it is: else the next scan compares it. */
struct linked {
    char path[POOL_RETAINED_PATH];
    struct drv_file *file;
    struct drv_stat before, after;
};

struct linked_batch {
    struct pool *pool;
    const struct pool_drive *drive;
    size_t n;
    struct linked linked[RELEASE_BATCH];
};

/* Writers stand still for four of them at most. */
static const int64_t longest_tick = MRMR_NS_PER_S / 20;

static bool linked_tells(const struct drv_stat *a, const struct drv_stat *b)
{
    return a->mtime == b->mtime && a->size == b->size && a->mode == b->mode && a->uid == b->uid &&
           a->gid == b->gid;
}

/* Writers stand still. */
static void linked_look(const struct pool_drive *drive, struct linked *l)
{
    mrmr_err err = drv_file_open(drive->drv, l->path, DRV_OPEN_READ, 0, &l->file);
    if (!err)
        err = drv_file_stat(l->file, &l->before);
    if (err || !l->before.ino || drive->info.time_grain > longest_tick)
        drv_file_close(mrmr_steal(l->file));
}

/* Who writes past those that stand still gives it another time, for its last change is long enough ago. */
static mrmr_err linked_unlink(const struct pool_drive *drive, struct linked *l, int64_t seen)
{
    struct drv_stat now;
    if (l->file)
        pool_tick_wait(&drive->info, &l->before, seen);
    const bool tells = l->file && !drv_file_stat(l->file, &now) && linked_tells(&now, &l->before) &&
                       now.ctime == l->before.ctime && now.nlink == l->before.nlink;
    mrmr_err err = drv_unlink(drive->drv, l->path);
    if (err || !tells || drv_file_stat(l->file, &l->after))
        drv_file_close(mrmr_steal(l->file));
    return err == MRMR_ABSENT || err == MRMR_IS_DIR ? MRMR_OK : err;
}

/* Nothing has changed of it but that one name went, and whatever changes it from now on gives it another time. */
static bool linked_is_as_it_was(const struct pool_drive *drive, struct linked *l, int64_t seen)
{
    const struct drv_stat *was = &l->before;
    struct drv_stat now;
    if (!l->file)
        return false;
    pool_tick_wait(&drive->info, &l->after, seen);
    return !drv_file_stat(l->file, &now) && now.ctime == l->after.ctime &&
           linked_tells(&now, was) && l->after.nlink + 1 == was->nlink &&
           now.nlink == l->after.nlink;
}

/* Where the catalog has the file as it was before its name here went, it has it as it is now. */
static mrmr_err linked_note(const struct linked_batch *batch, const struct linked *l)
{
    enum { MOST = 8 };
    struct meta *meta = batch->pool->meta;
    struct meta_node node[MOST];
    size_t n = 0;
    MRMR_TRY(meta_node_by_ino(meta, batch->drive->meta.id, l->before.ino, node, MOST, &n));
    for (size_t i = 0; i < n; i++)
        if (pool_stat_same(&batch->drive->info, &node[i], &l->before) == POOL_SAME)
            MRMR_TRY(meta_node_retime(meta, node[i].id, l->after.ctime, l->after.nlink));
    return MRMR_OK;
}

static mrmr_err linked_note_in(struct meta *meta, void *arg)
{
    const struct linked_batch *batch = arg;
    (void)meta;
    for (size_t i = 0; i < batch->n; i++)
        if (batch->linked[i].file)
            MRMR_TRY(linked_note(batch, &batch->linked[i]));
    return MRMR_OK;
}

/* Writers stand still; a tick is waited for once for all, before and after. */
static mrmr_err linked_unlink_all(struct linked_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++)
        linked_look(batch->drive, &batch->linked[i]);
    int64_t seen = mrmr_clock_monotonic();
    for (size_t i = 0; i < batch->n; i++)
        MRMR_TRY(linked_unlink(batch->drive, &batch->linked[i], seen));
    seen = mrmr_clock_monotonic();
    for (size_t i = 0; i < batch->n; i++)
        if (!linked_is_as_it_was(batch->drive, &batch->linked[i], seen))
            drv_file_close(mrmr_steal(batch->linked[i].file));
    return meta_atomically(batch->pool->meta, linked_note_in, batch);
}

/* A file that is kept, and has a name of the user's, too, is changed by that: its change time is another one. If nobody said so, the
 * next scan would read it, and what is protected of it would count as lost until then. */
static mrmr_err release_linked(const struct pool_job *job, struct linked_batch *batch)
{
    if (!batch->n)
        return MRMR_OK;
    MRMR_TRY(pool_stop_for(batch->pool, job, &batch->drive->meta.id, 1));
    mrmr_err err = linked_unlink_all(batch);
    pool_writers_go(batch->pool->writers);
    for (size_t i = 0; i < batch->n; i++)
        drv_file_close(batch->linked[i].file);
    batch->n = 0;
    return err;
}

/* --- files --- */

/* One that cannot be moved now stays, and is tried again the next time. */
static void settle_saved(
    struct pool *pool, const struct pool_job *job, struct retained_drive *d, const char *name)
{
    if (!pool_retained_settle_saved(pool, job, d->drive, name))
        return;
    mrmr_err_drive(mrmr_story_get()->err, d->drive->meta.name);
    d->skipped = true;
    mrmr_log_story(MRMR_LOG_WARN, "what somebody saved stays where it is");
}

/* What somebody saved there is put where it belongs, and stays. */
static bool file_may_go(struct pool *pool, const struct pool_job *job, struct retained_drive *d,
    const struct mrmr_bytes *used, const struct retained_file *file)
{
    const char *name = file->name;
    const size_t prefix = strlen(POOL_RETAINED_SAVED);
    const bool saved = strncmp(name, POOL_RETAINED_SAVED, prefix) == 0;
    const char *bare = saved ? name + prefix : name;
    if (pool_retained_is_file_name(bare) && file_is_used(used, bare))
        return false;
    if (saved)
        settle_saved(pool, job, d, name);
    return pool_retained_is_file_name(name);
}

static bool file_is_linked(const struct retained_file *file)
{
    return file->seen && file->stat.nlink > 1;
}

static mrmr_err release_file(struct retained_drive *d, const struct retained_file *file)
{
    char path[POOL_RETAINED_PATH];
    snprintf(path, sizeof path, POOL_RETAINED_FILES "/%s", file->name);
    mrmr_err err = drv_unlink(d->drive->drv, path);
    if (!err && file->seen)
        d->freed += file->stat.allocated;
    return err == MRMR_ABSENT || err == MRMR_IS_DIR ? MRMR_OK : err;
}

/* Those that have no other name, for which nobody has to stand still. */
static mrmr_err release_unlinked_files(struct pool *pool, const struct pool_job *job,
    struct retained_drive *d, const struct mrmr_bytes *used)
{
    for (size_t i = 0; i < retained_files(d); i++) {
        const struct retained_file *file = retained_file_at(d, i);
        if (file_may_go(pool, job, d, used, file) && !file_is_linked(file))
            MRMR_TRY(release_file(d, file));
    }
    return MRMR_OK;
}

/* Writers are let through between batches. */
static mrmr_err release_linked_files(struct pool *pool, const struct pool_job *job,
    struct retained_drive *d, const struct mrmr_bytes *used)
{
    mrmr_autofree struct linked_batch *batch = calloc(1, sizeof *batch);
    if (!batch)
        return mrmr_nomem();
    batch->pool = pool;
    batch->drive = d->drive;
    for (size_t i = 0; i < retained_files(d); i++) {
        const struct retained_file *file = retained_file_at(d, i);
        if (!file_is_linked(file) || !pool_retained_is_file_name(file->name) ||
            file_is_used(used, file->name))
            continue;
        struct linked *l = &batch->linked[batch->n++];
        *l = (struct linked){.file = NULL};
        snprintf(l->path, sizeof l->path, POOL_RETAINED_FILES "/%s", file->name);
        if (batch->n == RELEASE_BATCH)
            MRMR_TRY(release_linked(job, batch));
    }
    return release_linked(job, batch);
}

/* A file on the list has all the symlinks and pointers that it will ever have. */
static mrmr_err release_files(
    struct pool *pool, const struct pool_job *job, struct retained_drive *d)
{
    mrmr_autobytes struct mrmr_bytes used = MRMR_BYTES_INIT;
    bool all;
    if (!d->files.size)
        return MRMR_OK;
    MRMR_TRY(files_in_use(d, &used, &all));
    d->skipped = d->skipped || !all;
    if (!all)
        return MRMR_OK; /* what cannot be seen may lead to any of them */
    MRMR_TRY(release_unlinked_files(pool, job, d, &used));
    return release_linked_files(pool, job, d, &used);
}

/* Writers stand still once after the list was made: what they saved before that and wrote over, the look sees, and none of
 * their temporary files is on the list. What they saved and have not written over yet they know nothing of from then on, as of
 * a new epoch: whoever does saves it first once more, so that it is not as it was on the list. */
static mrmr_err release_begin(struct pool *pool, const struct pool_job *job, int64_t drive)
{
    MRMR_TRY(pool_stop_for(pool, job, &drive, 1));
    mrmr_err err = pool_writers_new_epoch(pool->writers);
    pool_writers_go(pool->writers);
    return err;
}

static mrmr_err release_drive(
    struct pool *pool, const struct pool_job *job, struct retained_drive *d)
{
    if (!d->leaves.size && !d->files.size && !d->temps.size)
        return MRMR_OK;
    MRMR_TRY(release_begin(pool, job, d->drive->meta.id));
    if (d->leaves.size)
        MRMR_TRY(look_at_drive(pool, job, d));
    MRMR_TRY(pool_drive_attach(pool, d->drive));
    MRMR_TRY(pool_drive_still_ours(pool, d->drive));
    MRMR_TRY(release_leaves(pool, job, d));
    MRMR_TRY(release_pointers(pool, job, d));
    MRMR_TRY(release_temps(d));
    MRMR_TRY(release_files(pool, job, d));
    /* What was given away comes from what is free now. */
    if (pool_drive_slack_keep(pool, d->drive))
        mrmr_log_story(MRMR_LOG_INFO, "keeping slack");
    return MRMR_OK;
}

mrmr_err pool_retained_release(
    struct pool *pool, const struct pool_job *job, struct pool_retained *retained)
{
    for (size_t i = 0; i < retained->n; i++) {
        struct retained_drive *d = &retained->drive[i];
        MRMR_TRY(pool_job_poll(job));
        const bool may = pool_drive_writable(d->drive);
        mrmr_err err = may ? release_drive(pool, job, d) : MRMR_OK;
        retained->left_out = retained->left_out || !may || err || d->skipped;
        retained->freed += d->freed;
        if (d->freed)
            pool_short_step(pool->dirfd, POOL_SHORT_TURN);
        if (mrmr_ran_short(err) || err == MRMR_CANCELLED || err == MRMR_BUSY)
            return err;
        if (err) {
            mrmr_err_drive(err, d->drive->meta.name);
            mrmr_log_story(MRMR_LOG_INFO, "what is retained stays for now");
        }
    }
    return MRMR_OK;
}
