/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "meta/extent.h"
#include "meta/transaction.h"

#include <string.h>

void meta_extent_list_end(struct meta_extent_list *list)
{
    free(list->extent);
    mrmr_bytes_free(&list->digests);
}

static mrmr_err extent_list_grow(struct meta_extent_list *list)
{
    if (list->n < list->room)
        return MRMR_OK;
    size_t room = list->room ? 2 * list->room : 16;
    struct meta_extent *grown = realloc(list->extent, room * sizeof *grown);
    if (!grown)
        return mrmr_nomem();
    list->extent = grown;
    list->room = room;
    return MRMR_OK;
}

static mrmr_err extent_read(struct meta_extent_list *list, struct meta_query *q)
{
    MRMR_TRY(extent_list_grow(list));
    struct meta_extent e = {.id = meta_col_id(q, 0)};
    e.stripe = meta_col_id(q, 1);
    e.drive = meta_col_id(q, 2);
    e.place = meta_col_u64(q, 3);
    if (sqlite3_column_type(q->stmt, 4) != SQLITE_NULL)
        e.node = meta_col_id(q, 4);
    e.first = meta_col_u64(q, 5);
    e.leaves = meta_col_u64(q, 6);
    e.bytes = meta_col_u64(q, 7);
    e.version = meta_col_u64(q, 8);
    e.state = (enum meta_extent_state)meta_col_range(q, 9, META_LIVE, META_SUSPECT);
    if (!meta_run_sane(e.first, e.leaves, e.bytes) || e.place > (uint64_t)INT64_MAX - e.bytes)
        meta_col_bad(q, 6);
    const void *digests;
    size_t size;
    meta_col_blob(q, 10, &digests, &size);
    if (size % MRMR_DIGEST_SIZE || size / MRMR_DIGEST_SIZE != e.leaves)
        meta_col_bad(q, 10);
    MRMR_TRY(meta_query_sound(q));
    MRMR_TRY(mrmr_bytes_add(&list->digests, digests, size));
    list->extent[list->n++] = e;
    return MRMR_OK;
}

mrmr_err meta_extent_list_read(struct meta_extent_list *list, struct meta_query *q)
{
    for (;;) {
        bool row;
        MRMR_TRY(meta_query_step(q, &row));
        if (!row)
            return MRMR_OK;
        MRMR_TRY(extent_read(list, q));
    }
}

mrmr_err meta_extent_list_finish(struct meta_extent_list *list, struct meta_extent **ret_extents)
{
    size_t array = list->n * sizeof *list->extent;
    struct meta_extent *all = malloc(array + list->digests.size + 1);
    if (!all)
        return mrmr_nomem();
    if (list->n)
        memcpy(all, list->extent, array);
    struct mrmr_digest *digests = (struct mrmr_digest *)((char *)all + array);
    if (list->digests.size)
        memcpy(digests, list->digests.data, list->digests.size);
    for (size_t i = 0; i < list->n; i++) {
        all[i].digests = digests;
        digests += all[i].leaves;
    }
    *ret_extents = all;
    return MRMR_OK;
}

mrmr_err meta_extents_of(
    struct meta *meta, int64_t node, struct meta_extent **ret_extents, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoextents struct meta_extent_list list = {.n = 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_EXTENT_COLUMNS " FROM extent WHERE node = ? ORDER BY first, id",
        META_ARGS(META_INT(node))));
    MRMR_TRY(meta_extent_list_read(&list, &q));
    MRMR_TRY(meta_extent_list_finish(&list, ret_extents));
    *ret_n = list.n;
    return MRMR_OK;
}

mrmr_err meta_extents_after(struct meta *meta, int64_t drive, int64_t after,
    struct meta_extent **ret_extents, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    meta_autoextents struct meta_extent_list list = {.n = 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_EXTENT_COLUMNS " FROM extent WHERE id > ? AND drive = ? ORDER BY id LIMIT ?",
        META_ARGS(META_INT(after), META_INT(drive), META_INT(most))));
    MRMR_TRY(meta_extent_list_read(&list, &q));
    MRMR_TRY(meta_extent_list_finish(&list, ret_extents));
    *ret_n = list.n;
    return MRMR_OK;
}

mrmr_err meta_extents_stale(struct meta *meta, int64_t node, uint64_t from, uint64_t to,
    struct meta_extent **ret_extents, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    if (from > META_LEAVES_MAX || to > META_LEAVES_MAX)
        return mrmr_fail(MRMR_INVALID, "leaves beyond the last one");
    meta_autoextents struct meta_extent_list list = {.n = 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_EXTENT_COLUMNS " FROM extent "
        "WHERE node = ? AND first >= ? AND first < ? AND state = 2 ORDER BY first, id",
        META_ARGS(META_INT(node), META_INT(from), META_INT(to))));
    MRMR_TRY(meta_extent_list_read(&list, &q));
    MRMR_TRY(meta_extent_list_finish(&list, ret_extents));
    *ret_n = list.n;
    return MRMR_OK;
}

/* Wanted extents of a node never overlap, so only the last one that begins at or before the leaf
 * can cover it. */
mrmr_err meta_extent_at(
    struct meta *meta, int64_t node, uint64_t leaf, struct meta_extent **ret_extent)
{
    mrmr_locked(&meta->lock);
    meta_autoextents struct meta_extent_list list = {.n = 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q,
        "SELECT " META_EXTENT_COLUMNS " FROM extent "
        "WHERE node = ? AND first <= ? AND state IN (0, 1) ORDER BY first DESC LIMIT 1",
        META_ARGS(META_INT(node), META_INT(leaf < META_LEAVES_MAX ? leaf : META_LEAVES_MAX))));
    MRMR_TRY(meta_extent_list_read(&list, &q));
    if (!list.n || leaf - list.extent[0].first >= list.extent[0].leaves)
        return mrmr_fail(MRMR_ABSENT, "no stripe covers leaf %llu of node %lld",
            (unsigned long long)leaf, (long long)node);
    return meta_extent_list_finish(&list, ret_extent);
}

mrmr_err meta_extents_mark(
    struct meta *meta, int64_t node, enum meta_extent_state from, enum meta_extent_state to)
{
    if ((unsigned)from > META_SUSPECT || (unsigned)to > META_SUSPECT)
        return mrmr_fail(MRMR_INVALID, "an extent has no such state");
    return meta_write(meta, "UPDATE extent SET state = ?3 WHERE node = ?1 AND state = ?2",
        META_ARGS(META_INT(node), META_INT(from), META_INT(to)));
}

mrmr_err meta_extent_insert(struct meta *meta, const struct meta_extent *e)
{
    return meta_run(meta,
        "INSERT INTO extent (stripe, drive, place, node, first, leaves, bytes, version, state, "
        "digests) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        META_ARGS(META_INT(e->stripe), META_INT(e->drive), META_INT(e->place), META_ID(e->node),
            META_INT(e->first), META_INT(e->leaves), META_INT(e->bytes), META_INT(e->version),
            META_INT(e->state), META_BLOB(e->digests, (size_t)e->leaves * MRMR_DIGEST_SIZE)));
}

/* --- A verdict --- */

static mrmr_err judge_covers(
    const struct meta_extent *e, const struct meta_verdict runs[], size_t n)
{
    uint64_t rest = e->leaves;
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)runs[i].state > META_SUSPECT || !runs[i].leaves || runs[i].leaves > rest)
            return mrmr_fail(MRMR_INVALID, "a verdict does not fit its extent");
        rest -= runs[i].leaves;
    }
    return rest ? mrmr_fail(MRMR_INVALID, "a verdict leaves a part of its extent out") : MRMR_OK;
}

/* The first piece keeps the extent's row and id. */
static mrmr_err judge_write(struct meta *meta, const struct meta_extent *piece, bool first)
{
    if (!first)
        return meta_extent_insert(meta, piece);
    return meta_run(meta,
        "UPDATE extent SET node = ?, leaves = ?, bytes = ?, state = ?, digests = ? WHERE id = ?",
        META_ARGS(META_ID(piece->node), META_INT(piece->leaves), META_INT(piece->bytes),
            META_INT(piece->state),
            META_BLOB(piece->digests, (size_t)piece->leaves * MRMR_DIGEST_SIZE),
            META_INT(piece->id)));
}

/* Neighbouring runs of one state stay together. *ret_pieces: how many extents there are now. */
static mrmr_err judge_split(struct meta *meta, const struct meta_extent *e,
    const struct meta_verdict runs[], size_t n, uint64_t *ret_pieces)
{
    uint64_t at = 0;
    *ret_pieces = 0;
    for (size_t i = 0; i < n;) {
        struct meta_extent piece = *e;
        const bool apart = runs[i].apart;
        piece.state = runs[i].state;
        piece.node = apart ? 0 : e->node;
        piece.leaves = 0;
        for (; i < n && runs[i].state == piece.state && runs[i].apart == apart; i++)
            piece.leaves += runs[i].leaves;
        piece.first += at;
        piece.place += at * META_LEAF;
        piece.digests += at;
        uint64_t rest = e->bytes - at * META_LEAF, most = piece.leaves * META_LEAF;
        piece.bytes = rest < most ? rest : most;
        MRMR_TRY(judge_write(meta, &piece, at == 0));
        at += piece.leaves;
        ++*ret_pieces;
    }
    return MRMR_OK;
}

static mrmr_err judge_locked(
    struct meta *meta, int64_t id, const struct meta_verdict runs[], size_t n)
{
    meta_autoextents struct meta_extent_list list = {.n = 0};
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, "SELECT " META_EXTENT_COLUMNS " FROM extent WHERE id = ?",
        META_ARGS(META_INT(id))));
    MRMR_TRY(meta_extent_list_read(&list, &q));
    meta_query_end(&q);
    if (!list.n)
        return mrmr_fail(MRMR_ABSENT, "the catalog has no extent %lld", (long long)id);
    struct meta_extent *e = &list.extent[0];
    e->digests = (struct mrmr_digest *)list.digests.data;
    MRMR_TRY(judge_covers(e, runs, n));
    uint64_t pieces;
    MRMR_TRY(judge_split(meta, e, runs, n, &pieces));
    return meta_run(meta, "UPDATE block SET extents = extents + ? WHERE drive = ? AND stripe = ?",
        META_ARGS(META_INT(pieces - 1), META_INT(e->drive), META_INT(e->stripe)));
}

mrmr_err meta_extent_judge(
    struct meta *meta, int64_t extent, const struct meta_verdict runs[], size_t n)
{
    mrmr_locked(&meta->lock);
    MRMR_TRY(meta_write_begin(meta));
    return meta_write_end(meta, judge_locked(meta, extent, runs, n));
}

mrmr_err meta_suspects_after(
    struct meta *meta, int64_t drive, int64_t after, int64_t *ret_nodes, size_t most, size_t *ret_n)
{
    mrmr_locked(&meta->lock);
    return meta_run_ids(meta,
        "SELECT DISTINCT node FROM extent WHERE state = 4 AND drive = ? AND node > ? "
        "ORDER BY node LIMIT ?",
        META_ARGS(META_INT(drive), META_INT(after), META_INT(most)), ret_nodes, most, ret_n);
}
