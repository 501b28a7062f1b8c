/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attributes are set on a drive that is back while another process writes the journal anew, and the
 * one that sets them is killed in between: the last word counts all the same.
 */
#include "pool/records/gone.h"
#include "pool/records/later.h"
#include "pool/return/gone_apply.h"
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRST_MODE = 0711, LAST_MODE = 0733 };

struct race {
    struct rig *rig;
    struct pool_gone *other; /* the other process's */
    struct meta_node node;
    bool done;
};

static void asks(struct pool_gone *gone, const struct meta_node *node, const char *path,
    uint32_t mode, uint32_t was, uint64_t *ret_id)
{
    const struct pool_later_fixed fixed = {.asked = mrmr_clock_real(),
        .what = DRV_ATTR_MODE,
        .now = {.mode = mode},
        .was = {.mode = was}};
    rig_ok(pool_gone_add_later(gone, POOL_GONE_SET, path, node, &fixed, sizeof fixed, ret_id));
}

/* So much is added, and dropped, that it is. */
static void writes_journal_anew(void *arg, enum drv_fault_op op, const char *path)
{
    enum { ENOUGH = 400 };
    struct race *race = arg;
    const struct meta_node node = {.drive = 99, .type = META_DIR, .ino = 7};
    uint64_t ids[ENOUGH];
    (void)op, (void)path;
    if (race->done)
        return;
    race->done = true;
    for (unsigned i = 0; i < ENOUGH; i++)
        asks(race->other, &node, "else", 0700 + i % 8, 0700, &ids[i]);
    rig_ok(pool_gone_settle(race->other, ids, ENOUGH, true));
}

static size_t waiting(struct race *race)
{
    struct pool_gone_list list;
    rig_ok(pool_gone_refresh(race->other));
    rig_ok(pool_gone_list(race->other, race->node.drive, false, &list));
    const size_t n = list.n;
    pool_gone_list_free(&list);
    return n;
}

static void begin(struct race *race, uint64_t seed)
{
    uint64_t id;
    *race = (struct race){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = 3, .seed = seed})};
    struct rig *rig = race->rig;
    for (unsigned d = 0; d < 3; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 1000);
    }
    rig_put(rig, 0, "folder/in", 1000);
    rig_protect_all(rig);
    const struct meta_drive *drive = &rig_pool_drive(rig, 0)->meta;
    rig_ok(meta_lookup_path(rig->pool->meta, drive->root, "folder", &race->node));
    rig_ok(pool_gone_open(rig->pool->dirfd, true, &race->other));
    asks(race->other, &race->node, "folder", FIRST_MODE, race->node.mode, &id);
    asks(race->other, &race->node, "folder", LAST_MODE, FIRST_MODE, &id);
}

static void end(struct race *race)
{
    pool_gone_close(race->other);
    rig_destroy(race->rig);
}

static uint32_t mode_there(struct race *race)
{
    struct drv_stat stat;
    rig_ok(drv_stat(race->rig->drive[0].raw, "folder", &stat));
    return stat.mode & 07777;
}

static mrmr_err applies(struct race *race)
{
    struct pool_gone *gone;
    rig_ok(pool_gone_open(race->rig->pool->dirfd, true, &gone));
    mrmr_err err =
        pool_gone_apply(race->rig->pool, NULL, gone, rig_pool_drive(race->rig, 0), NULL, NULL);
    pool_gone_close(gone);
    return err;
}

static void applies_and_dies(struct race *race)
{
    int status;
    rig_close(race->rig);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        rig_open(race->rig);
        applies(race);
        _exit(1);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    rig_clear_faults(race->rig);
    rig_open(race->rig);
}

/* The journal is written anew before this op on the folder; who sets it dies after the first
 * time. */
static void written_anew_at(
    uint64_t seed, uint32_t ops, uint32_t mode_between, size_t waits_between)
{
    struct race race;
    begin(&race, seed);
    const struct drv_fault_rule anew = {.ops = ops,
        .prefix = "folder",
        .action = DRV_FAULT_HOOK,
        .hook = writes_journal_anew,
        .arg = &race};
    const struct drv_fault_rule die = {
        .ops = DRV_FAULT_SET_ATTR, .prefix = "folder", .action = DRV_FAULT_KILL, .late = true};
    rig_ok(drv_fault_add(race.rig->drive[0].fault, &anew, NULL));
    rig_ok(drv_fault_add(race.rig->drive[0].fault, &die, NULL));
    applies_and_dies(&race);
    assert_int_equal(mode_there(&race), mode_between);
    assert_int_equal(waiting(&race), waits_between);
    writes_journal_anew(&race, DRV_FAULT_STAT, "folder"); /* once more before the drive is asked */
    rig_ok(applies(&race));
    assert_int_equal(mode_there(&race), LAST_MODE);
    assert_int_equal(waiting(&race), 0);
    end(&race);
}

/* The earlier mode is on the drive, and both records are there until both are over. */
static void test_cut_between_two(void **state)
{
    (void)state;
    written_anew_at(730, DRV_FAULT_SET_ATTR, FIRST_MODE, 2);
}

/* They have become one before anything was set: the earlier mode never comes to the drive. */
static void test_one_before_it_begins(void **state)
{
    (void)state;
    written_anew_at(731, DRV_FAULT_STAT, LAST_MODE, 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_between_two),
        cmocka_unit_test(test_one_before_it_begins),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_begun", tests, NULL, NULL);
}
