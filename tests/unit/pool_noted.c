/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a mount and readers find wrong is told: noted by who does not own the pool, shown at once, taken into
 * the catalog by the next sync or scrub, and looked at first.
 */
#include "pool/events/noted.h"
#include "pool/events/noted_format.h"
#include "tests/unit/pool_gone_world.h"

#include "base/durable.h"
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct told {
    unsigned n, noted; /* noted: of these, by who does not own the pool */
    char drive[64], text[600];
};

static mrmr_err is_damage(const struct pool_event *event, void *arg)
{
    struct told *told = arg;
    if (strcmp(event->kind, "damage-found") != 0)
        return MRMR_OK;
    assert_true(event->warning);
    told->n++;
    told->noted += event->id == 0;
    snprintf(told->drive, sizeof told->drive, "%s", event->drive);
    snprintf(told->text, sizeof told->text, "%s", event->text);
    return MRMR_OK;
}

static struct told damage(struct pool *pool)
{
    struct told told = {0};
    rig_ok(pool_events(pool, 0, 0, is_damage, &told));
    return told;
}

static struct pool_status status_of(struct pool *pool)
{
    struct pool_status status;
    rig_ok(pool_status(pool, &status));
    return status;
}

/* All of it, from now on by reconstruction, with the bytes that the rig expects. */
static void is_made(struct world *w, const char *path)
{
    const struct rig_file *known = rig_find(w->rig, path);
    mrmr_autofree uint8_t *got = malloc(known->size), *wanted = malloc(known->size);
    struct pool_file *file;
    size_t n;
    rig_ok(pool_file_open(w->pool, path, POOL_READ_VERIFY, &file));
    rig_ok(pool_file_read(file, 0, got, known->size, &n));
    assert_int_equal(n, known->size);
    rig_expected(known, 0, wanted, known->size);
    assert_memory_equal(got, wanted, known->size);
    pool_file_close(file);
}

/* Without files, for what is about notes alone. */
static void begin_bare(struct world *w, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.drives = 2, .redundancy = 1, .seed = seed})};
    open_tree(w);
}

static void open_again(struct world *w)
{
    close_tree(w);
    open_tree(w);
}

/* The byte of the row below the first one of the file. */
static unsigned rot_row(struct world *w, const char *path)
{
    struct meta_stripe image = rig_stripe_of(w->rig, path, 0);
    mrmr_autofree struct meta_extent *extent = NULL;
    char row[POOL_ROW_PATH];
    const unsigned drive = rig_row_drive(&image, image.row[0].index);
    rig_ok(meta_extent_at(w->rig->pool->meta, rig_node(w->rig, path).id, 0, &extent));
    pool_row_path(&image.uuid, image.generation, image.row[0].index, row);
    rig_rot(w->rig, drive, row, extent->place + 10);
    meta_stripe_free(&image);
    return drive;
}

static bool is_in_the_folder(struct world *w, const char *name)
{
    struct stat st;
    return fstatat(w->rig->pool->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* A drive of the first stripe that has a block of it, and is not this one; the file on it is f<drive>. */
static unsigned survivor_of(struct world *w, const char *path, unsigned but)
{
    struct meta_stripe image = rig_stripe_of(w->rig, path, 0);
    unsigned found = DRIVES;
    for (size_t i = 0; i < image.blocks; i++)
        if (image.block[i].drive - 1 != but && image.block[i].length >= RIG_MIB)
            found = (unsigned)image.block[i].drive - 1;
    meta_stripe_free(&image);
    assert_true(found < DRIVES);
    return found;
}

/* --- what readers find --- */

/* Read again and again, by two processes: one event. The next sync has it in the catalog, the next scrub
 * looks at that stripe first. */
static void test_rotten_row(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 801);
    const unsigned bad = rot_row(&w, "f0");
    rig_take_away(w.rig, 0);
    open_again(&w);
    for (unsigned i = 0; i < 3; i++)
        is_made(&w, "f0");
    open_again(&w);
    is_made(&w, "f0");
    struct told told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_int_equal(told.noted, 1);
    assert_string_equal(told.drive, w.rig->drive[bad].name);
    assert_non_null(strstr(told.text, "parity row"));
    assert_int_equal(status_of(w.pool).noted, 1);
    rig_sync(w.rig);
    told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_int_equal(told.noted, 0);
    assert_int_equal(status_of(w.pool).noted, 0);
    assert_int_equal(status_of(w.pool).suspect_stripes, 1);
    assert_false(is_in_the_folder(&w, NOTED_NAME) || is_in_the_folder(&w, NOTED_CUT));
    open_again(&w); /* it is known now */
    is_made(&w, "f0");
    assert_int_equal(damage(w.pool).n, 1);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    struct pool_scrub_options one = {.percent = 1, .repair = true};
    struct pool_scrub_report report;
    const struct pool_job job = rig_job(w.rig);
    rig_ok(pool_scrub(w.rig->pool, &job, &one, &report));
    assert_int_equal(report.stripes, 1);
    assert_int_equal(report.rows_damaged, 1);
    assert_int_equal(report.rows_repaired, 1);
    assert_int_equal(status_of(w.rig->pool).suspect_stripes, 0);
    rig_sync(w.rig);
    rig_check(w.rig);
    rig_destroy(w.rig);
}

/* A row of other bytes, with the right digests of these. */
static unsigned make_row_lie(struct world *w, const char *path)
{
    struct meta_stripe image = rig_stripe_of(w->rig, path, 0);
    mrmr_autobytes struct mrmr_bytes body = MRMR_BYTES_INIT;
    const unsigned drive = rig_row_drive(&image, image.row[0].index);
    mrmr_autofree char *lies = calloc(1, image.length);
    struct pool_row_writer *writer;
    uint64_t size;
    rig_ok(pool_manifest_build(w->rig->pool, &image, NULL, 0, &body));
    rig_ok(pool_row_create(
        w->rig->drive[drive].raw, &image.uuid, image.generation, image.row[0].index, &writer));
    rig_ok(pool_row_append(writer, lies, image.length));
    rig_ok(pool_row_finish(writer, (unsigned)image.rows, &body, &size));
    pool_row_discard(writer);
    meta_stripe_free(&image);
    return drive;
}

/* A row agrees with itself, and not with its blocks: what is read without it is right. */
static void test_row_that_lies(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 812);
    const unsigned bad = make_row_lie(&w, "f0");
    rig_take_away(w.rig, 0);
    open_again(&w);
    is_made(&w, "f0");
    const struct told told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_string_equal(told.drive, w.rig->drive[bad].name);
    assert_non_null(strstr(told.text, "does not match"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* Its file is gone, and the drive is there. */
static void test_row_that_is_gone(void **state)
{
    struct world w;
    char row[POOL_ROW_PATH];
    (void)state;
    begin(&w, RIG_MEM, 813);
    struct meta_stripe image = rig_stripe_of(w.rig, "f0", 0);
    pool_row_path(&image.uuid, image.generation, image.row[0].index, row);
    rig_ok(drv_unlink(w.rig->drive[rig_row_drive(&image, image.row[0].index)].raw, row));
    meta_stripe_free(&image);
    rig_take_away(w.rig, 0);
    open_again(&w);
    is_made(&w, "f0");
    const struct told told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_non_null(strstr(told.text, "is gone"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* A block that is needed has rotted: its file is named. What was edited is none of that. */
static void test_rotten_survivor(void **state)
{
    struct world w;
    char path[16];
    (void)state;
    begin(&w, RIG_MEM, 802);
    const unsigned bad = survivor_of(&w, "f0", 0);
    snprintf(path, sizeof path, "f%u", bad);
    rig_edit(w.rig, path, 10, 1);
    rig_take_away(w.rig, 0);
    open_again(&w);
    is_made(&w, "f0");
    assert_int_equal(damage(w.pool).n, 0);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_protect_all(w.rig);
    rig_rot(w.rig, bad, path, 10);
    rig_take_away(w.rig, 0);
    open_again(&w);
    is_made(&w, "f0");
    const struct told told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_string_equal(told.drive, w.rig->drive[bad].name);
    assert_non_null(strstr(told.text, path));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The medium has a bad spot; a drive that is away is no news, nor is one that reads nothing at all any more. */
static void test_unreadable_survivor(void **state)
{
    struct world w;
    char path[16];
    (void)state;
    begin(&w, RIG_MEM, 803);
    const unsigned bad = survivor_of(&w, "f0", 0);
    snprintf(path, sizeof path, "f%u", bad);
    rig_take_away(w.rig, 0);
    rig_take_away(w.rig, bad);
    open_again(&w);
    is_made(&w, "f0");
    assert_int_equal(damage(w.pool).n, 0);
    rig_bring_back(w.rig, bad);
    open_again(&w);
    const struct drv_fault_rule dying = {.ops = DRV_FAULT_FILE_READ, .prefix = "", .err = MRMR_IO};
    rig_ok(drv_fault_add(w.rig->drive[bad].fault, &dying, NULL));
    is_made(&w, "f0");
    assert_int_equal(damage(w.pool).n, 0);
    rig_clear_faults(w.rig);
    const struct drv_fault_rule spot = {.ops = DRV_FAULT_FILE_READ, .prefix = path, .err = MRMR_IO};
    rig_ok(drv_fault_add(w.rig->drive[bad].fault, &spot, NULL));
    open_again(&w);
    is_made(&w, "f0");
    const struct told told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_non_null(strstr(told.text, "cannot be read"));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* What is read itself has rotted, its drive is there, and who owns the pool reads it: the event is in the catalog
 * at once, and once. */
static void test_owner_reads(void **state)
{
    struct world w;
    (void)state;
    begin(&w, RIG_MEM, 804);
    close_tree(&w);
    rig_rot(w.rig, 0, "f0", 10);
    w.pool = w.rig->pool;
    for (unsigned i = 0; i < 2; i++) {
        is_made(&w, "f0");
        assert_int_equal(damage(w.pool).n, 1);
        assert_int_equal(damage(w.pool).noted, 0);
        assert_int_equal(status_of(w.pool).suspect_stripes, 1);
    }
    rig_destroy(w.rig);
}

/* --- the file --- */

static void tell(struct pool *pool, const char *text)
{
    pool_tell(pool, NULL, true, "damage-found", NULL, "%s", text);
}

static void file_is(struct world *w, const char *name, const char *bytes, size_t size)
{
    rig_ok(mrmr_durable_replace(w->rig->pool->dirfd, name, bytes, size, 0600));
}

/* Torn, false, empty and foreign lines cost themselves alone. */
static void test_lines_that_are_not_right(void **state)
{
    struct world w;
    mrmr_autobytes struct mrmr_bytes file = MRMR_BYTES_INIT;
    (void)state;
    begin_bare(&w, 805);
    tell(w.pool, "the first, with spaces, %25 and\nline ends");
    rig_ok(mrmr_durable_read(w.rig->pool->dirfd, NOTED_NAME, NOTED_MOST, &file));
    const size_t whole = file.size;
    rig_ok(mrmr_bytes_add(&file, file.data, whole / 2)); /* torn */
    file_is(&w, NOTED_NAME, file.data, file.size);
    open_again(&w);
    tell(w.pool, "the second");
    struct told told = damage(w.pool);
    assert_int_equal(told.n, 2);
    assert_string_equal(told.text, "the second");
    mrmr_bytes_clear(&file);
    rig_ok(mrmr_durable_read(w.rig->pool->dirfd, NOTED_NAME, NOTED_MOST, &file));
    file.data[whole / 2] ^= 1;
    rig_ok(mrmr_bytes_str(&file, "\n0011223344556677 1 ! a % % %\nno line\n% % % % % % %"));
    file_is(&w, NOTED_NAME, file.data, file.size);
    told = damage(w.pool);
    assert_int_equal(told.n, 1);
    assert_string_equal(told.text, "the second");
    close_tree(&w);
    rig_destroy(w.rig);
}

/* It is full, or cannot be written: what is told is lost, and nobody fails. What is there is shown. */
static void test_no_room(void **state)
{
    struct world w;
    mrmr_autobytes struct mrmr_bytes file = MRMR_BYTES_INIT;
    (void)state;
    begin(&w, RIG_MEM, 806);
    tell(w.pool, "the first");
    rig_ok(mrmr_durable_read(w.rig->pool->dirfd, NOTED_NAME, NOTED_MOST, &file));
    rig_ok(mrmr_bytes_reserve(&file, NOTED_MOST));
    memset(file.data + file.size, '\n', NOTED_MOST - file.size);
    file_is(&w, NOTED_NAME, file.data, NOTED_MOST);
    rot_row(&w, "f0");
    rig_take_away(w.rig, 0);
    open_again(&w);
    mrmr_fail(MRMR_LOST, "a story");
    tell(w.pool, "the second");
    assert_int_equal(mrmr_story_get()->err, MRMR_LOST);
    is_made(&w, "f0");
    assert_int_equal(damage(w.pool).n, 1);
    assert_int_equal(unlinkat(w.rig->pool->dirfd, NOTED_NAME, 0), 0);
    assert_int_equal(mkdirat(w.rig->pool->dirfd, NOTED_NAME, 0700), 0);
    open_again(&w);
    is_made(&w, "f0");
    assert_int_equal(unlinkat(w.rig->pool->dirfd, NOTED_NAME, AT_REMOVEDIR), 0);
    open_again(&w);
    is_made(&w, "f0");
    assert_int_equal(damage(w.pool).n, 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

static _Atomic int64_t ahead;
int64_t __real_mrmr_clock_monotonic(void);
int64_t __wrap_mrmr_clock_monotonic(void);
int64_t __wrap_mrmr_clock_monotonic(void)
{
    return __real_mrmr_clock_monotonic() + ahead;
}

static void count_lost(enum mrmr_log_level level, const char *line, void *arg)
{
    (void)level;
    *(unsigned *)arg += strncmp(line, "noting an event", 15) == 0;
}

static void tell_both(struct world *w, unsigned found)
{
    tell(w->pool, "one");
    tell(w->pool, "two");
    assert_int_equal(damage(w->pool).n, found);
}

/* What could not be noted is, when it is found again a minute later and can be, however much there was. Until then the log
 * tells of each once, and in each minute that it is so. */
static void test_no_room_for_a_while(void **state)
{
    const int64_t minute = 61 * MRMR_NS_PER_S;
    mrmr_autofree char *full = malloc(NOTED_MOST);
    unsigned lost = 0;
    struct world w;
    (void)state;
    begin_bare(&w, 814);
    memset(full, '\n', NOTED_MOST);
    file_is(&w, NOTED_NAME, full, NOTED_MOST);
    mrmr_log_set(count_lost, &lost, MRMR_LOG_WARN);
    tell_both(&w, 0);
    tell_both(&w, 0);
    assert_int_equal(lost, 2);
    ahead += minute;
    tell_both(&w, 0);
    assert_int_equal(lost, 3);
    assert_int_equal(unlinkat(w.rig->pool->dirfd, NOTED_NAME, 0), 0);
    tell_both(&w, 0);
    ahead += minute;
    tell_both(&w, 2);
    ahead += minute;
    tell_both(&w, 2);
    assert_int_equal(lost, 3);
    mrmr_log_set(NULL, NULL, MRMR_LOG_WARN);
    ahead = 0; /* or who waits for a moment waits for that, too */
    close_tree(&w);
    rig_destroy(w.rig);
}

/* An owner was cut short before, or after, it had taken in what it had set aside. */
static void test_left_by_a_cut(void **state)
{
    struct world w;
    mrmr_autobytes struct mrmr_bytes file = MRMR_BYTES_INIT;
    (void)state;
    begin_bare(&w, 807);
    const int dir = w.rig->pool->dirfd;
    tell(w.pool, "the first");
    assert_int_equal(renameat(dir, NOTED_NAME, dir, NOTED_CUT), 0);
    open_again(&w);
    tell(w.pool, "the first"); /* it is there */
    tell(w.pool, "the second");
    assert_int_equal(damage(w.pool).noted, 2);
    rig_ok(mrmr_durable_read(dir, NOTED_CUT, NOTED_MOST, &file));
    rig_sync(w.rig);
    assert_int_equal(damage(w.pool).n, 2);
    assert_int_equal(damage(w.pool).noted, 0);
    file_is(&w, NOTED_CUT, file.data, file.size); /* taken in, and not removed */
    assert_int_equal(damage(w.pool).n, 2);
    assert_int_equal(damage(w.pool).noted, 0);
    assert_false(is_in_the_folder(&w, NOTED_NAME));
    rig_sync(w.rig);
    assert_false(is_in_the_folder(&w, NOTED_CUT));
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The last ones, whether the catalog has them or not. */
static void test_the_last(void **state)
{
    struct world w;
    (void)state;
    begin_bare(&w, 808);
    tell(w.rig->pool, "in the catalog");
    tell(w.pool, "noted");
    tell(w.pool, "noted, too");
    for (unsigned last = 1; last <= 3; last++) {
        struct told told = {0};
        rig_ok(pool_events(w.pool, 0, last, is_damage, &told));
        assert_int_equal(told.n, last);
        assert_int_equal(told.noted, last < 2 ? last : 2);
        assert_string_equal(told.text, "noted, too");
    }
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- beside the owner --- */

enum { WRITERS = 3, EACH = 100 };

struct writer {
    pthread_t thread;
    struct pool *pool;
    unsigned number;
    _Atomic unsigned *left; /* who is at it still */
};

static void *writer_run(void *arg)
{
    const struct writer *writer = arg;
    char text[40];
    for (unsigned i = 0; i < EACH; i++) {
        snprintf(text, sizeof text, "%u of %u", i, writer->number);
        const struct pool_note note = {mrmr_clock_real(), true, "damage-found", "", text, NULL, 0};
        pool_noted_add(writer->pool, &note, false);
    }
    --*writer->left;
    return NULL;
}

static mrmr_err note_number(const struct pool_event *event, void *arg)
{
    unsigned i, number;
    if (sscanf(event->text, "%u of %u", &i, &number) == 2)
        ((unsigned char *)arg)[number * EACH + i]++;
    return MRMR_OK;
}

/* While some note, the owner takes in: none is lost. */
static void test_taken_in_while_others_note(void **state)
{
    struct world w;
    struct writer writer[WRITERS];
    unsigned char seen[WRITERS * EACH] = {0};
    _Atomic unsigned left = WRITERS;
    (void)state;
    begin_bare(&w, 809);
    for (unsigned i = 0; i < WRITERS; i++) {
        writer[i] = (struct writer){.pool = w.pool, .number = i, .left = &left};
        assert_int_equal(pthread_create(&writer[i].thread, NULL, writer_run, &writer[i]), 0);
    }
    while (left)
        rig_ok(pool_noted_take(w.rig->pool, NULL));
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writer[i].thread, NULL);
    rig_ok(pool_noted_take(w.rig->pool, NULL));
    rig_ok(pool_events(w.rig->pool, 0, 0, note_number, seen));
    for (size_t i = 0; i < sizeof seen; i++)
        assert_true(seen[i]);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* The next write is preceded by what the owner does. */
static struct pool *_Atomic takes_before_write;
ssize_t __real_write(int fd, const void *buf, size_t size);
ssize_t __wrap_write(int fd, const void *buf, size_t size);
ssize_t __wrap_write(int fd, const void *buf, size_t size)
{
    struct pool *owner = atomic_exchange(&takes_before_write, NULL);
    if (owner)
        rig_ok(pool_noted_take(owner, NULL));
    return __real_write(fd, buf, size);
}

/* The owner has taken the file in, and removed it, when the line is written to it. */
static void test_taken_in_under_who_notes(void **state)
{
    struct world w;
    (void)state;
    begin_bare(&w, 811);
    tell(w.pool, "before");
    takes_before_write = w.rig->pool;
    tell(w.pool, "too late");
    assert_null(takes_before_write);
    const struct told told = damage(w.pool);
    assert_int_equal(told.n, 2);
    assert_int_equal(told.noted, 1);
    assert_string_equal(told.text, "too late");
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- what a mount tells --- */

static mrmr_err is_conflict(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "conflict") == 0 && event->warning;
    return MRMR_OK;
}

static unsigned conflicts(struct pool *pool)
{
    unsigned n = 0;
    rig_ok(pool_events(pool, 0, 0, is_conflict, &n));
    return n;
}

/* Removed while its drive was away, and edited there: the mount that finds it notes it. */
static void test_conflict_of_a_mount(void **state)
{
    struct world w;
    (void)state;
    begin_away(&w, 810);
    rig_ok(unlink_at(&w, "f0"));
    rig_edit(w.rig, "f0", 100, 5000);
    comes_back(&w, NULL);
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(conflicts(w.pool), 1);
    assert_int_equal(status_of(w.pool).noted, 1);
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(conflicts(w.rig->pool), 1);
    assert_int_equal(status_of(w.rig->pool).noted, 0);
    destroy(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotten_row),
        cmocka_unit_test(test_row_that_lies),
        cmocka_unit_test(test_row_that_is_gone),
        cmocka_unit_test(test_rotten_survivor),
        cmocka_unit_test(test_unreadable_survivor),
        cmocka_unit_test(test_owner_reads),
        cmocka_unit_test(test_lines_that_are_not_right),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_no_room_for_a_while),
        cmocka_unit_test(test_left_by_a_cut),
        cmocka_unit_test(test_the_last),
        cmocka_unit_test(test_taken_in_while_others_note),
        cmocka_unit_test(test_taken_in_under_who_notes),
        cmocka_unit_test(test_conflict_of_a_mount),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
