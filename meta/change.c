/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/node.h"
#include "meta/transaction.h"

#include <string.h>

static mrmr_err change_sane(const struct meta_change *change)
{
    if ((unsigned)change->kind > META_CHANGE_HELD)
        return mrmr_fail(MRMR_INVALID, "a change has the unknown kind %d", (int)change->kind);
    if (change->name[0])
        MRMR_TRY(meta_name_sane(change->name));
    return meta_node_sane(&change->now);
}

static mrmr_err change_add_locked(
    struct meta *meta, const struct meta_change *change, int64_t *ret_id)
{
    MRMR_TRY(change_sane(change));
    const struct meta_node *now = &change->now;
    bool found;
    return meta_run_int(meta,
        "INSERT INTO change (drive, kind, node, parent, name, type, mode, uid, gid, nlink, size, "
        "ino, rdev, mtime, ctime, btime) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (node, kind, parent, name) DO UPDATE SET drive = excluded.drive, "
        "type = excluded.type, mode = excluded.mode, uid = excluded.uid, gid = excluded.gid, "
        "nlink = excluded.nlink, size = excluded.size, ino = excluded.ino, rdev = excluded.rdev, "
        "mtime = excluded.mtime, ctime = excluded.ctime, btime = excluded.btime RETURNING id",
        META_ARGS(META_INT(change->drive), META_INT(change->kind), META_INT(change->node),
            META_INT(change->parent), META_BLOB(change->name, strlen(change->name)),
            META_INT(now->type), META_INT(now->mode), META_INT(now->uid), META_INT(now->gid),
            META_INT(now->nlink), META_INT(now->size), META_INT(now->ino), META_INT(now->rdev),
            META_INT(now->mtime), META_INT(now->ctime), META_INT(now->btime)),
        &found, ret_id);
}

mrmr_err meta_change_add(struct meta *meta, struct meta_change *change)
{
    mrmr_locked(&meta->lock);
    int64_t id = 0;
    MRMR_TRY(meta_write_begin(meta));
    MRMR_TRY(meta_write_end(meta, change_add_locked(meta, change, &id)));
    change->id = id;
    return MRMR_OK;
}

static void change_read(struct meta_query *q, struct meta_change *change)
{
    *change = (struct meta_change){.id = meta_col_id(q, 0)};
    change->drive = meta_col_id(q, 1);
    change->kind =
        (enum meta_change_kind)meta_col_range(q, 2, META_CHANGE_VANISHED, META_CHANGE_HELD);
    change->node = meta_col_range(q, 3, 0, INT64_MAX);
    change->parent = meta_col_range(q, 4, 0, INT64_MAX);
    if (sqlite3_column_bytes(q->stmt, 5))
        meta_name_read(q, 5, change->name);
    meta_node_read_stat(q, 6, &change->now);
}

mrmr_err meta_changes_after(struct meta *meta, int64_t drive, enum meta_change_kind kind,
    int64_t after, struct meta_change *ret_changes, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT id, drive, kind, node, parent, name, type, mode, uid, gid, nlink, size, ino, rdev, "
        "mtime, ctime, btime FROM change INDEXED BY change_drive "
        "WHERE drive = ? AND kind = ? AND id > ? ORDER BY id LIMIT ?",
        META_ARGS(META_INT(drive), META_INT(kind), META_INT(after), META_INT(most))));
    size_t n = 0;
    while (n < most) {
        bool row;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            break;
        change_read(&q, &ret_changes[n++]);
        MRMR_TRY(meta_query_sound(&q));
    }
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err meta_change_remove(struct meta *meta, int64_t id)
{
    return meta_write(meta, "DELETE FROM change WHERE id = ?", META_ARGS(META_INT(id)));
}

mrmr_err meta_changes_clear(struct meta *meta, int64_t drive, enum meta_change_kind kind)
{
    return meta_write(meta, "DELETE FROM change WHERE drive = ? AND kind = ?",
        META_ARGS(META_INT(drive), META_INT(kind)));
}

mrmr_err meta_changes_count(
    struct meta *meta, int64_t drive, enum meta_change_kind kind, uint64_t *ret_n)
{
    mrmr_locked(&meta->lock);
    bool found;
    int64_t n = 0;
    MRMR_TRY(meta_run_int(meta, "SELECT count(*) FROM change WHERE drive = ? AND kind = ?",
        META_ARGS(META_INT(drive), META_INT(kind)), &found, &n));
    *ret_n = (uint64_t)n;
    return MRMR_OK;
}
