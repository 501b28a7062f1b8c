/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What others store on the drives into files that are open here.
 *
 * A store through a mapping causes no event, and one into a page that is to be written back already
 * changes no time either. But the drive's file system knows whether anybody could: a lease to read is
 * had only of a file that nobody has open for writing, or mapped so (drv_file_is_written). So while
 * files are open here, a thread of its own looks at each of them every half second: as long as somebody
 * may store to it, and once after that, whoever keeps its pages and attributes is told to forget them;
 * likewise when its size or mtime is another than before and no event told of it, as after a write by
 * another name of it in a folder that is not watched.
 *
 * What happened before a file is opened the open itself sees: if its size, mtime or links are others than
 * whoever asked was told last, he is told to ask again before he has it open (tree_file.c).
 *
 * When nothing is open nothing is done: the thread sleeps until somebody opens a file. Each time at most
 * LOOKS_MOST files are looked at, in turn: of more that are open at a time, each is looked at as much
 * later. Looks are ops of the drive's guard, as any, so a drive that hangs keeps this thread for
 * one deadline, and nobody else.
 *
 * Not promised. What this process has open for writing the lease counts, too. So of a file that
 * somebody writes through us, or that lost its last name through us (tree_parted.c), size and mtime are
 * all that is looked at, and changes of them that may be our own tell nothing; the lease is asked again
 * when the last such file is closed. The same holds where the drive does not say who writes: it tells
 * the file's owner and root alone, and some file systems have no leases. Drives that tell of
 * no changes at all (`silent`) are not looked at: remote-ttl is their promise; nor are files that the
 * kernel uses directly, whose pages are the drive's own.
 *
 * Locks: the tree's alone, and no look and no call under it.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_watch.h"

static const int64_t look_every = MRMR_NS_PER_S / 2;
/* A look takes some 27 us of processor time (measured with 1,000 open files): 0.7 percent of one at most. */
enum { LOOKS_MOST = 128 };

struct tree_stores {
    pthread_t thread;
    bool threaded;
    pthread_cond_t wake;
    /* Guarded by the tree's lock. */
    bool stop, idle; /* idle: until a file is opened */
};

struct look {
    struct tree_node *node;         /* counted */
    struct tree_original *original; /* counted */
    struct tree_drive *drive;
    uint64_t writes; /* of the node, before the drive was asked */
    bool alone;      /* nothing of ours is in the lease's way */
    struct drv_stat stat;
    bool written; /* by somebody else */
};

/* Nothing of this process has it open for writing, nor had a moment ago. */
static bool alone_locked(const struct tree_node *node)
{
    return !node->writers && !node->parted && !node->gone && node->links &&
           node->own_until <= mrmr_clock_monotonic();
}

/* The next file in turn. False: that was the last one, for now. */
static bool look_next(struct pool_tree *tree, struct look *ret_look)
{
    mrmr_locked(&tree->lock);
    size_t drive;
    *ret_look = (struct look){.node = NULL};
    if (tree->stores->stop || !tree->turn)
        return false;
    struct tree_original *original = tree_files_turn_locked(tree, &ret_look->node, &drive);
    if (!original)
        return true;
    ret_look->original = original;
    ret_look->drive = &tree->drive[drive];
    ret_look->writes = ret_look->node->writes;
    ret_look->alone = alone_locked(ret_look->node);
    tree_ref_locked(ret_look->node);
    return true;
}

/* The drive is asked. False: it does not answer. */
static bool look_ask(struct look *look)
{
    struct drv_file *file = tree_original_file(look->original);
    mrmr_err err = drv_file_stat(file, &look->stat);
    if (!err && look->alone && drv_file_is_written(file, &look->written))
        look->written = false; /* nobody knows */
    if (err)
        tree_silent(look->drive, err);
    return !err;
}

/* True: pages and attributes are not what they were, or may not be. A change of our own is counted before
 * the drive does it, and is over half a second before own_until: between two looks it is one or the other. */
static bool look_tells_locked(const struct look *look)
{
    struct tree_node *node = look->node;
    struct tree_seen_file *seen = tree_original_seen(look->original);
    const bool alone = look->alone && alone_locked(node);
    const bool ours = !seen->is || node->writes != seen->writes ||
                      node->own_until + look_every > mrmr_clock_monotonic();
    const bool other = seen->mtime != look->stat.mtime || seen->size != look->stat.size;
    const bool tells = (other && !ours) || (alone && (look->written || node->stored));
    if (alone)
        node->stored = look->written;
    if (tells)
        node->changes++;
    *seen = (struct tree_seen_file){true, look->stat.mtime, look->stat.size, look->writes};
    return tells;
}

static void look_at(struct pool_tree *tree, struct look *look)
{
    if (!look->original)
        return;
    bool tells = false;
    if (look_ask(look)) {
        mrmr_locked(&tree->lock);
        tells = look_tells_locked(look);
    }
    if (tells)
        tree_tell_node(tree, look->node->number, true);
    tree_original_put(look->original);
    tree_put(tree, look->node);
}

/* Until it is time again. False: stop. */
static bool looks_wait(struct pool_tree *tree, int64_t until)
{
    struct tree_stores *stores = tree->stores;
    struct timespec at = mrmr_clock_to_timespec(until);
    mrmr_locked(&tree->lock);
    while (!stores->stop && mrmr_clock_monotonic() < until)
        pthread_cond_timedwait(&stores->wake, &tree->lock, &at);
    stores->idle = !tree->files;
    while (!stores->stop && stores->idle)
        pthread_cond_wait(&stores->wake, &tree->lock);
    if (!tree->turn)
        tree->turn = tree->files;
    return !stores->stop;
}

static void *looks_run(void *arg)
{
    struct pool_tree *tree = arg;
    int64_t began = mrmr_clock_monotonic();
    while (looks_wait(tree, began + look_every)) {
        struct look look;
        began = mrmr_clock_monotonic();
        for (unsigned n = 0; n < LOOKS_MOST && look_next(tree, &look);) {
            n += look.original != NULL;
            look_at(tree, &look);
        }
    }
    return NULL;
}

void tree_stores_opened_locked(struct pool_tree *tree)
{
    struct tree_stores *stores = tree->stores;
    if (!stores || !stores->idle)
        return;
    stores->idle = false;
    pthread_cond_signal(&stores->wake);
}

/* Without anybody to tell there is nothing to look for. */
mrmr_err tree_stores_start(struct pool_tree *tree)
{
    pthread_condattr_t attr;
    if (!tree->events.node_changed)
        return MRMR_OK;
    struct tree_stores *stores = calloc(1, sizeof *stores);
    if (!stores)
        return mrmr_nomem();
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&stores->wake, &attr);
    pthread_condattr_destroy(&attr);
    tree->stores = stores;
    int err = pthread_create(&stores->thread, NULL, looks_run, tree);
    if (err)
        return mrmr_fail_errno(err, "start thread", "");
    stores->threaded = true;
    return MRMR_OK;
}

void tree_stores_stop(struct pool_tree *tree)
{
    struct tree_stores *stores = tree->stores;
    if (!stores)
        return;
    {
        mrmr_locked(&tree->lock);
        stores->stop = true;
        pthread_cond_signal(&stores->wake);
    }
    if (stores->threaded)
        pthread_join(stores->thread, NULL);
    pthread_cond_destroy(&stores->wake);
    free(stores);
    tree->stores = NULL;
}
