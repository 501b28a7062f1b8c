/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Jobs of the pool's owner, and writers beside them (writers.h): what is put in the place of a file
 * is put there while they stand still, what they wrote before that stays, and the catalog knows of it
 * when they go on.
 */
#include "drivers/hold.h"
#include "pool/drive/hung.h"
#include "pool/drive/identity.h"
#include "pool/records/moved.h"
#include "pool/stripe/view.h"
#include "tests/support/rig.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MOMENT_MS = 100, LONG_MS = 2000, TOO_LONG_MS = 100000 };

static void sleep_ms(long ms)
{
    const struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&ts, NULL);
}

/* The user's hand, as the mount's: another handle, as of another process. */
struct mount {
    struct rig *rig;
    struct pool_writers *writers;
    pthread_t thread;
    const char *path;
    atomic_bool started, in, both;
    uint64_t epoch; /* when it came in */
    bool known;     /* the catalog had the inode that was there by then */
    struct drv_hold *hangs;
};

static int setup(void **state)
{
    struct mount *mount = calloc(1, sizeof *mount);
    mount->rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .seed = 91});
    rig_ok(pool_writers_open(mount->rig->pool->dirfd, &mount->writers));
    *state = mount;
    return 0;
}

static int teardown(void **state)
{
    struct mount *mount = *state;
    if (mount->started)
        pthread_join(mount->thread, NULL);
    pool_writers_close(mount->writers);
    rig_destroy(mount->rig);
    free(mount);
    return 0;
}

static void hook_on(struct mount *mount, unsigned drive, uint32_t ops, const char *prefix,
    uint64_t after, bool late, drv_fault_hook hook)
{
    struct drv_fault_rule rule = {.ops = ops,
        .prefix = prefix,
        .after = after,
        .times = 1,
        .late = late,
        .action = DRV_FAULT_HOOK,
        .hook = hook,
        .arg = mount};
    rig_ok(drv_fault_add(mount->rig->drive[drive].fault, &rule, NULL));
}

static uint64_t epoch_now(struct mount *mount)
{
    uint64_t epoch;
    rig_ok(pool_writers_enter(mount->writers, &epoch));
    pool_writers_leave(mount->writers);
    return epoch;
}

/* --- in the place of a file --- */

/* Comes as soon as it may, and looks. */
static void *come_in(void *arg)
{
    struct mount *mount = arg;
    struct rig *rig = mount->rig;
    struct drv_stat stat;
    rig_ok(pool_writers_enter(mount->writers, &mount->epoch));
    atomic_store(&mount->in, true);
    struct meta_node node = rig_node(rig, mount->path);
    rig_ok(drv_stat(rig->drive[rig_find(rig, mount->path)->drive].raw, mount->path, &stat));
    mount->known = node.ino == stat.ino && node.ctime == stat.ctime;
    pool_writers_leave(mount->writers);
    return NULL;
}

/* A file gets its place: nobody comes in now. */
static void nobody_comes_in(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    assert_false(atomic_exchange(&mount->started, true));
    assert_int_equal(pthread_create(&mount->thread, NULL, come_in, mount), 0);
    sleep_ms(MOMENT_MS);
    assert_false(atomic_load(&mount->in));
}

static void test_a_repaired_file_is_placed_while_writers_stand_still(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    uint64_t before = epoch_now(mount);
    hook_on(mount, 1, DRV_FAULT_RENAME, "f1", 0, false, nobody_comes_in);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_int_equal(report.repaired, 1);
    assert_true(mount->started);
    pthread_join(mount->thread, NULL);
    mount->started = false;
    assert_true(mount->in);
    assert_true(mount->known);
    assert_true(mount->epoch > before);
    rig_check_originals(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* Saves, with the time set back: as much as a user can do to hide it. */
static void save_in_hiding(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    rig_ok(pool_writers_enter(mount->writers, &mount->epoch));
    int64_t mtime = rig_mtime(mount->rig, mount->path);
    rig_edit(mount->rig, mount->path, 100, 50);
    rig_set_mtime(mount->rig, mount->path, mtime);
    pool_writers_leave(mount->writers);
    atomic_store(&mount->in, true);
}

static mrmr_err count_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name, (void)stat, (void)err;
    ++*(unsigned *)arg;
    return MRMR_OK;
}

/* What is known of the file stays known: it was not even exchanged. */
static void test_who_saves_before_a_repair_keeps_the_place(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    hook_on(mount, 1, DRV_FAULT_RENAME, ".mrmr/work", 0, true, save_in_hiding);
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_true(mount->in);
    assert_int_equal(report.repaired, 0);
    assert_string_equal(rig_states(rig, "f1"), "LM");
    uint8_t got[50], wanted[50];
    struct drv_file *file = NULL;
    rig_ok(drv_file_open(rig->drive[1].raw, "f1", DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 100, got, sizeof got));
    drv_file_close(file);
    rig_expected(rig_find(rig, "f1"), 100, wanted, sizeof wanted);
    assert_memory_equal(got, wanted, sizeof got);
    unsigned kept = 0;
    rig_ok(drv_list(rig->drive[1].raw, POOL_QUARANTINE, count_entry, &kept));
    assert_int_equal(kept, 0);
}

/* --- where nothing was --- */

static void test_a_restored_file_is_placed_while_writers_stand_still(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    uint64_t before = epoch_now(mount);
    rig_ok(drv_unlink(rig->drive[1].raw, "f1"));
    hook_on(mount, 1, DRV_FAULT_RENAME, "f1", 0, false, nobody_comes_in);
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1"}, &report));
    assert_int_equal(report.files, 1);
    assert_true(mount->started);
    assert_true(epoch_now(mount) > before);
    rig_check_originals(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* Once it is there, a user may write to it: nothing is claimed of it then. */
static void test_who_saves_a_restored_file_is_seen(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    mount->path = "f1";
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_ok(drv_unlink(rig->drive[1].raw, "f1"));
    rig_put(rig, 1, "other", 1000);
    rig_sync(rig); /* held: all that was there vanished */
    assert_string_equal(rig_states(rig, "f1"), "MM");
    hook_on(mount, 1, DRV_FAULT_SYNC_ALL, NULL, 1, false, save_in_hiding);
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1"}, &report));
    assert_true(mount->in);
    assert_string_equal(rig_states(rig, "f1"), "MM");
    rig_check(rig);
    rig_sync(rig);
    rig_check(rig);
    rig_check_originals(rig);
}

/* --- one that hangs --- */

static void comes_and_stays(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    if (!atomic_exchange(&mount->in, true))
        rig_ok(pool_writers_enter(mount->writers, &mount->epoch));
}

enum job { SYNC, REPAIR, REBUILD };

/* One file or stripe is not told of: what hangs concerns them all. */
static void not_one_by_one(bool warning, const char *text, void *arg)
{
    static const char *const told[] = {
        "encoded anew", "not protected", "put in place", "not repaired"};
    (void)warning, (void)arg;
    for (size_t i = 0; i < sizeof told / sizeof *told; i++)
        if (strstr(text, told[i]))
            fail_msg("%s", text);
}

static mrmr_err run(struct rig *rig, enum job what)
{
    struct pool_job job = rig_job(rig);
    job.notice = not_one_by_one;
    struct pool_scrub_report scrubbed;
    struct pool_rebuild_report rebuilt;
    if (what == SYNC)
        return pool_sync(rig->pool, &job, NULL, &rig->report);
    if (what == REPAIR)
        return pool_scrub(rig->pool, &job, &(struct pool_scrub_options){.repair = true}, &scrubbed);
    return pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1"}, &rebuilt);
}

/* The job ends, has lost nothing, and left nothing lying about; and is run again. spent: of the
 * promise, by what the job is to put right. */
static void hangs_before(
    struct mount *mount, enum job what, uint32_t ops, const char *prefix, unsigned spent)
{
    struct rig *rig = mount->rig;
    pool_writers_wait_at_most(rig->pool->writers, MOMENT_MS * INT64_C(1000000));
    for (unsigned d = 0; d < rig->n; d++)
        hook_on(mount, d, ops, prefix, 0, true, comes_and_stays);
    assert_int_equal(run(rig, what), MRMR_BUSY);
    assert_true(mount->in);
    assert_non_null(strstr(mrmr_story_get()->hint, "mrmr drives"));
    rig_clear_faults(rig);
    rig_promise_check(rig, spent);
    assert_int_equal(run(rig, what), MRMR_BUSY); /* it comes no farther */
    pool_writers_leave(mount->writers);
    rig_promise_check(rig, spent);
    rig_ok(run(rig, what));
    rig_protect_all(rig);
    rig_check_originals(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

static void test_a_writer_hangs_when_a_stripe_is_committed(void **state)
{
    struct mount *mount = *state;
    rig_one_each(mount->rig, 3, 2 * RIG_MIB);
    rig_promise(mount->rig);
    rig_put(mount->rig, 0, "new", 2 * RIG_MIB);
    hangs_before(mount, SYNC, DRV_FAULT_RENAME, ".mrmr/parity", 0);
}

static void test_a_writer_hangs_when_a_stripe_is_filled(void **state)
{
    struct mount *mount = *state;
    rig_one_each(mount->rig, 3, RIG_MIB);
    rig_promise(mount->rig);
    rig_put(mount->rig, 0, "new", RIG_MIB / 2);
    hangs_before(mount, SYNC, DRV_FAULT_RENAME, ".mrmr/parity", 0);
}

/* And the other stripes do not wait for it, too. */
static void test_a_writer_hangs_when_stripes_are_mended(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    char path[32];
    for (unsigned i = 0; i < 12; i++) {
        snprintf(path, sizeof path, "f%u", i);
        rig_put(rig, i % 3, path, 2 * RIG_MIB);
    }
    rig_protect_all(rig);
    for (unsigned i = 0; i < 12; i += 3) {
        snprintf(path, sizeof path, "f%u", i);
        rig_edit(rig, path, 0, RIG_MIB);
    }
    rig_promise(rig);
    hangs_before(mount, SYNC, DRV_FAULT_RENAME, ".mrmr/parity", 0);
}

static void test_a_writer_hangs_when_a_file_is_repaired(void **state)
{
    struct mount *mount = *state;
    rig_one_each(mount->rig, 3, 2 * RIG_MIB);
    rig_promise(mount->rig);
    rig_rot(mount->rig, 1, "f1", RIG_MIB + 1);
    hangs_before(mount, REPAIR, DRV_FAULT_RENAME, ".mrmr/work", 1);
}

static void test_a_writer_hangs_when_a_file_is_restored(void **state)
{
    struct mount *mount = *state;
    rig_one_each(mount->rig, 3, 2 * RIG_MIB);
    rig_promise(mount->rig);
    rig_ok(drv_unlink(mount->rig->drive[1].raw, "f1"));
    hangs_before(mount, REBUILD, DRV_FAULT_SYNC_ALL, NULL, 1);
}

/* --- one that hangs on one drive --- */

/* The mount gives it up, and goes on. */
static void comes_and_is_late(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    if (atomic_exchange(&mount->in, true))
        return;
    rig_ok(pool_writers_begin(mount->writers, &mount->epoch));
    mount->hangs = drv_hold_share(drv_hold_own());
    drv_hold_gave_up(pool_drive_medium(&rig_pool_drive(mount->rig, 1)->meta));
    pool_writers_end();
}

static void hang_on_drive_1(struct mount *mount, uint32_t ops, const char *prefix)
{
    pool_writers_wait_at_most(mount->rig->pool->writers, LONG_MS * INT64_C(1000000));
    for (unsigned d = 0; d < mount->rig->n; d++)
        hook_on(mount, d, ops, prefix, 0, true, comes_and_is_late);
}

static void it_ends(struct mount *mount)
{
    assert_true(mount->in);
    drv_hold_put(mount->hangs);
    mount->in = false;
    rig_clear_faults(mount->rig);
    assert_false(pool_drive_hangs(mount->rig->pool, rig_pool_drive(mount->rig, 1)));
}

static void drive_1_is_left_out(struct mount *mount)
{
    struct pool_drive *drive = rig_pool_drive(mount->rig, 1);
    assert_true(mount->in);
    assert_int_equal(drive->presence, POOL_FAILED);
    assert_true(drive->hung);
    assert_non_null(strstr(drive->why.text, "may be written yet"));
    assert_string_equal(drive->why.drive, "d1");
}

/* The others are protected without it, and it when it answers. */
static void test_a_drive_hangs_when_a_stripe_is_committed(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    for (unsigned d = 0; d < 4; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 2 * RIG_MIB);
    }
    hang_on_drive_1(mount, DRV_FAULT_RENAME, ".mrmr/parity");
    rig_ok(pool_sync(rig->pool, &job, NULL, &rig->report));
    drive_1_is_left_out(mount);
    assert_string_equal(rig_states(rig, "f0"), "LL");
    assert_string_equal(rig_states(rig, "f2"), "LL");
    assert_string_equal(rig_states(rig, "f3"), "LL");
    assert_string_equal(rig_states(rig, "f1"), "");
    rig_check_originals(rig);
    it_ends(mount);
    rig_protect_all(rig);
    assert_string_equal(rig_states(rig, "f1"), "LL");
    rig_check(rig);
    rig_verify(rig, true);
}

static mrmr_err last_of_drive(const struct pool_event *event, void *arg)
{
    char *kind = arg;
    if (strcmp(event->kind, "drive-lost") == 0 || strcmp(event->kind, "drive-returned") == 0)
        snprintf(kind, 32, "%s", event->kind);
    return MRMR_OK;
}

/* Who found it out of service at the beginning tells when it is not any more. */
static void test_a_drive_that_hung_and_answers_is_told_of(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    char kind[32] = "";
    rig_one_each(rig, 4, RIG_MIB);
    rig_put(rig, 0, "f0", 2 * RIG_MIB);
    hang_on_drive_1(mount, DRV_FAULT_RENAME, ".mrmr/parity");
    rig_ok(pool_sync(rig->pool, &job, false, &rig->report));
    rig_reopen(rig);
    drive_1_is_left_out(mount);
    rig_ok(pool_events(rig->pool, 0, 0, last_of_drive, kind));
    assert_string_equal(kind, "drive-lost");
    it_ends(mount);
    rig_sync(rig);
    rig_ok(pool_events(rig->pool, 0, 0, last_of_drive, kind));
    assert_string_equal(kind, "drive-returned");
}

static void is_late_on(struct mount *mount, unsigned d)
{
    rig_ok(pool_writers_begin(mount->writers, &mount->epoch));
    mount->hangs = drv_hold_share(drv_hold_own());
    drv_hold_gave_up(pool_drive_medium(&rig_pool_drive(mount->rig, d)->meta));
    pool_writers_end();
}

/* First on drive 1; when that is left out it ends, and another hangs on drive 2. */
static void hangs_on_one_then_the_other(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    if (!atomic_exchange(&mount->in, true)) {
        is_late_on(mount, 1);
    } else if (rig_pool_drive(mount->rig, 1)->presence == POOL_FAILED &&
               !atomic_exchange(&mount->both, true)) {
        drv_hold_put(mount->hangs);
        is_late_on(mount, 2);
    }
}

static void nothing_stopped_answering(bool warning, const char *text, void *arg)
{
    (void)warning, (void)arg;
    if (strstr(text, "stopped answering"))
        fail_msg("%s", text);
}

/* A view that nobody holds, with all of its rows open. */
static void view_of_each_row(struct rig *rig, const char *path)
{
    struct meta_extent *extents = NULL;
    struct pool_row_reader *reader;
    struct pool_view *view;
    bool has = false;
    size_t n;
    rig_ok(meta_extents_of(rig->pool->meta, rig_node(rig, path).id, &extents, &n));
    assert_true(n > 0);
    rig_ok(pool_view_get(rig->pool, extents[0].stripe, &view));
    for (unsigned i = 0; i < view->image.rows; i++) {
        rig_ok(pool_view_row(rig->pool, view, view->image.row[i].index, &reader));
        has = has || view->image.row[i].drive == rig_pool_drive(rig, 1)->meta.id;
    }
    assert_true(has);
    pool_view_put(rig->pool, view);
    free(extents);
}

/* The first stays left out for the rest of the job, in which it was not scanned since, with what is
 * open on it. */
static void test_two_drives_hang_one_after_the_other(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report = {0};
    job.notice = nothing_stopped_answering;
    rig_put(rig, 0, "old", 2 * RIG_MIB);
    rig_put(rig, 2, "old2", 2 * RIG_MIB);
    rig_put(rig, 3, "old3", 2 * RIG_MIB);
    rig_put(rig, 4, "old4", 2 * RIG_MIB);
    rig_protect_all(rig);
    for (unsigned d = 0; d < rig->n; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, 8 * RIG_MIB);
    }
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    view_of_each_row(rig, "old");
    pool_writers_wait_at_most(rig->pool->writers, LONG_MS * INT64_C(1000000));
    for (unsigned d = 0; d < rig->n; d++) {
        const struct drv_fault_rule rule = {.ops = DRV_FAULT_RENAME,
            .prefix = ".mrmr/parity",
            .late = true,
            .action = DRV_FAULT_HOOK,
            .hook = hangs_on_one_then_the_other,
            .arg = mount};
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
    }
    rig_ok(pool_protect(rig->pool, &job, NULL, &report));
    assert_true(mount->both);
    pool_views_forget(rig->pool, 0); /* its rows are closed */
    drive_1_is_left_out(mount);
    assert_int_equal(rig_pool_drive(rig, 2)->presence, POOL_FAILED);
    assert_string_equal(rig_states(rig, "f1"), "");
    it_ends(mount);
    rig_protect_all(rig);
    rig_check_originals(rig);
    rig_check(rig);
    rig_verify(rig, true);
}

/* What the catalog knows of it stays as it was: nothing vanished from it. */
static void test_a_drive_hangs_when_a_scan_begins(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    rig_one_each(rig, 3, RIG_MIB);
    rig_put(rig, 0, "new", RIG_MIB);
    comes_and_is_late(mount, 0, NULL);
    rig_ok(drv_unlink(rig->drive[1].raw, "f1")); /* it could be what hangs */
    rig_ok(pool_sync(rig->pool, &job, NULL, &rig->report));
    drive_1_is_left_out(mount);
    assert_int_equal(rig->report.vanished, 0);
    assert_string_equal(rig_states(rig, "f1"), "L");
    assert_string_equal(rig_states(rig, "new"), "L");
    it_ends(mount);
    rig_ok(pool_sync(
        rig->pool, &job, &(struct pool_sync_options){.accept_changes = true}, &rig->report));
    assert_int_equal(rig->report.vanished, 1);
    rig_check(rig);
}

/* A process that opens the pool meanwhile does not touch the drive. */
static void test_a_pool_is_opened_while_a_drive_hangs(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    rig_one_each(rig, 3, RIG_MIB);
    comes_and_is_late(mount, 0, NULL);
    rig_close(rig);
    unsigned counter = rig_count_reads(rig, 1, "");
    rig_open(rig);
    assert_int_equal(rig_reads(rig, 1, counter), 0);
    drive_1_is_left_out(mount);
    it_ends(mount);
    rig_sync(rig);
    assert_int_equal(rig_pool_drive(rig, 1)->presence, POOL_PRESENT);
    rig_check(rig);
}

static bool any_drive_has(struct rig *rig, const char *path, uint64_t size)
{
    struct drv_stat stat;
    for (unsigned d = 0; d < rig->n; d++)
        if (d != 1 && !drv_stat(rig->drive[d].raw, path, &stat) && stat.size == size)
            return true;
    return false;
}

/* It is given up, and what hangs on it for good is not waited for; a rename of a file of it that was
 * recorded is done, once. */
static void test_a_drive_that_hangs_for_good_is_rebuilt_elsewhere(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    int moved;
    rig_one_each(rig, 3, RIG_MIB);
    rig_put(rig, 1, "other", RIG_MIB / 2);
    rig_protect_all(rig);
    const int64_t drive = rig_pool_drive(rig, 1)->meta.id;
    const uint64_t inodes[2] = {rig_node(rig, "f1").ino, rig_node(rig, "other").ino};
    rig_ok(pool_moved_open(rig->pool->dirfd, &moved));
    rig_ok(pool_moved_add_inodes(moved, drive, "f1", "other", POOL_MOVED_EXCHANGE, inodes, true));
    close(moved);
    comes_and_is_late(mount, 0, NULL);
    rig_close(rig);
    rig_open(rig);
    drive_1_is_left_out(mount);
    pool_writers_wait_at_most(rig->pool->writers, TOO_LONG_MS * INT64_C(1000000));
    const int64_t began = mrmr_clock_monotonic();
    rig_ok(pool_rebuild(rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1"}, &report));
    assert_true(mrmr_clock_monotonic() - began < TOO_LONG_MS * INT64_C(1000000));
    assert_int_equal(report.files, 2);
    assert_true(any_drive_has(rig, "f1", RIG_MIB / 2) && any_drive_has(rig, "other", RIG_MIB));
    drv_hold_put(mount->hangs);
    rig_check(rig);
}

/* A fresh drive takes its place: nothing hangs on that one, and it takes part in all that comes after. */
static void test_a_drive_that_hangs_for_good_is_rebuilt_onto_another(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_rebuild_report report;
    char name[8];
    rig_one_each(rig, 3, RIG_MIB);
    rig_protect_all(rig);
    const struct meta_drive lost = rig_pool_drive(rig, 1)->meta;
    comes_and_is_late(mount, 0, NULL);
    rig_close(rig);
    rig_open(rig);
    drive_1_is_left_out(mount);
    pool_writers_wait_at_most(rig->pool->writers, LONG_MS * INT64_C(1000000));
    snprintf(name, sizeof name, "d%u", rig_add_drive(rig));
    rig_ok(pool_rebuild(
        rig->pool, &job, &(struct pool_rebuild_options){.drive = "d1", .onto = name}, &report));
    assert_int_equal(report.files, 1);
    const struct pool_drive *heir = pool_drive_by_name(rig->pool, name);
    assert_int_equal(heir->meta.id, lost.id);
    assert_false(pool_drive_hangs(rig->pool, heir));
    rig_protect_all(rig);
    assert_int_equal(heir->presence, POOL_PRESENT);
    assert_string_equal(rig_states(rig, "f1"), "L");
    bool late;
    rig_ok(pool_writers_late_on(rig->pool->dirfd, pool_drive_medium(&lost), &late));
    assert_true(late); /* it hangs yet */
    drv_hold_put(mount->hangs);
    rig_check(rig);
}

/* A file of another drive is repaired, and one of its own is left. */
static void test_a_drive_hangs_when_files_are_repaired(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    rig_one_each(rig, 3, 2 * RIG_MIB);
    rig_rot(rig, 0, "f0", RIG_MIB + 1);
    rig_rot(rig, 1, "f1", RIG_MIB + 1);
    hang_on_drive_1(mount, DRV_FAULT_RENAME, ".mrmr/work");
    struct pool_scrub_report report = rig_scrub(rig, true);
    assert_true(mount->in);
    assert_int_equal(report.repaired, 1);
    assert_true(rig_original_is_right(rig, 0, rig_find(rig, "f0")));
    assert_false(rig_original_is_right(rig, 1, rig_find(rig, "f1")));
    it_ends(mount);
    report = rig_scrub(rig, true);
    assert_int_equal(report.repaired, 1);
    rig_check_originals(rig);
    rig_check(rig);
}

/* --- a drive that is another's when the writer has left --- */

static void *take_drive(void *arg)
{
    struct mount *mount = arg;
    struct pool_identity identity;
    struct drv *raw = mount->rig->drive[3].raw;
    sleep_ms(LONG_MS);
    rig_ok(pool_identity_read(raw, &identity));
    identity.session.number += 7;
    rig_ok(pool_identity_write(raw, &identity));
    pool_writers_leave(mount->writers);
    return NULL;
}

static void comes_and_takes(void *arg, enum drv_fault_op op, const char *path)
{
    struct mount *mount = arg;
    (void)op, (void)path;
    if (atomic_exchange(&mount->started, true))
        return;
    rig_ok(pool_writers_enter(mount->writers, &mount->epoch));
    assert_int_equal(pthread_create(&mount->thread, NULL, take_drive, mount), 0);
}

/* I5: the session is read after the wait, not before. */
static void test_a_drive_is_taken_while_a_commit_waits(void **state)
{
    struct mount *mount = *state;
    struct rig *rig = mount->rig;
    struct pool_job job = rig_job(rig);
    struct pool_sync_report report = {0};
    for (unsigned d = 0; d < rig->n; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, RIG_MIB);
        hook_on(mount, d, DRV_FAULT_RENAME, ".mrmr/parity", 0, true, comes_and_takes);
    }
    rig_ok(pool_scan(rig->pool, &job, false, &report));
    pool_protect(rig->pool, &job, NULL, &report);
    assert_true(mount->started);
    assert_int_equal(rig_pool_drive(rig, 3)->presence, POOL_DIVERGED);
    struct meta_totals totals;
    rig_ok(meta_totals(rig->pool->meta, rig_pool_drive(rig, 3)->meta.id, &totals));
    assert_int_equal(totals.extents + totals.row_bytes, 0); /* no stripe counts on it */
}

int main(void)
{
#define mount_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        mount_test(test_a_repaired_file_is_placed_while_writers_stand_still),
        mount_test(test_who_saves_before_a_repair_keeps_the_place),
        mount_test(test_a_restored_file_is_placed_while_writers_stand_still),
        mount_test(test_who_saves_a_restored_file_is_seen),
        mount_test(test_a_writer_hangs_when_a_stripe_is_committed),
        mount_test(test_a_writer_hangs_when_a_stripe_is_filled),
        mount_test(test_a_writer_hangs_when_stripes_are_mended),
        mount_test(test_a_writer_hangs_when_a_file_is_repaired),
        mount_test(test_a_writer_hangs_when_a_file_is_restored),
        mount_test(test_a_drive_hangs_when_a_stripe_is_committed),
        mount_test(test_a_drive_that_hung_and_answers_is_told_of),
        mount_test(test_two_drives_hang_one_after_the_other),
        mount_test(test_a_drive_hangs_when_a_scan_begins),
        mount_test(test_a_pool_is_opened_while_a_drive_hangs),
        mount_test(test_a_drive_that_hangs_for_good_is_rebuilt_onto_another),
        mount_test(test_a_drive_that_hangs_for_good_is_rebuilt_elsewhere),
        mount_test(test_a_drive_hangs_when_files_are_repaired),
        mount_test(test_a_drive_is_taken_while_a_commit_waits),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_engine_writers", tests, NULL, NULL);
}
