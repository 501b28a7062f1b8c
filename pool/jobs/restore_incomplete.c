/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file of a drive that is given up, of which some leaves are nowhere any more: what there is of it comes back beside its place, under
 * a name that says so, with holes for the rest. Under its own name nothing comes back, for nobody may take it for whole. A drive
 * that is not given up keeps such a file as it is, and so does one of whose stripes another drive may give more, or enough is known to be there and could
 * only not be read: one error, or a line that was down for a moment, gives up nothing.
 *
 * Crash argument. It goes the way of a batch of restore.c: the copy is made under .mrmr/work, every leaf verified, and synced; it
 * gets its name without replacing anything (I1), and that is synced; then one transaction takes it. That one also gives up what
 * is missing: the node has the new name and no other, leaves that nothing gives are holes of it, those that are back as they were before an edit that was
 * not compared yet are exposed, with what was protected standing in, of what else is back its extents
 * count on as those of any file that came back, and the event is told. So nothing that was protected is less so at any moment. The cut points:
 *
 *  1  before the name: nothing of a user's is touched, and the next run begins anew.
 *  2  between the name and the transaction: the file lies there, and the node is to do as before. The next run makes its copy, and looks on
 *     the drives that it may come to at what has the name: if that has the same size, time and bytes, it is taken, and there is no second one. A scan
 *     may have met it before, as a new file: it is that from then on, and the same transaction takes the old node out of the catalog. What somebody
 *     changed since is his; so is what he has under such a name himself: the copy gets the next number.
 *  3  after the transaction: nothing is left to do of it.
 */
#include "pool/drive/drive.h"
#include "pool/jobs/rebuild.h"
#include "pool/margin.h"

#include "pool/stripe/buffers.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { NUMBERS_MOST = 1000, RANGES_TOLD = 16 };

/* --- Whether --- */

bool pool_restore_may_lack(const struct restore *item)
{
    return item->node.type == META_REG && item->rebuild->drive->meta.state != META_DRIVE_ACTIVE;
}

static bool is_missing(const struct restore *item, uint64_t leaf)
{
    const struct pool_missing_run *run = pool_missing_at(&item->missing, leaf);
    return run && !run->older;
}

static const struct meta_extent *extent_of_view(const struct pool_view *view, int64_t id)
{
    const struct meta_stripe *image = pool_view_image(view);
    for (size_t i = 0; i < image->extents; i++)
        if (image->extent[i].id == id)
            return &image->extent[i];
    return NULL;
}

/* Some missing leaf of it has enough left to be decoded from, by all that is known. */
static mrmr_err extent_has_enough(
    const struct restore *item, const struct meta_extent *extent, bool *ret_enough)
{
    struct pool *pool = item->rebuild->pool;
    struct pool_view *view;
    MRMR_TRY(pool_view_get(pool, extent->stripe, &view));
    const struct meta_extent *own = extent_of_view(view, extent->id);
    mrmr_err err = own ? MRMR_OK : mrmr_fail(MRMR_CHANGED, "its stripe changed meanwhile");
    for (uint64_t i = 0; !err && i < own->leaves && !*ret_enough; i++) {
        struct meta_extent leaf = *own;
        bool erased;
        if (!is_missing(item, own->first + i) ||
            !(pool_extent_wanted(own) || pool_stand_in_fits(&item->node, own, own->first + i)))
            continue;
        leaf.place += i * META_LEAF;
        leaf.bytes = pool_leaf_size(own, i);
        *ret_enough = pool_extent_margin(pool, pool_view_image(view), &leaf, &erased) >= 0;
    }
    pool_view_put(pool, view);
    return err;
}

/* What could not be read, though nothing says why not, may be read another time: it is not given up. A scrub notes what is damaged. */
static mrmr_err incomplete_is_known(const struct restore *item)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    bool enough = false;
    MRMR_TRY(meta_extents_of(item->rebuild->pool->meta, item->node.id, &extents, &n));
    for (size_t i = 0; i < n && !enough; i++)
        MRMR_TRY(extent_has_enough(item, &extents[i], &enough));
    return enough ? mrmr_err_hint(
                        mrmr_fail(MRMR_LOST, "not all of it could be read, though enough of its "
                                             "stripes is there"),
                        "run rebuild again; if that does not help, `mrmr scrub` finds what is "
                        "damaged, and then what is left of it comes back")
                  : MRMR_OK;
}

static mrmr_err incomplete_may_be(const struct restore *item)
{
    const struct rebuild *rebuild = item->rebuild;
    const struct pool_drive *other = NULL;
    if (item->missing.undecoded)
        MRMR_TRY(pool_rebuild_waits(rebuild, item->node.id, &other));
    if (other)
        return mrmr_err_hint(
            mrmr_fail(MRMR_LOST, "not all of it can be read while drive '%s' is %s",
                other->meta.name, pool_drive_present(other) ? "not whole" : "away"),
            "connect it, or finish its rebuild, and run rebuild again; or, if it is lost for good, "
            "give it up, too: mrmr rebuild %s --accept-losses, then mrmr rebuild %s "
            "--accept-losses",
            other->meta.name, rebuild->drive->meta.name);
    if (item->missing.undecoded)
        MRMR_TRY(incomplete_is_known(item));
    return item->missing.got ? MRMR_OK
                             : mrmr_fail(MRMR_LOST, "nothing of it was protected when its drive "
                                                    "went away, or can be read any more");
}

mrmr_err pool_restore_incomplete(struct restore *item)
{
    mrmr_err err = incomplete_may_be(item);
    item->incomplete = !err;
    if (!err)
        return MRMR_OK;
    struct mrmr_story story;
    mrmr_story_save(&story);
    drv_unlink(item->target->drv, item->work);
    return mrmr_story_restore(&story);
}

/* --- Its name --- */

/* Cut where it is too long, not within a letter. */
static mrmr_err incomplete_path(const char *path, unsigned number, struct mrmr_bytes *ret_path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char suffix[32] = ".incomplete";
    if (number > 1)
        snprintf(suffix, sizeof suffix, ".incomplete.%u", number);
    const size_t most = META_NAME_MAX - strlen(suffix);
    size_t size = strlen(name);
    if (size > most) {
        for (size = most; size && ((unsigned char)name[size] & 0xc0) == 0x80;)
            size--;
        size = size ? size : most;
    }
    mrmr_bytes_clear(ret_path);
    MRMR_TRY(mrmr_bytes_add(ret_path, path, (size_t)(name - path) + size));
    return mrmr_bytes_str(ret_path, suffix);
}

static mrmr_err same_bytes(const struct restore *item, struct drv_file *there,
    struct drv_file *copy, uint8_t *buf, bool *ret_same)
{
    const uint64_t size = item->node.size;
    *ret_same = true;
    for (uint64_t at = 0; at < size && *ret_same; at += META_LEAF) {
        size_t n = size - at < META_LEAF ? size - at : META_LEAF;
        MRMR_TRY(pool_job_poll(item->rebuild->job));
        MRMR_TRY(drv_file_read_exact(there, at, buf, n));
        MRMR_TRY(drv_file_read_exact(copy, at, buf + META_LEAF, n));
        *ret_same = memcmp(buf, buf + META_LEAF, n) == 0;
    }
    return MRMR_OK;
}

/* What a run that was cut short has put there. */
static mrmr_err incomplete_is_copy(const struct restore *item, struct pool_drive *drive,
    const char *path, const struct drv_stat *stat, bool *ret_is)
{
    struct drv_file *there = NULL, *copy = NULL;
    struct drv_stat made;
    *ret_is = false;
    if (drive != item->target &&
        !(item->rebuild->away && pool_restore_may_take(item->rebuild, drive)))
        return MRMR_OK; /* the node cannot go there */
    MRMR_TRY(drv_stat(item->target->drv, item->work, &made));
    if (!pool_drive_writable(drive) || stat->type != DRV_REG || stat->size != made.size ||
        stat->mtime != made.mtime)
        return MRMR_OK;
    mrmr_autofree uint8_t *buf = malloc(2 * META_LEAF);
    mrmr_err err = buf ? drv_file_open(drive->drv, path, DRV_OPEN_READ, 0, &there) : mrmr_nomem();
    if (!err)
        err = drv_file_open(item->target->drv, item->work, DRV_OPEN_READ, 0, &copy);
    if (!err)
        err = same_bytes(item, there, copy, buf, ret_is);
    drv_file_close(there);
    drv_file_close(copy);
    return err;
}

enum incomplete_place { PLACE_FREE, PLACE_TAKEN, PLACE_HAS_IT };

static mrmr_err look_on(
    struct restore *item, struct pool_drive *drive, const char *path, enum incomplete_place *place)
{
    struct meta_node known;
    struct drv_stat stat;
    bool is = false;
    mrmr_err err = MRMR_ABSENT;
    if (pool_drive_present(drive))
        err = drv_stat(drive->drv, path, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR) {
        err = meta_lookup_path(item->rebuild->pool->meta, drive->meta.root, path, &known);
        if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
            return MRMR_OK;
        *place = PLACE_TAKEN; /* the drive is away, or what it lacks there may come back */
        return err;
    }
    MRMR_TRY(mrmr_err_drive(err, drive->meta.name));
    MRMR_TRY(mrmr_err_drive(incomplete_is_copy(item, drive, path, &stat, &is), drive->meta.name));
    *place = is ? PLACE_HAS_IT : PLACE_TAKEN;
    if (is) {
        drv_unlink(item->target->drv, item->work);
        item->target = drive;
        item->there = stat;
    }
    return MRMR_OK;
}

mrmr_err pool_restore_incomplete_path(struct restore *item)
{
    struct pool *pool = item->rebuild->pool;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    enum incomplete_place place = PLACE_TAKEN;
    for (unsigned number = 1; place == PLACE_TAKEN; number++) {
        if (number > NUMBERS_MOST)
            return mrmr_fail(
                MRMR_EXISTS, "there are %u files '%s' already", NUMBERS_MOST, path.data);
        MRMR_TRY(incomplete_path(item->path.data, number, &path));
        place = PLACE_FREE;
        for (size_t i = 0; i < pool->ndrives && place == PLACE_FREE; i++)
            MRMR_TRY(look_on(item, pool->drives[i], path.data, &place));
    }
    mrmr_bytes_clear(&item->path);
    MRMR_TRY(mrmr_bytes_str(&item->path, path.data));
    if (place == PLACE_FREE)
        return MRMR_OK;
    item->state = RESTORE_KEPT;
    return pool_drive_attach(pool, item->target);
}

/* --- What is missing of it --- */

static mrmr_err give_up_extent(struct restore *item, const struct meta_extent *extent)
{
    mrmr_autofree struct meta_verdict *verdict = calloc(extent->leaves, sizeof *verdict);
    bool any = false;
    if (!verdict)
        return mrmr_nomem();
    for (uint64_t i = 0; i < extent->leaves; i++) {
        const uint64_t leaf = extent->first + i;
        const struct pool_missing_run *run = pool_missing_at(&item->missing, leaf);
        const enum meta_extent_state lacks = run && run->older ? META_STALE : META_GONE;
        verdict[i] = (struct meta_verdict){1, run ? lacks : extent->state, false};
        any = any || run;
    }
    return any ? meta_extent_judge(item->rebuild->pool->meta, extent->id, verdict, extent->leaves)
               : MRMR_OK;
}

mrmr_err pool_restore_give_up_missing(struct restore *item)
{
    struct meta *meta = item->rebuild->pool->meta;
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    for (size_t i = 0; i < item->missing.n; i++)
        if (!item->missing.run[i].older)
            MRMR_TRY(meta_unexpose(
                meta, item->node.id, item->missing.run[i].first, item->missing.run[i].leaves));
    MRMR_TRY(meta_extents_of(meta, item->node.id, &extents, &n));
    for (size_t i = 0; i < n; i++)
        if (pool_extent_wanted(&extents[i]))
            MRMR_TRY(give_up_extent(item, &extents[i]));
    item->node.version++;
    return MRMR_OK;
}

static uint64_t run_end(const struct restore *item, const struct pool_missing_run *run)
{
    const uint64_t end = (run->first + run->leaves) * META_LEAF;
    return end < item->node.size ? end : item->node.size;
}

uint64_t pool_restore_missing_bytes(const struct restore *item)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < item->missing.n; i++)
        if (!item->missing.run[i].older)
            bytes += run_end(item, &item->missing.run[i]) - item->missing.run[i].first * META_LEAF;
    return bytes;
}

/* "0-1048575, 2097152-3145727 and 4 more", after `what`; nothing where there are none. */
static mrmr_err say_ranges(
    const struct restore *item, bool older, const char *what, struct mrmr_bytes *text)
{
    const struct pool_missing *missing = &item->missing;
    size_t n = 0;
    for (size_t i = 0; i < missing->n; i++) {
        if (missing->run[i].older != older || n++ >= RANGES_TOLD)
            continue;
        MRMR_TRY(mrmr_bytes_fmt(text, "%s%" PRIu64 "-%" PRIu64, n > 1 ? ", " : what,
            missing->run[i].first * META_LEAF, run_end(item, &missing->run[i]) - 1));
    }
    return n > RANGES_TOLD ? mrmr_bytes_fmt(text, " and %zu more", n - RANGES_TOLD) : MRMR_OK;
}

mrmr_err pool_restore_tell_incomplete(struct restore *item, const char *was)
{
    mrmr_autobytes struct mrmr_bytes ranges = MRMR_BYTES_INIT;
    MRMR_TRY(say_ranges(item, false, ", with zeros for the bytes ", &ranges));
    MRMR_TRY(say_ranges(item, true, ", before it was last written to in the bytes ", &ranges));
    pool_tell(item->rebuild->pool, NULL, true, "restored-incomplete", item->target,
        "'%.400s' was not wholly protected when its drive was given up: what was is on drive %s as "
        "'%.400s'%s",
        was, item->target->meta.name, item->path.data, ranges.data);
    return MRMR_OK;
}
