/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/tree_went.h"

#include <stdlib.h>
#include <string.h>

enum { WENT_MOST = 4096, SAME_INODE = 16 };

static mrmr_err count_name(int64_t parent, const char *name, void *arg)
{
    (void)parent;
    (void)name;
    ++*(size_t *)arg;
    return MRMR_OK;
}

mrmr_err tree_went_names(struct pool *pool, int64_t node, size_t *names)
{
    return meta_names(pool->meta, node, count_name, names);
}

mrmr_err tree_went_lives(
    struct pool *pool, int64_t drive, const struct drv_stat *stat, bool *ret_lives)
{
    struct meta_node node[SAME_INODE];
    size_t n = 0, names = 0;
    *ret_lives = false;
    if (stat->type == DRV_DIR || stat->nlink <= 1)
        return MRMR_OK;
    MRMR_TRY(meta_node_by_ino(pool->meta, drive, stat->ino, node, SAME_INODE, &n));
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(tree_went_names(pool, node[i].id, &names));
    *ret_lives = stat->nlink > names;
    return MRMR_OK;
}

mrmr_err tree_went_keep(
    struct tree_went_list *list, int64_t drive, uint64_t ino, const char *path, uint64_t kept)
{
    size_t size = strlen(path) + 1;
    if (list->n >= WENT_MOST)
        return mrmr_fail(MRMR_SPACE, "too many names of files that have others went");
    struct tree_went *went = malloc(sizeof *went + size);
    if (!went)
        return mrmr_nomem();
    *went = (struct tree_went){.next = list->first, .drive = drive, .ino = ino, .kept = kept};
    memcpy(went->path, path, size);
    list->first = went;
    list->n++;
    return MRMR_OK;
}

size_t tree_went_kept(
    const struct tree_went_list *list, int64_t drive, uint64_t ino, uint64_t epoch)
{
    size_t n = 0;
    for (const struct tree_went *at = list->first; at; at = at->next)
        n += at->drive == drive && at->ino == ino && at->kept == epoch;
    return n;
}

struct tree_went *tree_went_take(struct tree_went_list *list, int64_t drive, uint64_t ino)
{
    for (struct tree_went **at = &list->first; *at; at = &(*at)->next) {
        struct tree_went *went = *at;
        if (went->drive != drive || went->ino != ino)
            continue;
        *at = went->next;
        list->n--;
        return went;
    }
    return NULL;
}

void tree_went_clear(struct tree_went_list *list)
{
    for (struct tree_went *went; (went = list->first) != NULL; free(went))
        list->first = went->next;
    list->n = 0;
}
