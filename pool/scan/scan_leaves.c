/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A leaf without any data is a hole: it is neither exposed nor in an extent, and reads as zeros
 * wherever the file is restored.
 */
#include "pool/scan/scan.h"

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

/* Add [first, end) leaves of a file of that size; they come in order, and may share a leaf with
 * what came before. */
static mrmr_err leaves_add(
    struct pool_scan_leaves *leaves, uint64_t first, uint64_t end, uint64_t size)
{
    uint64_t limit = end * META_LEAF < size ? end * META_LEAF : size;
    struct pool_scan_run *last = leaves->n ? &leaves->run[leaves->n - 1] : NULL;
    if (last && last->first + last->leaves >= first) {
        if (end > last->first + last->leaves) {
            last->leaves = end - last->first;
            last->bytes = limit - last->first * META_LEAF;
        }
        return MRMR_OK;
    }
    if (leaves->n == leaves->room) {
        size_t room = leaves->room ? 2 * leaves->room : 4;
        struct pool_scan_run *grown = realloc(leaves->run, room * sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        leaves->run = grown;
        leaves->room = room;
    }
    leaves->run[leaves->n++] =
        (struct pool_scan_run){first, end - first, limit - first * META_LEAF};
    return MRMR_OK;
}

static uint64_t leaves_end(uint64_t bytes)
{
    return bytes / META_LEAF + (bytes % META_LEAF != 0);
}

static mrmr_err leaves_sparse(
    struct drv *drv, const char *path, uint64_t size, struct pool_scan_leaves *leaves)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    mrmr_err err = drv_file_open(drv, path, DRV_OPEN_READ, 0, &file);
    for (uint64_t at = 0, start = 0, end = 0; !err && at < size; at = end) {
        err = drv_file_next_data(file, at, &start, &end);
        if (err || start >= size || end <= start)
            break;
        if (end > size)
            end = size;
        MRMR_TRY(leaves_add(leaves, start / META_LEAF, leaves_end(end), size));
    }
    if (!err)
        return MRMR_OK;
    leaves->n = 0;
    return leaves_add(leaves, 0, leaves_end(size), size);
}

mrmr_err pool_scan_leaves_of(
    struct drv *drv, const char *path, const struct drv_stat *stat, struct pool_scan_leaves *leaves)
{
    leaves->n = 0;
    if (stat->type != DRV_REG || !stat->size)
        return MRMR_OK;
    if (stat->allocated < stat->size)
        return leaves_sparse(drv, path, stat->size, leaves);
    return leaves_add(leaves, 0, leaves_end(stat->size), stat->size);
}

static mrmr_err leaves_expose_run(
    struct meta *meta, int64_t drive, int64_t node, const struct pool_scan_run *run, int64_t since)
{
    const struct meta_exposed range = {.drive = drive,
        .node = node,
        .first = run->first,
        .leaves = run->leaves,
        .bytes = run->bytes,
        .since = since};
    return meta_expose(meta, &range);
}

mrmr_err pool_scan_leaves_expose(struct meta *meta, int64_t drive, int64_t node,
    const struct pool_scan_leaves *leaves, int64_t since)
{
    for (size_t i = 0; i < leaves->n; i++)
        MRMR_TRY(leaves_expose_run(meta, drive, node, &leaves->run[i], since));
    return MRMR_OK;
}

/* --- The rest --- */

struct leaves_cover {
    struct meta_extent *extent;
    struct meta_exposed *exposed;
    size_t nextents, nexposed;
};

/* True if leaf `at` is covered; *ret_next: where that changes, at most end. */
static bool leaves_covered(
    const struct leaves_cover *cover, uint64_t at, uint64_t end, uint64_t *ret_next)
{
    *ret_next = end;
    for (size_t i = 0; i < cover->nextents + cover->nexposed; i++) {
        const struct meta_extent *e = i < cover->nextents ? &cover->extent[i] : NULL;
        const struct meta_exposed *x = e ? NULL : &cover->exposed[i - cover->nextents];
        uint64_t first = e ? e->first : x->first, leaves = e ? e->leaves : x->leaves;
        if ((e && !pool_extent_wanted(e)) || first + leaves <= at)
            continue;
        if (first <= at) {
            *ret_next = first + leaves < end ? first + leaves : end;
            return true;
        }
        if (first < *ret_next)
            *ret_next = first;
    }
    return false;
}

static mrmr_err leaves_expose_uncovered(struct meta *meta, int64_t drive, int64_t node,
    const struct leaves_cover *cover, const struct pool_scan_run *run, int64_t since)
{
    uint64_t end = run->first + run->leaves;
    for (uint64_t at = run->first, next; at < end; at = next) {
        if (leaves_covered(cover, at, end, &next))
            continue;
        uint64_t bytes =
            next == end ? run->bytes - (at - run->first) * META_LEAF : (next - at) * META_LEAF;
        const struct pool_scan_run rest = {at, next - at, bytes};
        MRMR_TRY(leaves_expose_run(meta, drive, node, &rest, since));
    }
    return MRMR_OK;
}

mrmr_err pool_scan_leaves_expose_rest(struct meta *meta, int64_t drive, int64_t node,
    const struct pool_scan_leaves *leaves, int64_t since)
{
    struct leaves_cover cover = {.nextents = 0};
    MRMR_TRY(meta_extents_of(meta, node, &cover.extent, &cover.nextents));
    mrmr_err err = meta_exposed_of(meta, node, &cover.exposed, &cover.nexposed);
    for (size_t i = 0; !err && i < leaves->n; i++)
        err = leaves_expose_uncovered(meta, drive, node, &cover, &leaves->run[i], since);
    free(cover.extent);
    free(cover.exposed);
    return err;
}

void pool_scan_leaves_free(struct pool_scan_leaves *leaves)
{
    free(leaves->run);
    *leaves = (struct pool_scan_leaves){.n = 0};
}
