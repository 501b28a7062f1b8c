/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What each drive said of its copy of a folder, for folders that lie on several and are changed through us.
 *
 * After each name that is made or taken the kernel asks for the folder's attributes. They are gathered
 * from all of its drives, and the change touched one: what the others said is kept, as long as they
 * send events and none came, and only of folders that were changed through us, so that looking at a
 * large tree costs no memory.
 *
 * A drive's word is void when an event tells of that drive's copy; all are when the map is loaded
 * anew or is not watched, and when we change the folder otherwise than by one name on one drive: each
 * change of ours counts up node->owns before and after, and who knows which drive it touched says so
 * (tree_known_settle_locked), which is believed if nothing else of ours came in between.
 *
 * An op that gives or takes a name brings the folder's attributes along (struct drv_named), so the
 * drive is not asked after it at all. The event about that op may come later, and is no reason to ask:
 * while the name's events count as ours (tree_own_window) they leave such a word alone, and it is not
 * believed for longer. Any other event makes it void. Where events tell who did it, ours say nothing.
 */
#include "pool/tree/tree_known.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_look.h"

#include <string.h>

struct tree_known {
    uint32_t owns; /* the node's, when this was true */
    size_t n;
    struct tree_set has;
    struct tree_word {
        struct pool_attr attr;
        int64_t until; /* monotonic: an op of ours brought it along; 0: the drive was asked */
    } word[];          /* by drive */
};

static bool usable_locked(const struct tree_node *folder)
{
    const struct tree_known *known = folder->known;
    return known && folder->valid && folder->watched && known->owns == folder->owns;
}

bool tree_known_get(struct pool_tree *tree, const struct tree_node *folder, size_t drive,
    struct pool_attr *ret_attr, struct tree_known_ticket *ret_ticket)
{
    mrmr_locked(&tree->lock);
    *ret_ticket = (struct tree_known_ticket){folder->owns, folder->voids};
    if (!usable_locked(folder) || !tree_set_has(&folder->known->has, drive))
        return false;
    const struct tree_word *word = &folder->known->word[drive];
    if (word->until && word->until < mrmr_clock_monotonic())
        return false;
    *ret_attr = word->attr;
    return true;
}

/* Empty, with room for each drive; NULL without memory, or if it is not worth it. */
static struct tree_known *known_ready_locked(const struct pool_tree *tree, struct tree_node *folder)
{
    const size_t n = tree->ndrives;
    if (usable_locked(folder) && folder->known->n == n)
        return folder->known;
    if (!folder->owns || !folder->valid || !folder->watched)
        return NULL;
    free(folder->known);
    folder->known = calloc(1, sizeof *folder->known + n * sizeof *folder->known->word);
    if (!folder->known)
        return NULL;
    folder->known->owns = folder->owns;
    folder->known->n = n;
    return folder->known;
}

void tree_known_put(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct pool_attr *attr, const struct tree_known_ticket *ticket)
{
    mrmr_locked(&tree->lock);
    if (ticket->owns != folder->owns || ticket->voids != folder->voids)
        return;
    struct tree_known *known = known_ready_locked(tree, folder);
    if (!known || drive >= known->n)
        return;
    known->word[drive] = (struct tree_word){.attr = *attr};
    tree_set_add(&known->has, drive);
}

struct tree_known_ticket tree_known_change(struct pool_tree *tree, const struct tree_node *folder)
{
    mrmr_locked(&tree->lock);
    return (struct tree_known_ticket){folder->owns, folder->others};
}

void tree_known_brought(struct pool_tree *tree, struct tree_node *folder, size_t drive,
    const struct drv_stat *stat, const struct tree_known_ticket *ticket)
{
    if (stat->type != DRV_DIR)
        return;
    mrmr_locked(&tree->lock);
    /* This change ended since, no other one of ours, and nobody else did anything. */
    if (ticket->owns + 1 != folder->owns || ticket->voids != folder->others)
        return;
    struct tree_known *known = known_ready_locked(tree, folder);
    if (!known || drive >= known->n)
        return;
    struct tree_word *word = &known->word[drive];
    tree_attr_from_stat(stat, &word->attr);
    word->until = mrmr_clock_monotonic() + tree_own_window;
    tree_set_add(&known->has, drive);
}

static void void_locked(struct tree_node *folder, size_t drive)
{
    folder->voids++;
    if (folder->known)
        tree_set_remove(&folder->known->has, drive);
}

void tree_known_void_locked(struct tree_node *folder, size_t drive)
{
    folder->others++;
    void_locked(folder, drive);
}

void tree_known_own_event_locked(struct tree_node *folder, size_t drive)
{
    const struct tree_known *known = folder->known;
    bool brought = known && tree_set_has(&known->has, drive) && known->word[drive].until;
    if (!brought)
        void_locked(folder, drive);
}

void tree_known_void_all_locked(struct tree_node *folder)
{
    folder->voids++;
    folder->others++;
    free(mrmr_steal(folder->known));
}

void tree_known_settle_locked(struct tree_node *folder, size_t drive)
{
    struct tree_known *known = folder->known;
    void_locked(folder, drive);
    if (known && known->owns + 2 == folder->owns) /* before and after this change */
        known->owns = folder->owns;
}

void tree_known_taken(
    struct pool_tree *tree, struct tree_node *folder, const struct tree_name *shows)
{
    mrmr_locked(&tree->lock);
    if (!shows->several && shows->kind != POOL_DIR)
        tree_known_settle_locked(folder, tree_set_first(&shows->on));
}
