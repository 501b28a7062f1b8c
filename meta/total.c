/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Totals. Files are counted one by one; extents are not: their blocks know.
 */
#include "meta/query.h"

/* One query of up to three sums into up to three places; ?1 … ?2 are the drives. */
static mrmr_err sums(struct meta *meta, const char *sql, int64_t drive, uint64_t *to[], int n)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql,
        META_ARGS(META_INT(drive ? drive : 1), META_INT(drive ? drive : INT64_MAX))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    for (int i = 0; i < n; i++)
        *to[i] = meta_col_u64(&q, i);
    return meta_query_sound(&q);
}

mrmr_err meta_totals(struct meta *meta, int64_t drive, struct meta_totals *ret_totals)
{
    mrmr_locked(&meta->lock);
    struct meta_totals t = {0};
    MRMR_TRY(sums(meta,
        "SELECT count(*), coalesce(sum(type = 0), 0),"
        " coalesce(sum(CASE WHEN type = 0 THEN size END), 0)"
        " FROM node WHERE drive BETWEEN ? AND ?",
        drive, (uint64_t *[]){&t.nodes, &t.files, &t.file_bytes}, 3));
    MRMR_TRY(sums(meta,
        "SELECT coalesce(sum(extents), 0), coalesce(sum(bytes), 0) FROM block "
        "WHERE drive BETWEEN ? AND ?",
        drive, (uint64_t *[]){&t.extents, &t.extent_bytes}, 2));
    MRMR_TRY(sums(meta, "SELECT coalesce(sum(file_size), 0) FROM row WHERE drive BETWEEN ? AND ?",
        drive, (uint64_t *[]){&t.row_bytes}, 1));
    MRMR_TRY(sums(meta,
        "SELECT coalesce(sum(bytes), 0) FROM extent INDEXED BY extent_drive_off "
        "WHERE state <> 0 AND state IN (2, 3) AND drive BETWEEN ? AND ?",
        drive, (uint64_t *[]){&t.unwanted_bytes}, 1));
    if (drive)
        MRMR_TRY(sums(meta,
            "SELECT count(*) FROM (SELECT stripe FROM block WHERE drive BETWEEN ?1 AND ?2 "
            "UNION SELECT stripe FROM row WHERE drive BETWEEN ?1 AND ?2)",
            drive, (uint64_t *[]){&t.stripes}, 1));
    else
        MRMR_TRY(sums(meta, "SELECT count(*) FROM stripe", 0, (uint64_t *[]){&t.stripes}, 1));
    *ret_totals = t;
    return MRMR_OK;
}

mrmr_err meta_size(struct meta *meta, uint64_t *ret_bytes)
{
    mrmr_locked(&meta->lock);
    bool found;
    int64_t bytes;
    MRMR_TRY(meta_run_int(meta,
        "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()", NULL, &found,
        &bytes));
    *ret_bytes = found ? (uint64_t)bytes : 0;
    return MRMR_OK;
}
