/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Holes, sizes past 4 GiB, truncation, reservation, reflinks.
 */
#include "contract.h"

#define MIB (UINT64_C(1) << 20)

static struct drv_file *create(struct contract *c, const char *path)
{
    struct drv_file *file = NULL;
    assert_ok(
        drv_file_open(c->drv, path, DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    return file;
}

static void assert_bytes(struct drv_file *file, uint64_t offset, size_t size, int byte)
{
    mrmr_autofree uint8_t *buf = malloc(size);
    assert_ok(drv_file_read_exact(file, offset, buf, size));
    for (size_t i = 0; i < size; i++)
        if (buf[i] != byte)
            fail_msg("byte at %llu is %d, not %d", (unsigned long long)(offset + i), buf[i], byte);
}

static void put_bytes(struct drv_file *file, uint64_t offset, size_t size, int byte)
{
    mrmr_autofree uint8_t *buf = malloc(size);
    memset(buf, byte, size);
    assert_ok(drv_file_write(file, offset, buf, size));
}

/* The next data at or after offset lies within [start, end), or, for a drive that cannot tell,
 * covers it. */
static void assert_data(
    struct contract *c, struct drv_file *file, uint64_t offset, uint64_t start, uint64_t end)
{
    uint64_t have_start = 99, have_end = 99;
    assert_ok(drv_file_next_data(file, offset, &have_start, &have_end));
    if (!contract_can(c, DRV_CAP_SPARSE)) {
        assert_true(have_start <= start && have_end >= end);
        return;
    }
    assert_int_equal(have_start, start);
    assert_int_equal(have_end, end);
}

static void holes_are_found_and_read_as_zeros(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put_bytes(file, 1 * MIB, 65536, 1);
    put_bytes(file, 3 * MIB, 65536, 2);
    assert_ok(drv_file_truncate(file, 5 * MIB));
    assert_ok(drv_file_sync(file));
    assert_data(c, file, 0, 1 * MIB, 1 * MIB + 65536);
    assert_data(c, file, 1 * MIB + 4096, 1 * MIB + 4096, 1 * MIB + 65536);
    assert_data(c, file, 1 * MIB + 65536, 3 * MIB, 3 * MIB + 65536);
    assert_data(c, file, 3 * MIB + 65536, 5 * MIB, 5 * MIB);
    assert_data(c, file, 5 * MIB, 5 * MIB, 5 * MIB);
    assert_data(c, file, 9 * MIB, 5 * MIB, 5 * MIB);
    assert_bytes(file, 0, MIB, 0);
    assert_bytes(file, MIB, 65536, 1);
    assert_bytes(file, 4 * MIB, MIB, 0);
    if (contract_can(c, DRV_CAP_SPARSE))
        assert_true(stat_of(c, "f").allocated < 1 * MIB);
    drv_file_close(file);
}

static void data_runs_to_the_end(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    uint64_t start = 9, end = 9;
    assert_ok(drv_file_next_data(file, 0, &start, &end));
    assert_int_equal(start, 0);
    assert_int_equal(end, 0);
    put_bytes(file, 0, 10000, 7);
    assert_ok(drv_file_next_data(file, 0, &start, &end));
    assert_int_equal(start, 0);
    assert_int_equal(end, 10000);
    assert_ok(drv_file_next_data(file, 9999, &start, &end));
    assert_int_equal(start, 9999);
    assert_int_equal(end, 10000);
    drv_file_close(file);
}

static void files_pass_4_gib(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_SPARSE);
    const uint64_t far = (UINT64_C(5) << 30) + 123;
    struct drv_file *file = create(c, "f");
    put_bytes(file, far, 1000, 9);
    put_bytes(file, 5, 10, 8);
    assert_int_equal(stat_of(c, "f").size, far + 1000);
    assert_true(stat_of(c, "f").allocated < MIB);
    assert_bytes(file, far, 1000, 9);
    assert_bytes(file, 5, 10, 8);
    assert_bytes(file, UINT64_C(4) << 30, 65536, 0);
    assert_bytes(file, far - 100, 100, 0);
    assert_ok(drv_file_truncate(file, UINT64_C(1) << 40));
    assert_int_equal(stat_of(c, "f").size, UINT64_C(1) << 40);
    assert_bytes(file, (UINT64_C(1) << 40) - 10, 10, 0);
    drv_file_close(file);
}

static void truncation(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put_bytes(file, 0, 20000, 5);
    assert_ok(drv_file_truncate(file, 5000));
    assert_int_equal(stat_of(c, "f").size, 5000);
    assert_ok(drv_file_truncate(file, 30000));
    assert_bytes(file, 0, 5000, 5);
    assert_bytes(file, 5000, 25000, 0);
    put_bytes(file, 40000, 1, 6);
    assert_bytes(file, 30000, 10000, 0);
    assert_ok(drv_file_truncate(file, 0));
    assert_int_equal(stat_of(c, "f").size, 0);
    assert_err(drv_file_truncate(file, UINT64_MAX), MRMR_INVALID);
    drv_file_close(file);
}

static void reservation(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put_bytes(file, 0, 100, 5);
    mrmr_err err = drv_file_allocate(file, 3 * MIB);
    if (err == MRMR_UNSUPPORTED) {
        drv_file_close(file);
        return;
    }
    assert_err(err, MRMR_OK);
    assert_int_equal(stat_of(c, "f").size, 3 * MIB);
    assert_true(stat_of(c, "f").allocated >= 3 * MIB - 65536);
    assert_bytes(file, 0, 100, 5);
    assert_bytes(file, 100, 100000, 0);
    assert_ok(drv_file_allocate(file, MIB));
    assert_int_equal(stat_of(c, "f").size, 3 * MIB);
    drv_file_close(file);
}

static void clones_share_and_part(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put_bytes(file, 0, 300000, 5);
    assert_ok(drv_file_truncate(file, 300001));
    mrmr_err err = drv_clone(c->drv, "f", "g");
    assert_err(err, contract_can(c, DRV_CAP_REFLINK) ? MRMR_OK : MRMR_UNSUPPORTED);
    if (err) {
        assert_absent(c, "g");
        drv_file_close(file);
        return;
    }
    put_bytes(file, 1000, 1000, 6);
    struct drv_file *copy = NULL;
    assert_ok(drv_file_open(c->drv, "g", DRV_OPEN_READ, 0, &copy));
    assert_int_equal(stat_of(c, "g").size, 300001);
    assert_bytes(copy, 0, 300000, 5);
    assert_bytes(copy, 300000, 1, 0);
    assert_bytes(file, 1000, 1000, 6);
    drv_file_close(copy);
    drv_file_close(file);
    assert_err(drv_clone(c->drv, "f", "g"), MRMR_EXISTS);
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    assert_err(drv_clone(c->drv, "d", "h"), MRMR_IS_DIR);
    assert_absent(c, "h");
    assert_err(drv_clone(c->drv, "none", "h"), MRMR_ABSENT);
}

const struct CMUnitTest cases_sparse[] = {
    CASE(holes_are_found_and_read_as_zeros),
    CASE(data_runs_to_the_end),
    CASE(files_pass_4_gib),
    CASE(truncation),
    CASE(reservation),
    CASE(clones_share_and_part),
};
const size_t cases_sparse_count = sizeof cases_sparse / sizeof *cases_sparse;
