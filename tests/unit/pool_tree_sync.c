/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Whoever syncs is told, once, that what was acknowledged before may be lost with a drive; and nobody
 * else is. And what else is remembered of a drive does not outlast its being out of service.
 */
#include "drivers/guard.h"
#include "pool/retained/pointers.h"
#include "pool/tree/tree_file.h"
#include "tests/unit/pool_tree_world.h"

#include "base/cleanup.h"
#include <stdio.h>
#include <string.h>

enum { MANY = 9000 };

static void drive_goes(struct world *w, unsigned drive)
{
    drv_guard_cut(w->tree->drive[drive].drive->drv, MRMR_OFFLINE);
    assert_false(tree_live(&w->tree->drive[drive]));
}

/* And is found again at one of the next looks. */
static void drive_returns(struct world *w, unsigned drive)
{
    enum { TRIES = 3000 };
    const struct timespec moment = {.tv_nsec = 10 * 1000 * 1000};
    for (unsigned i = 0; i < TRIES && !tree_live(&w->tree->drive[drive]); i++)
        nanosleep(&moment, NULL);
    assert_true(tree_live(&w->tree->drive[drive]));
}

static void goes_and_returns(struct world *w, unsigned drive)
{
    drive_goes(w, drive);
    drive_returns(w, drive);
}

static void told_once(struct pool_tree_file *file)
{
    assert_int_equal(pool_tree_file_sync(file), MRMR_IO);
    assert_non_null(strstr(mrmr_story_get()->text, "acknowledged"));
    rig_ok(pool_tree_file_sync(file));
}

static void folder_told_once(struct pool_tree_folder *folder)
{
    assert_int_equal(pool_tree_folder_sync(folder), MRMR_IO);
    rig_ok(pool_tree_folder_sync(folder));
}

static struct pool_tree_folder *open_folder(struct world *w, uint64_t number)
{
    struct pool_tree_folder *folder;
    rig_ok(pool_tree_folder_open(w->tree, number, &folder));
    return folder;
}

/* --- files --- */

static void test_through_another_file(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 331);
    struct pool_tree_file *writer = open_file(&w, "f0"), *other = open_file(&w, "f0");
    struct pool_tree_file *apart = open_file(&w, "f1");
    write_part(&w, writer, "f0", 10, 1000);
    write_part(&w, apart, "f1", 10, 1000);
    goes_and_returns(&w, 0);
    told_once(other);
    struct pool_tree_file *later = open_file(&w, "f0");
    rig_ok(pool_tree_file_sync(later)); /* somebody knows */
    told_once(writer);
    rig_ok(pool_tree_file_sync(apart)); /* on another drive */
    write_part(&w, later, "f0", 5000, 1000);
    rig_ok(pool_tree_file_sync(other)); /* it is durable, whoever wrote it */
    goes_and_returns(&w, 0);
    rig_ok(pool_tree_file_sync(later));
    pool_tree_file_close(later);
    pool_tree_file_close(apart);
    pool_tree_file_close(other);
    pool_tree_file_close(writer);
    close_tree(&w);
    rig_check_originals(w.rig);
    rig_destroy(w.rig);
}

/* Nobody has it open, or holds it at all, when its drive goes: who opens it first is told. */
static void test_it_was_closed(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 332);
    overwrite(&w, "f0", 10, 1000);
    goes_and_returns(&w, 0);
    struct pool_tree_file *first = open_file(&w, "f0"), *second = open_file(&w, "f0");
    told_once(first);
    struct pool_tree_file *third = open_file(&w, "f0");
    rig_ok(pool_tree_file_sync(third));
    told_once(second);
    pool_tree_file_close(first);
    pool_tree_file_close(second);
    pool_tree_file_close(third);
    end(&w, "f0");
}

/* Attributes, sizes, and that it is there. */
static void test_all_that_was_done(void **state)
{
    const struct pool_attr set = {.mode = 0640, .size = 100};
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file[5];
    (void)state;
    begin(&w, RIG_MEM, 333);
    for (unsigned i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof path, "more%u", i);
        rig_put(w.rig, 0, path, 1000);
    }
    for (unsigned i = 0; i < 5; i++) {
        char path[16];
        snprintf(path, sizeof path, "more%u", i);
        file[i] = open_file(&w, path);
        rig_ok(pool_tree_file_sync(file[i]));
    }
    attr = look(&w, POOL_ROOT, "more0");
    rig_ok(pool_tree_set(w.tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr));
    attr = look(&w, POOL_ROOT, "more1");
    rig_ok(pool_tree_set(w.tree, NULL, attr.node, NULL, POOL_SET_SIZE, &set, &attr));
    attr = look(&w, POOL_ROOT, "more2");
    rig_ok(pool_tree_set_xattr(w.tree, NULL, attr.node, "user.x", "y", 1, 0));
    rig_ok(pool_tree_file_range(file[3], POOL_RANGE_ALLOCATE, 0, 5000));
    goes_and_returns(&w, 0);
    for (unsigned i = 0; i < 4; i++)
        told_once(file[i]);
    rig_ok(pool_tree_file_sync(file[4])); /* nothing was done to it */
    for (unsigned i = 0; i < 5; i++)
        pool_tree_file_close(file[i]);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- a sync, and what happens beside it --- */

struct beside {
    struct world *w;
    struct pool_tree_file *file;
    bool met;
};

static void write_beside(void *arg, enum drv_fault_op op, const char *path)
{
    struct beside *beside = arg;
    (void)op, (void)path;
    write_part(beside->w, beside->file, "f0", 70000, 1000);
    beside->met = true;
}

static void test_written_to_while_it_is_synced(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 334);
    struct beside beside = {.w = &w, .file = open_file(&w, "f0")};
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_FILE_SYNC,
        .prefix = "f0",
        .times = 1,
        .late = true,
        .action = DRV_FAULT_HOOK,
        .hook = write_beside,
        .arg = &beside};
    write_part(&w, beside.file, "f0", 10, 1000);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    rig_ok(pool_tree_file_sync(beside.file));
    assert_true(beside.met);
    goes_and_returns(&w, 0);
    told_once(beside.file);
    pool_tree_file_close(beside.file);
    end(&w, "f0");
}

/* A sync that fails has made nothing durable. */
static void test_a_sync_that_fails(void **state)
{
    struct world w;
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_SYNC, .prefix = "f0", .times = 1, .err = MRMR_SPACE};
    (void)state;
    begin(&w, RIG_MEM, 335);
    struct pool_tree_file *file = open_file(&w, "f0");
    write_part(&w, file, "f0", 10, 1000);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    assert_int_equal(pool_tree_file_sync(file), MRMR_SPACE);
    goes_and_returns(&w, 0);
    told_once(file);
    pool_tree_file_close(file);
    end(&w, "f0");
}

/* --- folders --- */

enum { SUBS = 8 };

/* Folders on drive 0, each with something in it, of which nothing is owed. */
static void make_subs(struct world *w, struct pool_tree_folder *sub[SUBS], uint64_t number[SUBS])
{
    for (unsigned i = 0; i < SUBS; i++) {
        char path[32];
        snprintf(path, sizeof path, "sub%u/there", i);
        rig_put(w->rig, 0, path, 100);
        snprintf(path, sizeof path, "sub%u/empty", i);
        rig_ok(drv_mkdir(w->rig->drive[0].raw, path, 0755));
    }
    for (unsigned i = 0; i < SUBS; i++) {
        char path[32];
        snprintf(path, sizeof path, "sub%u", i);
        number[i] = look(w, POOL_ROOT, path).node;
        sub[i] = open_folder(w, number[i]);
        rig_ok(pool_tree_folder_sync(sub[i]));
    }
}

static void only_drive_0(struct world *w)
{
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_CREATE | DRV_FAULT_MKDIR | DRV_FAULT_SYMLINK, .err = MRMR_SPACE};
    for (unsigned d = 1; d < DRIVES; d++)
        rig_ok(drv_fault_add(w->rig->drive[d].fault, &full, NULL));
}

/* One change in each but the last. */
static void change_subs(struct world *w, const uint64_t number[SUBS])
{
    const struct pool_new link = {.kind = POOL_LNK, .target = "x"};
    struct pool_tree_file *file;
    struct pool_attr attr;
    rig_ok(pool_tree_create(w->tree, NULL, number[0], "new", 0600, &attr, &file));
    pool_tree_file_close(file);
    rig_ok(pool_tree_make(w->tree, NULL, number[1], "new", &link, &attr));
    rig_ok(pool_tree_unlink(w->tree, NULL, number[2], "there"));
    rig_ok(pool_tree_rmdir(w->tree, NULL, number[3], "empty"));
    rig_ok(pool_tree_rename(w->tree, NULL, number[4], "there", number[5], "moved", 0));
    attr = look(w, number[0], "there");
    rig_ok(pool_tree_link(w->tree, NULL, attr.node, number[6], "linked", &attr));
}

static void test_names(void **state)
{
    struct world w;
    struct pool_tree_folder *sub[SUBS];
    uint64_t number[SUBS];
    (void)state;
    begin(&w, RIG_MEM, 336);
    make_subs(&w, sub, number);
    only_drive_0(&w);
    change_subs(&w, number);
    struct pool_tree_folder *second = open_folder(&w, number[0]);
    drive_goes(&w, 0);
    for (unsigned i = 0; i < SUBS - 1; i++)
        folder_told_once(sub[i]); /* while it is away */
    drive_returns(&w, 0);
    for (unsigned i = 0; i < SUBS; i++)
        rig_ok(pool_tree_folder_sync(sub[i]));
    folder_told_once(second);
    change_subs(&w, (uint64_t[SUBS]){number[7], number[2], number[1], number[4], number[6],
                        number[0], number[3]});
    for (unsigned i = 0; i < SUBS; i++)
        rig_ok(pool_tree_folder_sync(sub[i]));
    goes_and_returns(&w, 0);
    for (unsigned i = 0; i < SUBS; i++) {
        rig_ok(pool_tree_folder_sync(sub[i])); /* all of it was durable */
        pool_tree_folder_close(sub[i]);
    }
    pool_tree_folder_close(second);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A drive on which nothing was made is none of a folder's business. */
static void test_names_on_another_drive(void **state)
{
    struct world w;
    struct pool_attr attr;
    struct pool_tree_file *file;
    (void)state;
    begin(&w, RIG_MEM, 337);
    struct pool_tree_folder *root = open_folder(&w, POOL_ROOT);
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "new", 0600, &attr, &file));
    pool_tree_file_close(file);
    unsigned has = 0;
    while (!rig_holds(w.rig, has, "new"))
        has++;
    goes_and_returns(&w, (has + 1) % DRIVES);
    rig_ok(pool_tree_folder_sync(root));
    rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, "newer", 0600, &attr, &file));
    pool_tree_file_close(file);
    for (has = 0; !rig_holds(w.rig, has, "newer");)
        has++;
    goes_and_returns(&w, has);
    folder_told_once(root);
    pool_tree_folder_close(root);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* More than are remembered: none of them passes for durable. */
static void test_too_many_to_remember(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 338);
    only_drive_0(&w);
    for (unsigned i = 0; i < MANY; i++) {
        struct pool_attr attr;
        struct pool_tree_file *file;
        char name[16];
        snprintf(name, sizeof name, "many%u", i);
        rig_ok(pool_tree_create(w.tree, NULL, POOL_ROOT, name, 0600, &attr, &file));
        pool_tree_file_close(file);
        pool_tree_forget(w.tree, attr.node, 1);
    }
    assert_true(w.tree->n < MANY);
    goes_and_returns(&w, 0);
    for (unsigned i = 0; i < MANY; i += MANY - 1) {
        char name[16];
        snprintf(name, sizeof name, "many%u", i);
        struct pool_tree_file *file = open_file(&w, name);
        told_once(file);
        pool_tree_file_close(file);
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

static void test_named_later(void **state)
{
    struct world w;
    struct pool_attr attr, named;
    struct pool_tree_file *file;
    (void)state;
    begin(&w, RIG_LOCAL, 990);
    rig_ok(pool_tree_create_unnamed(w.tree, NULL, POOL_ROOT, 0600, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, "x", 1));
    rig_ok(pool_tree_file_sync(file));
    struct pool_tree_folder *folder = open_folder(&w, POOL_ROOT);
    rig_ok(pool_tree_folder_sync(folder));
    rig_ok(pool_tree_link(w.tree, NULL, attr.node, POOL_ROOT, "named", &named));
    goes_and_returns(&w, (unsigned)tree_file_drive(file));
    assert_int_equal(pool_tree_folder_sync(folder), MRMR_IO);
    pool_tree_folder_close(folder);
    pool_tree_file_close(file);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- what is remembered of a drive --- */

static void add_pointers(struct world *w, uint8_t which)
{
    struct pool_retained_leaf leaf[2] = {{.leaf = 0, .size = META_LEAF}, {.leaf = 1}};
    const uint8_t file[POOL_POINTERS_FILE] = {which};
    for (unsigned i = 0; i < 2; i++)
        memset(leaf[i].digest.bytes, which, sizeof leaf[i].digest.bytes);
    rig_ok(pool_pointers_add(w->tree->drive[0].drive->drv, leaf, 2, file));
}

static mrmr_err count_pointers(const struct pool_pointer *pointer, void *arg)
{
    (void)pointer;
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* The drive lost the first of what it had said was synced, and has the last: what is added after it is
 * back is found, which nothing behind a gap is. */
static void test_pointers_with_a_gap(void **state)
{
    static const uint8_t nothing[48];
    struct drv_file *file;
    struct world w;
    unsigned n = 0;
    (void)state;
    begin(&w, RIG_MEM, 229);
    struct drv *raw = w.rig->drive[0].raw;
    add_pointers(&w, 1);
    add_pointers(&w, 2);
    drive_goes(&w, 0);
    rig_ok(drv_file_open(raw, POOL_POINTERS, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 0, nothing, sizeof nothing));
    drv_file_close(file);
    drive_returns(&w, 0);
    add_pointers(&w, 3);
    rig_ok(pool_pointers_each(raw, count_pointers, &n));
    assert_true(n >= 2);
    close_tree(&w);
    rig_destroy(w.rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_named_later),
        cmocka_unit_test(test_through_another_file),
        cmocka_unit_test(test_it_was_closed),
        cmocka_unit_test(test_all_that_was_done),
        cmocka_unit_test(test_written_to_while_it_is_synced),
        cmocka_unit_test(test_a_sync_that_fails),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_on_another_drive),
        cmocka_unit_test(test_too_many_to_remember),
        cmocka_unit_test(test_pointers_with_a_gap),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_sync", tests, NULL, NULL);
}
