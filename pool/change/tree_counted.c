/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What stripes count on of an inode, as it is known of a node that is held, and what is kept of its bytes before they change.
 * tree_keep.c has the crash argument.
 */
#include "pool/change/tree_keep.h"

#include "pool/change/tree_room.h"
#include "pool/records/touched.h"
#include <stdlib.h>
#include <string.h>

void tree_counted_clear(struct tree_counted *counted)
{
    free(counted->leaf);
    counted->leaf = NULL;
    counted->n = 0;
    counted->known = counted->in_catalog = counted->touched = counted->named = false;
    counted->end.is = false;
}

static void went_clear(struct tree_counted *counted)
{
    free(counted->went);
    counted->went = NULL;
    counted->nwent = 0;
}

void tree_counted_free(struct tree_counted *counted)
{
    if (!counted)
        return;
    tree_counted_clear(counted);
    went_clear(counted);
    pthread_mutex_destroy(&counted->lock);
    pthread_cond_destroy(&counted->saved);
    free(counted);
}

static size_t leaf_first(const struct tree_counted *counted, uint64_t leaf)
{
    size_t low = 0, high = counted->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (counted->leaf[middle].leaf < leaf)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int leaf_compare(const void *a, const void *b)
{
    const struct pool_retained_leaf *x = a, *y = b;
    return x->leaf < y->leaf ? -1 : x->leaf > y->leaf;
}

static bool counted_has(const struct tree_counted *counted, const struct pool_retained_leaf *leaf)
{
    for (size_t i = leaf_first(counted, leaf->leaf);
         i < counted->n && counted->leaf[i].leaf == leaf->leaf; i++)
        if (counted->leaf[i].size == leaf->size &&
            mrmr_digest_equal(&counted->leaf[i].digest, &leaf->digest))
            return true;
    return false;
}

/* What counted when a name went counts, too. */
static mrmr_err counted_add_went(struct tree_counted *counted)
{
    size_t n = counted->n;
    if (!counted->nwent)
        return MRMR_OK;
    struct pool_retained_leaf *all =
        realloc(counted->leaf, (n + counted->nwent) * sizeof *counted->leaf);
    if (!all)
        return mrmr_nomem();
    counted->leaf = all;
    for (size_t i = 0; i < counted->nwent; i++)
        if (!counted_has(counted, &counted->went[i]))
            all[n++] = counted->went[i];
    counted->n = n;
    qsort(all, n, sizeof *all, leaf_compare);
    return MRMR_OK;
}

/* From now on. */
static mrmr_err went_take(struct tree_counted *counted)
{
    struct pool_retained_leaf *went = malloc((counted->n + 1) * sizeof *went);
    size_t n = 0;
    if (!went)
        return mrmr_nomem();
    for (size_t i = 0; i < counted->n; i++)
        if (counted->leaf[i].size) /* else its bytes are kept by themselves */
            went[n++] = counted->leaf[i];
    went_clear(counted);
    counted->went = went;
    counted->nwent = n;
    return MRMR_OK;
}

/* Of all nodes that the catalog has with this inode: which of them it is does not matter, since only
 * bytes with the right digest are kept. */
mrmr_err tree_counted_load(
    struct pool_tree *tree, const struct tree_inode *inode, struct tree_counted *counted)
{
    struct pool_drive *drive = tree->drive[inode->drive].drive;
    tree_counted_clear(counted);
    if (!inode->ino)
        return mrmr_err_drive(
            mrmr_fail(MRMR_READONLY, "it has no inode numbers that last"), drive->meta.name);
    const bool scanned = tree_keep_scanned(tree); /* before the catalog is asked */
    MRMR_TRY(pool_retained_counted(
        tree->pool, drive, NULL, inode->ino, &counted->leaf, &counted->n, &counted->in_catalog));
    counted->in_catalog = counted->in_catalog || scanned;
    MRMR_TRY(counted_add_went(counted));
    counted->known = true;
    return MRMR_OK;
}

/* It stays as long as the node does; births: which of the inodes that had its number it is of. */
struct tree_counted *tree_counted_of(
    struct pool_tree *tree, struct tree_node *node, uint32_t *ret_births)
{
    mrmr_locked(&tree->lock);
    *ret_births = node->births;
    if (node->counted)
        return node->counted;
    struct tree_counted *counted = calloc(1, sizeof *counted);
    if (counted) {
        pthread_mutex_init(&counted->lock, NULL);
        pthread_cond_init(&counted->saved, NULL);
    }
    return node->counted = counted;
}

static bool counted_is_of(
    const struct tree_counted *counted, const struct tree_inode *inode, uint32_t births)
{
    return counted->inode.drive == inode->drive && counted->inode.ino == inode->ino &&
           counted->births == births;
}

static mrmr_err counted_now(struct pool_tree *tree, const struct tree_inode *inode, uint32_t births,
    struct tree_counted *counted, uint64_t epoch)
{
    bool same = counted_is_of(counted, inode, births);
    if (same && (counted->for_ever || (counted->known && counted->epoch == epoch)))
        return MRMR_OK;
    if (!same)
        went_clear(counted);
    counted->for_ever = false;
    counted->inode = *inode;
    counted->births = births;
    counted->epoch = epoch;
    return tree_counted_load(tree, inode, counted);
}

/* Only a commit can make something count on it, and that begins another epoch. What the catalog has
 * by its inode number is of a file that is gone with its bytes. */
void tree_keep_new(struct pool_tree *tree, struct tree_node *node, const struct tree_inode *inode,
    bool scanned, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = inode->ino ? tree_counted_of(tree, node, &births) : NULL;
    if (!counted)
        return; /* it is asked when it is needed */
    mrmr_locked(&counted->lock);
    tree_counted_clear(counted);
    went_clear(counted);
    counted->for_ever = false;
    counted->inode = *inode;
    counted->births = births;
    counted->epoch = epoch;
    counted->in_catalog = scanned;
    counted->known = true;
    counted->end = (struct tree_end){0, epoch, true};
}

void tree_keep_unknown(struct pool_tree *tree, struct tree_node *node)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return;
    mrmr_locked(&counted->lock);
    counted->known = counted->for_ever = false;
}

mrmr_err tree_counted_in_catalog(
    struct pool_tree *tree, const struct tree_inode *inode, bool *known)
{
    struct meta_node node;
    size_t n = 0;
    if (tree_keep_scanned(tree)) {
        *known = true;
        return MRMR_OK;
    }
    MRMR_TRY(meta_node_by_ino(
        tree->pool->meta, tree->drive[inode->drive].drive->meta.id, inode->ino, &node, 1, &n));
    *known = *known || n > 0;
    return MRMR_OK;
}

/* --- the scan shall know that it was us (I5) --- */

mrmr_err tree_keep_touch(
    struct pool_tree *tree, const struct tree_inode *inode, int64_t as, uint64_t epoch)
{
    return tree_record_touched(
        tree->keeper->records, tree_keep_id(tree, inode->drive), inode->ino, as, epoch);
}

mrmr_err tree_counted_touch(struct pool_tree *tree, const struct tree_inode *inode,
    struct tree_counted *counted, bool bytes, uint64_t epoch)
{
    bool *noted = bytes ? &counted->touched : &counted->named;
    /* also what the catalog does not have: a scan may be about to add it */
    if (counted->touched || *noted)
        return MRMR_OK;
    MRMR_TRY(tree_keep_touch(tree, inode, bytes ? 0 : POOL_TOUCHED_NAME, epoch));
    *noted = true;
    return MRMR_OK;
}

static bool is_of(const struct tree_attrs_of *recorded, const struct tree_inode *inode,
    uint32_t births, uint64_t epoch)
{
    return recorded->is && recorded->epoch == epoch && recorded->births == births &&
           recorded->inode.drive == inode->drive && recorded->inode.ino == inode->ino;
}

/* Not loaded for that: it takes longer than a record more. */
mrmr_err tree_keep_attrs(
    struct pool_tree *tree, struct tree_node *node, const struct tree_inode *inode, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return mrmr_nomem();
    mrmr_locked(&counted->lock);
    const struct tree_attrs_of bytes = {
        counted->inode, counted->births, counted->epoch, counted->touched};
    if (is_of(&bytes, inode, births, epoch) || is_of(&counted->attrs, inode, births, epoch))
        return MRMR_OK; /* that of its bytes says more */
    MRMR_TRY(tree_keep_touch(tree, inode, POOL_TOUCHED_ATTRS, epoch));
    counted->attrs = (struct tree_attrs_of){*inode, births, epoch, true};
    return MRMR_OK;
}

mrmr_err tree_keep_attrs_touched(
    struct pool_tree *tree, size_t drive, uint64_t ino, bool *ret_touched)
{
    *ret_touched = false;
    return tree->keeper ? pool_touched_find_attrs(
                              tree->pool, tree->drive[drive].drive->meta.id, ino, ret_touched)
                        : MRMR_OK;
}

/* --- bytes --- */

/* Bytes of an open file that are going to change. */
struct keeping {
    struct pool_tree *tree;
    const struct tree_inode *inode;
    uint32_t births;
    struct tree_counted *counted;
    struct drv_file *file;
    uint64_t from, to, epoch;
};

/* Leaves that follow each other, while a thread keeps them. */
struct tree_saving {
    struct tree_saving *next;
    struct pool_retained_leaf leaf[POOL_RETAINED_RUN];
    size_t n;
};

static bool is_being_saved(const struct tree_counted *counted, uint64_t leaf)
{
    for (const struct tree_saving *saving = counted->saving; saving; saving = saving->next)
        if (leaf - saving->leaf->leaf < saving->n)
            return true;
    return false;
}

/* How many leaves from here on follow each other and are not kept yet: of those that are touched; and where the ones before
 * are kept, as by who writes a file from its start to its end, as many again. */
static size_t run_length(const struct tree_counted *counted, size_t i, uint64_t to)
{
    const struct pool_retained_leaf *leaf = &counted->leaf[i];
    size_t before = 0, n = 1;
    while (before < i && before < POOL_RETAINED_RUN && !leaf[-1 - (ptrdiff_t)before].size &&
           leaf[-1 - (ptrdiff_t)before].leaf + before + 1 == leaf->leaf)
        before++;
    while (i + n < counted->n && n < POOL_RETAINED_RUN && leaf[n].size &&
           leaf[n].leaf == leaf->leaf + n && (n <= before || leaf[n].leaf * META_LEAF < to) &&
           !is_being_saved(counted, leaf[n].leaf))
        n++;
    return n;
}

static void savers_take(struct tree_drive *drive, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        while (sem_wait(&drive->savers)) /* EINTR */
            ;
}

static void savers_give(struct tree_drive *drive, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        sem_post(&drive->savers);
}

/* Several at a time if that can be; *ret_n: how many it was. */
static mrmr_err save_some(struct tree_drive *drive, struct drv_file *file,
    const struct pool_retained_leaf leaf[], size_t n, size_t *ret_n)
{
    struct drv *drv = drive->drive->drv;
    savers_take(drive, 1);
    mrmr_err err =
        n > 1 ? pool_retained_save_run(drv, &drive->keeping, file, leaf, n) : MRMR_UNSUPPORTED;
    if (err == MRMR_UNSUPPORTED) {
        n = 1;
        err = pool_retained_save_leaf(drv, &drive->keeping, file, leaf);
    }
    savers_give(drive, 1);
    *ret_n = n;
    return err;
}

/* What others have written, and had no room for the rest of, is gone by then. */
static mrmr_err save_alone(
    struct tree_drive *drive, struct drv_file *file, const struct pool_retained_leaf *leaf)
{
    mrmr_locked(&drive->alone);
    savers_take(drive, TREE_SAVERS);
    mrmr_err err = pool_retained_save_leaf(drive->drive->drv, &drive->keeping, file, leaf);
    savers_give(drive, TREE_SAVERS);
    return err;
}

/* Nothing is held: so many threads are at it on a drive. */
static mrmr_err save(struct tree_drive *drive, struct drv_file *file,
    const struct pool_retained_leaf leaf[], size_t n, size_t *ret_n)
{
    mrmr_err err = save_some(drive, file, leaf, n, ret_n);
    if (err != MRMR_SPACE)
        return err;
    *ret_n = 1;
    return save_alone(drive, file, leaf);
}

/* What was loaded anew meanwhile has it as well. */
static void keep_done(const struct keeping *k, const struct pool_retained_leaf *saved)
{
    struct tree_drive *drive = &k->tree->drive[k->inode->drive];
    struct tree_counted *counted = k->counted;
    atomic_store_explicit(&k->tree->kept, true, memory_order_relaxed);
    tree_room_kept(drive, saved->size);
    if (!counted_is_of(counted, k->inode, k->births))
        return;
    for (size_t i = leaf_first(counted, saved->leaf);
         i < counted->n && counted->leaf[i].leaf == saved->leaf; i++)
        if (counted->leaf[i].size == saved->size &&
            mrmr_digest_equal(&counted->leaf[i].digest, &saved->digest))
            counted->leaf[i].size = 0;
}

/* From leaf i on. The lock is let go of for as long as that takes. */
static mrmr_err keep_leaves(struct keeping *k, size_t i)
{
    struct tree_drive *drive = &k->tree->drive[k->inode->drive];
    struct tree_counted *counted = k->counted;
    struct tree_saving saving = {.next = counted->saving, .n = run_length(counted, i, k->to)};
    struct tree_saving **at = &counted->saving;
    size_t n;
    memcpy(saving.leaf, &counted->leaf[i], saving.n * sizeof *saving.leaf);
    counted->saving = &saving;
    pthread_mutex_unlock(&counted->lock);
    mrmr_err err = save(drive, k->file, saving.leaf, saving.n, &n);
    pthread_mutex_lock(&counted->lock);
    while (*at != &saving)
        at = &(*at)->next;
    *at = saving.next;
    pthread_cond_broadcast(&counted->saved);
    for (size_t j = 0; !err && j < n; j++)
        keep_done(k, &saving.leaf[j]);
    return mrmr_err_drive(err, drive->drive->meta.name);
}

/* The first leaf that is touched, counts, and is not kept; the number of all: there is none. */
static size_t to_keep(const struct keeping *k)
{
    const struct tree_counted *counted = k->counted;
    size_t i = leaf_first(counted, k->from / META_LEAF);
    while (i < counted->n && !counted->leaf[i].size)
        i++;
    return i < counted->n && counted->leaf[i].leaf * META_LEAF < k->to ? i : counted->n;
}

static mrmr_err keep_range(struct keeping *k)
{
    struct tree_counted *counted = k->counted;
    for (;;) {
        MRMR_TRY(counted_now(k->tree, k->inode, k->births, counted, k->epoch));
        const size_t i = to_keep(k);
        if (i == counted->n)
            return MRMR_OK;
        const uint64_t leaf = counted->leaf[i].leaf;
        if (is_being_saved(counted, leaf)) {
            pthread_cond_wait(&counted->saved, &counted->lock);
            continue;
        }
        MRMR_TRY(keep_leaves(k, i));
        if (k->from < leaf * META_LEAF)
            k->from = leaf * META_LEAF; /* all before it are kept */
    }
}

/* Each time, and not once an epoch: whoever reads it for a commit may have begun since. */
static mrmr_err note_written(
    struct pool_tree *tree, const struct tree_inode *inode, uint64_t from, uint64_t to)
{
    return pool_written_note(
        tree->keeper->written, tree_keep_id(tree, inode->drive), inode->ino, from, to);
}

/* It may become longer than it was. Where it ended is asked once an epoch: a scan that goes by that begins one (written.h). Whoever makes
 * it shorter says so: the scan may look at it then, and it has grown since as soon as it is longer than that, if not than when it was asked. */
static mrmr_err note_end(const struct keeping *k, uint64_t to)
{
    struct tree_end *end = &k->counted->end;
    if (!end->is || end->epoch != k->epoch) {
        struct drv_stat stat;
        MRMR_TRY(mrmr_err_drive(
            drv_file_stat(k->file, &stat), k->tree->drive[k->inode->drive].drive->meta.name));
        *end = (struct tree_end){stat.size, k->epoch, true};
    }
    return to <= end->size ? MRMR_OK
                           : pool_written_note_end(k->tree->keeper->written,
                                 tree_keep_id(k->tree, k->inode->drive), k->inode->ino);
}

mrmr_err tree_keep_bytes(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, struct drv_file *file, uint64_t from, uint64_t to,
    uint64_t epoch)
{
    struct keeping k = {
        .tree = tree, .inode = inode, .file = file, .from = from, .to = to, .epoch = epoch};
    const uint64_t end = from < to ? to : UINT64_MAX; /* of what only grows it is not told */
    k.counted = tree_counted_of(tree, node, &k.births);
    if (!k.counted)
        return mrmr_nomem();
    mrmr_locked(&k.counted->lock);
    MRMR_TRY(keep_range(&k));
    MRMR_TRY(note_written(tree, inode, from, to));
    MRMR_TRY(note_end(&k, end));
    /* Last: if something could not be kept nothing is changed, and it is as the catalog has it. */
    return tree_counted_touch(tree, inode, k.counted, true, epoch);
}

void tree_keep_cut(struct pool_tree *tree, struct tree_node *node, uint64_t size)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return; /* where it ends is asked when it is needed */
    mrmr_locked(&counted->lock);
    if (counted->end.size > size)
        counted->end.size = size;
}

/* for_ever: nobody will ask of this inode again, for its name goes. */
static mrmr_err counts(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool for_ever, bool *ret_counts)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return mrmr_nomem();
    mrmr_locked(&counted->lock);
    MRMR_TRY(counted_now(tree, inode, births, counted, epoch));
    *ret_counts = counted->n > 0;
    if (*ret_counts)
        return MRMR_OK;
    MRMR_TRY(note_written(tree, inode, 0, INT64_MAX)); /* nobody may be told which bytes */
    MRMR_TRY(tree_counted_touch(tree, inode, counted, !for_ever, epoch));
    counted->for_ever = counted->for_ever || for_ever;
    return MRMR_OK;
}

mrmr_err tree_keep_counts(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool *ret_counts)
{
    return counts(tree, node, inode, epoch, false, ret_counts);
}

mrmr_err tree_keep_nothing(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, uint64_t epoch, bool *ret_counts)
{
    return counts(tree, node, inode, epoch, true, ret_counts);
}

mrmr_err tree_keep_known(struct pool_tree *tree, struct tree_node *node,
    const struct tree_inode *inode, bool last, uint64_t epoch)
{
    uint32_t births;
    struct tree_counted *counted = tree_counted_of(tree, node, &births);
    if (!counted)
        return mrmr_nomem();
    mrmr_locked(&counted->lock);
    MRMR_TRY(counted_now(tree, inode, births, counted, epoch));
    if (!last)
        return went_take(counted);
    counted->for_ever = true;
    return MRMR_OK;
}
