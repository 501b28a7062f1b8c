/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A file of which only a part was protected when its drive was given up: that part comes back, as NAME.incomplete, and nothing of it
 * is left to do; unless it is not time for that yet.
 */
#include "tests/support/rig.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOST = 0, OTHERS = 4, FRESH = 5 };
static const uint64_t size_of_it = 6 * RIG_MIB + 1000;

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

/* What was just edited stays exposed, as of a file that never rests. */
static void sync_but_new(struct rig *rig)
{
    const struct pool_sync_options options = {.settle = 1000000};
    struct pool_sync_report report;
    rig_ok(pool_sync(rig->pool, NULL, &options, &report));
}

/* `path` on the first drive, of which [from, to) is exposed. */
static struct rig *begin_with(enum rig_kind kind, const char *path, uint64_t from, uint64_t to)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = kind, .seed = 77, .redundancy = 1});
    rig_put(rig, LOST, path, size_of_it);
    rig_one_each(rig, 1 + OTHERS, 7 * RIG_MIB); /* f0 … */
    rig_protect_all(rig);
    rig_edit(rig, path, from, to - from);
    sync_but_new(rig);
    return rig;
}

static struct rig *begin(enum rig_kind kind)
{
    return begin_with(kind, "dir/it", RIG_MIB, 3 * RIG_MIB);
}

static void goes(struct rig *rig, unsigned drive)
{
    rig_take_away(rig, drive);
    rig_reopen(rig);
}

static mrmr_err try_rebuild(struct rig *rig, const char *drive, const char *onto, const char *path,
    bool accept_losses, struct pool_rebuild_report *ret_report)
{
    const struct pool_rebuild_options options = {
        .drive = drive, .onto = onto, .path = path, .accept_losses = accept_losses};
    struct pool_rebuild_report report = {0};
    mrmr_err err = pool_rebuild(rig->pool, NULL, &options, &report);
    *ret_report = report;
    return err;
}

static struct pool_rebuild_report rebuild(struct rig *rig, const char *onto)
{
    struct pool_rebuild_report report;
    rig_ok(try_rebuild(rig, "d0", onto, NULL, false, &report));
    return report;
}

static unsigned holders(struct rig *rig, const char *path, unsigned *ret_drive)
{
    unsigned n = 0;
    for (unsigned d = 1; d < rig->n; d++)
        if (rig_holds(rig, d, path)) {
            n++;
            *ret_drive = d;
        }
    return n;
}

/* It lies at `path` now, once, with a hole where it was exposed, and `was` nowhere: from here on that is the user's file. */
static struct rig_file *is_there(
    struct rig *rig, const char *was, const char *path, uint64_t from, uint64_t to)
{
    struct rig_file *file = rig_find(rig, was);
    unsigned drive = 0;
    assert_int_equal(holders(rig, was, &drive), 0);
    assert_int_equal(holders(rig, path, &drive), 1);
    strcpy(file->path, path);
    file->drive = drive;
    file->patches = 0;
    file->hole_begin = from;
    file->hole_end = to;
    assert_true(rig_original_is_right(rig, drive, file));
    return file;
}

static void others_are_on(struct rig *rig, unsigned lost)
{
    unsigned drive = 0;
    char path[16];
    snprintf(path, sizeof path, "f%u", lost);
    assert_true(
        holders(rig, path, &drive) > 0); /* a scan may have met one before its rebuild went on */
    rig_find(rig, path)->drive = drive;
}

/* No run finds anything to do any more, and all that there is is protected. */
static void all_is_well(struct rig *rig)
{
    struct pool_status status;
    rig_protect_all(rig);
    rig_check(rig);
    rig_verify(rig, true);
    rig_ok(pool_status(rig->pool, &status));
    assert_int_equal(status.lost_stripes + status.damaged_bytes + status.exposed_bytes, 0);
    assert_int_equal(status.margin[0], 0);
    const struct pool_scrub_report scrub = rig_scrub(rig, true);
    assert_int_equal(scrub.damaged + scrub.lost + scrub.edited + scrub.repaired, 0);
    rig_destroy(rig);
}

/* --- It comes back --- */

static void test_onto(void **state)
{
    struct rig *rig = begin(RIG_MEM);
    (void)state;
    const int64_t mtime = rig_mtime(rig, "dir/it");
    goes(rig, LOST);
    rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.files, 1); /* f0 */
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.failed, 0);
    assert_int_equal(report.missing_bytes, 2 * RIG_MIB);
    is_there(rig, "dir/it", "dir/it.incomplete", RIG_MIB, 3 * RIG_MIB);
    assert_true(rig_mtime(rig, "dir/it.incomplete") == mtime);
    assert_string_equal(rig_states(rig, "dir/it.incomplete"), "LLLLL");
    assert_int_equal(
        told(rig, "restored-incomplete",
            "'dir/it' was not wholly protected when its drive was given up: what was is on "
            "drive d5 as 'dir/it.incomplete', with zeros for the bytes 1048576-3145727"),
        1);
    others_are_on(rig, LOST);
    all_is_well(rig);
}

static void test_into_free_space(void **state)
{
    struct rig *rig = begin(RIG_MEM);
    (void)state;
    goes(rig, LOST);
    const struct pool_rebuild_report report = rebuild(rig, NULL);
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.failed, 0);
    is_there(rig, "dir/it", "dir/it.incomplete", RIG_MIB, 3 * RIG_MIB);
    others_are_on(rig, LOST);
    assert_int_equal(told(rig, "drive-removed", "d0"), 1); /* nothing refers to it any more */
    all_is_well(rig);
}

static void test_end_of_it(void **state)
{
    struct rig *rig = begin_with(RIG_MEM, "it", 5 * RIG_MIB + 1, size_of_it);
    (void)state;
    goes(rig, LOST);
    rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.missing_bytes, RIG_MIB + 1000);
    is_there(rig, "it", "it.incomplete", 5 * RIG_MIB, size_of_it);
    others_are_on(rig, LOST);
    all_is_well(rig);
}

/* Several names, and one comes back. */
static void test_links(void **state)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .seed = 78, .redundancy = 1});
    unsigned drive;
    (void)state;
    rig_put(rig, LOST, "it", size_of_it);
    rig_ok(drv_link(rig->drive[LOST].raw, "it", "other"));
    rig_one_each(rig, 1 + OTHERS, 7 * RIG_MIB);
    rig_protect_all(rig);
    rig_edit(rig, "it", RIG_MIB, 2 * RIG_MIB);
    sync_but_new(rig);
    goes(rig, LOST);
    rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.incomplete, 1);
    is_there(rig, "it", "it.incomplete", RIG_MIB, 3 * RIG_MIB);
    assert_int_equal(holders(rig, "other", &drive) + holders(rig, "other.incomplete", &drive), 0);
    others_are_on(rig, LOST);
    all_is_well(rig);
}

/* Another file has the name, on another drive, which is a user's; and the longest name that there is. */
static void test_names(void **state)
{
    char name[META_NAME_MAX + 1] = "", cut[META_NAME_MAX + 1];
    struct rig *rig = begin(RIG_MEM);
    struct meta_node node;
    struct drv_stat stat;
    (void)state;
    for (unsigned i = 0; i < 85; i++)
        strcat(name, "\xe2\x82\xac");
    rig_put(rig, 1, "dir/it.incomplete", size_of_it);
    rig_put(rig, LOST, "long", size_of_it);
    rig_protect_all(rig); /* takes in what was exposed */
    rig_ok(drv_rename(rig->drive[LOST].raw, "long", name, 0));
    rig_find(rig, "long")->there = false;
    rig_sync(rig);
    rig_edit(rig, "dir/it", RIG_MIB, 2 * RIG_MIB);
    struct drv_file *file;
    rig_ok(drv_file_open(rig->drive[LOST].raw, name, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, RIG_MIB, "edited", 6));
    drv_file_close(file);
    sync_but_new(rig);
    goes(rig, LOST);
    rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.incomplete, 2);
    assert_int_equal(report.conflicts, 0);
    is_there(rig, "dir/it", "dir/it.incomplete.2", RIG_MIB, 3 * RIG_MIB);
    rig_check_originals(rig);
    snprintf(cut, sizeof cut, "%.243s.incomplete", name);
    rig_ok(drv_stat(rig->drive[FRESH].raw, cut, &stat));
    assert_int_equal(stat.size, size_of_it);
    rig_ok(meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, FRESH)->meta.root, cut, &node));
    rig_destroy(rig);
}

/* A scan found it written to, and its drive went before what is there was compared with what was protected. */
static void not_compared(const char *onto, bool grows)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 77, .redundancy = 1});
    struct pool_sync_report scan;
    rig_put(rig, LOST, "dir/it", size_of_it);
    rig_one_each(rig, 1 + OTHERS, 7 * RIG_MIB);
    rig_protect_all(rig);
    if (grows)
        rig_append(rig, "dir/it", 5000);
    else
        rig_edit(rig, "dir/it", RIG_MIB, 2 * RIG_MIB);
    rig_ok(pool_scan(rig->pool, NULL, false, &scan));
    goes(rig, LOST);
    if (onto)
        rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, onto);
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.missing_bytes, 0);
    assert_int_equal(
        told(rig, "restored-incomplete", "', before it was last written to in the bytes 0-629"), 1);
    assert_int_equal(told(rig, "restored-incomplete", "zeros"), 0);
    is_there(
        rig, "dir/it", "dir/it.incomplete", grows ? size_of_it : 0, grows ? size_of_it + 5000 : 0);
    others_are_on(rig, LOST);
    all_is_well(rig);
}

static void test_not_compared(void **state)
{
    (void)state;
    not_compared("d5", false);
    not_compared("d5", true);
    not_compared(NULL, false);
    not_compared(NULL, true);
}

/* More ranges than an event names. */
static void test_many_ranges(void **state)
{
    struct rig *rig =
        rig_create(&(struct rig_spec){.seed = 79, .redundancy = 1, .size = 512 * RIG_MIB});
    (void)state;
    rig_put(rig, LOST, "it", 40 * RIG_MIB);
    rig_one_each(rig, 1 + OTHERS, RIG_MIB);
    rig_protect_all(rig);
    struct drv_file *file;
    rig_ok(drv_file_open(rig->drive[LOST].raw, "it", DRV_OPEN_WRITE, 0, &file));
    for (uint64_t leaf = 0; leaf < 40; leaf += 2)
        rig_ok(drv_file_write(file, leaf * RIG_MIB, "edited", 6));
    drv_file_close(file);
    sync_but_new(rig);
    goes(rig, LOST);
    rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.missing_bytes, 20 * RIG_MIB);
    assert_int_equal(told(rig, "restored-incomplete", "bytes 0-1048575, 2097152-3145727, "), 1);
    assert_int_equal(told(rig, "restored-incomplete", " and 4 more"), 1);
    rig_destroy(rig);
}

/* --- It does not --- */

static void test_nothing_of_it(void **state)
{
    struct rig *rig = begin_with(RIG_MEM, "it", 0, size_of_it);
    unsigned drive;
    (void)state;
    goes(rig, LOST);
    rig_add_drive(rig);
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.incomplete, 0);
    assert_int_equal(report.failed, 1);
    assert_int_equal(holders(rig, "it", &drive) + holders(rig, "it.incomplete", &drive), 0);
    assert_int_equal(told(rig, "restore-failed", "nothing of it was protected"), 1);
    rig_destroy(rig);
}

/* What had come back and was removed there is edited, also while something else is still to do. */
static void test_removed_while_something_is_to_do(void **state)
{
    struct rig *rig = begin_with(RIG_MEM, "it", 0, size_of_it); /* of which nothing comes back */
    (void)state;
    goes(rig, LOST);
    rig_add_drive(rig);
    assert_int_equal(rebuild(rig, "d5").failed, 1);
    assert_int_equal(rig_pool_drive(rig, FRESH)->meta.state, META_DRIVE_REBUILDING);
    others_are_on(rig, LOST);
    rig_unlink(rig, "f0");
    assert_int_equal(rig_scrub(rig, false).edited, 1);
    rig_destroy(rig);
}

/* The drive is only away: a part of its files is brought elsewhere, and this one stays where it is. */
static void test_not_given_up(void **state)
{
    struct rig *rig = begin(RIG_MEM);
    struct pool_rebuild_report report;
    unsigned drive;
    (void)state;
    goes(rig, LOST);
    rig_ok(try_rebuild(rig, "d0", NULL, "dir", false, &report));
    assert_int_equal(report.incomplete, 0);
    assert_int_equal(report.failed, 1);
    assert_int_equal(told(rig, "restore-failed", "`mrmr rebuild d0` without --path"), 1);
    assert_int_equal(holders(rig, "dir/it.incomplete", &drive), 0);
    rig_bring_back(rig, LOST);
    rig_reopen(rig);
    rig_check_originals(rig);
    assert_string_equal(rig_states(rig, "dir/it"), "LLLLL");
    all_is_well(rig);
}

/* All of it is protected, and a row of it cannot be read at one place for `times` reads. */
static struct rig *begin_unread(uint64_t times, unsigned *ret_row_drive)
{
    struct rig *rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 77, .redundancy = 1});
    char row[POOL_ROW_PATH];
    rig_put(rig, LOST, "dir/it", size_of_it);
    rig_one_each(rig, 1 + OTHERS, 7 * RIG_MIB);
    rig_protect_all(rig);
    struct meta_stripe image = rig_stripe_of(rig, "dir/it", 2);
    *ret_row_drive = rig_row_drive(&image, 0);
    pool_row_path(&image.uuid, image.generation, 0, row);
    meta_stripe_free(&image);
    goes(rig, LOST);
    rig_add_drive(rig);
    rig_ok(drv_fault_add(rig->drive[*ret_row_drive].fault,
        &(struct drv_fault_rule){
            .ops = DRV_FAULT_FILE_READ, .prefix = row, .after = 1, .times = times, .err = MRMR_IO},
        NULL));
    const struct pool_rebuild_report report = rebuild(rig, "d5");
    assert_int_equal(report.incomplete, 0);
    assert_int_equal(report.failed, 1);
    assert_int_equal(told(rig, "restore-failed", "though enough of its stripes is there"), 1);
    return rig;
}

/* What could not be read this time is not given up: another time it can, and the file is whole. */
static void test_read_another_time(void **state)
{
    unsigned row_drive;
    struct rig *rig = begin_unread(2, &row_drive);
    struct pool_rebuild_report report;
    (void)state;
    rig_ok(try_rebuild(rig, "d5", NULL, NULL, true, &report));
    assert_int_equal(report.files, 1);
    assert_int_equal(report.incomplete + report.failed, 0);
    rig_find(rig, "dir/it")->drive = FRESH;
    others_are_on(rig, LOST);
    rig_check_originals(rig);
    all_is_well(rig);
}

/* Unless it stays so, and a scrub has seen that. */
static void test_never_read(void **state)
{
    unsigned row_drive;
    struct rig *rig = begin_unread(0, &row_drive);
    struct pool_rebuild_report report;
    (void)state;
    rig_scrub(rig, true);
    rig_ok(try_rebuild(rig, "d5", NULL, NULL, false, &report));
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.failed, 0);
    assert_true(report.missing_bytes > 0 && report.missing_bytes < size_of_it);
    rig_clear_faults(rig);
    rig_destroy(rig);
}

/* With another drive away not all of it can be read. Losses are accepted, which does not say that this one never comes back. */
static struct rig *begin_beside_another(unsigned *ret_other)
{
    struct rig *rig = begin(RIG_MEM);
    struct pool_rebuild_report report;
    struct meta_stripe image = rig_stripe_of(rig, "dir/it", 0);
    unsigned drive;
    *ret_other = rig_row_drive(&image, 0);
    meta_stripe_free(&image);
    rig_take_away(rig, *ret_other);
    goes(rig, LOST);
    rig_add_drive(rig);
    assert_int_equal(try_rebuild(rig, "d0", "d5", NULL, false, &report), MRMR_OFFLINE);
    rig_ok(try_rebuild(rig, "d0", "d5", NULL, true, &report));
    assert_true(report.failed > 0);
    assert_int_equal(report.incomplete, 0);
    assert_int_equal(holders(rig, "dir/it.incomplete", &drive), 0);
    assert_true(told(rig, "restore-failed", "not all of it can be read while drive") > 0);
    const struct pool_scrub_report scrub = rig_scrub(rig, true);
    assert_int_equal(scrub.edited, 0);
    assert_true(scrub.unreadable > 0);
    return rig;
}

static void test_another_comes_back(void **state)
{
    unsigned other;
    struct rig *rig = begin_beside_another(&other);
    struct pool_rebuild_report report;
    (void)state;
    rig_bring_back(rig, other);
    rig_reopen(rig);
    rig_ok(try_rebuild(rig, "d5", NULL, NULL, false, &report));
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.missing_bytes, 2 * RIG_MIB);
    is_there(rig, "dir/it", "dir/it.incomplete", RIG_MIB, 3 * RIG_MIB);
    others_are_on(rig, LOST);
    all_is_well(rig);
}

static void test_another_never_comes_back(void **state)
{
    unsigned other, drive;
    struct rig *rig = begin_beside_another(&other);
    struct pool_rebuild_report report;
    (void)state;
    rig_ok(try_rebuild(rig, rig->drive[other].name, NULL, NULL, true, &report));
    assert_int_equal(holders(rig, "dir/it.incomplete", &drive), 0);
    rig_ok(try_rebuild(rig, "d5", NULL, NULL, true, &report));
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(report.failed, 1); /* f0, of which there is nothing, is not taken for done */
    assert_true(told(rig, "restore-failed", "'f0': nothing of it was protected") > 0);
    assert_int_equal(holders(rig, "dir/it.incomplete", &drive), 1);
    rig_sync(rig);
    rig_check(rig);
    rig_find(rig, "dir/it")->drive = drive;
    strcpy(rig_find(rig, "dir/it")->path, "dir/it.incomplete");
    const char *states = rig_states(rig, "dir/it.incomplete");
    assert_true(strspn(states, "LTG") == strlen(states) && strchr(states, 'L'));
    rig_ok(try_rebuild(rig, "d5", NULL, NULL, false, &report));
    assert_int_equal(report.incomplete, 0);
    assert_int_equal(told(rig, "restored-incomplete", "'dir/it'"), 1);
    rig_destroy(rig);
}

/* The other is given up, too, and has a fresh one in its place: what is left to do on the first stays its own, and left to do. */
static void test_two_fresh(void **state)
{
    unsigned other, drive = 0;
    struct rig *rig = begin_beside_another(&other);
    struct pool_rebuild_report report;
    struct meta_node node;
    bool left = false;
    (void)state;
    assert_int_equal(rig_add_drive(rig), FRESH + 1);
    rig_ok(try_rebuild(rig, rig->drive[other].name, "d6", NULL, true, &report));
    rig_check(rig);
    assert_int_equal(holders(rig, "dir/it.incomplete", &drive), 0);
    rig_ok(
        meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, FRESH)->meta.root, "dir/it", &node));
    rig_ok(meta_todo_has(rig->pool->meta, POOL_REBUILD_JOB, node.id, &left));
    assert_true(left);
    rig_ok(try_rebuild(rig, "d5", NULL, NULL, true, &report));
    assert_int_equal(report.incomplete, 1);
    assert_int_equal(holders(rig, "dir/it.incomplete", &drive), 1);
    assert_int_equal(drive, FRESH);
    rig_check(rig);
    rig_destroy(rig);
}

/* --- It is cut short --- */

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

/* The call came, and is one of the few after which the rig cannot step in. */
enum { LIVED_ON = 4 };

/* The pool is closed. False: there was no such call. */
static bool dies(struct rig *rig, const char *onto, uint32_t ops, uint64_t n, bool late)
{
    int status;
    rig_tap(rig, ops, n, late, tap_die);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct pool_rebuild_report report;
        rig_open(rig);
        if (try_rebuild(rig, "d0", onto, NULL, false, &report))
            _exit(1);
        _exit(rig->tap_left > n ? LIVED_ON : 0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_untap(rig);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == LIVED_ON);
    return WIFSIGNALED(status) || WEXITSTATUS(status) == LIVED_ON;
}

static struct rig *begin_lost(const char *onto)
{
    struct rig *rig = begin(RIG_LOCAL);
    rig_take_away(rig, LOST);
    if (onto)
        rig_add_drive(rig);
    rig_close(rig);
    return rig;
}

/* scans: what was put there is met by a scan before the rebuild goes on. */
static void goes_on(struct rig *rig, const char *onto, bool scans)
{
    struct pool_rebuild_report report;
    struct pool_sync_report scan;
    rig_open(rig);
    if (scans)
        rig_ok(pool_scan(rig->pool, NULL, false, &scan));
    mrmr_err err = try_rebuild(rig, "d0", onto, NULL, false, &report);
    if (err != MRMR_NO_DRIVE) /* else all had been done */
        rig_ok(err);
    assert_int_equal(report.failed, 0);
    assert_int_equal(told(rig, "restored-incomplete", "'dir/it.incomplete'"), 1);
    is_there(rig, "dir/it", "dir/it.incomplete", RIG_MIB, 3 * RIG_MIB);
    others_are_on(rig, LOST);
    all_is_well(rig);
}

static bool killed_at(const char *onto, uint64_t n, bool scans)
{
    struct rig *rig = begin_lost(onto);
    const bool died = dies(rig, onto, RIG_CUTS, n, n % 2);
    goes_on(rig, onto, scans);
    return died;
}

static void killed(const char *onto)
{
    const uint64_t seed = rig_seed("incomplete_killed"), step = rig_all() ? 1 : 47;
    uint64_t n = rig_hash(seed) % step;
    while (killed_at(onto, n, rig_hash(seed + n) % 2))
        n += step;
    print_message("up to call %llu\n", (unsigned long long)n);
    assert_true(n > 40);
}

/* It has its name, and the catalog does not know. */
static void killed_between(const char *onto, bool scans)
{
    unsigned drive;
    for (uint64_t n = 0; n < 8; n++) {
        struct rig *rig = begin_lost(onto);
        assert_true(dies(rig, onto, DRV_FAULT_SYNC_ALL, n, false));
        if (holders(rig, "dir/it.incomplete", &drive)) {
            goes_on(rig, onto, scans);
            return;
        }
        rig_open(rig);
        rig_destroy(rig);
    }
    fail();
}

static void test_killed_between(void **state)
{
    (void)state;
    killed_between("d5", false);
    killed_between("d5", true);
    killed_between(NULL, false);
    killed_between(NULL, true);
}

/* It was put on another drive before; now a fresh one takes the place, and the node goes there and nowhere else. */
static void test_killed_then_onto(void **state)
{
    unsigned drive = 0;
    struct pool_rebuild_report report;
    (void)state;
    for (uint64_t n = 0; n < 8; n++) {
        struct rig *rig = begin_lost(NULL);
        assert_true(dies(rig, NULL, DRV_FAULT_SYNC_ALL, n, false));
        const bool between = holders(rig, "dir/it.incomplete", &drive) == 1;
        rig_open(rig);
        if (between) {
            rig_add_drive(rig);
            rig_ok(try_rebuild(rig, "d0", "d5", NULL, false, &report));
            assert_int_equal(report.incomplete, 1);
            rig_check(rig);
            is_there(rig, "dir/it", "dir/it.incomplete.2", RIG_MIB, 3 * RIG_MIB);
            assert_int_equal(rig_find(rig, "dir/it.incomplete.2")->drive, FRESH);
            rig_protect_all(rig);
            rig_check(rig);
            rig_destroy(rig);
            return;
        }
        rig_destroy(rig);
    }
    fail();
}

static void test_killed_onto(void **state)
{
    (void)state;
    killed("d5");
}

static void test_killed_into_free_space(void **state)
{
    (void)state;
    killed(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_onto),
        cmocka_unit_test(test_into_free_space),
        cmocka_unit_test(test_end_of_it),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_not_compared),
        cmocka_unit_test(test_many_ranges),
        cmocka_unit_test(test_nothing_of_it),
        cmocka_unit_test(test_removed_while_something_is_to_do),
        cmocka_unit_test(test_not_given_up),
        cmocka_unit_test(test_read_another_time),
        cmocka_unit_test(test_never_read),
        cmocka_unit_test(test_another_comes_back),
        cmocka_unit_test(test_another_never_comes_back),
        cmocka_unit_test(test_two_fresh),
        cmocka_unit_test(test_killed_between),
        cmocka_unit_test(test_killed_then_onto),
        cmocka_unit_test(test_killed_onto),
        cmocka_unit_test(test_killed_into_free_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
