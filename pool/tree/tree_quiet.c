/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Times of a folder's copies that say nothing of the folder.
 *
 * A folder that is put on a further drive is made in the copy that the folder above it has there
 * (tree_place.c). Nobody sees that: the folder shows in the one above it as before. But that one's copy
 * has other times then. The mtime is put back; a ctime cannot be, and is the latest of all copies to
 * whoever asks for the folder. The new copy, too, has a ctime of now, of a folder that is as old as it
 * was.
 *
 * So for as long as the node is known it is remembered which times such a copy was left with: as long
 * as it has just these, it counts with the ctime that it showed before. Any change by a name gives it
 * another mtime, and any other one another ctime, by whomever; one in the same tick of the drive's
 * clock cannot be told by that, so what is changed through us makes all of it forgotten. Nothing is
 * kept on a drive: after the next mount the ctimes are those of the copies, which is later than it was,
 * and never earlier.
 *
 * What is done to the folder meanwhile does count. Changes of ours by a name in it are known before they
 * begin and after they end (tree_own_name, tree_owned_name): if any was under way between the look at the
 * copy and the end, the mtime stays what the drive made it, or is now if it was put back already, and
 * nothing is hidden. Its attributes are not set meanwhile (tree_set.c waits). Not promised: what somebody
 * else does on the drive itself between that look and the putting back, which are two ops apart.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_known.h"

struct tree_quiet {
    struct tree_quiet *next;
    size_t drive;
    bool making; /* the copy is being changed: it has the times that it had before */
    bool known;  /* else it counts as it is */
    struct tree_quiet_ticket ticket; /* while it is being changed */
    int64_t mtime, ctime; /* that it was left with; while it is being changed: that it had */
    int64_t shown;        /* its ctime to whoever asks */
};

static struct tree_quiet *find_locked(const struct tree_node *folder, size_t drive)
{
    struct tree_quiet *at = folder->quiet;
    while (at && at->drive != drive)
        at = at->next;
    return at;
}

/* NULL without memory: then it counts as it is. */
static struct tree_quiet *get_locked(struct tree_node *folder, size_t drive)
{
    struct tree_quiet *at = find_locked(folder, drive);
    if (at || !(at = calloc(1, sizeof *at)))
        return at;
    at->next = folder->quiet;
    at->drive = drive;
    folder->quiet = at;
    return at;
}

static int64_t shown(const struct tree_quiet *quiet, int64_t mtime, int64_t ctime)
{
    return quiet && quiet->known && quiet->mtime == mtime && quiet->ctime == ctime ? quiet->shown
                                                                                   : ctime;
}

struct tree_quiet_ticket tree_quiet_take(struct pool_tree *tree, const struct tree_node *folder)
{
    mrmr_locked(&tree->lock);
    return (struct tree_quiet_ticket){!folder->changing, folder->named};
}

static bool alone_locked(const struct tree_node *folder, const struct tree_quiet *quiet)
{
    return quiet->ticket.alone && quiet->ticket.named == folder->named;
}

bool tree_quiet_alone(struct pool_tree *tree, const struct tree_node *folder, size_t drive)
{
    mrmr_locked(&tree->lock);
    const struct tree_quiet *quiet = find_locked(folder, drive);
    return quiet && quiet->making && alone_locked(folder, quiet);
}

void tree_quiet_begin(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *before, const struct tree_quiet_ticket *ticket)
{
    mrmr_locked(&tree->lock);
    struct tree_quiet *quiet = get_locked(folder, drive);
    if (!quiet)
        return;
    quiet->shown = shown(quiet, before->mtime, before->ctime);
    quiet->mtime = before->mtime;
    quiet->ctime = before->ctime;
    quiet->ticket = *ticket;
    quiet->making = quiet->known = true;
}

void tree_quiet_end(
    struct pool_tree *tree, struct tree_node *folder, size_t drive, const struct drv_stat *after)
{
    mrmr_locked(&tree->lock);
    struct tree_quiet *quiet = find_locked(folder, drive);
    if (!quiet)
        return;
    quiet->making = false;
    quiet->known =
        quiet->known && after && after->mtime == quiet->mtime && alone_locked(folder, quiet);
    if (quiet->known)
        quiet->ctime = after->ctime;
}

void tree_quiet_copy(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *is, size_t source, const struct drv_stat *of)
{
    mrmr_locked(&tree->lock);
    const struct tree_quiet *first = find_locked(folder, source);
    const int64_t ctime = shown(first, of->mtime, of->ctime);
    struct tree_quiet *quiet = get_locked(folder, drive);
    if (quiet)
        *quiet = (struct tree_quiet){.next = quiet->next,
            .drive = drive,
            .known = true,
            .mtime = is->mtime,
            .ctime = is->ctime,
            .shown = ctime};
}

void tree_quiet_attr(
    struct pool_tree *tree, const struct tree_node *folder, size_t drive, struct pool_attr *attr)
{
    mrmr_locked(&tree->lock);
    const struct tree_quiet *quiet = find_locked(folder, drive);
    if (quiet && quiet->making && quiet->known && alone_locked(folder, quiet)) {
        attr->mtime = quiet->mtime;
        attr->ctime = quiet->shown;
    } else {
        attr->ctime = shown(quiet, attr->mtime, attr->ctime);
    }
}

void tree_quiet_changed(struct pool_tree *tree, struct tree_node *folder)
{
    mrmr_locked(&tree->lock);
    for (struct tree_quiet *at = folder->quiet; at; at = at->next)
        at->known = false;
}

void tree_quiet_free(struct tree_quiet *quiet)
{
    while (quiet) {
        struct tree_quiet *next = quiet->next;
        free(quiet);
        quiet = next;
    }
}
