/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A node by its number alone, which nobody holds: who exports the mount (NFS) kept it while the
 * kernel, or this process, forgot.
 *
 * The number says which inode of which drive it is. What the last scan saw the catalog finds by that.
 * What came since is looked for on the drive: a folder in which something came has other times than
 * the catalog knows, so of all folders those are listed whose times differ, and what is new in them.
 * That costs a look at each folder, so all that is found on the way is kept, and answers for as long
 * as the search took, many times over: a client with a thousand stale handles waits for one search
 * or two. A name is believed only when what is found there has the number.
 *
 * Locks: the finder's own, over the search, I/O included; under it the tree's.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"

#include <string.h>

/* An answer is good for so many times the time that the search took. */
enum { GOOD_FOR = 20, FOUND_MOST = 1 << 20, DEPTH_MOST = 1000 };

struct found {
    uint64_t ino;
    size_t path; /* in paths */
};

struct tree_finder {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    size_t drive;
    int64_t until; /* monotonic */
    struct found *found;
    size_t n, room;
    struct mrmr_bytes paths; /* each with its NUL */
};

mrmr_err tree_finder_start(struct pool_tree *tree)
{
    tree->finder = calloc(1, sizeof *tree->finder);
    if (!tree->finder)
        return mrmr_nomem();
    pthread_mutex_init(&tree->finder->lock, NULL);
    return MRMR_OK;
}

void tree_finder_stop(struct pool_tree *tree)
{
    struct tree_finder *finder = mrmr_steal(tree->finder);
    if (!finder)
        return;
    free(finder->found);
    mrmr_bytes_free(&finder->paths);
    pthread_mutex_destroy(&finder->lock);
    free(finder);
}

/* --- the search --- */

struct searching {
    struct pool_tree *tree;
    struct tree_finder *finder;
    struct drv *drv;
    unsigned depth;
};

struct listing { /* one folder's */
    struct searching *search;
    const char *path;
    struct meta_node known;  /* id 0: the catalog has not this folder */
    struct mrmr_bytes below; /* folders, each with its NUL */
};

static mrmr_err found_add(struct tree_finder *finder, uint64_t ino, const char *path)
{
    if (finder->n == FOUND_MOST)
        return MRMR_OK; /* what is not found is stale */
    if (finder->n == finder->room) {
        size_t room = finder->room ? 2 * finder->room : 64;
        struct found *more = realloc(finder->found, room * sizeof *more);
        if (!more)
            return mrmr_nomem();
        finder->found = more;
        finder->room = room;
    }
    size_t at = finder->paths.size;
    MRMR_TRY(mrmr_bytes_add(&finder->paths, path, strlen(path) + 1));
    finder->found[finder->n++] = (struct found){ino, at};
    return MRMR_OK;
}

static mrmr_err search_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct listing *listing = arg;
    struct searching *search = listing->search;
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct meta_node known;
    if (err || !stat || pool_scan_excluded(tree_excludes(search->tree), listing->path, name))
        return MRMR_OK;
    MRMR_TRY(tree_join(listing->path, name, &path));
    bool is_known = listing->known.id &&
                    !meta_lookup(search->tree->pool->meta, listing->known.id, name, &known) &&
                    known.ino == stat->ino;
    if (!is_known)
        MRMR_TRY(found_add(search->finder, stat->ino, path.data));
    return stat->type == DRV_DIR ? mrmr_bytes_add(&listing->below, path.data, path.size + 1)
                                 : MRMR_OK;
}

/* The folders in one in which nothing came or went. */
static mrmr_err search_children(struct listing *listing)
{
    mrmr_autofree struct meta_child *children = NULL;
    size_t n = 0;
    MRMR_TRY(meta_children(listing->search->tree->pool->meta, listing->known.id, &children, &n));
    for (size_t i = 0; i < n; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (children[i].node.type != META_DIR)
            continue;
        MRMR_TRY(tree_join(listing->path, children[i].name, &path));
        MRMR_TRY(mrmr_bytes_add(&listing->below, path.data, path.size + 1));
    }
    return MRMR_OK;
}

/* One that goes meanwhile is not there. */
static mrmr_err search_folder(struct searching *search, const char *path)
{
    struct pool_tree *tree = search->tree;
    struct listing listing = {.search = search, .path = path};
    struct drv_stat stat;
    mrmr_err err = drv_stat(search->drv, path, &stat);
    if (!err && tree_catalog(tree, search->finder->drive, path, &listing.known))
        listing.known = (struct meta_node){.id = 0};
    bool same = !err && listing.known.id && listing.known.type == META_DIR &&
                listing.known.mtime == stat.mtime && listing.known.ctime == stat.ctime &&
                listing.known.ino == stat.ino;
    if (!err)
        err =
            same ? search_children(&listing) : drv_list(search->drv, path, search_entry, &listing);
    for (size_t at = 0; !err && at < listing.below.size && search->depth < DEPTH_MOST;
         at += strlen(listing.below.data + at) + 1) {
        search->depth++;
        err = search_folder(search, listing.below.data + at);
        search->depth--;
    }
    mrmr_bytes_free(&listing.below);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ||
                   err == MRMR_CROSS_DEVICE
               ? MRMR_OK
               : err;
}

static mrmr_err search_locked(struct pool_tree *tree, size_t drive)
{
    struct tree_finder *finder = tree->finder;
    int64_t began = mrmr_clock_monotonic();
    if (finder->until > began && finder->drive == drive)
        return MRMR_OK;
    struct searching search = {tree, finder, tree->drive[drive].drive->drv, 0};
    finder->n = 0;
    finder->until = 0;
    finder->drive = drive;
    mrmr_bytes_clear(&finder->paths);
    MRMR_TRY(search_folder(&search, ""));
    int64_t now = mrmr_clock_monotonic();
    finder->until = now + GOOD_FOR * (now - began);
    return MRMR_OK;
}

mrmr_err tree_find_path(struct pool_tree *tree, size_t drive, uint64_t ino,
    mrmr_err (*fn)(char *path, void *arg), void *arg)
{
    mrmr_autobytes struct mrmr_bytes paths = MRMR_BYTES_INIT;
    if (!ino || !tree_live(&tree->drive[drive]))
        return mrmr_fail(MRMR_ABSENT, "nothing is known by this number");
    {
        mrmr_locked(&tree->finder->lock);
        MRMR_TRY(search_locked(tree, drive));
        for (size_t i = 0; i < tree->finder->n; i++) {
            const char *path = tree->finder->paths.data + tree->finder->found[i].path;
            if (tree->finder->found[i].ino == ino)
                MRMR_TRY(mrmr_bytes_add(&paths, path, strlen(path) + 1));
        }
    }
    mrmr_err err = mrmr_fail(MRMR_ABSENT, "nothing is known by this number");
    for (size_t at = 0, size; at < paths.size && mrmr_class_of(err) == MRMR_CLASS_ABSENT;
         at += size) {
        size = strlen(paths.data + at) + 1;
        err = fn(paths.data + at, arg);
    }
    return err;
}
