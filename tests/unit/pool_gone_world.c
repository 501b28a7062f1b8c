/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_gone_world.h"

#include "base/cleanup.h"
#include "tests/support/pause.h"
#include <stdio.h>
#include <string.h>

/* Drive 0 is away when it is left. */
void begin_away(struct world *w, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_put(w->rig, 0, "other", RIG_MIB + 5000); /* so that the drive is never empty */
    rig_put(w->rig, 0, "folder/in/one", 1000);
    rig_put(w->rig, 0, "folder/two", 0);
    rig_put(w->rig, 1, "folder/three", 10);
    rig_protect_all(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

void destroy(struct world *w)
{
    if (w->tree)
        close_tree(w);
    rig_destroy(w->rig);
}

/* --- what users do --- */

/* Held. */
mrmr_err look_at(struct world *w, const char *path, struct pool_attr *ret_attr)
{
    mrmr_autofree char *copy = strdup(path);
    uint64_t at = POOL_ROOT;
    char *rest = copy;
    for (char *name; (name = strsep(&rest, "/"));) {
        int64_t keep;
        mrmr_err err = pool_tree_lookup(w->tree, at, name, ret_attr, &keep);
        if (at != POOL_ROOT)
            pool_tree_forget(w->tree, at, 1);
        if (err)
            return err;
        at = ret_attr->node;
    }
    return MRMR_OK;
}

mrmr_err is_there(struct world *w, const char *path)
{
    struct pool_attr attr;
    mrmr_err err = look_at(w, path, &attr);
    if (!err)
        pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

/* The folder of a path, held until the tree is closed; and the name in it. */
uint64_t folder_of(struct world *w, const char *path, const char **ret_name)
{
    mrmr_autofree char *copy = strdup(path);
    char *slash = strrchr(copy, '/');
    struct pool_attr attr = {.node = POOL_ROOT};
    *ret_name = slash ? path + (slash - copy) + 1 : path;
    if (slash) {
        *slash = '\0';
        rig_ok(look_at(w, copy, &attr));
    }
    return attr.node;
}

mrmr_err unlink_at(struct world *w, const char *path)
{
    const char *name;
    uint64_t folder = folder_of(w, path, &name);
    return pool_tree_unlink(w->tree, NULL, folder, name);
}

/* And the rig does not expect it any more. */
void removes(struct world *w, const char *path)
{
    rig_ok(unlink_at(w, path));
    rig_find(w->rig, path)->there = false;
}

mrmr_err rmdir_at(struct world *w, const char *path)
{
    const char *name;
    uint64_t folder = folder_of(w, path, &name);
    return pool_tree_rmdir(w->tree, NULL, folder, name);
}

static bool list_finds(const struct pool_dir_entry *entry, void *arg)
{
    const char **wanted = arg;
    if (strcmp(entry->name, *wanted) == 0)
        *wanted = NULL;
    return *wanted;
}

bool is_listed(struct world *w, const char *path)
{
    const char *name;
    uint64_t folder = folder_of(w, path, &name);
    rig_ok(pool_tree_list(w->tree, folder, 0, false, list_finds, &name));
    return !name;
}

void make_anew(struct world *w, const char *name, const char *text)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    rig_ok(pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0600, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, text, strlen(text)));
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
}

bool has_text(struct world *w, const char *name, const char *text)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    char got[64];
    size_t n;
    bool same;
    int64_t keep;
    rig_ok(pool_tree_lookup(w->tree, POOL_ROOT, name, &attr, &keep));
    rig_ok(pool_tree_file_open(w->tree, attr.node, false, &file, &same));
    rig_ok(pool_tree_file_read(file, 0, got, sizeof got, &n));
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

mrmr_err count_listed(const struct pool_entry *entry, void *arg)
{
    (void)entry;
    (*(unsigned *)arg)++;
    return MRMR_OK;
}

unsigned count_ls(struct world *w, const char *path)
{
    unsigned n = 0;
    rig_ok(pool_ls(w->rig->pool, path, count_listed, &n));
    return n;
}

/* --- what drives do --- */

/* Under the tree. Whenever the name is asked for meanwhile it is not there. */
void comes_back(struct world *w, const char *removed)
{
    int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    rig_bring_back(w->rig, 0);
    while (!tree_live(&w->tree->drive[0])) {
        assert_true(mrmr_clock_monotonic() < end);
        if (removed)
            assert_int_equal(is_there(w, removed), MRMR_ABSENT);
        pause_a_while();
    }
    if (removed)
        assert_int_equal(is_there(w, removed), MRMR_ABSENT);
}

void goes_away(struct world *w)
{
    rig_take_away(w->rig, 0);
    is_there(w, "other"); /* it is noticed */
}

size_t records(struct world *w, bool over)
{
    struct pool_gone *gone;
    struct pool_gone_list list;
    rig_ok(pool_gone_open(w->rig->pool->dirfd, false, &gone));
    rig_ok(pool_gone_list(gone, 0, over, &list));
    size_t n = list.n;
    pool_gone_list_free(&list);
    pool_gone_close(gone);
    return n;
}
