/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/node.h"
#include "meta/transaction.h"

#include "base/clock.h"
#include <string.h>

void meta_node_read_stat(struct meta_query *q, int col, struct meta_node *node)
{
    node->type = (enum meta_type)meta_col_range(q, col, META_REG, META_BLOCK);
    node->mode = (uint32_t)meta_col_range(q, col + 1, 0, UINT32_MAX);
    node->uid = (uint32_t)meta_col_range(q, col + 2, 0, UINT32_MAX);
    node->gid = (uint32_t)meta_col_range(q, col + 3, 0, UINT32_MAX);
    node->nlink = (uint32_t)meta_col_range(q, col + 4, 0, UINT32_MAX);
    node->size = meta_col_u64(q, col + 5);
    node->ino = (uint64_t)meta_col_int(q, col + 6); /* all 64 bits are used */
    node->rdev = (uint64_t)meta_col_int(q, col + 7);
    node->mtime = meta_col_int(q, col + 8);
    node->ctime = meta_col_int(q, col + 9);
    node->btime = meta_col_int(q, col + 10);
}

void meta_node_read(struct meta_query *q, struct meta_node *node)
{
    node->id = meta_col_id(q, 0);
    node->drive = meta_col_id(q, 1);
    meta_node_read_stat(q, 2, node);
    node->version = meta_col_u64(q, 13);
    node->sequence = meta_col_int(q, 14);
    node->recheck = meta_col_range(q, 15, 0, 1);
}

mrmr_err meta_node_sane(const struct meta_node *node)
{
    if ((unsigned)node->type > META_BLOCK)
        return mrmr_fail(MRMR_INVALID, "a node has the unknown type %d", (int)node->type);
    if (!meta_fits(node->size) || !meta_fits(node->version))
        return mrmr_fail(MRMR_INVALID, "a file has a size beyond 8 EiB");
    return MRMR_OK;
}

/* ?1 … ?15: all columns but id; ?16 = id. */
static mrmr_err node_write(
    struct meta *meta, const char *sql, const struct meta_node *n, int64_t sequence)
{
    return meta_run(meta, sql,
        META_ARGS(META_INT(n->drive), META_INT(n->type), META_INT(n->mode), META_INT(n->uid),
            META_INT(n->gid), META_INT(n->nlink), META_INT(n->size), META_INT(n->ino),
            META_INT(n->rdev), META_INT(n->mtime), META_INT(n->ctime), META_INT(n->btime),
            META_INT(n->version), META_INT(sequence), META_INT(n->recheck), META_INT(n->id)));
}

static mrmr_err node_add_locked(struct meta *meta, const struct meta_node *node, int64_t parent,
    const char *name, int64_t *ret_id, int64_t *ret_sequence)
{
    MRMR_TRY(meta_node_sane(node));
    MRMR_TRY(meta_name_sane(name));
    struct meta_node in;
    mrmr_err err = meta_lookup(meta, parent, name, &in);
    if (err == MRMR_OK)
        return mrmr_err_path(
            mrmr_fail(
                MRMR_EXISTS, "the catalog has this name in folder %lld already", (long long)parent),
            name);
    if (err != MRMR_ABSENT)
        return err;
    MRMR_TRY(meta_node_get(meta, parent, &in));
    if (in.type != META_DIR || in.drive != node->drive)
        return mrmr_fail(MRMR_INVALID, "node %lld is not a folder of drive %lld", (long long)parent,
            (long long)node->drive);
    MRMR_TRY(meta_sequence_next(meta, false, ret_sequence));
    MRMR_TRY(node_write(meta,
        "INSERT INTO node (drive, type, mode, uid, gid, nlink, size, ino, rdev, mtime, ctime, "
        "btime, version, sequence, recheck) "
        "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        node, *ret_sequence));
    *ret_id = sqlite3_last_insert_rowid(meta->db);
    return meta_run(meta, "INSERT INTO name (parent, name, node) VALUES (?, ?, ?)",
        META_ARGS(META_INT(parent), META_BLOB(name, strlen(name)), META_INT(*ret_id)));
}

mrmr_err meta_node_add(struct meta *meta, struct meta_node *node, int64_t parent, const char *name)
{
    mrmr_locked(&meta->lock);
    int64_t id = 0, sequence = 0;
    MRMR_TRY(meta_write_begin(meta));
    MRMR_TRY(meta_write_end(meta, node_add_locked(meta, node, parent, name, &id, &sequence)));
    meta->stored = mrmr_clock_monotonic();
    node->id = id;
    node->sequence = sequence;
    return MRMR_OK;
}

static mrmr_err node_store_locked(struct meta *meta, const struct meta_node *node, bool came)
{
    meta->stored = mrmr_clock_monotonic();
    MRMR_TRY(meta_node_sane(node));
    struct meta_node old;
    MRMR_TRY(meta_node_get(meta, node->id, &old));
    int64_t sequence;
    MRMR_TRY(meta_sequence_next(meta, came, &sequence));
    if (sequence < old.sequence) /* it came in this look */
        sequence = old.sequence;
    if (node->drive != old.drive) /* its exposed ranges are found by its drive */
        MRMR_TRY(meta_run(meta, "UPDATE exposed SET drive = ? WHERE drive = ? AND node = ?",
            META_ARGS(META_INT(node->drive), META_INT(old.drive), META_INT(node->id))));
    return node_write(meta,
        "UPDATE node SET drive = ?1, type = ?2, mode = ?3, uid = ?4, gid = ?5, nlink = ?6, "
        "size = ?7, ino = ?8, rdev = ?9, mtime = ?10, ctime = ?11, btime = ?12, version = ?13, "
        "sequence = ?14, recheck = ?15 WHERE id = ?16",
        node, sequence);
}

mrmr_err meta_node_store(struct meta *meta, const struct meta_node *node)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, node_store_locked(meta, node, false));
}

mrmr_err meta_node_store_came(struct meta *meta, const struct meta_node *node)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, node_store_locked(meta, node, true));
}

int64_t meta_nodes_stored(struct meta *meta)
{
    mrmr_locked(&meta->lock);
    return meta->stored;
}

mrmr_err meta_node_retime(struct meta *meta, int64_t node, int64_t ctime, uint32_t nlink)
{
    mrmr_locked(&meta->lock);
    meta->stored = mrmr_clock_monotonic();
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, meta_run(meta, "UPDATE node SET ctime = ?, nlink = ? WHERE id = ?",
                                    META_ARGS(META_INT(ctime), META_INT(nlink), META_INT(node))));
}

/* At most `most` rows of META_NODE_COLUMNS. */
static mrmr_err nodes_read(
    struct meta_query *q, struct meta_node *ret_nodes, size_t most, size_t *ret_n)
{
    size_t n = 0;
    while (n < most) {
        bool row;
        MRMR_TRY(meta_query_step(q, &row));
        if (!row)
            break;
        meta_node_read(q, &ret_nodes[n++]);
        MRMR_TRY(meta_query_sound(q));
    }
    *ret_n = n;
    return MRMR_OK;
}

mrmr_err meta_node_get(struct meta *meta, int64_t id, struct meta_node *ret_node)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, "SELECT " META_NODE_COLUMNS " FROM node n WHERE n.id = ?",
        META_ARGS(META_INT(id))));
    struct meta_node node;
    size_t n;
    MRMR_TRY(nodes_read(&q, &node, 1, &n));
    if (!n)
        return mrmr_fail(MRMR_ABSENT, "the catalog has no node %lld", (long long)id);
    *ret_node = node;
    return MRMR_OK;
}

mrmr_err meta_node_by_ino(struct meta *meta, int64_t drive, uint64_t ino,
    struct meta_node *ret_nodes, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_NODE_COLUMNS " FROM node n WHERE n.drive = ? AND n.ino = ? ORDER BY n.id",
        META_ARGS(META_INT(drive), META_INT(ino))));
    return nodes_read(&q, ret_nodes, most, ret_n);
}

mrmr_err meta_nodes_after(struct meta *meta, int64_t drive, int64_t after,
    struct meta_node *ret_nodes, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_NODE_COLUMNS " FROM node n INDEXED BY node_drive "
        "WHERE n.drive = ? AND n.id > ? ORDER BY n.id LIMIT ?",
        META_ARGS(META_INT(drive), META_INT(after), META_INT(most))));
    return nodes_read(&q, ret_nodes, most, ret_n);
}

/* A drive's root, and what has names or children, cannot be removed. */
static mrmr_err node_is_loose(struct meta *meta, const struct meta_node *node)
{
    bool found;
    int64_t which = 0;
    MRMR_TRY(meta_run_int(meta,
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM name WHERE node = ?1) THEN 1"
        " WHEN EXISTS (SELECT 1 FROM name WHERE parent = ?1) THEN 2"
        " WHEN EXISTS (SELECT 1 FROM drive WHERE id = ?2 AND root = ?1) THEN 3 ELSE 0 END",
        META_ARGS(META_INT(node->id), META_INT(node->drive)), &found, &which));
    static const char *const why[] = {"", "has a name", "has children", "is a drive's root"};
    return which == 0 ? MRMR_OK
                      : mrmr_fail(MRMR_BUSY, "node %lld cannot be removed: it %s",
                            (long long)node->id, why[which]);
}

static mrmr_err node_remove_locked(struct meta *meta, int64_t id)
{
    struct meta_node node;
    MRMR_TRY(meta_node_get(meta, id, &node));
    MRMR_TRY(node_is_loose(meta, &node));
    const struct meta_arg *arg = META_ARGS(META_INT(id));
    if (node.type == META_REG) {
        MRMR_TRY(meta_run(meta, "DELETE FROM exposed WHERE drive = ? AND node = ?",
            META_ARGS(META_INT(node.drive), META_INT(id))));
        MRMR_TRY(meta_run(meta,
            "UPDATE extent SET node = NULL, state = CASE WHEN state IN (0, 1, 4) THEN 3 "
            "ELSE state END WHERE node = ?",
            arg));
    }
    MRMR_TRY(meta_run(meta, "DELETE FROM attr WHERE node = ?", arg));
    MRMR_TRY(meta_run(meta, "DELETE FROM target WHERE node = ?", arg));
    MRMR_TRY(meta_run(meta, "DELETE FROM todo WHERE node = ?", arg));
    return meta_run(meta, "DELETE FROM node WHERE id = ?", arg);
}

mrmr_err meta_node_remove(struct meta *meta, int64_t id)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, node_remove_locked(meta, id));
}

/* --- Attributes and targets --- */

mrmr_err meta_attr_set(struct meta *meta, int64_t node, const void *blob, size_t size)
{
    if (!blob || !size)
        return meta_write(meta, "DELETE FROM attr WHERE node = ?", META_ARGS(META_INT(node)));
    return meta_write(meta,
        "INSERT INTO attr (node, blob) VALUES (?, ?) "
        "ON CONFLICT (node) DO UPDATE SET blob = excluded.blob",
        META_ARGS(META_INT(node), META_BLOB(blob, size)));
}

mrmr_err meta_target_set(struct meta *meta, int64_t node, const char *target)
{
    if (!target)
        return meta_write(meta, "DELETE FROM target WHERE node = ?", META_ARGS(META_INT(node)));
    return meta_write(meta,
        "INSERT INTO target (node, target) VALUES (?, ?) "
        "ON CONFLICT (node) DO UPDATE SET target = excluded.target",
        META_ARGS(META_INT(node), META_BLOB(target, strlen(target))));
}

/* Append the only column of the first row, if there is one. */
static mrmr_err blob_get(
    struct meta *meta, const char *sql, int64_t node, bool text, struct mrmr_bytes *blob)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql, META_ARGS(META_INT(node))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    if (!row)
        return MRMR_OK;
    const void *data;
    size_t size;
    meta_col_blob(&q, 0, &data, &size);
    if (text && memchr(data, '\0', size))
        meta_col_bad(&q, 0);
    MRMR_TRY(meta_query_sound(&q));
    return mrmr_bytes_add(blob, data, size);
}

mrmr_err meta_attr_get(struct meta *meta, int64_t node, struct mrmr_bytes *blob)
{
    mrmr_locked(&meta->lock);
    return blob_get(meta, "SELECT blob FROM attr WHERE node = ?", node, false, blob);
}

mrmr_err meta_target_get(struct meta *meta, int64_t node, struct mrmr_bytes *target)
{
    mrmr_locked(&meta->lock);
    return blob_get(meta, "SELECT target FROM target WHERE node = ?", node, true, target);
}
