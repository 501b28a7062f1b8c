/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Protected files of several names lose some through the mount (I3): nothing is kept as long as a name that the catalog
 * has leads to the file, and all of it when none is left, whatever other names it has: in a folder that is left
 * out, outside of the root, or made since the last scan.
 */
#include "tests/unit/pool_tree_user.h"

#include "base/cleanup.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LEFT_OUT ".Trash-9"

/* On the first drive, directly. */
static void links(struct world *w, const char *from, const char *to)
{
    mrmr_autofree char *folder = strdup(to);
    struct drv *raw = w->rig->drive[0].raw;
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
        rig_ok(drv_mkdirs(raw, folder, 0755));
    }
    rig_ok(drv_link(raw, from, to));
}

/* f0 has another name. */
static void begin_besides(struct world *w, uint64_t seed, const char *besides)
{
    begin(w, RIG_MEM, seed);
    links(w, "f0", besides);
}

/* Both names are known to the catalog. */
static void begin_known(struct world *w, uint64_t seed, const char *besides)
{
    begin_besides(w, seed, besides);
    close_tree(w);
    rig_protect_all(w->rig);
    open_tree(w);
}

static unsigned names_of(struct world *w, const char *path)
{
    struct drv_stat stat;
    rig_ok(drv_stat(w->rig->drive[0].raw, path, &stat));
    return stat.nlink;
}

static void test_left_out(void **state)
{
    struct world w;
    (void)state;
    begin_besides(&w, 841, LEFT_OUT "/x");
    removes(&w, "f0");
    assert_int_equal(names_of(&w, LEFT_OUT "/x"), 2); /* it is kept */
    end(&w, "f0");
}

/* Nothing counts on the bytes of a file that is not protected yet. */
static void test_not_protected(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 842);
    rig_put(w.rig, 0, "new", 1000);
    links(&w, "new", LEFT_OUT "/x");
    removes(&w, "new");
    assert_int_equal(names_of(&w, LEFT_OUT "/x"), 1);
    assert_int_equal(count_retained(w.rig, 0), 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_replaced(void **state)
{
    struct world w;
    (void)state;
    begin_besides(&w, 843, LEFT_OUT "/x");
    rig_put(w.rig, 0, "new", 1000)->there = false; /* it is not protected yet */
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    rig_find(w.rig, "f0")->there = false;
    end(&w, "f0");
}

/* The rename fails: no more is kept than before. */
static void test_not_replaced(void **state)
{
    const struct drv_fault_rule refused = {
        .ops = DRV_FAULT_RENAME, .prefix = "new", .err = MRMR_DENIED};
    struct world w;
    (void)state;
    begin_besides(&w, 844, LEFT_OUT "/x");
    rig_put(w.rig, 0, "new", 1000);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &refused, NULL));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0), MRMR_DENIED);
    rig_clear_faults(w.rig);
    assert_int_equal(names_of(&w, "f0"), 2);
    removes(&w, "f0"); /* and nobody waits for it */
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Who has it open writes to it when a scan has let it go. */
static void test_written_to_after_a_scan(void **state)
{
    struct world w;
    (void)state;
    begin_besides(&w, 845, LEFT_OUT "/x");
    struct pool_tree_file *file = open_file(&w, "f0");
    removes(&w, "f0");
    no_new_rows(w.rig);
    rig_sync(w.rig);
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_file_write(file, RIG_MIB + 7, "written", 7));
    rig_ok(pool_tree_file_write(file, 0, "written", 7));
    reads_all_but(w.rig, NULL, 0);
    pool_tree_file_close(file);
    end(&w, "f0");
}

/* A name that was made since the last scan: what is kept of it is no name of it to who cannot look at the drive. */
static void test_made_since(void **state)
{
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 846);
    const uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_link(w.tree, NULL, node, POOL_ROOT, "new", &attr));
    rig_ok(unlink_at(&w, "f0"));
    strcpy(rig_find(w.rig, "f0")->path, "new");
    reads_all_but(w.rig, "new", 0);
    overwrite(&w, "new", RIG_MIB + 10, 100);
    reads_all_but(w.rig, "new", 0);
    rig_sync(w.rig);
    reads_all_but(w.rig, NULL, 0);
    close_tree(&w);
    end_after(&w);
}

/* Nothing is kept before the last one goes, and whoever needs the bytes finds them by the one that is left, also when
 * that was renamed. */
static void test_known(void **state)
{
    struct world w;
    (void)state;
    begin_known(&w, 847, "second");
    rig_ok(unlink_at(&w, "f0"));
    assert_int_equal(count_retained(w.rig, 0), 0);
    strcpy(rig_find(w.rig, "f0")->path, "second");
    reads_all_but(w.rig, NULL, 0);
    renames(&w, "second", "third", 0);
    assert_int_equal(count_retained(w.rig, 0), 0);
    reads_all_but(w.rig, "third", 0);
    removes(&w, "third");
    end(&w, "third");
}

/* The other one was given to another file, through us. */
static void test_known_and_replaced(void **state)
{
    struct world w;
    (void)state;
    begin_known(&w, 848, "second");
    rig_put(w.rig, 0, "new", 1000)->there = false;
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "second", 0));
    assert_int_equal(count_retained(w.rig, 0), 0);
    reads_all_but(w.rig, "f0", 0);
    removes(&w, "f0");
    end(&w, "f0");
}

/* --- two names that go at a time --- */

static struct {
    struct world *w;
    pthread_t thread;
    atomic_bool done;
} second;

static void *removes_second(void *arg)
{
    (void)arg;
    rig_ok(unlink_at(second.w, "second"));
    atomic_store(&second.done, true);
    return NULL;
}

/* The first one's op is about to be made. It gets a moment, which is enough where nobody keeps it waiting. */
static void meanwhile(struct rig *rig, struct rig_drive *drive)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    (void)drive;
    rig_untap(rig);
    assert_int_equal(pthread_create(&second.thread, NULL, removes_second, NULL), 0);
    for (unsigned i = 0; i < 100 && !atomic_load(&second.done); i++)
        nanosleep(&moment, NULL);
}

static void test_two_at_a_time(void **state)
{
    struct world w;
    (void)state;
    begin_known(&w, 849, "second");
    second.w = &w;
    atomic_store(&second.done, false);
    rig_ok(is_there(&w, "second"));
    rig_tap(w.rig, DRV_FAULT_UNLINK, 0, false, meanwhile);
    removes(&w, "f0");
    assert_int_equal(pthread_join(second.thread, NULL), 0);
    end(&w, "f0");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_not_protected),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_not_replaced),
        cmocka_unit_test(test_written_to_after_a_scan),
        cmocka_unit_test(test_made_since),
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_known_and_replaced),
        cmocka_unit_test(test_two_at_a_time),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_besides", tests, NULL, NULL);
}
