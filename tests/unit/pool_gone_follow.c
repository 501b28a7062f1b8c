/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A scan gives what is recorded for a drive the paths that the catalog has then: also what is recorded
 * while the scan looks, by a mount to which the drive is away; and whatever the paths are.
 */
#include "pool/records/gone.h"
#include "pool/records/later.h"
#include "pool/records/moved.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The mount: it has a table of its own. */
struct mount {
    struct rig *rig;
    struct pool_gone *gone;
    struct meta_node node;
    const char *path; /* the catalog's, as it was asked for last */
};

static void begin(struct mount *m, uint64_t seed)
{
    *m = (struct mount){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = seed})};
    for (unsigned d = 0; d < 3; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(m->rig, d, path, 1000);
    }
    rig_put(m->rig, 0, "folder/one", 1000);
    rig_protect_all(m->rig);
    rig_ok(pool_gone_open(m->rig->pool->dirfd, true, &m->gone));
}

static void end(struct mount *m)
{
    pool_gone_close(m->gone);
    rig_destroy(m->rig);
}

/* With its record, as through the mount. */
static void renames(struct mount *m, const char *from, const char *to)
{
    const uint64_t inodes[2] = {rig_node(m->rig, from).ino, 0};
    int fd;
    rig_ok(pool_moved_open(m->rig->pool->dirfd, &fd));
    rig_ok(pool_moved_add_inodes(
        fd, m->rig->pool->drives[0]->meta.id, from, to, POOL_MOVED_RENAME, inodes, true));
    close(fd);
    rig_rename(m->rig, from, to);
}

static size_t count(struct mount *m, bool over, const char *path)
{
    struct pool_gone_list list;
    size_t n = 0;
    rig_ok(pool_gone_refresh(m->gone));
    rig_ok(pool_gone_list(m->gone, 0, over, &list));
    for (size_t i = 0; i < list.n; i++)
        n += strcmp(list.record[i].path, path) == 0;
    pool_gone_list_free(&list);
    return n;
}

/* --- what is recorded while a scan looks --- */

static void mount_removes(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *m = arg;
    (void)op, (void)path;
    if (m->path)
        rig_ok(pool_gone_add(m->gone, m->path, &m->node));
    m->path = NULL;
}

static void test_removed_while_it_is_scanned(void **state)
{
    struct mount m;
    (void)state;
    begin(&m, 720);
    m.path = "folder/one";
    m.node = rig_node(m.rig, m.path);
    renames(&m, "folder/one", "folder/two");
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_LIST,
        .prefix = "folder",
        .action = DRV_FAULT_HOOK,
        .hook = mount_removes,
        .arg = &m};
    rig_ok(drv_fault_add(m.rig->drive[0].fault, &rule, NULL));
    rig_sync(m.rig);
    assert_null(m.path);
    assert_int_equal(count(&m, false, "folder/one"), 0);
    assert_int_equal(count(&m, false, "folder/two"), 1);
    rig_clear_faults(m.rig);
    rig_find(m.rig, "folder/two")->there = false;
    rig_sync(m.rig);
    assert_false(rig_holds(m.rig, 0, "folder/two"));
    assert_int_equal(count(&m, false, "folder/two"), 0);
    rig_check(m.rig);
    end(&m);
}

/* --- paths that are too long to be recorded --- */

enum { NAME = 200, LEVELS = 24 };

/* Of folders that are there, then. */
static char *deep_path(struct mount *m)
{
    char *path = calloc(LEVELS, NAME + 1);
    size_t size = 0;
    assert_non_null(path);
    for (unsigned i = 0; i < LEVELS; i++) {
        if (i)
            path[size++] = '/';
        memset(path + size, 'a' + (int)i, NAME);
        size += NAME;
        rig_ok(drv_mkdir(m->rig->drive[0].raw, path, 0755));
    }
    return path;
}

static void sets_mode(struct mount *m, const char *path, bool over)
{
    const struct pool *pool = m->rig->pool;
    struct meta_node node;
    rig_ok(meta_lookup_path(pool->meta, pool->drives[0]->meta.root, path, &node));
    const struct pool_later_fixed fixed = {
        .what = DRV_ATTR_MODE, .now = {.mode = 0711}, .was = {.mode = node.mode}};
    uint64_t id;
    rig_ok(pool_gone_add_later(m->gone, POOL_GONE_SET, path, &node, &fixed, sizeof fixed, &id));
    if (over)
        rig_ok(pool_gone_settle(m->gone, &id, 1, false));
}

/* A folder was moved deep down by hand, and is found there by its inode. */
static void test_too_deep(void **state)
{
    struct mount m;
    (void)state;
    begin(&m, 721);
    char *deep = deep_path(&m), *there = calloc(LEVELS + 1, NAME + 1);
    assert_non_null(there);
    snprintf(there, (LEVELS + 1) * (NAME + 1), "%s/moved", deep);
    assert_false(pool_gone_path_fits(there));
    rig_ok(drv_mkdir(m.rig->drive[0].raw, "moved", 0755));
    rig_sync(m.rig);
    sets_mode(&m, "moved", true);
    rig_ok(drv_rename(m.rig->drive[0].raw, "moved", there, DRV_RENAME_NOREPLACE));
    rig_sync(m.rig);
    rig_sync(m.rig);
    rig_check(m.rig);
    assert_int_equal(count(&m, false, "moved") + count(&m, true, "moved"), 0);
    free(there);
    free(deep);
    end(&m);
}

/* --- what was moved by hand, and not scanned since --- */

static mrmr_err find_advice(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "conflict") == 0 &&
                        strstr(event->text, "set it again at its new place");
    return MRMR_OK;
}

/* Nobody knows yet where it is: nothing is set, and whoever asked for it is told what to do. */
static void test_moved_before_any_scan(void **state)
{
    struct mount m;
    struct drv_stat stat;
    unsigned n = 0;
    (void)state;
    begin(&m, 722);
    struct drv *raw = m.rig->drive[0].raw;
    rig_ok(drv_mkdir(raw, "moved", 0755));
    rig_sync(m.rig);
    sets_mode(&m, "moved", false);
    rig_ok(drv_rename(raw, "moved", "elsewhere", DRV_RENAME_NOREPLACE));
    rig_sync(m.rig);
    rig_ok(drv_stat(raw, "elsewhere", &stat));
    assert_int_equal(stat.mode & 07777, 0755);
    rig_ok(pool_events(m.rig->pool, 0, 1000, find_advice, &n));
    assert_int_equal(n, 1);
    assert_int_equal(count(&m, false, "moved"), 0);
    end(&m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_removed_while_it_is_scanned),
        cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_moved_before_any_scan),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_follow", tests, NULL, NULL);
}
