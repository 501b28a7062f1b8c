/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Leaves that had to be made, kept for whoever reads the rest of them.
 *
 * A slot is free, being made, or full. It is pinned while somebody copies out of it or waits for it;
 * the full slot that was used longest ago and is not pinned gives way to another leaf. A leaf that
 * could not be made leaves its slot free, with the error for those who waited.
 *
 * Read-ahead: a file that is read from leaf to leaf has the next few put into the queue of a few
 * threads. What is queued for a file that is closed is dropped; what is being made is waited for.
 */
#include "pool/stripe/leaf_cache.h"

#include <string.h>

enum { AHEAD = 8, BUCKETS = 64 };

enum slot_state { SLOT_FREE, SLOT_QUEUED, SLOT_MADE, SLOT_FULL };

struct slot {
    enum slot_state state;
    struct pool_file *file; /* who makes it; NULL once it is full */
    int64_t node;
    uint64_t version, leaf;
    unsigned pins;
    uint64_t used;
    mrmr_err err;
    struct mrmr_story story;
    uint8_t *buf;
};

struct leaf_cache {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Guarded by lock. */
    struct slot *slot;
    size_t n;
    uint64_t clock;
    bool stop;

    pthread_t *thread;
    unsigned threads;
};

static struct slot *slot_find_locked(
    struct leaf_cache *cache, const struct meta_node *node, uint64_t leaf)
{
    for (size_t i = 0; i < cache->n; i++) {
        struct slot *slot = &cache->slot[i];
        if (slot->state != SLOT_FREE && slot->node == node->id && slot->version == node->version &&
            slot->leaf == leaf)
            return slot;
    }
    return NULL;
}

/* A free one, or the one used longest ago; NULL: all are in use. */
static struct slot *slot_take_locked(
    struct leaf_cache *cache, struct pool_file *file, uint64_t leaf, enum slot_state state)
{
    struct slot *best = NULL;
    for (size_t i = 0; i < cache->n; i++) {
        struct slot *slot = &cache->slot[i];
        bool usable = !slot->pins && (slot->state == SLOT_FREE || slot->state == SLOT_FULL);
        if (usable && (!best || (slot->state == SLOT_FREE && best->state != SLOT_FREE) ||
                          (slot->state == best->state && slot->used < best->used)))
            best = slot;
    }
    if (!best || (!best->buf && !(best->buf = malloc(META_LEAF))))
        return NULL;
    best->state = state;
    best->file = file;
    best->node = pool_file_node(file)->id;
    best->version = pool_file_node(file)->version;
    best->leaf = leaf;
    best->used = ++cache->clock;
    return best;
}

/* The slot is SLOT_MADE, and the caller's; called without the lock. */
static void slot_make(struct leaf_cache *cache, struct slot *slot)
{
    mrmr_err err = pool_file_leaf(slot->file, slot->leaf, slot->buf);
    mrmr_locked(&cache->lock);
    slot->err = err;
    if (err)
        mrmr_story_save(&slot->story);
    slot->state = err ? SLOT_FREE : SLOT_FULL;
    slot->file = NULL;
    pthread_cond_broadcast(&cache->changed);
}

/* --- read-ahead --- */

static struct slot *queue_first_locked(struct leaf_cache *cache)
{
    struct slot *first = NULL;
    for (size_t i = 0; i < cache->n; i++) {
        struct slot *slot = &cache->slot[i];
        if (slot->state == SLOT_QUEUED && (!first || slot->used < first->used))
            first = slot;
    }
    return first;
}

static struct slot *queue_take(struct leaf_cache *cache)
{
    mrmr_locked(&cache->lock);
    struct slot *slot;
    while (!(slot = queue_first_locked(cache)) && !cache->stop)
        pthread_cond_wait(&cache->changed, &cache->lock);
    if (cache->stop)
        return NULL;
    slot->state = SLOT_MADE;
    return slot;
}

static void *queue_run(void *arg)
{
    struct leaf_cache *cache = arg;
    for (struct slot *slot; (slot = queue_take(cache));)
        slot_make(cache, slot);
    return NULL;
}

/* The leaves after this one. */
static void queue_ahead_locked(struct leaf_cache *cache, struct pool_file *file, uint64_t leaf)
{
    const struct meta_node *node = pool_file_node(file);
    for (uint64_t next = leaf + 1; next <= leaf + AHEAD && next * META_LEAF < node->size; next++)
        if (!slot_find_locked(cache, node, next) &&
            !slot_take_locked(cache, file, next, SLOT_QUEUED))
            break;
    pthread_cond_broadcast(&cache->changed);
}

/* --- reading --- */

/* The leaf before is there, or wanted: it is read in order. */
static bool goes_on_locked(struct leaf_cache *cache, struct pool_file *file, uint64_t leaf)
{
    return leaf == 0 || slot_find_locked(cache, pool_file_node(file), leaf - 1);
}

/* Pinned and full; NULL with *ret_err 0: every slot is in use. */
static struct slot *slot_get(
    struct leaf_cache *cache, struct pool_file *file, uint64_t leaf, mrmr_err *ret_err)
{
    struct slot *slot;
    *ret_err = MRMR_OK;
    pthread_mutex_lock(&cache->lock);
    bool ahead = goes_on_locked(cache, file, leaf);
    slot = slot_find_locked(cache, pool_file_node(file), leaf);
    bool mine = !slot || slot->state == SLOT_QUEUED;
    if (!slot)
        slot = slot_take_locked(cache, file, leaf, SLOT_MADE);
    if (slot) {
        slot->pins++;
        if (slot->state == SLOT_QUEUED)
            slot->state = SLOT_MADE;
        if (ahead)
            queue_ahead_locked(cache, file, leaf);
    }
    if (slot && mine) {
        pthread_mutex_unlock(&cache->lock);
        slot_make(cache, slot);
        pthread_mutex_lock(&cache->lock);
    }
    while (slot && slot->state == SLOT_MADE)
        pthread_cond_wait(&cache->changed, &cache->lock);
    if (slot && slot->state != SLOT_FULL) {
        *ret_err = mrmr_story_restore(&slot->story);
        slot->pins--;
        slot = NULL;
    }
    pthread_mutex_unlock(&cache->lock);
    return slot;
}

static void slot_put(struct leaf_cache *cache, struct slot *slot)
{
    mrmr_locked(&cache->lock);
    slot->pins--;
    slot->used = ++cache->clock;
}

mrmr_err leaf_cache_read(struct leaf_cache *cache, struct pool_file *file, uint64_t leaf,
    size_t from, void *buf, size_t size)
{
    mrmr_err err;
    struct slot *slot = slot_get(cache, file, leaf, &err);
    if (slot) {
        memcpy(buf, slot->buf + from, size);
        slot_put(cache, slot);
        return MRMR_OK;
    }
    if (err)
        return err;
    mrmr_autofree uint8_t *own = malloc(META_LEAF);
    if (!own)
        return mrmr_nomem();
    MRMR_TRY(pool_file_leaf(file, leaf, own));
    memcpy(buf, own + from, size);
    return MRMR_OK;
}

void leaf_cache_leave(struct leaf_cache *cache, struct pool_file *file)
{
    mrmr_locked(&cache->lock);
    for (size_t i = 0; i < cache->n; i++) {
        struct slot *slot = &cache->slot[i];
        if (slot->file == file && slot->state == SLOT_QUEUED) {
            slot->state = SLOT_FREE;
            slot->file = NULL;
        }
        while (slot->file == file && slot->state == SLOT_MADE)
            pthread_cond_wait(&cache->changed, &cache->lock);
    }
}

/* --- life --- */

mrmr_err leaf_cache_create(size_t leaves, unsigned threads, struct leaf_cache **ret_cache)
{
    struct leaf_cache *cache = calloc(1, sizeof *cache);
    if (!cache)
        return mrmr_nomem();
    pthread_mutex_init(&cache->lock, NULL);
    pthread_cond_init(&cache->changed, NULL);
    cache->n = leaves;
    cache->slot = calloc(leaves, sizeof *cache->slot);
    cache->thread = calloc(threads, sizeof *cache->thread);
    int err = cache->slot && cache->thread ? 0 : ENOMEM;
    for (; !err && cache->threads < threads; cache->threads += !err)
        err = pthread_create(&cache->thread[cache->threads], NULL, queue_run, cache);
    if (err) {
        leaf_cache_destroy(cache);
        return mrmr_fail_errno(err, "start thread", "");
    }
    *ret_cache = cache;
    return MRMR_OK;
}

static void cache_stop(struct leaf_cache *cache)
{
    mrmr_locked(&cache->lock);
    cache->stop = true;
    pthread_cond_broadcast(&cache->changed);
}

void leaf_cache_destroy(struct leaf_cache *cache)
{
    if (!cache)
        return;
    cache_stop(cache);
    for (unsigned i = 0; i < cache->threads; i++)
        pthread_join(cache->thread[i], NULL);
    for (size_t i = 0; cache->slot && i < cache->n; i++)
        free(cache->slot[i].buf);
    free(cache->slot);
    free(cache->thread);
    pthread_mutex_destroy(&cache->lock);
    pthread_cond_destroy(&cache->changed);
    free(cache);
}
