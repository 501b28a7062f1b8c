/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/merge.h"

#include <string.h>

void pool_merge_free(struct pool_merge *merge)
{
    for (size_t i = 0; i < merge->n; i++)
        free(merge->list[i].children);
    free(merge->list);
    free(merge->found);
    memset(merge, 0, sizeof *merge);
}

mrmr_err pool_merge_create(size_t most, struct pool_merge *ret_merge)
{
    struct pool_merge merge = {0};
    merge.list = calloc(most + 1, sizeof *merge.list);
    merge.found = calloc(most + 1, sizeof *merge.found);
    if (!merge.list || !merge.found) {
        pool_merge_free(&merge);
        return mrmr_nomem();
    }
    *ret_merge = merge;
    return MRMR_OK;
}

mrmr_err pool_merge_start(
    struct pool *pool, const int64_t folders[], size_t n, struct pool_merge *ret_merge)
{
    struct pool_merge merge;
    MRMR_TRY(pool_merge_create(n, &merge));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < n; i++) {
        struct pool_merge_list *list = &merge.list[merge.n++];
        err = meta_children(pool->meta, folders[i], &list->children, &list->n);
    }
    if (err) {
        pool_merge_free(&merge);
        return err;
    }
    *ret_merge = merge;
    return MRMR_OK;
}

void pool_merge_add(struct pool_merge *merge, struct meta_child *children, size_t n)
{
    merge->list[merge->n++] = (struct pool_merge_list){.children = children, .n = n};
}

bool pool_merge_next(struct pool_merge *merge)
{
    merge->name = NULL;
    merge->nfound = 0;
    for (size_t i = 0; i < merge->n; i++) {
        const struct pool_merge_list *list = &merge->list[i];
        if (list->at == list->n)
            continue;
        const char *name = list->children[list->at].name;
        if (!merge->name || strcmp(name, merge->name) < 0)
            merge->name = name;
    }
    for (size_t i = 0; merge->name && i < merge->n; i++) {
        struct pool_merge_list *list = &merge->list[i];
        if (list->at < list->n && strcmp(list->children[list->at].name, merge->name) == 0)
            merge->found[merge->nfound++] = list->children[list->at++].node;
    }
    return merge->name != NULL;
}
