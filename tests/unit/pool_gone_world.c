/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_gone_world.h"

#include "base/cleanup.h"
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
