/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tree tells of, told to the kernel. That it does not know the name or the node is fine.
 */
#include "fuse/mfs.h"

#include "base/clock.h"
#include <errno.h>
#include <string.h>

/* Whether it can be told, and then until tell_end. */
static bool tell_begin(struct mfs *mfs)
{
    pthread_rwlock_rdlock(&mfs->telling);
    if (mfs->session && !mfs->mute)
        return true;
    pthread_rwlock_unlock(&mfs->telling);
    return false;
}

static void tell_end(struct mfs *mfs)
{
    pthread_rwlock_unlock(&mfs->telling);
}

/* The kernel may not let go of one if nobody could abort the connection: closing goes on then. */
void mfs_mute(struct mfs *mfs)
{
    struct timespec end = mrmr_clock_to_timespec(mrmr_clock_real() + 5 * MRMR_NS_PER_S);
    mfs->mute = true;
    if (pthread_rwlock_timedwrlock(&mfs->telling, &end) == 0)
        pthread_rwlock_unlock(&mfs->telling);
}

/* A name that the kernel does not know may be a new one: it keeps the folder's list on, and with it that
 * there is no such name, unless that is told of apart. */
static void name_changed(uint64_t folder, const char *name, void *arg)
{
    struct mfs *mfs = arg;
    if (!tell_begin(mfs))
        return;
    if (fuse_lowlevel_notify_inval_entry(mfs->session, folder, name, strlen(name)) == -ENOENT)
        fuse_lowlevel_notify_inval_inode(mfs->session, folder, 0, 0);
    tell_end(mfs);
}

static void node_changed(uint64_t node, bool bytes, void *arg)
{
    struct mfs *mfs = arg;
    if (!tell_begin(mfs))
        return;
    /* From offset 0 all pages go too; a negative one leaves them alone. */
    fuse_lowlevel_notify_inval_inode(mfs->session, node, bytes ? 0 : -1, 0);
    tell_end(mfs);
}

const struct pool_tree_events mfs_events = {
    .name_changed = name_changed, .node_changed = node_changed};
