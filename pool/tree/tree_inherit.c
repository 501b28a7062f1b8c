/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whether a folder that is found at a name is the one that was found there before.
 *
 * A folder's node has the number of one of its copies, and its name has it as long as the node is
 * held, also when a copy on a drive with a lower id comes, or that copy's drive goes. But two folders must
 * never have one number: what is done in the one by its number would be done in the other. So the name
 * keeps it only if the node is still known under this name, and the copy that has the number is still one
 * of those that are found here; where its drive does not answer, nobody else can have it either. Where
 * that drive has nothing here any more the other copies keep the number, until the copy is found under
 * another name: then this name loses it (tree_get_locked).
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_number.h"

#include <string.h>

/* The drive whose copy has the number. False: it is none of the pool's any more, or is away. */
static bool home_of(struct pool_tree *tree, uint64_t number, size_t *ret_drive)
{
    int64_t id;
    uint64_t ino;
    tree_number_where(tree, number, &id, &ino);
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree->drive[i].drive->meta.id == id) {
            *ret_drive = i;
            return tree_live(&tree->drive[i]);
        }
    return false;
}

static bool known_under_locked(
    const struct tree_node *node, const struct tree_node *folder, const char *name)
{
    const struct tree_link *link = node->links;
    return link && link->parent == folder && strcmp(link->name, name) == 0;
}

/* Besides the first one. */
static bool copy_has(const struct mrmr_bytes *copies, uint64_t place, uint64_t number)
{
    const struct tree_copy *copy = (const struct tree_copy *)(const void *)copies->data;
    for (size_t i = 0; i < copies->size / sizeof *copy; i++)
        if (copy[i].place == place && copy[i].number == number)
            return true;
    return false;
}

bool tree_inherits_locked(struct pool_tree *tree, const struct tree_node *folder,
    const struct tree_name *found, const struct tree_name *was, const struct mrmr_bytes *copies)
{
    size_t home;
    if (!was || was->kind != POOL_DIR || found->kind != POOL_DIR || !was->number ||
        was->number == found->number || !tree_set_meet(&was->on, &found->on))
        return false;
    const struct tree_node *node = tree_find_locked(tree, was->number);
    if (!node || !known_under_locked(node, folder, found->name))
        return false;
    return !home_of(tree, was->number, &home) || !tree_set_has(&found->on, home) ||
           copy_has(copies, found->place, was->number);
}
