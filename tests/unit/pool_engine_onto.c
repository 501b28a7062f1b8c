/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A fresh drive takes the place of a lost one, and has rows already that would meet something of it there: what happens
 * until they have gone elsewhere, and to what is left of them.
 */
#include "pool/margin.h"
#include "pool/retained/retained.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>

enum { LOST = 0, FRESH = 5, FILES = 3 };

struct meeting {
    struct rig *rig;
    unsigned stripes; /* with something on the lost one, and a row on the fresh one */
    unsigned index;   /* the highest of those rows */
    unsigned rows;    /* on the lost one */
    int64_t last;     /* of those stripes */
};

static mrmr_err meeting_in(const struct meta_stripe_brief *brief, void *arg)
{
    struct meeting *m = arg;
    const struct pool_drive *lost = rig_pool_drive(m->rig, LOST),
                            *fresh = rig_pool_drive(m->rig, FRESH);
    bool on_lost = false, on_fresh = false;
    unsigned index = 0;
    for (uint32_t i = 0; i < brief->blocks; i++)
        on_lost = on_lost || brief->block[i].drive == lost->meta.id;
    for (uint32_t i = 0; i < brief->rows; i++) {
        on_lost = on_lost || brief->row[i].drive == lost->meta.id;
        m->rows += brief->row[i].drive == lost->meta.id;
        if (brief->row[i].drive != fresh->meta.id)
            continue;
        on_fresh = true;
        index = brief->row[i].index;
    }
    m->stripes += on_lost && on_fresh;
    m->last = on_lost && on_fresh ? brief->id : m->last;
    if (on_lost && on_fresh && index > m->index)
        m->index = index;
    return MRMR_OK;
}

static struct meeting meeting(struct rig *rig)
{
    struct meeting m = {.rig = rig};
    rig_ok(meta_stripes(rig->pool->meta, meeting_in, &m));
    return m;
}

static unsigned meetings(struct rig *rig)
{
    return meeting(rig).stripes;
}

static uint64_t stripes_of_fresh(struct rig *rig)
{
    int64_t ids[256];
    size_t n = 0;
    rig_ok(meta_stripes_of_drive(
        rig->pool->meta, rig_pool_drive(rig, FRESH)->meta.id, 0, ids, 256, &n));
    assert_true(n > 0 && n < 256);
    return n;
}

static void away_or_back(struct rig *rig, unsigned drive, bool away)
{
    rig_close(rig);
    if (away)
        rig_take_away(rig, drive);
    else
        rig_bring_back(rig, drive);
    rig_open(rig);
}

/* d0 is lost, d5 was added, and while another one was away, too, bytes vanished on the others, as many as may: new rows went to d5, the
 * only drive that was left for them. */
static struct rig *begin_beside(uint64_t seed, unsigned beside)
{
    struct rig *rig = rig_create(&(struct rig_spec){.redundancy = 3, .seed = seed});
    char path[16];
    for (unsigned d = 0; d < 5; d++)
        for (unsigned i = 0; i < FILES; i++) {
            snprintf(path, sizeof path, "f%u.%u", d, i);
            rig_put(rig, d, path, 100000 + 10 * d + i);
        }
    rig_protect_all(rig);
    away_or_back(rig, LOST, true);
    rig_add_drive(rig);
    away_or_back(rig, beside, true);
    for (unsigned d = 1; d < 5; d++) {
        snprintf(path, sizeof path, "f%u.0", d);
        if (d == beside)
            continue;
        rig_unlink(rig, path);
        rig_sync(rig);
    }
    away_or_back(rig, beside, false);
    return rig;
}

static struct rig *begin(uint64_t seed)
{
    struct rig *rig = begin_beside(seed, 2);
    assert_true(meetings(rig) > 0);
    return rig;
}

/* --- In the time that the rows take --- */

struct moment {
    struct rig *rig;
    uint64_t at; /* stripes that were looked at */
    void (*then)(struct rig *rig);
    unsigned times;
};

static void moment_comes(const struct pool_progress *progress, void *arg)
{
    struct moment *m = arg;
    if (strcmp(progress->phase, "mend") != 0 || progress->items != m->at || m->times++)
        return;
    assert_int_equal(meetings(m->rig), 0); /* and the takeover comes next */
    m->then(m->rig);
}

static mrmr_err rebuild_and_then(
    struct rig *rig, const struct pool_rebuild_options *options, void (*then)(struct rig *rig))
{
    struct moment moment = {.rig = rig, .at = stripes_of_fresh(rig), .then = then};
    const struct pool_job job = {.progress = moment_comes, .arg = &moment};
    struct pool_rebuild_report report;
    mrmr_err err = pool_rebuild(rig->pool, &job, options, &report);
    assert_int_equal(moment.times, 1);
    return err;
}

/* It is what it was, and the fresh one is a drive of its own. */
static void is_not_given_up(struct rig *rig)
{
    rig_reopen(rig);
    assert_int_equal(rig_pool_drive(rig, LOST)->presence, POOL_PRESENT);
    assert_int_equal(rig_pool_drive(rig, LOST)->meta.state, META_DRIVE_ACTIVE);
    assert_int_equal(rig_pool_drive(rig, FRESH)->meta.state, META_DRIVE_ACTIVE);
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    assert_true(rig_verify(rig, true) > 0);
}

static void others_go(struct rig *rig)
{
    for (unsigned d = 1; d < 5; d++)
        rig_take_away(rig, d);
}

static void test_others_go_while_rows_move(void **state)
{
    (void)state;
    struct rig *rig = begin(301);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    assert_int_equal(rebuild_and_then(rig, &options, others_go), MRMR_OFFLINE);
    assert_non_null(strstr(mrmr_story_get()->hint, "--accept-losses"));
    for (unsigned d = 0; d < 5; d++)
        rig_bring_back(rig, d);
    is_not_given_up(rig);
    rig_destroy(rig);
}

/* What is open on them goes on answering. */
static void others_are_unmounted_lazily(struct rig *rig)
{
    const struct drv_fault_rule rule = {.ops = DRV_FAULT_OPEN, .err = MRMR_OFFLINE};
    for (unsigned d = 1; d < 5; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &rule, NULL));
}

static void test_others_are_unmounted_while_rows_move(void **state)
{
    (void)state;
    struct rig *rig = begin(330);
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    assert_int_equal(rebuild_and_then(rig, &options, others_are_unmounted_lazily), MRMR_OFFLINE);
    rig_clear_faults(rig);
    rig_bring_back(rig, LOST);
    is_not_given_up(rig);
    rig_destroy(rig);
}

static void it_comes_back(struct rig *rig)
{
    rig_bring_back(rig, LOST);
}

static void test_it_comes_back_while_rows_move(void **state)
{
    (void)state;
    for (unsigned accept = 0; accept < 2; accept++) {
        struct rig *rig = begin(302 + accept);
        const struct pool_rebuild_options options = {
            .drive = "d0", .onto = "d5", .accept_losses = accept};
        assert_int_equal(rebuild_and_then(rig, &options, it_comes_back), MRMR_CONFLICT);
        assert_non_null(strstr(mrmr_story_get()->hint, "mrmr rebuild d0"));
        is_not_given_up(rig);
        rig_destroy(rig);
    }
}

/* Its identity cannot be read: it is there. */
static void it_answers(struct rig *rig)
{
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_OPEN, .prefix = ".mrmr/drive", .err = MRMR_IO};
    rig_bring_back(rig, LOST);
    rig_ok(drv_fault_add(rig->drive[LOST].fault, &rule, NULL));
}

static void test_it_answers_while_rows_move(void **state)
{
    (void)state;
    struct rig *rig = begin(304);
    struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    assert_int_equal(rebuild_and_then(rig, &options, it_answers), MRMR_CONFLICT);
    assert_non_null(strstr(mrmr_story_get()->hint, "mrmr drives"));
    rig_clear_faults(rig);
    is_not_given_up(rig);
    rig_destroy(rig);
    rig = begin(305);
    options.accept_losses = true;
    rig_ok(rebuild_and_then(rig, &options, it_answers));
    assert_null(rig_pool_drive(rig, LOST));
    rig_destroy(rig);
}

/* --- What is left of them --- */

static struct pool_rebuild_report rebuilt(struct rig *rig)
{
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    struct pool_rebuild_report report;
    struct pool_job job = rig_job(rig);
    rig_ok(pool_rebuild(rig->pool, &job, &options, &report));
    assert_null(rig_pool_drive(rig, LOST));
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].drive == LOST)
            rig->file[i].drive = FRESH;
    return report;
}

/* Every row that lies on the fresh drive is one that the catalog knows. */
static void is_well(struct rig *rig)
{
    rig_clear_faults(rig);
    rig_protect_all(rig);
    rig_check(rig);
    rig_check_originals(rig);
    assert_true(rig_verify(rig, true) > 0);
}

/* They could not be removed when they had gone elsewhere. */
static void test_rows_that_stay_for_a_while(void **state)
{
    (void)state;
    struct rig *rig = begin(306);
    const struct drv_fault_rule rule = {
        .ops = DRV_FAULT_UNLINK, .prefix = ".mrmr/parity", .err = MRMR_DENIED};
    rig_ok(drv_fault_add(rig->drive[FRESH].fault, &rule, NULL));
    rebuilt(rig);
    is_well(rig);
    rig_destroy(rig);
}

/* The redundancy was lowered, and while the drive is away its blocks depend on rows beyond it: these go elsewhere, too. */
static void test_rows_beyond_the_redundancy(void **state)
{
    (void)state;
    unsigned met = 0;
    for (unsigned d = 1; d < 5; d++) {
        struct rig *rig = begin_beside(310 + d, d);
        const unsigned redundancy = meeting(rig).index;
        printf("beside %u: row %u\n", d, redundancy);
        if (redundancy) {
            rig_ok(pool_set_redundancy(rig->pool, redundancy)); /* one beyond it lies there */
            rebuilt(rig);
            is_well(rig);
            met++;
        }
        rig_destroy(rig);
    }
    assert_true(met > 0);
}

/* The file on that drive is removed through MRMR, and kept: nobody wants its bytes any more, and all can be read. */
static void remove_and_keep(struct rig *rig, struct rig_file *file)
{
    struct pool_drive *drive = rig_pool_drive(rig, file->drive);
    struct pool_retained_leaf *leaves;
    struct meta_node node = rig_node(rig, file->path);
    char kept[POOL_RETAINED_PATH];
    size_t n;
    bool known;
    rig_ok(pool_retained_counted(rig->pool, drive, file->path, node.ino, &leaves, &n, &known));
    rig_ok(pool_retained_point(drive->drv, leaves, n, kept));
    free(leaves);
    rig_ok(drv_rename(drive->drv, file->path, kept, DRV_RENAME_REPLACE));
    file->there = false;
}

/* Of a stripe of LOST's that has a row below `redundancy` on the fresh drive: the drive of the other such row, and a file beside; the third row
 * lies on a drive that is there. 0: there is none. */
static unsigned other_row(
    struct rig *rig, unsigned redundancy, int64_t *ret_stripe, struct rig_file **ret_file)
{
    for (size_t f = 0; f < rig->files; f++) {
        if (!rig->file[f].there || rig->file[f].drive == LOST)
            continue;
        struct meta_stripe image = rig_stripe_of(rig, rig->file[f].path, 0);
        unsigned other = 0, fresh = 0;
        for (size_t i = 0; i < image.rows; i++) {
            const unsigned drive = rig_row_drive(&image, image.row[i].index);
            fresh += drive == FRESH && image.row[i].index < redundancy;
            other = drive != FRESH && image.row[i].index < redundancy ? drive : other;
        }
        const bool is = image.rows == redundancy + 1 && fresh && other &&
                        pool_image_block(&image, rig_pool_drive(rig, LOST)->meta.id);
        *ret_stripe = image.id;
        *ret_file = &rig->file[f];
        meta_stripe_free(&image);
        if (is)
            return other;
    }
    return 0;
}

/* There is one drive for two rows: that on the fresh drive, and one that is away and counts again when it is back. A row beyond the redundancy stands in
 * for none of them: all stay where they are. */
static void test_a_row_that_is_away_counts_again(void **state)
{
    (void)state;
    enum { REDUNDANCY = 2 };
    struct rig *rig = begin(340);
    struct pool_job job = rig_job(rig);
    struct pool_sync_report scanned;
    struct pool_rebuild_report report;
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    struct rig_file *file = NULL;
    struct meta_stripe_brief brief;
    int64_t stripe = 0;
    const unsigned other = other_row(rig, REDUNDANCY, &stripe, &file);
    assert_true(other > 0);
    rig_ok(pool_set_redundancy(rig->pool, REDUNDANCY));
    remove_and_keep(rig, file);
    rig_ok(pool_scan(rig->pool, &job, false, &scanned));
    away_or_back(rig, other, true);
    assert_int_equal(pool_rebuild(rig->pool, &job, &options, &report), MRMR_CONFLICT);
    assert_non_null(strstr(mrmr_story_get()->text, "on a drive that is away"));
    away_or_back(rig, other, false);
    rig_ok(meta_stripe_brief_get(rig->pool->meta, stripe, &brief));
    assert_int_equal(pool_brief_margin(rig->pool, &brief), REDUNDANCY);
    rebuilt(rig);
    is_well(rig);
    rig_destroy(rig);
}

/* All drives but the lost one are there, and none has room for the row on the fresh one: no drive is said to be away that would have to come back. */
static void test_no_room_for_the_row(void **state)
{
    (void)state;
    struct rig *rig = begin(340);
    const struct drv_fault_rule no_room = {.ops = DRV_FAULT_SPACE, .err = MRMR_IO};
    struct pool_job job = rig_job(rig);
    struct pool_sync_report scanned;
    struct pool_rebuild_report report;
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    struct rig_file *file = NULL;
    int64_t stripe = 0;
    assert_true(other_row(rig, 2, &stripe, &file) > 0);
    remove_and_keep(rig, file);
    rig_ok(pool_scan(rig->pool, &job, false, &scanned));
    for (unsigned d = 1; d < 5; d++)
        rig_ok(drv_fault_add(rig->drive[d].fault, &no_room, NULL));
    assert_int_equal(pool_rebuild(rig->pool, &job, &options, &report), MRMR_CONFLICT);
    assert_non_null(strstr(mrmr_story_get()->text, "no other drive has room for a row of it"));
    assert_null(strstr(mrmr_story_get()->text, "is away"));
    rig_clear_faults(rig);
    rebuilt(rig);
    is_well(rig);
    rig_destroy(rig);
}

/* --- What waits, and what is told --- */

static mrmr_err find_event(const struct pool_event *event, void *arg)
{
    unsigned *told = arg;
    told[0] += strcmp(event->kind, "lost") == 0;
    told[1] += strcmp(event->kind, "stripe-waits") == 0;
    return MRMR_OK;
}

/* A file on another drive than these, the first of the stripe that has bytes there. */
static void edit_one_of(struct rig *rig, const struct meta_stripe *image)
{
    for (size_t i = 0; i < rig->files; i++) {
        const struct rig_file *file = &rig->file[i];
        if (!file->there || file->drive == LOST)
            continue;
        struct meta_stripe its = rig_stripe_of(rig, file->path, 0);
        const int64_t id = its.id;
        meta_stripe_free(&its);
        if (id != image->id)
            continue;
        rig_edit(rig, file->path, 5, 10);
        return;
    }
    fail();
}

/* It cannot be decoded as long as a file of it waits to be compared: that is not lost. */
static void test_rows_beside_a_changed_file(void **state)
{
    (void)state;
    struct rig *rig = begin(320);
    struct meta_stripe image;
    struct pool_job job = rig_job(rig);
    struct pool_sync_report scanned;
    struct pool_rebuild_report report;
    const struct pool_rebuild_options options = {.drive = "d0", .onto = "d5"};
    unsigned told[2] = {0};
    rig_ok(meta_stripe_load(rig->pool->meta, meeting(rig).last, &image));
    edit_one_of(rig, &image);
    rig_ok(pool_scan(rig->pool, &job, false, &scanned));
    for (size_t i = 0; i + 1 < image.rows; i++) {
        char path[POOL_ROW_PATH];
        pool_row_path(&image.uuid, image.generation, image.row[i].index, path);
        rig_rot(rig, rig_row_drive(&image, image.row[i].index), path, 7);
    }
    meta_stripe_free(&image);
    assert_int_equal(pool_rebuild(rig->pool, &job, &options, &report), MRMR_CONFLICT);
    assert_non_null(strstr(mrmr_story_get()->text, "waits to be compared: mrmr sync"));
    rig_ok(pool_events(rig->pool, 0, 0, find_event, told));
    assert_int_equal(told[0], 0);
    assert_int_equal(told[1], 1);
    rig_destroy(rig);
}

static void test_rows_that_went_elsewhere_are_counted(void **state)
{
    (void)state;
    struct rig *rig = begin(321);
    const struct meeting m = meeting(rig);
    assert_int_equal(rebuilt(rig).rows, m.stripes + m.rows);
    is_well(rig);
    rig_destroy(rig);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_others_go_while_rows_move),
        cmocka_unit_test(test_others_are_unmounted_while_rows_move),
        cmocka_unit_test(test_it_comes_back_while_rows_move),
        cmocka_unit_test(test_it_answers_while_rows_move),
        cmocka_unit_test(test_rows_that_stay_for_a_while),
        cmocka_unit_test(test_rows_beyond_the_redundancy),
        cmocka_unit_test(test_a_row_that_is_away_counts_again),
        cmocka_unit_test(test_no_room_for_the_row),
        cmocka_unit_test(test_rows_beside_a_changed_file),
        cmocka_unit_test(test_rows_that_went_elsewhere_are_counted),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_engine_onto", tests, NULL, NULL);
}
