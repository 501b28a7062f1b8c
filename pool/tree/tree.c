/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree: its nodes, their paths, its life.
 */
#include "pool/change/tree_change.h"
#include "pool/stripe/leaf_cache.h"
#include "pool/tree/tree_detach.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_parted.h"
#include "pool/tree/tree_watch.h"

#include "drivers/guard.h"
#include "pool/change/tree_replaced.h"
#include "pool/drive/drive.h"
#include "pool/return/tree_return.h"
#include "pool/tree/tree_sync.h"
#include <assert.h>
#include <stdio.h>
#include <string.h>

static_assert((int)POOL_REG == (int)DRV_REG && (int)POOL_BLK == (int)DRV_BLOCK, "kinds differ");
static_assert((int)POOL_REG == (int)META_REG && (int)POOL_BLK == (int)META_BLOCK, "kinds differ");

enum { LEAVES_KEPT = 64, LEAF_THREADS = 4 };

/* --- the table --- */

bool tree_live(const struct tree_drive *drive)
{
    return drive->drive->presence == POOL_PRESENT && drv_guard_serves(drive->drive->drv) &&
           !drive->returning;
}

static size_t bucket_of(const struct pool_tree *tree, uint64_t number)
{
    return (size_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (tree->buckets - 1);
}

struct tree_node *tree_find_locked(struct pool_tree *tree, uint64_t number)
{
    struct tree_node *at = tree->table[bucket_of(tree, number)];
    while (at && at->number != number)
        at = at->next;
    return at;
}

static void table_grow(struct pool_tree *tree)
{
    struct pool_tree more = {.buckets = tree->buckets * 2};
    more.table = calloc(more.buckets, sizeof(struct tree_node *));
    if (!more.table)
        return;
    for (size_t i = 0; i < tree->buckets; i++)
        for (struct tree_node *at = tree->table[i], *next; at; at = next) {
            next = at->next;
            struct tree_node **bucket = &more.table[bucket_of(&more, at->number)];
            at->next = *bucket;
            *bucket = at;
        }
    free(tree->table);
    tree->table = more.table;
    tree->buckets = more.buckets;
}

static struct tree_node *node_make_locked(
    struct pool_tree *tree, uint64_t number, enum pool_kind kind)
{
    struct tree_node *node = calloc(1, sizeof *node);
    if (!node)
        return NULL;
    if (tree->n >= tree->buckets)
        table_grow(tree);
    node->number = number;
    node->kind = kind;
    struct tree_node **bucket = &tree->table[bucket_of(tree, number)];
    node->next = *bucket;
    *bucket = node;
    tree->n++;
    return node;
}

static void node_free_locked(struct pool_tree *tree, struct tree_node *node)
{
    struct tree_node **at = &tree->table[bucket_of(tree, node->number)];
    while (*at != node)
        at = &(*at)->next;
    *at = node->next;
    tree->n--;
    if (node->valid || node->loading)
        tree_unwatch_locked(tree, node);
    tree_parted_leave_locked(tree, node);
    tree_map_free(&node->map);
    tree_times_free(&node->times);
    mrmr_bytes_free(&node->touched);
    tree_counted_free(node->counted);
    free(node->known);
    tree_quiet_free(node->quiet);
    tree->remembered -= node->remembered;
    free(node->last);
    free(node);
}

void tree_ref_locked(struct tree_node *node)
{
    node->refs++;
}

/* Gives one reference back; a node that goes lets go of its parents, and so on up. */
void tree_put_locked(struct pool_tree *tree, struct tree_node *node)
{
    node->refs--;
    while (node && !node->refs && !node->held && node != tree->root &&
           !tree_remembers_locked(tree, node)) {
        struct tree_link *link = node->links;
        if (!link) {
            node_free_locked(tree, node);
            return;
        }
        /* All but the last link, each of which may take its parent along. */
        node->links = link->next;
        struct tree_node *parent = link->parent;
        free(link);
        if (node->links) {
            tree_put_locked(tree, parent);
            continue;
        }
        node_free_locked(tree, node);
        parent->refs--;
        node = parent;
    }
}

static mrmr_err link_add_locked(struct tree_node *node, struct tree_node *parent, const char *name)
{
    size_t size = strlen(name) + 1;
    struct tree_link *link = malloc(sizeof *link + size);
    if (!link)
        return mrmr_nomem();
    link->parent = parent;
    link->next = node->links;
    memcpy(link->name, name, size);
    node->links = link;
    tree_ref_locked(parent);
    return MRMR_OK;
}

void tree_lies_on_locked(struct pool_tree *tree, struct tree_node *node, const struct tree_set *on)
{
    if (node->kind == POOL_DIR && !tree_set_equal(&node->on, on)) {
        if (node->valid || node->loading)
            tree_later_locked(tree, TREE_LOAD, node->number, "");
        node->valid = false;
        node->lost = node->lost || node->loading; /* what is loaded now was asked of other drives */
    }
    node->on = *on;
}

static struct tree_link **link_find(
    struct tree_node *node, const struct tree_node *parent, const char *name)
{
    struct tree_link **at = &node->links;
    while (*at && ((*at)->parent != parent || strcmp((*at)->name, name) != 0))
        at = &(*at)->next;
    return at;
}

struct tree_name *tree_name_touch_locked(struct tree_node *folder, const char *name)
{
    folder->version++;
    if (folder->loading && mrmr_bytes_add(&folder->touched, name, strlen(name) + 1))
        folder->lost = true;
    struct tree_name *shows = folder->valid ? tree_map_add(&folder->map, name) : NULL;
    if (!shows) {
        folder->valid = false;
        return NULL;
    }
    shows->unsure = shows->own = true;
    shows->events = (uint32_t)folder->version; /* no other entry of this name had the same */
    return shows;
}

void tree_unlink_locked(struct pool_tree *tree, struct tree_node *node,
    const struct tree_node *parent, const char *name)
{
    struct tree_link **at = link_find(node, parent, name), *link = *at;
    if (!link)
        return;
    *at = link->next;
    tree_put_locked(tree, link->parent);
    free(link);
}

/* A folder that was known under this name has another one: whatever the name shows, it is not this one. */
static void name_left_locked(
    struct pool_tree *tree, const struct tree_node *node, const struct tree_link *link)
{
    struct tree_node *parent = link->parent;
    struct tree_name *shows = parent->valid ? tree_map_find(&parent->map, link->name) : NULL;
    if (!shows || shows->number != node->number)
        return;
    const bool ours = shows->own;
    if (!shows->unsure)
        tree_later_locked(tree, TREE_TELL_NAME, parent->number, link->name);
    tree_name_touch_locked(parent, link->name);
    shows->own = ours;
    shows->number = 0;
    tree_name_doubt_all(shows);
}

static bool lies_in_locked(const struct tree_node *at, const struct tree_node *folder)
{
    while (at && at != folder)
        at = at->links ? at->links->parent : NULL;
    return at;
}

/* The name comes first from now on; a folder has only one, and is read anew where it lies now. It never
 * lies in itself: of two folders that somebody puts into each other, by turns, the one may have been looked
 * up before, and the other after. Whoever asks looks again. */
static mrmr_err link_prefer_locked(
    struct pool_tree *tree, struct tree_node *node, struct tree_node *parent, const char *name)
{
    struct tree_link **at = link_find(node, parent, name), *link = *at;
    if (link) {
        *at = link->next;
        link->next = node->links;
        node->links = link;
    } else {
        if (node->kind == POOL_DIR && lies_in_locked(parent, node))
            return mrmr_fail(MRMR_ABSENT, "it is elsewhere by now");
        MRMR_TRY(link_add_locked(node, parent, name));
    }
    if (node->kind == POOL_DIR && node->links->next) {
        node->lost = node->loading;
        if (node->valid)
            tree_later_locked(tree, TREE_LOAD, node->number, "");
        node->valid = false;
    }
    while (node->kind == POOL_DIR && node->links->next) {
        link = node->links->next;
        node->links->next = link->next;
        name_left_locked(tree, node, link);
        tree_put_locked(tree, link->parent);
        free(link);
    }
    return MRMR_OK;
}

/* Another inode had this number before, and is gone with all its descriptors. */
static void node_born_locked(struct tree_node *node)
{
    node->gone = false;
    node->births++;
    node->open_ctime = -1;
    node->valid = false;
    free(mrmr_steal(node->last));
}

struct tree_node *tree_get_unnamed_locked(struct pool_tree *tree, const struct tree_name *shows)
{
    struct tree_node *node = tree_find_locked(tree, shows->number);
    if (node)
        node_born_locked(node);
    else if (!(node = node_make_locked(tree, shows->number, shows->kind)))
        return NULL;
    node->refs++;
    node->kind = shows->kind;
    node->on = shows->on;
    node->gone = node->unnamed = true;
    return node;
}

struct tree_node *tree_get_locked(struct pool_tree *tree, struct tree_node *parent,
    const char *name, const struct tree_name *shows)
{
    struct tree_node *node = tree_find_locked(tree, shows->number);
    if (!node) {
        node = node_make_locked(tree, shows->number, shows->kind);
        if (!node) {
            mrmr_nomem();
            return NULL;
        }
        node->loss = tree_lost_of_locked(tree, &shows->on);
    }
    node->refs++;
    if (node->gone && !node->going && !tree_node_open_locked(node))
        node_born_locked(node);
    if (node->kind != shows->kind && node->valid) { /* another thing has its inode now */
        node->valid = false;
        tree_unwatch_locked(tree, node);
    }
    node->kind = shows->kind;
    if (node->kind == POOL_DIR && node->gone) { /* it is there after all: nothing told of it */
        node->gone = false;
        node->valid = false;
    }
    tree_lies_on_locked(tree, node, &shows->on);
    if (link_prefer_locked(tree, node, parent, name)) {
        tree_put_locked(tree, node);
        return NULL;
    }
    return node;
}

/* --- paths --- */

mrmr_err tree_path_locked(const struct tree_node *node, struct mrmr_bytes *path)
{
    size_t size = 0;
    for (const struct tree_node *at = node; at->number != POOL_ROOT; at = at->links->parent) {
        if (!at->links)
            return mrmr_fail(MRMR_ABSENT, NULL);
        size += strlen(at->links->name) + 1;
    }
    MRMR_TRY(mrmr_bytes_reserve(path, size + 1));
    size_t end = path->size + (size ? size - 1 : 0);
    char *to = path->data + end;
    *to = '\0';
    for (const struct tree_node *at = node; at->number != POOL_ROOT; at = at->links->parent) {
        size_t n = strlen(at->links->name);
        to -= n;
        memcpy(to, at->links->name, n);
        if (at->links->parent->number != POOL_ROOT)
            *--to = '/';
    }
    path->size = end;
    return MRMR_OK;
}

mrmr_err tree_path(struct pool_tree *tree, struct tree_node *node, struct mrmr_bytes *path)
{
    mrmr_locked(&tree->lock);
    return tree_path_locked(node, path);
}

mrmr_err tree_join(const char *folder, const char *name, struct mrmr_bytes *path)
{
    if (*folder) {
        MRMR_TRY(mrmr_bytes_str(path, folder));
        MRMR_TRY(mrmr_bytes_add(path, "/", 1));
    }
    return mrmr_bytes_str(path, name);
}

mrmr_err tree_node(
    struct pool_tree *tree, uint64_t number, bool folder, struct tree_node **ret_node)
{
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_find_locked(tree, number);
    if (!node)
        return mrmr_fail(MRMR_ABSENT, "it is not held any more");
    if (folder && node->kind != POOL_DIR)
        return mrmr_fail(MRMR_NOT_DIR, NULL);
    node->refs++;
    *ret_node = node;
    return MRMR_OK;
}

void tree_put(struct pool_tree *tree, struct tree_node *node)
{
    struct tree_parted *let_go;
    if (!node)
        return;
    {
        mrmr_locked(&tree->lock);
        tree_put_locked(tree, node);
        let_go = tree_let_go_take_locked(tree);
    }
    tree_parted_clear(let_go);
}

void pool_tree_forget(struct pool_tree *tree, uint64_t number, uint64_t times)
{
    struct tree_node *node;
    {
        mrmr_locked(&tree->lock);
        node = tree_find_locked(tree, number);
        if (!node)
            return;
        node->held -= times < node->held ? times : node->held;
        node->refs++;
    }
    tree_put(tree, node);
}

uint64_t tree_moves(struct pool_tree *tree)
{
    mrmr_locked(&tree->lock);
    return tree->moves;
}

bool tree_moved_since(struct pool_tree *tree, uint64_t moves)
{
    mrmr_locked(&tree->lock);
    /* One of those under way at the most: there may always be another. */
    for (uint64_t now = tree->moves; tree->moving && tree->moves == now;)
        pthread_cond_wait(&tree->moved, &tree->lock);
    return tree->moves != moves;
}

/* --- life --- */

static mrmr_err tree_start(struct pool_tree *tree)
{
    tree->table = calloc(tree->buckets, sizeof(struct tree_node *));
    if (!tree->table || !(tree->root = node_make_locked(tree, POOL_ROOT, POOL_DIR)))
        return mrmr_nomem();
    MRMR_TRY(tree_drives_start(tree));
    MRMR_TRY(tree_keep_start(tree));
    tree_detach_start(tree);
    MRMR_TRY(tree_direct_start(tree));
    MRMR_TRY(tree_numbers_start(tree));
    MRMR_TRY(tree_replaced_start(tree));
    MRMR_TRY(tree_finder_start(tree));
    MRMR_TRY(tree_excludes_start(tree));
    MRMR_TRY(leaf_cache_create(LEAVES_KEPT, LEAF_THREADS, &tree->leaves));
    MRMR_TRY(tree_return_start(tree));
    MRMR_TRY(tree_moves_finish(tree));
    MRMR_TRY(tree_overs_finish(tree));
    MRMR_TRY(tree_brings_finish(tree));
    MRMR_TRY(tree_stores_start(tree));
    return tree_watch_start(tree);
}

mrmr_err pool_tree_open(
    struct pool *pool, const struct pool_tree_events *events, struct pool_tree **ret_tree)
{
    struct pool_tree *tree = calloc(1, sizeof *tree);
    pthread_condattr_t attr;
    if (!tree)
        return mrmr_nomem();
    tree->pool = pool;
    if (events)
        tree->events = *events;
    tree->buckets = 1024;
    tree->placed_last = SIZE_MAX;
    tree->todo_last = &tree->todo;
    tree_parted_start(tree);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&tree->monitor_wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&tree->moved, NULL);
    pthread_mutex_init(&tree->lock, NULL);
    pthread_mutex_init(&tree->gone_gate, NULL);
    pthread_mutex_init(&tree->brings_gate, NULL);
    pthread_cond_init(&tree->paths_left, NULL);
    mrmr_err err = tree_start(tree);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_tree_close(tree);
        return mrmr_story_restore(&story);
    }
    *ret_tree = tree;
    return MRMR_OK;
}

/* Whatever is held: links first, so that no node's parent goes before it. */
static void table_free(struct pool_tree *tree)
{
    for (size_t i = 0; tree->table && i < tree->buckets; i++)
        for (struct tree_node *at = tree->table[i], *next; at; at = next) {
            next = at->next;
            for (struct tree_link *link = at->links, *more; link; link = more) {
                more = link->next;
                free(link);
            }
            tree_map_free(&at->map);
            tree_times_free(&at->times);
            mrmr_bytes_free(&at->touched);
            tree_counted_free(at->counted);
            free(at->known);
            tree_quiet_free(at->quiet);
            free(at->last);
            free(at);
        }
    free(tree->table);
}

void pool_tree_close(struct pool_tree *tree)
{
    if (!tree)
        return;
    tree_stores_stop(tree);
    tree_watch_stop(tree);
    tree_direct_stop(tree);
    tree_parted_let_go(tree, TREE_DRIVES_MAX);
    leaf_cache_destroy(tree->leaves);
    /* The guards stay with the pool, which is of no use to anyone after this, and tell nothing more. */
    for (size_t i = 0; i < tree->ndrives; i++)
        drv_guard_cut(tree->drive[i].drive->drv, MRMR_OFFLINE);
    tree_due_forget(tree);
    for (struct tree_todo *todo = tree->todo, *next; todo; todo = next) {
        next = todo->next;
        free(todo);
    }
    table_free(tree);
    tree_return_stop(tree);
    tree_replaced_stop(tree);
    tree_changed_tell(tree);
    tree_keep_stop(tree);
    tree_finder_stop(tree);
    tree_numbers_stop(tree);
    tree_excludes_stop(tree);
    for (size_t i = 0; i < tree->ndrives; i++) {
        pthread_mutex_destroy(&tree->drive[i].keeping);
        sem_destroy(&tree->drive[i].savers);
        pthread_mutex_destroy(&tree->drive[i].alone);
        tree_kept_stop(&tree->drive[i].kept);
        pthread_mutex_destroy(&tree->drive[i].placing);
        tree_catalog_forget(&tree->drive[i]);
        pthread_mutex_destroy(&tree->drive[i].known_lock);
    }
    free(tree->drive);
    pthread_cond_destroy(&tree->moved);
    pthread_cond_destroy(&tree->monitor_wake);
    pthread_mutex_destroy(&tree->gone_gate);
    pthread_mutex_destroy(&tree->brings_gate);
    pthread_cond_destroy(&tree->paths_left);
    pthread_mutex_destroy(&tree->lock);
    free(tree);
}
