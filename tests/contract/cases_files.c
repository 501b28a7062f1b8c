/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Open files: making and opening them, positional reads and writes, from several threads too, and a
 * drive that fills up.
 */
#include "contract.h"

#include <pthread.h>
#include <stdatomic.h>

static void creating_is_exclusive(void **state)
{
    struct contract *c = *state;
    static const uint32_t modes[] = {0600, 0644, 0777, 0400, 04755, 02666};
    struct drv_file *file = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_WRITE | DRV_OPEN_CREATE, modes[i], &file));
        drv_file_close(file);
        file = NULL;
        if (contract_can(c, DRV_CAP_MODE))
            assert_int_equal(stat_of(c, "f").mode, modes[i]);
        assert_err(
            drv_file_open(c->drv, "f", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file), MRMR_EXISTS);
        assert_null(file);
        assert_ok(drv_unlink(c->drv, "f"));
    }
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    assert_err(
        drv_file_open(c->drv, "d", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file), MRMR_EXISTS);
    assert_err(drv_file_open(c->drv, "d", DRV_OPEN_READ, 0, &file), MRMR_IS_DIR);
    assert_err(drv_file_open(c->drv, "d", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file), MRMR_IS_DIR);
    assert_null(file);
}

static void flags_are_checked(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    uint8_t byte = 0;
    size_t got;
    make_file(c, "f", "text");
    assert_err(drv_file_open(c->drv, "f", 0, 0, &file), MRMR_INVALID);
    assert_err(
        drv_file_open(c->drv, "g", DRV_OPEN_READ | DRV_OPEN_CREATE, 0600, &file), MRMR_INVALID);
    assert_err(drv_file_open(c->drv, "f", 64 | DRV_OPEN_READ, 0, &file), MRMR_INVALID);
    assert_err(
        drv_file_open(c->drv, "g", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 010000, &file), MRMR_INVALID);
    assert_null(file);
    assert_absent(c, "g");
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ, 0, &file));
    assert_err(drv_file_write(file, 0, "x", 1), MRMR_INVALID);
    assert_err(drv_file_truncate(file, 0), MRMR_INVALID);
    drv_file_close(file);
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_WRITE, 0, &file));
    assert_err(drv_file_read(file, 0, &byte, 1, &got), MRMR_INVALID);
    drv_file_close(file);
    assert_text(c, "f", "text");
}

static void reads_end_at_the_end(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    char buf[16] = "................";
    size_t got = 99;
    make_file(c, "f", "0123456789");
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ, 0, &file));
    assert_ok(drv_file_read(file, 3, buf, 4, &got));
    assert_int_equal(got, 4);
    assert_memory_equal(buf, "3456....", 8);
    assert_ok(drv_file_read(file, 8, buf, 16, &got));
    assert_int_equal(got, 2);
    assert_memory_equal(buf, "89", 2);
    assert_ok(drv_file_read(file, 10, buf, 16, &got));
    assert_int_equal(got, 0);
    assert_ok(drv_file_read(file, UINT64_C(1) << 40, buf, 16, &got));
    assert_int_equal(got, 0);
    assert_ok(drv_file_read(file, 0, buf, 0, &got));
    assert_int_equal(got, 0);
    assert_ok(drv_file_read_exact(file, 5, buf, 5));
    assert_memory_equal(buf, "56789", 5);
    assert_err(drv_file_read_exact(file, 5, buf, 6), MRMR_TRUNCATED);
    assert_err(drv_file_read(file, INT64_MAX, buf, 16, &got), MRMR_INVALID);
    assert_err(drv_file_read(file, UINT64_MAX, buf, 1, &got), MRMR_INVALID);
    drv_file_close(file);
}

static void writes_land_where_they_should(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    enum { SIZE = 3 << 20 };
    mrmr_autofree uint8_t *want = calloc(1, SIZE), *have = malloc(SIZE);
    static const struct {
        uint64_t at;
        size_t size;
    } writes[] = {{0, 10}, {5, 10}, {4095, 2}, {1 << 20, 1 << 20}, {(1 << 20) - 7, 4111},
        {SIZE - 1, 1}, {100, 0}};
    assert_ok(
        drv_file_open(c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        fill(want + writes[i].at, writes[i].size, writes[i].at, (uint32_t)i);
        assert_ok(drv_file_write(file, writes[i].at, want + writes[i].at, writes[i].size));
    }
    drv_file_advise(file, 0, SIZE, false);
    assert_ok(drv_file_read_exact(file, 0, have, SIZE));
    assert_memory_equal(have, want, SIZE);
    assert_ok(drv_file_sync(file));
    drv_file_advise(file, 0, SIZE, true);
    assert_ok(drv_file_read_exact(file, 0, have, SIZE));
    assert_memory_equal(have, want, SIZE);
    struct drv_stat stat;
    assert_ok(drv_file_stat(file, &stat));
    assert_int_equal(stat.size, SIZE);
    assert_int_equal(stat.size, stat_of(c, "f").size);
    assert_int_equal(stat.ino, stat_of(c, "f").ino);
    assert_int_equal(stat.dev, stat_of(c, "").dev);
    drv_file_close(file);
}

static void a_write_gives_a_new_mtime(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    make_file(c, "f", "text");
    assert_ok(drv_set_attr(c->drv, "f", DRV_ATTR_MTIME, &(struct drv_stat){.mtime = 1000000000}));
    const struct drv_stat before = stat_of(c, "f");
    assert_int_equal(before.mtime, 1000000000);
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_WRITE, 0, &file));
    assert_ok(drv_file_write(file, 0, "T", 1));
    drv_file_close(file);
    assert_true(stat_of(c, "f").mtime > 1500000000 * INT64_C(1000000000));
    assert_text(c, "f", "Text");
}

static void an_open_file_outlives_its_name(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL, *second = NULL;
    char buf[4];
    make_file(c, "f", "text");
    make_file(c, "g", "other");
    assert_ok(drv_file_open(c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file));
    assert_ok(drv_file_open(c->drv, "g", DRV_OPEN_READ, 0, &second));
    assert_ok(drv_rename(c->drv, "f", "g", DRV_RENAME_REPLACE));
    assert_ok(drv_file_write(file, 0, "TEXT", 4));
    assert_text(c, "g", "TEXT");
    assert_ok(drv_file_read_exact(second, 0, buf, 4));
    assert_memory_equal(buf, "othe", 4);
    assert_ok(drv_unlink(c->drv, "g"));
    assert_ok(drv_file_read_exact(file, 0, buf, 4));
    assert_memory_equal(buf, "TEXT", 4);
    drv_file_close(file);
    drv_file_close(second);
}

/* --- threads --- */

enum { THREADS = 4, ROUNDS = 200, PIECE = 10007, PIECES = 64 };

struct reader {
    struct drv_file *file;
    unsigned number;
    atomic_uint *wrong;
};

static void *read_pieces(void *arg)
{
    struct reader *r = arg;
    uint8_t have[PIECE], want[PIECE];
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t at = (uint64_t)((i * 31 + r->number * 17) % PIECES) * PIECE;
        fill(want, PIECE, at, 3);
        if (drv_file_read_exact(r->file, at, have, PIECE) || memcmp(have, want, PIECE) != 0)
            atomic_fetch_add(r->wrong, 1);
    }
    return NULL;
}

static void *write_pieces(void *arg)
{
    struct reader *r = arg;
    uint8_t buf[PIECE];
    for (unsigned i = r->number; i < PIECES; i += THREADS) {
        fill(buf, PIECE, (uint64_t)i * PIECE, 3);
        if (drv_file_write(r->file, (uint64_t)i * PIECE, buf, PIECE))
            atomic_fetch_add(r->wrong, 1);
    }
    return NULL;
}

static void run_threads(void *(*run)(void *), struct drv_file *file, atomic_uint *wrong)
{
    pthread_t threads[THREADS];
    struct reader readers[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        readers[i] = (struct reader){file, i, wrong};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &readers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void one_file_many_threads(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    atomic_uint wrong = 0;
    assert_ok(
        drv_file_open(c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    run_threads(write_pieces, file, &wrong);
    assert_int_equal(wrong, 0);
    assert_int_equal(stat_of(c, "f").size, (uint64_t)PIECE * PIECES);
    run_threads(read_pieces, file, &wrong);
    assert_int_equal(wrong, 0);
    drv_file_close(file);
}

/* Names are claimed by exactly one thread each. */
struct claimer {
    struct drv *drv;
    atomic_uint *won;
};

static void *claim_names(void *arg)
{
    struct claimer *claimer = arg;
    for (unsigned i = 0; i < 100; i++) {
        char path[16];
        struct drv_file *file = NULL;
        snprintf(path, sizeof path, "n%u", i);
        if (drv_file_open(claimer->drv, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file) ==
            MRMR_OK)
            atomic_fetch_add(claimer->won, 1);
        drv_file_close(file);
    }
    return NULL;
}

static void a_name_has_one_maker(void **state)
{
    struct contract *c = *state;
    pthread_t threads[THREADS];
    atomic_uint won = 0;
    struct claimer claimer = {c->drv, &won};
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, claim_names, &claimer), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(won, 100);
}

/* --- space --- */

static void space_is_told(void **state)
{
    struct contract *c = *state;
    struct drv_space space = {0};
    assert_ok(drv_space(c->drv, &space));
    assert_true(space.total > 0);
    assert_true(space.avail > 0 && space.avail <= space.total);
    assert_true(space.files_avail > 0);
}

/* Reserve nearly all that is left, then write until the drive refuses. What was written before
 * stays readable. */
static void a_full_drive_says_space(void **state)
{
    struct contract *c = *state;
    struct drv_space space;
    struct drv_file *hog = NULL, *file = NULL;
    enum { PIECE_SIZE = 1 << 20 };
    assert_ok(drv_space(c->drv, &space));
    if (space.total > (UINT64_C(9) << 30) || space.avail < (64 << 20))
        return; /* not a drive of our own: leave other people's space alone */
    mrmr_autofree uint8_t *piece = malloc(PIECE_SIZE), *have = malloc(PIECE_SIZE);
    assert_ok(drv_file_open(c->drv, "hog", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &hog));
    bool huge =
        space.avail > (UINT64_C(1) << 30); /* in memory, and a reservation there is real memory */
    if (huge)
        assert_err(drv_file_allocate(hog, space.avail + (1 << 20)), MRMR_SPACE);
    else
        assert_ok(drv_file_allocate(hog, space.avail - (48 << 20)));
    if (!huge) {
        mrmr_err err = MRMR_OK;
        uint64_t n = 0;
        assert_ok(drv_file_open(
            c->drv, "f", DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
        for (; !err && n < 400; n++) {
            fill(piece, PIECE_SIZE, n * PIECE_SIZE, 1);
            err = drv_file_write(file, n * PIECE_SIZE, piece, PIECE_SIZE);
            if (!err)
                err = drv_file_sync(file);
        }
        assert_err(err, MRMR_SPACE);
        for (uint64_t i = 0; i + 1 < n; i++) {
            fill(piece, PIECE_SIZE, i * PIECE_SIZE, 1);
            assert_ok(drv_file_read_exact(file, i * PIECE_SIZE, have, PIECE_SIZE));
            assert_memory_equal(have, piece, PIECE_SIZE);
        }
        drv_file_close(file);
    }
    drv_file_close(hog);
}

const struct CMUnitTest cases_files[] = {
    CASE(creating_is_exclusive),
    CASE(flags_are_checked),
    CASE(reads_end_at_the_end),
    CASE(writes_land_where_they_should),
    CASE(a_write_gives_a_new_mtime),
    CASE(an_open_file_outlives_its_name),
    CASE(one_file_many_threads),
    CASE(a_name_has_one_maker),
    CASE(space_is_told),
    CASE(a_full_drive_says_space),
};
const size_t cases_files_count = sizeof cases_files / sizeof *cases_files;
