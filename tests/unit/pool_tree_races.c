/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What happens between the steps of a change of the live tree: a drive that does not answer, somebody
 * who opens, saves or asks at the wrong moment, a removal that fails: each of these once lost, or
 * showed, something. And several threads at once, with the owner's sync beside them.
 */
#include "pool/change/tree_change.h"
#include "pool/tree/tree_file.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* A removal that fails leaves nothing behind that keeps later writes from being kept. */
static void test_a_removal_that_fails(void **state)
{
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_SYMLINK | DRV_FAULT_MKDIR, .prefix = ".mrmr/retained", .err = MRMR_SPACE};
    const struct drv_fault_rule no_pointers = {
        .ops = DRV_FAULT_FILE_OPEN, .prefix = ".mrmr/pointers", .err = MRMR_SPACE};
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 202);
    struct pool_tree_file *file = open_file(&w, "f0");
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &no_pointers, NULL));
    assert_int_equal(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"), MRMR_SPACE);
    rig_clear_faults(w.rig);
    write_part(&w, file, "f0", 10, 4);
    rig_protect_all(w.rig);
    rig_sync(w.rig);
    assert_int_equal(count_retained(w.rig, 0), 0);
    write_part(&w, file, "f0", 100, 50);
    assert_int_equal(count_retained(w.rig, 0), 1);
    pool_tree_file_close(file);
    end(&w, "f0");
}

/* Somebody opens it while it is being removed, and writes when the catalog has forgotten it. */
static struct world *opening;
static struct pool_tree_file *opened;
static uint64_t opened_node;

static void open_now(struct rig *rig, struct rig_drive *drive)
{
    bool same;
    (void)rig, (void)drive;
    rig_ok(pool_tree_file_open(opening->tree, opened_node, true, &opened, &same));
}

static void test_opened_while_it_is_removed(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 204);
    opening = &w;
    opened_node = look(&w, POOL_ROOT, "f0").node;
    rig_tap(w.rig, RIG_CUTS, 0, false, open_now);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    rig_clear_faults(w.rig);
    assert_non_null(opened);
    rig_find(w.rig, "f0")->there = false;
    no_new_rows(w.rig);
    rig_sync(w.rig);
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_file_write(opened, RIG_MIB + 7, "written", 7));
    rig_ok(pool_tree_file_write(opened, 0, "written", 7));
    pool_tree_file_close(opened);
    reads_all_but(w.rig, NULL, 0);
    end(&w, "f0");
}

/* Two open files share the descriptor of what has no name any more; then its drive goes. */
static void test_a_shared_descriptor(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 205);
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    struct pool_tree_file *a = open_node(&w, node);
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0"));
    struct pool_tree_file *b = open_node(&w, node);
    tree_files_let_go(w.tree, 0);
    assert_int_not_equal(pool_tree_file_write(b, 0, "x", 1), MRMR_OK);
    pool_tree_file_close(a);
    pool_tree_file_close(b);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The answer to taking the first copy away is lost: one copy is left, and it is the whole file. */
static void test_brought_and_no_answer(void **state)
{
    const struct drv_fault_rule late = {
        .ops = DRV_FAULT_RENAME, .prefix = "n", .late = true, .times = 1, .err = MRMR_TIMEOUT};
    struct world w;
    uint8_t got[4];
    size_t n;
    (void)state;
    begin(&w, RIG_MEM, 206);
    rig_put(w.rig, 0, "n", 100000)->there = false;
    struct pool_tree_file *file = open_file(&w, "n");
    drive_is_full(w.rig, 0);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &late, NULL));
    rig_ok(pool_tree_file_write(file, 10, "more", 4));
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_file_read(file, 10, got, 4, &n));
    assert_memory_equal(got, "more", 4);
    pool_tree_file_close(file);
    assert_int_equal(drives_with(w.rig, "n"), 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The copy of a folder on the file's drive was removed directly, and nobody has told of it yet. */
static uint64_t copy_went(struct world *w, uint64_t seed)
{
    begin(w, RIG_MEM, seed);
    rig_put(w->rig, 0, "both/a", 10);
    rig_put(w->rig, 1, "both/b", 10);
    uint64_t folder = look(w, POOL_ROOT, "both").node;
    look(w, folder, "b");
    rig_unlink(w->rig, "both/a");
    rig_ok(drv_rmdir(w->rig->drive[0].raw, "both"));
    return folder;
}

static void test_linked_into_a_copy_that_went(void **state)
{
    struct pool_attr attr;
    struct world w;
    (void)state;
    uint64_t folder = copy_went(&w, 208);
    rig_ok(pool_tree_link(w.tree, NULL, look(&w, POOL_ROOT, "f0").node, folder, "x", &attr));
    assert_true(rig_holds(w.rig, 0, "both/x"));
    assert_int_equal(look(&w, folder, "x").node, attr.node);
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_renamed_into_a_copy_that_went(void **state)
{
    struct world w;
    (void)state;
    uint64_t folder = copy_went(&w, 209);
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", folder, "x", 0));
    assert_true(rig_holds(w.rig, 0, "both/x"));
    assert_int_equal(look(&w, folder, "x").node, node);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Somebody saves directly while the copy gets its name: what he saved stays. */
static void save_now(void *arg, enum drv_fault_op op, const char *path)
{
    struct world *w = arg;
    struct drv_file *raw;
    (void)op, (void)path;
    rig_ok(drv_file_open(w->rig->drive[0].raw, "n", DRV_OPEN_WRITE, 0, &raw));
    rig_ok(drv_file_write(raw, 0, "SAVED", 5));
    drv_file_close(raw);
}

static void test_saved_while_it_is_brought(void **state)
{
    struct world w;
    uint8_t got[5];
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 207);
    rig_put(w.rig, 0, "n", 100000)->there = false;
    uint64_t node = look(&w, POOL_ROOT, "n").node;
    struct pool_tree_file *file = open_node(&w, node);
    drive_is_full(w.rig, 0);
    for (unsigned d = 1; d < DRIVES; d++) {
        const struct drv_fault_rule hook = {.ops = DRV_FAULT_RENAME,
            .prefix = ".mrmr/moving",
            .action = DRV_FAULT_HOOK,
            .hook = save_now,
            .arg = &w,
            .times = 1};
        rig_ok(drv_fault_add(w.rig->drive[d].fault, &hook, NULL));
    }
    assert_int_not_equal(pool_tree_file_write(file, 1000, "more", 4), MRMR_OK);
    rig_clear_faults(w.rig);
    rig_ok(pool_tree_file_read(file, 0, got, 5, &n));
    assert_memory_equal(got, "SAVED", 5);
    pool_tree_file_close(file);
    assert_int_equal(look(&w, POOL_ROOT, "n").node, node); /* no copy has its number */
    assert_int_equal(drives_with(w.rig, "n"), 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* One name of a file goes that has another, of which nobody knows yet: it is never a file without a
 * name, or the kernel gives it none any more. */
static struct pool_tree_file *asked;
static uint64_t asked_nlink;

static void ask_now(void *arg, enum drv_fault_op op, const char *path)
{
    struct pool_attr attr;
    (void)arg, (void)op, (void)path;
    rig_ok(pool_tree_file_attr(asked, &attr));
    asked_nlink = attr.nlink;
}

static void test_asked_while_a_name_goes(void **state)
{
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_FILE_OPEN,
        .prefix = "n",
        .action = DRV_FAULT_HOOK,
        .hook = ask_now,
        .times = 1};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 215);
    rig_put(w.rig, 0, "n", 1000)->there = false;
    uint64_t node = look(&w, POOL_ROOT, "n").node;
    asked = open_node(&w, node);
    rig_ok(drv_link(w.rig->drive[0].raw, "n", "of the same"));
    asked_nlink = 0;
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "n"));
    rig_clear_faults(w.rig);
    assert_int_equal(asked_nlink, 2);
    pool_tree_file_close(asked);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A file was replaced on its drive, as an editor saves, and nobody has heard of it: the new one is renamed. */
static void test_renamed_once_it_is_replaced(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 213);
    uint64_t node = look(&w, POOL_ROOT, "f0").node;
    rig_put(w.rig, 0, "f0.new", RIG_LEAF / 2)->there = false;
    rig_ok(drv_rename(w.rig->drive[0].raw, "f0.new", "f0", DRV_RENAME_REPLACE));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", POOL_ROOT, "g", 0));
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(look(&w, POOL_ROOT, "g").size, RIG_LEAF / 2);
    assert_int_not_equal(look(&w, POOL_ROOT, "g").node, node);
    rig_ok(drv_unlink(w.rig->drive[0].raw, "g"));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "g", POOL_ROOT, "h", 0), MRMR_ABSENT);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* What the tree has not seen yet is not replaced, if it must not be. */
static void test_not_replaced(void **state)
{
    struct drv_stat stat;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 208);
    try_look(&w, POOL_ROOT, "b");
    rig_put(w.rig, 0, "b", 5000)->there = false;
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "f0", POOL_ROOT, "b", POOL_RENAME_NOREPLACE),
        MRMR_EXISTS);
    rig_ok(drv_stat(w.rig->drive[0].raw, "b", &stat));
    assert_int_equal(stat.size, 5000);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A time that was set back does not make old bytes the file's. */
static void test_time_set_back(void **state)
{
    struct pool_attr attr;
    struct world w;
    uint8_t got[4];
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 209);
    attr = look(&w, POOL_ROOT, "f0");
    const struct pool_attr set = {.mtime = attr.mtime};
    struct pool_tree_file *file = open_node(&w, attr.node);
    rig_ok(pool_tree_file_write(file, 0, "new!", 4));
    pool_tree_file_close(file);
    rig_ok(pool_tree_set(w.tree, NULL, attr.node, NULL, POOL_SET_MTIME, &set, &attr));
    w.tree->verify = true;
    file = open_node(&w, attr.node);
    rig_ok(pool_tree_file_read(file, 0, got, 4, &n));
    assert_memory_equal(got, "new!", 4);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A drive that was told to make something and gave no answer may make it yet: not twice. */
static void test_a_create_without_an_answer(void **state)
{
    struct tree_set none = {{0}};
    struct pool_attr attr;
    struct pool_tree_file *file;
    struct world w;
    size_t drive;
    (void)state;
    begin(&w, RIG_MEM, 210);
    rig_ok(tree_place_choose(w.tree, &none, 0, &drive));
    const struct drv_fault_rule late = {
        .ops = DRV_FAULT_CREATE, .prefix = "n", .late = true, .times = 1, .err = MRMR_TIMEOUT};
    rig_ok(drv_fault_add(w.rig->drive[drive].fault, &late, NULL));
    assert_int_not_equal(
        pool_tree_create(w.tree, NULL, POOL_ROOT, "n", 0600, &attr, &file), MRMR_OK);
    rig_clear_faults(w.rig);
    assert_true(drives_with(w.rig, "n") <= 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* One that cannot be written any more takes nothing, and the others do. */
static void test_a_drive_that_is_read_only(void **state)
{
    const struct drv_fault_rule readonly = {.ops = DRV_FAULT_CHANGES, .err = MRMR_READONLY};
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct tree_set none = {{0}};
    struct pool_attr attr;
    struct world w;
    size_t drive;
    (void)state;
    begin(&w, RIG_MEM, 211);
    rig_ok(tree_place_choose(w.tree, &none, 0, &drive));
    rig_ok(drv_fault_add(w.rig->drive[drive].fault, &readonly, NULL));
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "folder", &folder, &attr));
    rig_clear_faults(w.rig);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A folder's mode is the same on all of its drives, or it is not changed: no scan has seen this one. */
static void test_a_folder_of_a_drive_that_is_away(void **state)
{
    const struct pool_attr mode = {.mode = 0700};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 212);
    rig_put(w.rig, 0, "folder/zero", 10)->there = false;
    rig_put(w.rig, 1, "folder/one", 10)->there = false;
    uint64_t node = look(&w, POOL_ROOT, "folder").node;
    rig_take_away(w.rig, 0);
    pool_tree_attr(w.tree, look(&w, POOL_ROOT, "f0").node, &attr); /* it is found out */
    assert_int_equal(
        pool_tree_set(w.tree, NULL, node, NULL, POOL_SET_MODE, &mode, &attr), MRMR_OFFLINE);
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* One tree at a time changes a pool. */
static void test_a_second_tree(void **state)
{
    struct world w, second;
    char dir[300];
    (void)state;
    begin(&w, RIG_MEM, 213);
    second = w;
    snprintf(dir, sizeof dir, "%s/pool", w.rig->dir);
    rig_ok(pool_open(dir, POOL_LOOK, "test", &second.pool));
    assert_int_equal(pool_tree_open(second.pool, NULL, &second.tree), MRMR_BUSY);
    pool_close(second.pool);
    close_tree(&w);
    open_tree(&w);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- several at once --- */

/* Equal files, removed at once. */
static void *unlink_one(void *arg)
{
    struct {
        struct world *w;
        const char *name;
    } *one = arg;
    rig_ok(pool_tree_unlink(one->w->tree, NULL, POOL_ROOT, one->name));
    return NULL;
}

static void test_equal_files_removed_at_once(void **state)
{
    enum { EQUAL = 8 };
    struct world w;
    struct {
        struct world *w;
        const char *name;
    } one[EQUAL];
    pthread_t thread[EQUAL];
    char name[EQUAL][8];
    (void)state;
    begin(&w, RIG_LOCAL, 180);
    close_tree(&w);
    for (unsigned d = 1; d < DRIVES; d++) { /* that count on them */
        char path[32];
        snprintf(path, sizeof path, "more%u", d);
        rig_put(w.rig, d, path, 2 * EQUAL * RIG_MIB);
    }
    for (unsigned i = 0; i < EQUAL; i++) {
        snprintf(name[i], sizeof name[i], "same%u", i);
        rig_put(w.rig, 0, name[i], 2 * RIG_MIB);
        struct rig_file *file = rig_find(w.rig, name[i]);
        mrmr_autofree uint8_t *buf = malloc(file->size);
        struct drv_file *raw;
        file->seed = 77;
        rig_expected(file, 0, buf, file->size);
        rig_ok(drv_file_open(w.rig->drive[0].raw, name[i], DRV_OPEN_WRITE, 0, &raw));
        rig_ok(drv_file_write(raw, 0, buf, file->size));
        drv_file_close(raw);
    }
    rig_protect_all(w.rig);
    open_tree(&w);
    for (unsigned i = 0; i < EQUAL; i++) {
        one[i].w = &w;
        one[i].name = name[i];
        assert_int_equal(pthread_create(&thread[i], NULL, unlink_one, &one[i]), 0);
    }
    for (unsigned i = 0; i < EQUAL; i++) {
        pthread_join(thread[i], NULL);
        rig_find(w.rig, name[i])->there = false;
    }
    end(&w, NULL);
}

/* Several write, and one of them brings it. */
static void *write_own_part(void *arg)
{
    struct {
        struct world *w;
        struct pool_tree_file *file;
        unsigned part;
    } *own = arg;
    uint8_t buf[100];
    memset(buf, (int)own->part + 1, sizeof buf);
    for (unsigned i = 0; i < 50; i++)
        rig_ok(
            pool_tree_file_write(own->file, own->part * 100000 + i * sizeof buf, buf, sizeof buf));
    return NULL;
}

static void test_a_full_drive_and_several_writers(void **state)
{
    enum { WRITERS = 6 };
    struct world w;
    struct {
        struct world *w;
        struct pool_tree_file *file;
        unsigned part;
    } own[WRITERS];
    pthread_t thread[WRITERS];
    uint8_t got[5000];
    size_t n;
    (void)state;
    begin(&w, RIG_LOCAL, 191);
    drive_is_full(w.rig, 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        own[i].w = &w;
        own[i].part = i;
        own[i].file = open_file(&w, "f0");
        assert_int_equal(pthread_create(&thread[i], NULL, write_own_part, &own[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < WRITERS; i++) {
        rig_ok(pool_tree_file_read(own[0].file, i * 100000, got, sizeof got, &n));
        for (unsigned j = 0; j < sizeof got; j++)
            assert_int_equal(got[j], i + 1);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pool_tree_file_close(own[i].file);
    assert_int_equal(drives_with(w.rig, "f0"), 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- while the owner works --- */

struct busy {
    struct world *w;
    atomic_bool stop;
    uint64_t writes;
};

/* Small writes to a file of its own, known to nobody but this thread. */
static void *write_on(void *arg)
{
    struct busy *busy = arg;
    struct pool_tree_file *file = open_file(busy->w, "f0");
    uint8_t buf[64];
    for (uint64_t i = 0; !busy->stop; i++) {
        memset(buf, (int)rig_hash(i), sizeof buf);
        rig_ok(pool_tree_file_write(
            file, rig_hash(i) % (FILE_LEAVES * RIG_MIB - 200), buf, sizeof buf));
        busy->writes++;
    }
    pool_tree_file_close(file);
    return NULL;
}

/* Whatever the owner commits meanwhile, what it counts on is there afterwards. */
static void test_writes_during_sync(void **state)
{
    struct world w;
    struct busy busy = {.w = &w};
    pthread_t thread;
    (void)state;
    begin(&w, RIG_LOCAL, 189);
    rig_find(w.rig, "f0")->there = false; /* its bytes are the thread's */
    assert_int_equal(pthread_create(&thread, NULL, write_on, &busy), 0);
    for (unsigned i = 0; i < rig_rounds(rig_all() ? 6 : 2); i++) {
        char path[32];
        snprintf(path, sizeof path, "more%u", i);
        rig_put(w.rig, 1 + i % 4, path, 2 * RIG_MIB);
        rig_sync(w.rig);
        reads_all_but(w.rig, NULL, 0);
    }
    busy.stop = true;
    pthread_join(thread, NULL);
    assert_true(busy.writes > 10);
    close_tree(&w);
    rig_protect_all(w.rig);
    rig_sync(w.rig);
    assert_int_equal(count_retained(w.rig, 0), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    rig_destroy(w.rig);
}

/* What was taken and is not what was meant goes back, or where nothing clears it away. */
static void test_put_back(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 214);
    struct drv *raw = w.rig->drive[0].raw;
    rig_put(w.rig, 0, "n", 10)->there = false;
    rig_ok(drv_rename(raw, "n", ".mrmr/taken", DRV_RENAME_REPLACE));
    rig_ok(pool_retained_put_back(raw, ".mrmr/taken", "n"));
    assert_true(rig_holds(w.rig, 0, "n"));
    rig_ok(drv_rename(raw, "n", ".mrmr/taken", DRV_RENAME_REPLACE));
    rig_put(w.rig, 0, "n", 20)->there = false;
    rig_ok(pool_retained_put_back(raw, ".mrmr/taken", "n"));
    assert_true(rig_holds(w.rig, 0, "n") && rig_holds(w.rig, 0, ".mrmr/quarantine/saved-taken"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* What a file has grown by is not taken back when its drive goes. */
static void test_grown(void **state)
{
    struct pool_attr attr;
    struct world w;
    struct pool_tree_file *file;
    bool same;
    (void)state;
    begin(&w, RIG_LOCAL, 215);
    attr = look(&w, POOL_ROOT, "f0");
    file = open_node(&w, attr.node);
    mrmr_err err = pool_tree_file_range(file, POOL_RANGE_ALLOCATE, 0, 4 * RIG_MIB);
    pool_tree_file_close(file);
    rig_ok(err);
    rig_take_away(w.rig, 0);
    err = pool_tree_file_open(w.tree, attr.node, false, &file, &same);
    if (!err)
        pool_tree_file_close(file);
    assert_int_equal(err, MRMR_OFFLINE);
    rig_bring_back(w.rig, 0);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_removal_that_fails),
        cmocka_unit_test(test_opened_while_it_is_removed),
        cmocka_unit_test(test_a_shared_descriptor),
        cmocka_unit_test(test_brought_and_no_answer),
        cmocka_unit_test(test_linked_into_a_copy_that_went),
        cmocka_unit_test(test_renamed_into_a_copy_that_went),
        cmocka_unit_test(test_saved_while_it_is_brought),
        cmocka_unit_test(test_asked_while_a_name_goes),
        cmocka_unit_test(test_renamed_once_it_is_replaced),
        cmocka_unit_test(test_not_replaced),
        cmocka_unit_test(test_time_set_back),
        cmocka_unit_test(test_a_create_without_an_answer),
        cmocka_unit_test(test_a_drive_that_is_read_only),
        cmocka_unit_test(test_a_folder_of_a_drive_that_is_away),
        cmocka_unit_test(test_a_second_tree),
        cmocka_unit_test(test_put_back),
        cmocka_unit_test(test_grown),
        cmocka_unit_test(test_equal_files_removed_at_once),
        cmocka_unit_test(test_a_full_drive_and_several_writers),
        cmocka_unit_test(test_writes_during_sync),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_races", tests, NULL, NULL);
}
