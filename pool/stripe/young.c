/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/stripe/young.h"

enum { YOUNG_BATCH = 256, YOUNG_TIMES = 10 };

void pool_young_init(struct pool_young *young, struct pool *pool, uint64_t settle)
{
    *young = (struct pool_young){.pool = pool, .now = mrmr_clock_real()};
    if (__builtin_mul_overflow(settle, MRMR_NS_PER_S, &young->settle))
        young->settle = INT64_MAX;
}

/* What is written to all the time is written to again and again within so long. */
static const int64_t rest_least = 10 * MRMR_NS_PER_S;

mrmr_err pool_young_look(struct pool_young *young)
{
    const int64_t now = mrmr_clock_monotonic();
    const int64_t rest = young->settle > rest_least ? young->settle : rest_least;
    pool_young_free(young);
    MRMR_TRY(pool_written_load(young->pool, &young->written));
    if (!young->written.life)
        return MRMR_OK;
    young->rested = (struct pool_written_since){young->written.life, now > rest ? now - rest : 1};
    return pool_touched_load(young->pool, &young->touched);
}

void pool_young_free(struct pool_young *young)
{
    pool_touched_free(&young->touched);
    pool_written_free(&young->written);
    young->rested = (struct pool_written_since){0};
}

bool pool_young_is_hot(const struct pool_young *young, const struct meta_node *node)
{
    return young->rested.life && pool_touched_has_bytes(&young->touched, node->drive, node->ino);
}

bool pool_young_leaf_is_hot(
    const struct pool_young *young, const struct meta_node *node, uint64_t leaf)
{
    return pool_written_has(&young->written, young->rested, node->drive, node->ino, leaf);
}

static int64_t young_changed(const struct pool_young *young, const struct meta_node *node)
{
    const struct pool_drive *drive = pool_drive_by_id(young->pool, node->drive);
    bool stable = drive && (drive->info.caps & DRV_CAP_STABLE_CTIME);
    return stable && node->ctime > node->mtime ? node->ctime : node->mtime;
}

/* What is never quiet, as a machine's image or a log, is not left exposed for ever. */
static int64_t young_longest(const struct pool_young *young, int64_t since)
{
    static const int64_t least = 600 * MRMR_NS_PER_S;
    int64_t most;
    if (__builtin_mul_overflow(young->settle, YOUNG_TIMES, &most))
        return INT64_MAX;
    if (__builtin_add_overflow(since, most > least ? most : least, &most))
        return INT64_MAX;
    return most;
}

mrmr_err pool_young_until(
    const struct pool_young *young, const struct meta_exposed *range, int64_t *ret_until)
{
    struct meta_node node;
    int64_t until;
    *ret_until = 0;
    if (!young->settle)
        return MRMR_OK;
    mrmr_err err = meta_node_get(young->pool->meta, range->node, &node);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK; /* it went; who hands it out sees that, too */
    MRMR_TRY(err);
    int64_t changed = young_changed(young, &node);
    if (changed > young->now)
        changed = range->since;
    if (changed > young->now)
        return MRMR_OK;
    if (__builtin_add_overflow(changed, young->settle, &until))
        until = INT64_MAX;
    const int64_t most = young_longest(young, range->since);
    if (until > most)
        until = most;
    *ret_until = until > young->now ? until : 0;
    return MRMR_OK;
}

mrmr_err pool_young_on(
    const struct pool_young *young, const struct pool_drive *drive, struct pool_young_total *total)
{
    mrmr_autofree struct meta_exposed *range = NULL;
    int64_t node = 0, counted = 0;
    uint64_t leaf = 0;
    size_t n = 0;
    if (!young->settle)
        return MRMR_OK;
    range = calloc(YOUNG_BATCH, sizeof *range);
    if (!range)
        return mrmr_nomem();
    do {
        MRMR_TRY(meta_exposed_after(
            young->pool->meta, drive->meta.id, node, leaf, range, YOUNG_BATCH, &n));
        for (size_t i = 0; i < n; i++) {
            int64_t until;
            node = range[i].node;
            leaf = range[i].first;
            MRMR_TRY(pool_young_until(young, &range[i], &until));
            if (!until)
                continue;
            total->files += node != counted;
            counted = node;
            total->bytes += range[i].bytes;
            if (!total->until || until < total->until)
                total->until = until;
        }
    } while (n);
    return MRMR_OK;
}
