/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is taken in of a file that moved while folders pass their names to each other.
 */
#include "tests/unit/pool_scan_world.h"

#include <string.h>

static void has_attr(struct scan_world *w, const char *path, const char *value)
{
    struct mrmr_bytes known = MRMR_BYTES_INIT;
    assert_ok(meta_attr_get(w->pool.meta, scan_world_node(w, path).id, &known));
    assert_true(known.size > strlen(value));
    assert_memory_equal(known.data + known.size - strlen(value), value, strlen(value));
    mrmr_bytes_free(&known);
}

static void set_attr(struct scan_world *w, const char *path, const char *value)
{
    assert_ok(drv_xattr_set(scan_world_drv(w), path, "user.t", value, strlen(value)));
}

/* The folder that it moved into has the other one's name in the catalog, while that other one has on
 * the drive, by then, a new file of the same name. */
static void attributes_are_the_files_own(void **state)
{
    struct scan_world *w = *state;
    struct drv *drv = scan_world_drv(w);
    const uint32_t needs = DRV_CAP_XATTR | DRV_CAP_STABLE_INO | DRV_CAP_STABLE_CTIME;
    if ((w->drive[0]->info.caps & needs) != needs)
        return;
    scan_world_mkdir(w, "p");
    scan_world_mkdir(w, "q");
    scan_world_file(w, "x", 5, 1);
    scan_world_scan(w);
    set_attr(w, "x", "right");
    assert_ok(drv_rename(drv, "p", "q", DRV_RENAME_EXCHANGE));
    scan_world_rename(w, "x", "q/x");
    scan_world_file(w, "p/x", 5, 2);
    set_attr(w, "p/x", "wrong");
    scan_world_sync(w);
    scan_world_sync(w);
    has_attr(w, "q/x", "right");
    has_attr(w, "p/x", "wrong");
    scan_world_check(w);
}

/* A folder goes into one that lay in it, which has the place of a third, which lies in the first now: each of these
 * moves by itself is fine, and in the wrong order they are a circle. */
static void folders_go_into_each_other(void **state)
{
    struct scan_world *w = *state;
    static const char *const was[] = {"n/of n", "p/of p", "p/j/of j"};
    static const char *const is[] = {"n/d/j/of n", "n/d/of p", "n/of j"};
    int64_t id[3];
    if (!(w->drive[0]->info.caps & DRV_CAP_STABLE_INO))
        return;
    scan_world_mkdir(w, "p"); /* looked at, and numbered, before the others */
    scan_world_mkdir(w, "p/j");
    scan_world_mkdir(w, "n");
    for (size_t i = 0; i < 3; i++)
        scan_world_file(w, was[i], 5, i);
    scan_world_scan(w);
    for (size_t i = 0; i < 3; i++)
        id[i] = scan_world_node(w, was[i]).id;
    assert_ok(drv_rename(scan_world_drv(w), "n", "p/j", DRV_RENAME_EXCHANGE));
    scan_world_rename(w, "p", "n/d");
    scan_world_mkdir(w, "p");
    scan_world_scan(w);
    scan_world_scan(w);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(scan_world_node(w, is[i]).id, id[i]);
    scan_world_check(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(attributes_are_the_files_own), BOTH(folders_go_into_each_other)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
