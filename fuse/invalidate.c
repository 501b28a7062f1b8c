/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the tree tells of, told to the kernel. That it does not know the name or the node is fine.
 */
#include "fuse/mfs.h"

#include <errno.h>
#include <string.h>

/* A name that the kernel does not know may be a new one: it keeps the folder's list on, and with it that
 * there is no such name, unless that is told of apart. */
static void name_changed(uint64_t folder, const char *name, void *arg)
{
    struct mfs *mfs = arg;
    if (mfs->session &&
        fuse_lowlevel_notify_inval_entry(mfs->session, folder, name, strlen(name)) == -ENOENT)
        fuse_lowlevel_notify_inval_inode(mfs->session, folder, 0, 0);
}

static void node_changed(uint64_t node, bool bytes, void *arg)
{
    struct mfs *mfs = arg;
    /* From offset 0 all pages go too; a negative one leaves them alone. */
    if (mfs->session)
        fuse_lowlevel_notify_inval_inode(mfs->session, node, bytes ? 0 : -1, 0);
}

const struct pool_tree_events mfs_events = {
    .name_changed = name_changed, .node_changed = node_changed};
