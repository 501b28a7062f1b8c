/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_tree_world.h"
#include "pool/tree/tree_watch.h"

#include "base/cleanup.h"
#include <stdio.h>
#include <string.h>

mrmr_err try_open_tree(struct world *w)
{
    return try_open_tree_telling(w, NULL);
}

mrmr_err try_open_tree_telling(struct world *w, const struct pool_tree_events *events)
{
    char dir[300];
    snprintf(dir, sizeof dir, "%s/pool", w->rig->dir);
    MRMR_TRY(pool_open(dir, POOL_LOOK, "test", &w->pool));
    return pool_tree_open(w->pool, events, &w->tree);
}

void open_tree(struct world *w)
{
    rig_ok(try_open_tree(w));
}

void close_tree(struct world *w)
{
    pool_tree_close(w->tree);
    pool_close(w->pool);
    w->tree = NULL;
    w->pool = NULL;
}

void begin(struct world *w, enum rig_kind kind, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = kind, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_put(w->rig, 0, "other", RIG_MIB + 5000); /* so that the drive is never empty */
    rig_protect_all(w->rig);
    open_tree(w);
}

/* --- what users do --- */

struct pool_attr look(struct world *w, uint64_t folder, const char *name)
{
    struct pool_attr attr;
    int64_t keep;
    rig_ok(pool_tree_lookup(w->tree, folder, name, &attr, &keep));
    return attr;
}

mrmr_err try_look(struct world *w, uint64_t folder, const char *name)
{
    struct pool_attr attr;
    int64_t keep;
    mrmr_err err = pool_tree_lookup(w->tree, folder, name, &attr, &keep);
    if (!err)
        pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

struct pool_tree_file *open_node(struct world *w, uint64_t node)
{
    struct pool_tree_file *file;
    bool same;
    rig_ok(pool_tree_file_open(w->tree, node, true, &file, &same));
    return file;
}

struct pool_tree_file *open_file(struct world *w, const char *name)
{
    struct pool_attr attr = look(w, POOL_ROOT, name);
    struct pool_tree_file *file = open_node(w, attr.node);
    pool_tree_forget(w->tree, attr.node, 1);
    return file;
}

mrmr_err sync_folder(struct world *w, uint64_t folder)
{
    struct pool_tree_folder *open;
    MRMR_TRY(pool_tree_folder_open(w->tree, folder, &open));
    mrmr_err err = pool_tree_folder_sync(open);
    pool_tree_folder_close(open);
    return err;
}

/* The rig knows of it, and the bytes are those that it expects. */
void write_part(
    struct world *w, struct pool_tree_file *file, const char *path, uint64_t offset, uint64_t size)
{
    struct rig_file *known = rig_find(w->rig, path);
    mrmr_autofree uint8_t *buf = malloc(size);
    known->patch[known->patches++] =
        (struct rig_patch){offset, size, rig_random(w->rig, UINT64_MAX)};
    if (known->size < offset + size)
        known->size = offset + size;
    rig_expected(known, offset, buf, size);
    rig_ok(pool_tree_file_write(file, offset, buf, size));
}

void overwrite(struct world *w, const char *path, uint64_t offset, uint64_t size)
{
    struct pool_tree_file *file = open_file(w, path);
    write_part(w, file, path, offset, size);
    pool_tree_file_close(file);
}

/* The tree is closed: all is well after a sync. */
void end_after(struct world *w)
{
    rig_protect_all(w->rig);
    rig_sync(w->rig);
    assert_int_equal(count_retained(w->rig, 0), 0);
    rig_check(w->rig);
    rig_verify(w->rig, true);
    rig_destroy(w->rig);
}

void end(struct world *w, const char *changed)
{
    close_tree(w);
    nobody_suffers(w->rig, changed);
}

void drive_is_full(struct rig *rig, unsigned drive)
{
    const struct drv_fault_rule full = {.ops = DRV_FAULT_FILE_WRITE, .action = DRV_FAULT_FULL};
    rig_ok(drv_fault_add(rig->drive[drive].fault, &full, NULL));
}

unsigned drives_with(struct rig *rig, const char *path)
{
    unsigned n = 0;
    for (unsigned d = 0; d < DRIVES; d++)
        n += rig_holds(rig, d, path);
    return n;
}

/* --- the monitor --- */

static void hold(uint64_t node, bool bytes, void *arg)
{
    struct held *held = arg;
    (void)node, (void)bytes;
    sem_post(&held->begun);
    sem_wait(&held->go_on);
}

void hold_monitor(struct world *w, struct held *held)
{
    sem_init(&held->begun, 0, 0);
    sem_init(&held->go_on, 0, 0);
    rig_ok(try_open_tree_telling(w, &(struct pool_tree_events){.node_changed = hold, .arg = held}));
    {
        mrmr_locked(&w->tree->lock);
        tree_later_locked(w->tree, TREE_TELL, POOL_ROOT, "");
    }
    sem_wait(&held->begun);
}

void release_monitor(struct held *held)
{
    for (unsigned i = 0; i < 10000; i++)
        sem_post(&held->go_on);
}
