/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a drive would lose if its staged changes took effect: one walk down each top folder, in SQL,
 * with the folders that vanished kept in a temporary table (SQLite spills it to a file, so memory
 * stays bounded).
 *
 * A folder is gone if its name vanished and it did not appear elsewhere, or if the folder that
 * holds it is gone and it did not appear elsewhere. A file is gone if it did not appear elsewhere
 * and each of its names vanished or lies in a folder that is gone. A file with several names counts
 * once, at the first of them.
 */
#include "meta/transaction.h"

#include "meta/node.h"

static mrmr_err gone_fill(struct meta *meta, int64_t drive)
{
    MRMR_TRY(
        meta_run(meta, "CREATE TEMP TABLE IF NOT EXISTS gone (node INTEGER PRIMARY KEY)", NULL));
    MRMR_TRY(meta_run(meta, "DELETE FROM temp.gone", NULL));
    /* UNION, not UNION ALL: a folder below another that vanished is met twice. */
    return meta_run(meta,
        "INSERT INTO temp.gone WITH RECURSIVE g (node) AS ("
        " SELECT c.node FROM change c JOIN node n ON n.id = c.node"
        "  WHERE c.drive = ?1 AND c.kind = 0 AND n.type = 1 AND NOT EXISTS"
        "   (SELECT 1 FROM change a WHERE a.node = c.node AND a.kind = 3)"
        " UNION"
        " SELECT n.id FROM g CROSS JOIN name x ON x.parent = g.node"
        "  CROSS JOIN node n ON n.id = x.node"
        "  WHERE n.type = 1 AND NOT EXISTS"
        "   (SELECT 1 FROM change a WHERE a.node = n.id AND a.kind = 3))"
        " SELECT node FROM g",
        META_ARGS(META_INT(drive)));
}

/* f: the folders to count in. Names of a file x are gone by themselves (change) or with their
 * folder. */
#define COUNT_FILES                                                                                \
    " SELECT count(*), coalesce(sum(lost), 0), coalesce(sum(NOT lost AND edited), 0) FROM (SELECT" \
    "  NOT EXISTS (SELECT 1 FROM change a WHERE a.node = n.id AND a.kind = 3)"                     \
    "  AND NOT EXISTS (SELECT 1 FROM name y WHERE y.node = n.id"                                   \
    "   AND y.parent NOT IN (SELECT node FROM temp.gone)"                                          \
    "   AND NOT EXISTS (SELECT 1 FROM change v WHERE v.node = y.node AND v.kind = 0"               \
    "    AND v.parent = y.parent AND v.name = y.name)) AS lost,"                                   \
    "  EXISTS (SELECT 1 FROM change c WHERE c.node = n.id AND c.kind = 1)"                         \
    "   AND EXISTS (SELECT 1 FROM extent e WHERE e.node = n.id) AS edited"                         \
    "  FROM f CROSS JOIN name x ON x.parent = f.node CROSS JOIN node n ON n.id = x.node"           \
    "  WHERE n.type = 0 AND NOT EXISTS (SELECT 1 FROM name z WHERE z.node = n.id"                  \
    "   AND (z.name, z.parent) < (x.name, x.parent)))"

static mrmr_err loss_count(
    struct meta *meta, const char *sql, int64_t folder, struct meta_loss *ret_loss)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(meta, &q, sql, META_ARGS(META_INT(folder))));
    bool row;
    MRMR_TRY(meta_query_step(&q, &row));
    struct meta_loss loss = {meta_col_u64(&q, 0), meta_col_u64(&q, 1), meta_col_u64(&q, 2)};
    MRMR_TRY(meta_query_sound(&q));
    *ret_loss = loss;
    return MRMR_OK;
}

struct loss_walk {
    struct meta *meta;
    struct meta_loss all;
    meta_loss_fn fn;
    void *arg;
};

static mrmr_err loss_top(struct loss_walk *walk, const char *top, const struct meta_loss *loss)
{
    walk->all.files += loss->files;
    walk->all.vanished += loss->vanished;
    walk->all.changed += loss->changed;
    if (!walk->fn || !(loss->vanished || loss->changed))
        return MRMR_OK;
    walk->meta->callbacks++;
    mrmr_err err = walk->fn(top, loss, walk->arg);
    walk->meta->callbacks--;
    return err;
}

static mrmr_err loss_tops(struct loss_walk *walk, int64_t root)
{
    meta_autoquery struct meta_query q = META_QUERY_INIT;
    MRMR_TRY(meta_query_start(walk->meta, &q,
        "SELECT x.node, x.name FROM name x CROSS JOIN node n ON n.id = x.node "
        "WHERE x.parent = ? AND n.type = 1 ORDER BY x.name",
        META_ARGS(META_INT(root))));
    for (;;) {
        bool row;
        char name[META_NAME_MAX + 1];
        struct meta_loss loss;
        MRMR_TRY(meta_query_step(&q, &row));
        if (!row)
            return MRMR_OK;
        int64_t top = meta_col_id(&q, 0);
        meta_name_read(&q, 1, name);
        MRMR_TRY(meta_query_sound(&q));
        /* UNION keeps a circle of folders in a hostile catalog from being walked for ever. */
        MRMR_TRY(loss_count(walk->meta,
            "WITH RECURSIVE f (node) AS ("
            " VALUES (?1) UNION"
            " SELECT n.id FROM f CROSS JOIN name x ON x.parent = f.node"
            "  CROSS JOIN node n ON n.id = x.node WHERE n.type = 1)" COUNT_FILES,
            top, &loss));
        MRMR_TRY(loss_top(walk, name, &loss));
    }
}

mrmr_err meta_losses(
    struct meta *meta, int64_t drive, struct meta_loss *ret_all, meta_loss_fn fn, void *arg)
{
    mrmr_locked(&meta->lock);
    struct loss_walk walk = {meta, {0, 0, 0}, fn, arg};
    struct meta_loss loss;
    bool found;
    int64_t root;
    MRMR_TRY(meta_run_int(
        meta, "SELECT root FROM drive WHERE id = ?", META_ARGS(META_INT(drive)), &found, &root));
    if (!found)
        return mrmr_fail(MRMR_ABSENT, "the catalog has no drive %lld", (long long)drive);
    MRMR_TRY(gone_fill(meta, drive));
    MRMR_TRY(loss_count(meta, "WITH f (node) AS (VALUES (?1))" COUNT_FILES, root, &loss));
    MRMR_TRY(loss_top(&walk, "", &loss));
    MRMR_TRY(loss_tops(&walk, root));
    MRMR_TRY(meta_run(meta, "DELETE FROM temp.gone", NULL));
    *ret_all = walk.all;
    return MRMR_OK;
}
