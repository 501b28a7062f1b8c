/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/transaction.h"

static mrmr_err todo_add_drive_locked(
    struct meta *meta, const char *job, int64_t drive, uint64_t *ret_n)
{
    MRMR_TRY(meta_run(meta,
        "INSERT OR IGNORE INTO todo (job, node) SELECT ?1, id FROM node WHERE drive = ?2 "
        "AND id <> (SELECT root FROM drive WHERE id = ?2)",
        META_ARGS(META_TEXT(job), META_INT(drive))));
    *ret_n = (uint64_t)sqlite3_changes64(meta->db);
    return MRMR_OK;
}

mrmr_err meta_todo_add_drive(struct meta *meta, const char *job, int64_t drive, uint64_t *ret_n)
{
    mrmr_locked(&meta->lock);
    uint64_t n = 0;
    MRMR_TRY(meta_write_begin(meta));
    MRMR_TRY(meta_write_end(meta, todo_add_drive_locked(meta, job, drive, &n)));
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err meta_todo_add(struct meta *meta, const char *job, int64_t node)
{
    return meta_write(meta, "INSERT OR IGNORE INTO todo (job, node) VALUES (?, ?)",
        META_ARGS(META_TEXT(job), META_INT(node)));
}

mrmr_err meta_todo_done(struct meta *meta, const char *job, int64_t node)
{
    return meta_write(meta, "DELETE FROM todo WHERE job = ? AND node = ?",
        META_ARGS(META_TEXT(job), META_INT(node)));
}

mrmr_err meta_todo_after(struct meta *meta, const char *job, int64_t after, int64_t *ret_nodes,
    size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    return meta_run_ids(meta,
        "SELECT node FROM todo WHERE job = ? AND node > ? ORDER BY node LIMIT ?",
        META_ARGS(META_TEXT(job), META_INT(after), META_INT(most)), ret_nodes, most, ret_n);
}

mrmr_err meta_todo_has(struct meta *meta, const char *job, int64_t node, bool *ret_has)
{
    mrmr_locked(&meta->lock);
    int64_t id;
    bool found;
    MRMR_TRY(meta_run_int(meta, "SELECT node FROM todo WHERE job = ? AND node = ?",
        META_ARGS(META_TEXT(job), META_INT(node)), &found, &id));
    *ret_has = found;
    return MRMR_OK;
}

mrmr_err meta_todo_totals(
    struct meta *meta, const char *job, int64_t drive, uint64_t *ret_nodes, uint64_t *ret_bytes)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT count(*), coalesce(sum(CASE WHEN n.type = 0 THEN n.size END), 0) "
        "FROM todo t CROSS JOIN node n ON n.id = t.node "
        "WHERE t.job = ?1 AND n.drive BETWEEN ?2 AND ?3",
        META_ARGS(
            META_TEXT(job), META_INT(drive ? drive : 1), META_INT(drive ? drive : INT64_MAX))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    uint64_t nodes = meta_col_u64(&q, 0), bytes = meta_col_u64(&q, 1);
    MRMR_TRY(meta_query_sound(&q));
    *ret_nodes = nodes;
    *ret_bytes = bytes;
    return MRMR_OK;
}
