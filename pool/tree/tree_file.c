/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The open files of the tree and of a node, and what each has open on its drive: the original, which is
 * counted, so that whoever is on it may go on while it is given up.
 */
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_load.h"
#include "pool/tree/tree_open.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_sync.h"
#include "pool/tree/tree_watch.h"

/* --- the original --- */

struct tree_original *tree_original_of_file(struct pool_tree_file *file)
{
    mrmr_locked(&file->lock);
    if (file->original)
        atomic_fetch_add(&file->original->refs, 1);
    return file->original;
}

void tree_original_ref(struct tree_original *original)
{
    atomic_fetch_add(&original->refs, 1);
}

void tree_original_put(struct tree_original *original)
{
    if (!original || atomic_fetch_sub(&original->refs, 1) != 1)
        return;
    drv_file_close(original->file);
    free(original);
}

struct drv_file *tree_original_file(const struct tree_original *original)
{
    return original->file;
}

struct tree_original *tree_original_new(struct drv_file *opened, uint64_t ino)
{
    struct tree_original *original = calloc(1, sizeof *original);
    if (!original) {
        drv_file_close(opened);
        return NULL;
    }
    original->refs = 1;
    original->file = opened;
    original->ino = ino;
    return original;
}

struct pool_tree *tree_file_tree(const struct pool_tree_file *file)
{
    return file->tree;
}

uint64_t tree_original_ino(const struct tree_original *original)
{
    return original->ino;
}

struct tree_seen_file *tree_original_seen(struct tree_original *original)
{
    return &original->seen;
}

struct tree_node *tree_file_node(const struct pool_tree_file *file)
{
    return file->node;
}

void pool_tree_file_act(struct pool_tree_file *file, const struct pool_caller *caller)
{
    file->acts = caller;
    if (caller)
        file->caller = (struct pool_caller){.uid = caller->uid, .gid = caller->gid};
}

const struct pool_caller *tree_file_caller(const struct pool_tree_file *file)
{
    return file->acts ? &file->caller : NULL;
}

size_t tree_file_drive(const struct pool_tree_file *file)
{
    return file->drive;
}

static struct tree_original *original_open_locked(const struct tree_node *node, bool writing)
{
    for (struct pool_tree_file *file = node->files; file; file = file->node_next) {
        struct tree_original *original =
            file->writing || !writing ? tree_original_of_file(file) : NULL;
        if (original)
            return original;
    }
    return NULL;
}

struct tree_original *tree_original_of_node(
    struct pool_tree *tree, struct tree_node *node, bool writing)
{
    mrmr_locked(&tree->lock);
    struct tree_original *original;
    while (!(original = original_open_locked(node, writing)) && node->taking)
        pthread_cond_wait(&tree->moved, &tree->lock); /* as long as a drive may take */
    return original ? original : tree_parted_original_locked(node, writing);
}

enum tree_way *tree_file_way_locked(struct pool_tree_file *file)
{
    return &file->way;
}

bool tree_node_ordinary_locked(const struct tree_node *node)
{
    for (const struct pool_tree_file *file = node->files; file; file = file->node_next)
        if (file->way == TREE_WAY_ORDINARY)
            return true;
    return false;
}

bool tree_file_writes(const struct pool_tree_file *file)
{
    return file->writing;
}

uint64_t *tree_file_seen(struct pool_tree_file *file)
{
    return &file->seen;
}

void tree_file_written(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->writes++;
    node->own_until = mrmr_clock_monotonic() + tree_own_window;
}

static struct tree_original *original_take_out(struct pool_tree_file *file)
{
    mrmr_locked(&file->lock);
    return mrmr_steal(file->original);
}

void tree_originals_put(struct tree_original *list)
{
    while (list) {
        struct tree_original *next = list->next;
        drv_file_close(list->file);
        free(list);
        list = next;
    }
}

/* If nobody else is on it, it is closed with the list. */
static void original_onto(struct pool_tree_file *file, struct tree_original **list)
{
    struct tree_original *original = original_take_out(file);
    if (!original || atomic_fetch_sub(&original->refs, 1) != 1)
        return;
    original->next = *list;
    *list = original;
}

bool tree_node_open_locked(const struct tree_node *node)
{
    for (struct pool_tree_file *file = node->files; file; file = file->node_next) {
        mrmr_locked(&file->lock);
        if (file->original)
            return true;
    }
    return tree_parted_open_locked(node);
}

void tree_files_let_go(struct pool_tree *tree, size_t drive)
{
    struct tree_original *list = NULL;
    {
        mrmr_locked(&tree->lock);
        for (struct pool_tree_file *file = tree->files; file; file = file->next)
            if (file->drive == drive)
                original_onto(file, &list);
    }
    tree_originals_put(list);
    tree_parted_let_go(tree, drive);
}

void tree_files_brought_locked(struct tree_node *node, size_t drive, struct tree_original **ret_old)
{
    for (struct pool_tree_file *file = node->files; file; file = file->node_next) {
        original_onto(file, ret_old);
        file->drive = drive;
        file->brought = true;
    }
}

struct tree_original *tree_files_turn_locked(
    struct pool_tree *tree, struct tree_node **ret_node, size_t *ret_drive)
{
    struct pool_tree_file *file = tree->turn;
    struct tree_node *node = file->node;
    tree->turn = file->next;
    if (node->files != file || node->direct || tree->drive[file->drive].silent)
        return NULL;
    *ret_node = node;
    *ret_drive = file->drive;
    return tree_original_of_file(file);
}

/* --- among the open ones --- */

void tree_file_link(struct pool_tree_file *file)
{
    struct pool_tree *tree = file->tree;
    mrmr_locked(&tree->lock);
    file->next = tree->files;
    if (file->next)
        file->next->at = &file->next;
    file->at = &tree->files;
    tree->files = file;
    struct tree_node *node = file->node;
    file->node_next = node->files;
    if (file->node_next)
        file->node_next->node_at = &file->node_next;
    file->node_at = &node->files;
    node->files = file;
    file->writes = node->writes;
    file->births = node->births;
    file->seen = tree_seen_locked(node);
    file->drive = tree_set_first(&node->on);
    tree_stores_opened_locked(tree);
    if (!file->writing)
        return;
    /* Events tell nothing of it from now on: whoever was told to keep its attributes asks again. */
    if (!node->writers++ && node->kept &&
        tree_own_ttl(file->tree, &node->on, POOL_KEEP) != POOL_KEEP) {
        tree_later_locked(tree, TREE_TELL_ATTRS, node->number, "");
        node->kept = false;
    }
}

void tree_file_unlink(struct pool_tree_file *file)
{
    mrmr_locked(&file->tree->lock);
    if (!file->at)
        return;
    *file->at = file->next;
    if (file->tree->turn == file)
        file->tree->turn = file->next;
    if (file->next)
        file->next->at = file->at;
    *file->node_at = file->node_next;
    if (file->node_next)
        file->node_next->node_at = file->node_at;
    if (!file->writing)
        return;
    file->node->writers--;
    file->node->own_until = mrmr_clock_monotonic() + tree_own_window;
}
