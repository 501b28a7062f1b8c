/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_tree_user.h"

#include "pool/records/gone.h"

#include "base/cleanup.h"
#include "tests/support/pause.h"
#include <stdio.h>
#include <string.h>

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

mrmr_err rename_at(struct world *w, const char *from, const char *to, unsigned flags)
{
    const char *from_name, *to_name;
    uint64_t from_folder = folder_of(w, from, &from_name), to_folder = folder_of(w, to, &to_name);
    size_t size = strlen(from);
    MRMR_TRY(pool_tree_rename(w->tree, NULL, from_folder, from_name, to_folder, to_name, flags));
    for (size_t i = 0; i < w->rig->files; i++) {
        struct rig_file *file = &w->rig->file[i];
        char rest[sizeof file->path];
        if (!file->there || strncmp(file->path, from, size) != 0 ||
            (file->path[size] && file->path[size] != '/'))
            continue;
        snprintf(rest, sizeof rest, "%s", file->path + size);
        snprintf(file->path, sizeof file->path, "%.40s%.80s", to, rest);
    }
    return MRMR_OK;
}

void renames(struct world *w, const char *from, const char *to, unsigned flags)
{
    rig_ok(rename_at(w, from, to, flags));
}

void reads(struct world *w, const char *path)
{
    const struct rig_file *file = rig_find(w->rig, path);
    mrmr_autofree uint8_t *got = malloc(file->size + 1), *expected = malloc(file->size + 1);
    struct pool_tree_file *open;
    struct pool_attr attr;
    size_t n, done = 0;
    bool same;
    rig_ok(look_at(w, path, &attr));
    assert_int_equal(attr.size, file->size);
    rig_ok(pool_tree_file_open(w->tree, attr.node, false, &open, &same));
    while (done < file->size) {
        rig_ok(pool_tree_file_read(open, done, got + done, file->size - done, &n));
        assert_true(n > 0);
        done += n;
    }
    pool_tree_file_close(open);
    rig_expected(file, 0, expected, file->size);
    assert_memory_equal(got, expected, file->size);
}

void makes(struct world *w, const char *path)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    const char *name;
    uint64_t above = folder_of(w, path, &name);
    rig_ok(pool_tree_make(w->tree, NULL, above, name, &folder, &attr));
}

static bool add_name(const struct pool_dir_entry *entry, void *arg)
{
    rig_ok(mrmr_bytes_fmt(arg, "%s ", entry->name));
    return true;
}

void lists(struct world *w, const char *path, const char *has, const char *has_not)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct pool_attr attr;
    rig_ok(mrmr_bytes_str(&names, " "));
    rig_ok(*path ? look_at(w, path, &attr) : MRMR_OK);
    rig_ok(pool_tree_list(w->tree, *path ? attr.node : POOL_ROOT, 0, false, add_name, &names));
    for (unsigned i = 0; i < 2; i++) {
        mrmr_autofree char *copy = strdup(i ? has_not : has);
        char *rest = copy;
        for (char *name; (name = strsep(&rest, " "));) {
            char word[80];
            snprintf(word, sizeof word, " %.60s ", name);
            const char *first = strstr(names.data, word);
            if (i == !first && !(first && strstr(first + 1, word)))
                continue;
            fail_msg("'%s' in '%s': %s", name, path, names.data);
        }
    }
}

/* --- what drives do --- */

void goes_away(struct world *w)
{
    rig_take_away(w->rig, 0);
    is_there(w, "other"); /* it is noticed */
    assert_false(tree_live(&w->tree->drive[0]));
}

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
