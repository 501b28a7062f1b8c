/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_away_folders_world.h"

#include <stdio.h>
#include <string.h>

/* --- the world: of five drives the first is away; a folder on two, one on it alone, an empty one --- */

void begin_folders(struct world *w, enum rig_kind kind, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = kind, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 1; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, 20000);
    }
    rig_put(w->rig, 0, "other", 5000);
    rig_put(w->rig, 0, "a/one", 1000);
    rig_put(w->rig, 0, "a/sub/two", 70000);
    rig_put(w->rig, 1, "a/three", 300);
    rig_put(w->rig, 0, "deep/in/it", 4000);
    rig_put(w->rig, 1, "far/away", 500);
    rig_ok(drv_mkdir(w->rig->drive[0].raw, "empty", 0750));
    rig_protect_all(w->rig);
    rig_sync_drives(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

void remount(struct world *w)
{
    close_tree(w);
    open_tree(w);
}

void is_rebuilt_onto_d5(struct world *w)
{
    rig_add_drive(w->rig);
    rig_reopen(w->rig);
    struct pool_job job = rig_job(w->rig);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(w->rig->pool, &job, &options, &report));
}

static unsigned conflicts;

static mrmr_err count_conflict(const struct pool_event *event, void *arg)
{
    (void)arg;
    conflicts += strcmp(event->kind, "conflict") == 0;
    return MRMR_OK;
}

unsigned count_conflicts(struct world *w)
{
    conflicts = 0;
    rig_ok(pool_events(w->rig->pool, 0, 1000, count_conflict, NULL));
    return conflicts;
}

/* The drive is there, and the tree is closed: all is as it is expected, and nothing is left to do. */
void all_is_well(struct world *w)
{
    rig_reopen(w->rig);
    rig_sync(w->rig);
    assert_int_equal(w->rig->report.held, 0);
    assert_int_equal(records(w, false) + records(w, true), 0);
    rig_protect_all(w->rig);
    rig_check(w->rig);
    rig_check_originals(w->rig);
    rig_verify(w->rig, true);
}

void end_well(struct world *w)
{
    close_tree(w);
    all_is_well(w);
    rig_destroy(w->rig);
}

/* --- names --- */

void is_absent(struct world *w, const char *path)
{
    if (is_there(w, path) != MRMR_ABSENT)
        fail_msg("'%s' shows", path);
}

void some_are_renamed(struct world *w)
{
    renames(w, "a", "empty", 0); /* over it */
    renames(w, "empty/sub", "empty/below", 0);
    renames(w, "empty", "far/b", 0); /* where the drive has no folder */
    removes(w, "far/b/one");
    renames(w, "deep", "a", 0); /* whose name is free */
    makes(w, "deep");
    renames(w, "a/in", "deep/in", 0);
    rig_ok(rmdir_at(w, "a")); /* which is empty by that alone */
}

void they_have_new_names(struct world *w)
{
    static const char *const gone[] = {
        "empty", "a/one", "a/sub", "a/three", "far/b/one", "far/b/sub", "deep/it", "a"};
    reads(w, "far/b/below/two");
    reads(w, "far/b/three");
    reads(w, "far/away");
    reads(w, "deep/in/it");
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++)
        is_absent(w, gone[i]);
}

void the_drive_has_new_names(struct world *w)
{
    static const char *const has[] = {"far/b/below/two", "deep/in/it"};
    static const char *const has_not[] = {"empty", "a", "far/b/one", "far/b/sub"};
    for (size_t i = 0; i < sizeof has / sizeof *has; i++)
        assert_true(rig_holds(w->rig, 0, has[i]));
    for (size_t i = 0; i < sizeof has_not / sizeof *has_not; i++)
        assert_false(rig_holds(w->rig, 0, has_not[i]));
}

/* --- attributes --- */

void sets(struct world *w, const char *path, uint32_t mode, uint32_t uid, int64_t mtime)
{
    const struct pool_attr set = {.mode = mode, .uid = uid, .mtime = mtime};
    struct pool_attr attr;
    rig_ok(look_at(w, path, &attr));
    rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr));
    if (uid)
        rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_UID, &set, &attr));
    rig_ok(pool_tree_set_xattr(w->tree, NULL, attr.node, "user.one", "value", 5, 0));
    mrmr_err err = pool_tree_set_xattr(w->tree, NULL, attr.node, "user.old", NULL, 0, 0);
    assert_true(!err || mrmr_class_of(err) == MRMR_CLASS_ABSENT);
    rig_ok(pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MTIME, &set, &attr));
    assert_int_equal(attr.mode, mode);
    assert_int_equal(attr.mtime, mtime);
}

static mrmr_err see_xattr(const char *name, const void *value, size_t size, void *arg)
{
    unsigned *seen = arg;
    if (strcmp(name, "user.one") == 0 && size == 5 && memcmp(value, "value", 5) == 0)
        *seen |= 1;
    if (strcmp(name, "user.old") == 0)
        *seen |= 2;
    return MRMR_OK;
}

void shows(struct world *w, const char *path, uint32_t mode, uint32_t uid, int64_t mtime)
{
    struct pool_attr attr;
    unsigned seen = 0;
    rig_ok(look_at(w, path, &attr));
    assert_int_equal(attr.mode, mode);
    assert_int_equal(attr.mtime, mtime);
    if (uid)
        assert_int_equal(attr.uid, uid);
    rig_ok(pool_tree_xattrs(w->tree, attr.node, see_xattr, &seen));
    assert_int_equal(seen, 1);
}

void has_attrs(
    struct rig *rig, unsigned drive, const char *path, uint32_t mode, uint32_t uid, int64_t mtime)
{
    struct drv *drv = rig->drive[drive].raw;
    struct drv_stat stat;
    unsigned seen = 0;
    rig_ok(drv_stat(drv, path, &stat));
    assert_int_equal(stat.mode, mode);
    assert_int_equal(stat.mtime, mtime);
    if (uid)
        assert_int_equal(stat.uid, uid);
    rig_ok(drv_xattr_list(drv, path, see_xattr, &seen));
    assert_int_equal(seen, 1);
}

void begin_attributes(struct world *w, enum rig_kind kind, uint64_t seed)
{
    begin_folders(w, kind, seed);
    close_tree(w);
    rig_bring_back(w->rig, 0);
    rig_ok(drv_xattr_set(w->rig->drive[0].raw, "a", "user.old", "was", 3));
    rig_ok(drv_xattr_set(w->rig->drive[1].raw, "a", "user.old", "was", 3));
    rig_ok(drv_xattr_set(w->rig->drive[0].raw, "deep", "user.old", "was", 3));
    rig_reopen(w->rig);
    rig_sync(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}
