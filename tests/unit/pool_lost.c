/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which drives count as lost, so that they may be given up by themselves, and which never do; that whoever gives one up looks
 * once more; and that what goes with it is said.
 */
#include "drivers/hold.h"
#include "pool/drive/failing.h"
#include "pool/drive/hung.h"
#include "pool/records/touched.h"
#include "tests/support/rig.h"

#include <string.h>
#include <unistd.h>

static struct rig *begin(unsigned redundancy)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.seed = 1200 + redundancy, .redundancy = redundancy});
    rig_one_each(rig, 5, RIG_MIB + 100);
    rig_protect_all(rig);
    return rig;
}

static struct pool_drive_view view_of(struct rig *rig, const char *name)
{
    struct pool_drive_view *views = NULL, view = {.seen = -1};
    size_t n = 0;
    rig_ok(pool_drives(rig->pool, &views, &n));
    for (size_t i = 0; i < n; i++)
        if (strcmp(views[i].name, name) == 0)
            view = views[i];
    free(views);
    return view;
}

static struct pool_rebuild_report if_lost(struct rig *rig, const char *name)
{
    const struct pool_rebuild_options options = {.drive = name, .if_lost = true};
    struct pool_rebuild_report report;
    struct pool_job job = rig_job(rig);
    rig_ok(pool_rebuild(rig->pool, &job, &options, &report));
    return report;
}

/* By nobody but the user, who is not asked. */
static void is_left_alone(struct rig *rig, const char *name)
{
    const struct pool_rebuild_report report = if_lost(rig, name);
    assert_true(report.not_lost);
    assert_int_equal(report.files + report.rows, 0);
    rig_reopen(rig);
    assert_string_equal(view_of(rig, name).state, "active");
}

static void goes(struct rig *rig, unsigned drive)
{
    rig_take_away(rig, drive);
    rig_reopen(rig);
}

static void add_touched(struct rig *rig, unsigned drive, uint64_t ino, int64_t as)
{
    int fd;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    rig_ok(pool_touched_add(fd, rig_pool_drive(rig, drive)->meta.id, ino, as));
    close(fd);
}

struct found {
    const char *kind, *text;
    unsigned n;
};

static mrmr_err find_event(const struct pool_event *event, void *arg)
{
    struct found *found = arg;
    found->n += strcmp(event->kind, found->kind) == 0 && strstr(event->text, found->text);
    return MRMR_OK;
}

static unsigned told(struct rig *rig, const char *kind, const char *text)
{
    struct found found = {.kind = kind, .text = text};
    rig_ok(pool_events(rig->pool, 0, 0, find_event, &found));
    return found.n;
}

/* --- what is lost --- */

static void test_away(void **state)
{
    struct rig *rig = begin(1);
    (void)state;
    assert_false(view_of(rig, "d0").lost);
    is_left_alone(rig, "d0");
    goes(rig, 0);
    assert_true(view_of(rig, "d0").lost);
    const struct pool_rebuild_report report = if_lost(rig, "d0");
    assert_false(report.not_lost);
    assert_int_equal(report.files, 1);
    assert_int_equal(report.older, 0);
    assert_int_equal(view_of(rig, "d0").seen, -1);
    assert_int_equal(told(rig, "drive-removed", "all its files, as its last scan found them"), 1);
    rig_destroy(rig);
}

/* It is back, and nobody has looked since. */
static void test_back_in_the_middle(void **state)
{
    struct rig *rig = begin(1);
    (void)state;
    goes(rig, 0);
    assert_true(view_of(rig, "d0").lost);
    rig_bring_back(rig, 0);
    assert_int_equal(rig_pool_drive(rig, 0)->presence, POOL_AWAY); /* as the look had it */
    is_left_alone(rig, "d0");
    rig_destroy(rig);
}

static void test_more_than_one(void **state)
{
    struct rig *rig = begin(1);
    (void)state;
    rig_take_away(rig, 1);
    goes(rig, 0);
    assert_true(view_of(rig, "d0").lost && view_of(rig, "d1").lost);
    is_left_alone(rig, "d0");
    rig_destroy(rig);
}

static void test_held(void **state)
{
    struct rig *rig = begin(1);
    struct meta_drive next = rig_pool_drive(rig, 0)->meta;
    (void)state;
    strcpy(next.hold, "much vanished");
    rig_ok(meta_drive_store(rig->pool->meta, &next));
    goes(rig, 0);
    assert_int_equal(view_of(rig, "d0").presence, POOL_AWAY);
    assert_false(view_of(rig, "d0").lost);
    is_left_alone(rig, "d0");
    rig_destroy(rig);
}

static void test_never_scanned(void **state)
{
    struct rig *rig = begin(1);
    (void)state;
    const unsigned added = rig_add_drive(rig);
    goes(rig, added);
    assert_int_equal(view_of(rig, "d5").presence, POOL_AWAY);
    assert_false(view_of(rig, "d5").lost);
    is_left_alone(rig, "d5");
    /* By the user's word it goes, and nobody says that its files are elsewhere. */
    const struct pool_rebuild_options options = {.drive = "d5"};
    struct pool_rebuild_report report;
    rig_ok(pool_rebuild(rig->pool, NULL, &options, &report));
    assert_int_equal(told(rig, "drive-removed", "all its files"), 0);
    assert_int_equal(told(rig, "drive-removed", "nothing of it is on other drives"), 1);
    rig_destroy(rig);
}

/* It is there. */
static void test_unreadable(void **state)
{
    static const mrmr_err errors[] = {MRMR_DENIED, MRMR_IO, MRMR_NOMEM, MRMR_REFUSED, MRMR_NEWER};
    struct rig *rig = begin(1);
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_OPEN, .prefix = ".mrmr/drive", .action = DRV_FAULT_ERROR};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        unsigned id;
        rule.err = errors[i];
        rig_ok(drv_fault_add(rig->drive[0].fault, &rule, &id));
        rig_reopen(rig);
        assert_int_equal(view_of(rig, "d0").presence, POOL_FAILED);
        assert_false(view_of(rig, "d0").lost);
        is_left_alone(rig, "d0");
        rig_clear_faults(rig);
    }
    rig_destroy(rig);
}

static void test_failing(void **state)
{
    struct rig *rig = begin(1);
    (void)state;
    rig_ok(pool_failing_set(rig->pool, &rig_pool_drive(rig, 0)->meta.uuid));
    rig_reopen(rig);
    assert_int_equal(view_of(rig, "d0").presence, POOL_FAILED);
    assert_true(view_of(rig, "d0").lost);
    assert_false(if_lost(rig, "d0").not_lost);
    rig_destroy(rig);
}

/* --- what is on it alone --- */

static void test_touched(void **state)
{
    struct rig *rig = begin(1);
    struct pool_status status;
    (void)state;
    add_touched(rig, 0, 77, POOL_TOUCHED_NAME);
    add_touched(rig, 0, 78, POOL_TOUCHED_ATTRS);
    add_touched(rig, 1, 79, 0);
    goes(rig, 0);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.touched_files, 2);
    assert_true(
        status.touched_oldest && mrmr_clock_real() - status.touched_oldest < 3600 * MRMR_NS_PER_S);
    assert_int_equal(view_of(rig, "d0").touched, 1); /* what was set of it is on that drive alone */
    is_left_alone(rig, "d0");
    add_touched(rig, 0, 80, 0);
    assert_int_equal(view_of(rig, "d0").touched, 2);
    assert_true(view_of(rig, "d0").lost);
    is_left_alone(rig, "d0");
    add_touched(rig, 0, POOL_TOUCHED_ALL, 0);
    assert_true(view_of(rig, "d0").touched == UINT64_MAX);
    rig_ok(pool_status(rig->pool, &status));
    assert_true(status.touched_files == UINT64_MAX);
    is_left_alone(rig, "d0");
    rig_destroy(rig);
}

static int64_t touched_oldest(struct rig *rig)
{
    struct pool_status status;
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.touched_files, 1);
    return status.touched_oldest;
}

/* A change was given up, and goes on until that is put. */
static struct drv_hold *hangs_on(struct rig *rig, const struct meta_drive *meta)
{
    struct pool_writers *writers;
    uint64_t epoch;
    rig_ok(pool_writers_open(rig->pool->dirfd, &writers));
    rig_ok(pool_writers_begin(writers, &epoch));
    struct drv_hold *hangs = drv_hold_share(drv_hold_own());
    drv_hold_gave_up(pool_drive_medium(meta));
    pool_writers_end();
    pool_writers_close(writers);
    return hangs;
}

/* The machine had no time yet when something was changed: not before the last scan, which would have dropped it. */
static void test_touched_in_1970(void **state)
{
    struct rig *rig = begin(1);
    struct meta_drive *meta = &rig_pool_drive(rig, 1)->meta;
    const struct pool_touched_inode record = {meta->id | 100 * POOL_TOUCHED_SECOND, 79};
    int fd;
    (void)state;
    rig_ok(pool_touched_open(rig->pool->dirfd, &fd));
    assert_int_equal(write(fd, &record, sizeof record), sizeof record);
    close(fd);
    const int64_t scanned = meta->scanned;
    assert_true(scanned && touched_oldest(rig) == scanned);
    meta->scanned = mrmr_clock_real() + 3600 * MRMR_NS_PER_S; /* then that was wrong */
    assert_int_equal(touched_oldest(rig), 100 * MRMR_NS_PER_S);
    meta->scanned = scanned;
    strcpy(meta->hold, "many files vanished"); /* a scan leaves it */
    assert_int_equal(touched_oldest(rig), 100 * MRMR_NS_PER_S);
    meta->hold[0] = '\0';
    struct drv_hold *hangs =
        hangs_on(rig, meta); /* and so it does where it has judged, but a change hangs by then */
    assert_int_equal(touched_oldest(rig), 100 * MRMR_NS_PER_S);
    drv_hold_put(hangs);
    assert_int_equal(touched_oldest(rig), scanned);
    rig_destroy(rig);
}

/* By the user's word, who is told what goes with it. */
static void test_older(void **state)
{
    struct rig *rig = begin(1);
    const struct pool_drive *drive = rig_pool_drive(rig, 0);
    const struct pool_rebuild_options options = {.drive = "d0"};
    struct pool_rebuild_report report;
    struct pool_status status;
    struct meta_node node;
    (void)state;
    rig_ok(meta_lookup_path(rig->pool->meta, drive->meta.root, "f0", &node));
    add_touched(rig, 0, node.ino, 0);
    add_touched(rig, 0, 999999, 0);
    goes(rig, 0);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.touched_files, 2);
    rig_ok(pool_rebuild(rig->pool, NULL, &options, &report));
    assert_int_equal(report.files, 1);
    assert_int_equal(report.older, 2);
    assert_int_equal(told(rig, "restored-older", "'f0' was written to"), 1);
    assert_int_equal(told(rig, "restored-older", "up to 1 files that were made on it"), 1);
    assert_int_equal(told(rig, "drive-removed", "went with it"), 1);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.touched_files, 0);
    rig_destroy(rig);
}

/* Neither is for one that is given up by itself. */
static void test_values(void **state)
{
    struct rig *rig = begin(1);
    struct pool_rebuild_options options = {.drive = "d0", .path = "f0", .if_lost = true};
    struct pool_rebuild_report report;
    (void)state;
    goes(rig, 0);
    assert_int_equal(pool_rebuild(rig->pool, NULL, &options, &report), MRMR_INVALID);
    options.path = NULL;
    options.onto = "d1";
    assert_int_equal(pool_rebuild(rig->pool, NULL, &options, &report), MRMR_INVALID);
    rig_destroy(rig);
}

/* The other one is there, and gives most of what it has. */
static void test_another_fails(void **state)
{
    struct rig *rig = begin(1);
    const struct pool_rebuild_options options = {.drive = "d1"};
    struct pool_rebuild_report report;
    char text[1024];
    (void)state;
    rig_ok(pool_failing_set(rig->pool, &rig_pool_drive(rig, 0)->meta.uuid));
    goes(rig, 1);
    assert_int_equal(pool_rebuild(rig->pool, NULL, &options, &report), MRMR_OFFLINE);
    mrmr_story_print(mrmr_story_get(), text, sizeof text);
    assert_non_null(strstr(text, "mrmr attach d0"));
    assert_null(strstr(text, "--accept-losses"));
    rig_ok(pool_attach(rig->pool, "d0", NULL));
    rig_ok(pool_rebuild(rig->pool, NULL, &options, &report));
    assert_int_equal(report.files, 1);
    rig_destroy(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_away),
        cmocka_unit_test(test_back_in_the_middle),
        cmocka_unit_test(test_more_than_one),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_never_scanned),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_failing),
        cmocka_unit_test(test_touched),
        cmocka_unit_test(test_touched_in_1970),
        cmocka_unit_test(test_older),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_another_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
