/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/engine.h"

#include <stdio.h>
#include <string.h>

struct first_name {
    int64_t parent;
    char name[META_NAME_MAX + 1];
};

/* As meta_path: of several names the first by name order. */
static mrmr_err path_first_name(int64_t parent, const char *name, void *arg)
{
    struct first_name *first = arg;
    int order = first->parent ? strcmp(name, first->name) : -1;
    if (order < 0 || (order == 0 && parent < first->parent)) {
        first->parent = parent;
        snprintf(first->name, sizeof first->name, "%s", name);
    }
    return MRMR_OK;
}

static mrmr_err path_folder(struct pool *pool, struct pool_paths *paths, int64_t parent)
{
    if (paths->parent == parent)
        return MRMR_OK;
    paths->parent = 0;
    mrmr_bytes_clear(&paths->folder);
    MRMR_TRY(meta_path(pool->meta, parent, &paths->folder));
    if (paths->folder.size)
        MRMR_TRY(mrmr_bytes_str(&paths->folder, "/"));
    paths->parent = parent;
    return MRMR_OK;
}

/* A node without a name (a drive's root, or one that is being removed) is left to meta_path. */
mrmr_err pool_paths_get(
    struct pool *pool, struct pool_paths *paths, int64_t node, const char **ret_path)
{
    struct first_name first = {.parent = 0};
    MRMR_TRY(meta_names(pool->meta, node, path_first_name, &first));
    mrmr_bytes_clear(&paths->path);
    MRMR_TRY(mrmr_bytes_reserve(&paths->path, META_NAME_MAX));
    if (!first.parent) {
        MRMR_TRY(meta_path(pool->meta, node, &paths->path));
    } else {
        MRMR_TRY(path_folder(pool, paths, first.parent));
        if (paths->folder.size)
            MRMR_TRY(mrmr_bytes_add(&paths->path, paths->folder.data, paths->folder.size));
        MRMR_TRY(mrmr_bytes_str(&paths->path, first.name));
    }
    *ret_path = paths->path.data;
    return MRMR_OK;
}

void pool_paths_free(struct pool_paths *paths)
{
    mrmr_bytes_free(&paths->folder);
    mrmr_bytes_free(&paths->path);
    paths->parent = 0;
}
