/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Mend: where the rows of a new generation, or those that a stripe lacks, go. Nothing is written here.
 */
#include "pool/jobs/mend.h"

#include <string.h>

static bool image_has_drive(const struct pool_image *image, int64_t drive)
{
    for (size_t i = 0; i < image->head.extents; i++)
        if (image->extent[i].drive == drive)
            return true;
    for (size_t i = 0; i < image->head.rows; i++)
        if (image->row[i].drive == drive)
            return true;
    return false;
}

static bool image_has_domain(struct pool *pool, const struct pool_image *image, const char *domain)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (!strcmp(pool->drives[i]->meta.domain, domain) &&
            image_has_drive(image, pool->drives[i]->meta.id))
            return true;
    return false;
}

/* Rows lie there, or may be put there. */
static bool mend_may_have_rows(const struct mend *m, const struct pool_drive *drive)
{
    return pool_drive_writable(drive) && drive->meta.id != m->leave;
}

/* Has a row of the stripe that stays where it is, although the image is without it. */
static bool mend_keeps_row(const struct meta_stripe *staying, int64_t drive)
{
    for (size_t i = 0; staying && i < staying->rows; i++)
        if (staying->row[i].drive == drive)
            return true;
    return false;
}

/* The least-used drive that may take a row beside what the image has, one of a new domain if there
 * is any (I6); NULL if there is none. */
static struct pool_drive *mend_row_drive(const struct mend *m, const struct pool_image *image,
    const struct meta_stripe *staying, uint64_t length)
{
    struct pool *pool = m->pool;
    struct pool_drive *best = NULL;
    uint64_t best_used = 0;
    bool best_apart = false;
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        uint64_t room;
        struct drv_space space;
        if (!mend_may_have_rows(m, drive) || image_has_drive(image, drive->meta.id) ||
            mend_keeps_row(staying, drive->meta.id) || pool_drive_room(pool, drive, &room) ||
            room < pool_row_bound(length) || drv_space(drive->drv, &space))
            continue;
        bool apart = !image_has_domain(pool, image, drive->meta.domain);
        uint64_t used = space.total - space.avail;
        if (!best || (apart && !best_apart) || (apart == best_apart && used < best_used)) {
            best = drive;
            best_used = used;
            best_apart = apart;
        }
    }
    return best;
}

/* A row beyond the redundancy that something may depend on, where a drive is left: it goes from there to another one, too, and the
 * others of the kind stay. Anywhere else whether it is wanted is asked by itself (mend_may_drop). */
static bool mend_wants_over(const struct mend *m, const struct meta_row *row)
{
    return m->leave && (row->drive == m->leave ||
                           (row->state == META_ROW_OK &&
                               mend_may_have_rows(m, pool_drive_by_id(m->pool, row->drive))));
}

mrmr_err pool_mend_place_rows(
    struct mend *m, struct pool_image *image, const struct meta_stripe *staying, uint64_t length)
{
    struct meta_row had[META_ROWS_MAX];
    bool wanted[META_ROWS_MAX];
    size_t n = image->head.rows;
    memcpy(had, image->row, sizeof had);
    image->head.rows = 0;
    for (unsigned index = 0; index < META_ROWS_MAX; index++)
        wanted[index] = index < m->redundancy;
    for (size_t i = 0; i < n; i++) {
        wanted[had[i].index] = wanted[had[i].index] || mend_wants_over(m, &had[i]);
        if (wanted[had[i].index] &&
            mend_may_have_rows(m, pool_drive_by_id(m->pool, had[i].drive)) &&
            !image_has_drive(image, had[i].drive))
            image->row[image->head.rows++] = had[i];
    }
    for (unsigned index = 0; index < META_ROWS_MAX; index++) {
        bool there = !wanted[index];
        for (size_t i = 0; i < image->head.rows; i++)
            there = there || image->row[i].index == index;
        if (there)
            continue;
        struct pool_drive *drive = mend_row_drive(m, image, staying, length);
        if (!drive)
            break;
        MRMR_TRY(pool_image_add_row(image, index, drive->meta.id));
    }
    return MRMR_OK;
}
