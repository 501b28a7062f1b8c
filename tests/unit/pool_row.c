/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "drivers/mem.h"
#include "pool/stripe/gzip.h"
#include "pool/stripe/manifest.h"

#define LEAF ((size_t)META_LEAF)

static const struct mrmr_uuid STRIPE = {
    {0x3f, 0x9c, 0x0d, 0x2e, 0x5b, 0x1a, 0x4c, 0x7e, 0x9f, 0, 0x12, 0x34, 0x56, 0x78, 0x90, 0xe1}};
#define PATH ".mrmr/parity/3f/3f9c0d2e5b1a4c7e9f001234567890e1-g7.2"

static uint64_t seed_state;

static uint64_t any(void)
{
    seed_state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = seed_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void seed(void)
{
    const char *given = getenv("MRMR_SEED");
    seed_state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("MRMR_SEED=%llu\n", (unsigned long long)seed_state);
}

static void ok(mrmr_err err)
{
    char text[2048];
    if (err)
        fail_msg("%s", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

static struct drv *drive(void)
{
    struct drv *drv;
    drv_mem_reset("row");
    ok(drv_open("mem://row", &drv));
    return drv;
}

static uint8_t *payload(size_t size)
{
    uint8_t *data = malloc(size);
    assert_non_null(data);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)any();
    return data;
}

/* A shared part that fits a stripe of that length. */
static struct mrmr_bytes body(uint64_t generation, size_t length)
{
    struct mrmr_bytes text = MRMR_BYTES_INIT, packed = MRMR_BYTES_INIT;
    char uuid[MRMR_UUID_TEXT];
    ok(mrmr_bytes_fmt(&text,
        "shared %s %llu %zu\npool %s\nblock 5 %s %zu d\nfile 1 1 1 1 0 0644 0 0 a/b\nextent 0 0 1 "
        "1 live\n"
        "leaf %064d\nend\n",
        mrmr_uuid_print(&STRIPE, uuid), (unsigned long long)generation, length, uuid, uuid, length,
        1));
    ok(pool_gzip_add(&packed, text.data, text.size));
    mrmr_bytes_free(&text);
    return packed;
}

static uint64_t write_row(struct drv *drv, const uint8_t *data, size_t size)
{
    struct pool_row_writer *writer;
    struct mrmr_bytes shared = body(7, size);
    uint64_t file_size = 0;
    ok(pool_row_create(drv, &STRIPE, 7, 2, &writer));
    for (size_t at = 0; at < size;) {
        size_t piece = LEAF * (1 + any() % 40);
        if (piece > size - at)
            piece = size - at;
        ok(pool_row_append(writer, data + at, piece));
        at += piece;
    }
    ok(pool_row_finish(writer, 3, &shared, &file_size));
    pool_row_discard(writer);
    mrmr_bytes_free(&shared);
    return file_size;
}

static mrmr_err open_row(struct drv *drv, size_t size, struct pool_row_reader **ret_reader)
{
    return pool_row_open(drv, &STRIPE, 7, 2, size, ret_reader);
}

static struct mrmr_bytes file_bytes(struct drv *drv, const char *path)
{
    struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    ok(drv_read_all(drv, path, SIZE_MAX / 4, &bytes));
    return bytes;
}

static void put_file(struct drv *drv, const void *data, size_t size)
{
    struct drv_file *file;
    mrmr_err err = drv_unlink(drv, PATH);
    assert_true(err == MRMR_OK || err == MRMR_ABSENT);
    ok(drv_file_open(drv, PATH, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    if (size)
        ok(drv_file_write(file, 0, data, size));
    drv_file_close(file);
}

static bool there(struct drv *drv, const char *path)
{
    struct drv_stat stat;
    mrmr_err err = drv_stat(drv, path, &stat);
    assert_true(err == MRMR_OK || err == MRMR_ABSENT);
    return !err;
}

static void test_path(void **state)
{
    (void)state;
    char path[POOL_ROW_PATH];
    pool_row_path(&STRIPE, 7, 2, path);
    assert_string_equal(path, PATH);
    pool_row_path(&STRIPE, UINT64_MAX, 7, path);
    assert_string_equal(
        path, ".mrmr/parity/3f/3f9c0d2e5b1a4c7e9f001234567890e1-g18446744073709551615.7");
}

static void round_trip(size_t size)
{
    struct drv *drv = drive();
    uint8_t *data = payload(size), *got = malloc(size > LEAF ? size : LEAF);
    uint64_t file_size = write_row(drv, data, size);
    struct drv_stat stat;
    ok(drv_stat(drv, PATH, &stat));
    assert_int_equal(stat.size, file_size);
    assert_false(there(drv, PATH "~"));
    struct pool_row_reader *reader;
    ok(open_row(drv, size, &reader));
    ok(pool_row_read(reader, 0, got, size));
    assert_memory_equal(got, data, size);
    for (size_t leaf = 0; leaf * LEAF < size; leaf++) {
        size_t want = size - leaf * LEAF < LEAF ? size - leaf * LEAF : LEAF, n = 0;
        ok(pool_row_read_leaves(reader, leaf, 1, got, &n));
        assert_int_equal(n, want);
        assert_memory_equal(got, data + leaf * LEAF, n);
        struct mrmr_digest digest = mrmr_digest_of(got, n);
        assert_true(mrmr_digest_equal(&digest, &pool_row_digests(reader)[leaf]));
    }
    size_t untouched = 77;
    assert_int_not_equal(pool_row_read(reader, size, got, 1), MRMR_OK);
    assert_int_not_equal(pool_row_read(reader, UINT64_MAX, got, 2), MRMR_OK);
    assert_int_not_equal(
        pool_row_read_leaves(reader, (size + LEAF - 1) / LEAF, 1, got, &untouched), MRMR_OK);
    assert_int_equal(untouched, 77);
    pool_row_close(reader);
    free(got);
    free(data);
    drv_close(drv);
}

static void test_round_trip(void **state)
{
    (void)state;
    const size_t size[] = {1, 2, 4096, LEAF - 1, LEAF, LEAF + 1, 3 * LEAF, 3 * LEAF + 17};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++)
        round_trip(size[i]);
}

static void test_manifest(void **state)
{
    (void)state;
    struct drv *drv = drive();
    uint8_t *data = payload(5000);
    write_row(drv, data, 5000);
    struct pool_manifest *m;
    ok(pool_manifest_read(drv, PATH, &m));
    assert_true(mrmr_uuid_equal(&m->stripe, &STRIPE));
    assert_int_equal(m->generation, 7);
    assert_int_equal(m->row, 2);
    assert_int_equal(m->rows, 3);
    assert_int_equal(m->length, 5000);
    assert_int_equal(m->leaves, 1);
    assert_int_equal(m->extents, 1);
    assert_string_equal(pool_manifest_path(m, &m->file[0]), "a/b");
    pool_manifest_free(m);
    assert_int_equal(pool_manifest_read(drv, ".mrmr/parity/nothing", &m), MRMR_ABSENT);
    free(data);
    drv_close(drv);
}

static void test_identity(void **state)
{
    (void)state;
    struct drv *drv = drive();
    uint8_t *data = payload(5000);
    write_row(drv, data, 5000);
    struct mrmr_bytes bytes = file_bytes(drv, PATH);
    struct pool_row_reader *reader;
    struct mrmr_uuid other = STRIPE;
    other.bytes[15] ^= 1;
    assert_int_equal(pool_row_open(drv, &other, 7, 2, 5000, &reader), MRMR_ABSENT);
    assert_int_equal(pool_row_open(drv, &STRIPE, 8, 2, 5000, &reader), MRMR_ABSENT);
    assert_int_equal(open_row(drv, 5001, &reader), MRMR_FORMAT);
    /* The right name on another row's file. */
    for (unsigned i = 0; i < 3; i++) {
        char path[POOL_ROW_PATH];
        pool_row_path(i == 0 ? &other : &STRIPE, i == 1 ? 8 : 7, i == 2 ? 1 : 2, path);
        ok(drv_rename(drv, PATH, path, DRV_RENAME_REPLACE));
        mrmr_err err = pool_row_open(
            drv, i == 0 ? &other : &STRIPE, i == 1 ? 8 : 7, i == 2 ? 1 : 2, 5000, &reader);
        assert_int_equal(err, MRMR_FORMAT);
        assert_string_equal(mrmr_story_get()->path, path);
        put_file(drv, bytes.data, bytes.size);
    }
    ok(open_row(drv, 5000, &reader));
    pool_row_close(reader);
    mrmr_bytes_free(&bytes);
    free(data);
    drv_close(drv);
}

static void test_errors_pass(void **state)
{
    (void)state;
    struct drv *drv = drive();
    struct pool_row_reader *reader;
    assert_int_equal(open_row(drv, 100, &reader), MRMR_ABSENT);
    uint8_t *data = payload(100);
    write_row(drv, data, 100);
    ok(drv_mem_unplug("row", true));
    assert_int_equal(mrmr_class_of(open_row(drv, 100, &reader)), MRMR_CLASS_UNAVAILABLE);
    struct pool_row_writer *writer;
    assert_int_equal(
        mrmr_class_of(pool_row_create(drv, &STRIPE, 8, 0, &writer)), MRMR_CLASS_UNAVAILABLE);
    ok(drv_mem_unplug("row", false));
    free(data);
    drv_close(drv);
}

/* Whatever is wrong with the file: an error of class CORRUPT, or (a payload byte) a leaf that says
 * so. Never wrong bytes. */
static bool right_or_corrupt(struct drv *drv, const uint8_t *data, size_t size, mrmr_err *ret_err)
{
    struct pool_row_reader *reader = NULL;
    static uint8_t buf[META_LEAF];
    bool right = true;
    *ret_err = open_row(drv, size, &reader);
    if (*ret_err) {
        assert_null(reader);
        assert_int_equal(mrmr_class_of(*ret_err), MRMR_CLASS_CORRUPT);
        assert_string_equal(mrmr_story_get()->path, PATH);
        assert_true(mrmr_story_get()->text[0]);
        return false;
    }
    for (size_t leaf = 0; leaf * LEAF < size; leaf++) {
        size_t n = 0;
        mrmr_err err = pool_row_read_leaves(reader, leaf, 1, buf, &n);
        if (err) {
            assert_int_equal(err, MRMR_DIGEST);
            *ret_err = err;
            right = false;
        } else {
            assert_memory_equal(buf, data + leaf * LEAF, n);
        }
    }
    pool_row_close(reader);
    return right;
}

/* Every bit of the footer and of the manifest, each by itself, and payload bits at random. */
static void test_flips(void **state)
{
    (void)state;
    struct drv *drv = drive();
    size_t size = 700;
    uint8_t *data = payload(size);
    uint64_t file_size = write_row(drv, data, size);
    mrmr_err err;
    for (uint64_t at = 0; at < file_size; at += at < size ? 1 + any() % 9 : 1) {
        for (unsigned bit = 0; bit < 8; bit++) {
            ok(drv_mem_rot("row", PATH, at, (uint8_t)(1u << bit)));
            assert_false(right_or_corrupt(drv, data, size, &err));
            if (at >= size && at < file_size - POOL_FOOTER_SIZE)
                assert_int_equal(err, MRMR_DIGEST);
            ok(drv_mem_rot("row", PATH, at, (uint8_t)(1u << bit)));
        }
    }
    assert_true(right_or_corrupt(drv, data, size, &err));
    free(data);
    drv_close(drv);
}

static void test_random_damage(void **state)
{
    (void)state;
    seed();
    struct drv *drv = drive();
    size_t size = 2 * LEAF + 333;
    uint8_t *data = payload(size);
    uint64_t file_size = write_row(drv, data, size);
    for (unsigned round = 0; round < 100; round++) {
        uint64_t at[4];
        uint8_t mask[4];
        unsigned n = 1 + any() % 4;
        mrmr_err err;
        for (unsigned i = 0; i < n; i++) {
            at[i] = any() % 2 ? any() % file_size : file_size - 1 - any() % 600;
            mask[i] = (uint8_t)(1u << i | (i ? 0 : 0x80)); /* no two cancel each other */
            ok(drv_mem_rot("row", PATH, at[i], mask[i]));
        }
        assert_false(right_or_corrupt(drv, data, size, &err));
        for (unsigned i = 0; i < n; i++)
            ok(drv_mem_rot("row", PATH, at[i], mask[i]));
    }
    free(data);
    drv_close(drv);
}

static void test_lengths(void **state)
{
    (void)state;
    struct drv *drv = drive();
    size_t size = 600;
    uint8_t *data = payload(size);
    write_row(drv, data, size);
    struct mrmr_bytes bytes = file_bytes(drv, PATH);
    mrmr_err err;
    for (size_t keep = 0; keep < bytes.size; keep++) { /* every length, every border with it */
        put_file(drv, bytes.data, keep);
        assert_false(right_or_corrupt(drv, data, size, &err));
        put_file(drv, bytes.data + bytes.size - keep, keep);
        assert_false(right_or_corrupt(drv, data, size, &err));
    }
    ok(mrmr_bytes_add(&bytes, "\0", 1));
    put_file(drv, bytes.data, bytes.size);
    assert_false(right_or_corrupt(drv, data, size, &err));
    put_file(drv, bytes.data, bytes.size - 1);
    assert_true(right_or_corrupt(drv, data, size, &err));
    mrmr_bytes_free(&bytes);
    free(data);
    drv_close(drv);
}

/* A file that shrinks after it was opened. */
static void test_shrinks(void **state)
{
    (void)state;
    struct drv *drv = drive();
    uint8_t *data = payload(2 * LEAF);
    write_row(drv, data, 2 * LEAF);
    struct pool_row_reader *reader;
    struct drv_file *file;
    static uint8_t buf[META_LEAF];
    size_t n = 0;
    ok(open_row(drv, 2 * LEAF, &reader));
    ok(drv_file_open(drv, PATH, DRV_OPEN_WRITE, 0, &file));
    ok(drv_file_truncate(file, LEAF + 5));
    drv_file_close(file);
    ok(pool_row_read_leaves(reader, 0, 1, buf, &n));
    assert_int_equal(pool_row_read_leaves(reader, 1, 1, buf, &n), MRMR_TRUNCATED);
    pool_row_close(reader);
    free(data);
    drv_close(drv);
}

static void test_misuse(void **state)
{
    (void)state;
    struct drv *drv = drive();
    struct pool_row_writer *writer = NULL;
    struct mrmr_bytes shared = body(7, 100);
    uint64_t size = 0;
    uint8_t data[100] = {1};
    assert_int_equal(pool_row_create(drv, &STRIPE, 7, META_ROWS_MAX, &writer), MRMR_INTERNAL);
    assert_int_equal(pool_row_create(drv, &STRIPE, 0, 0, &writer), MRMR_INTERNAL);
    assert_null(writer);
    ok(pool_row_create(drv, &STRIPE, 7, 2, &writer));
    assert_int_not_equal(pool_row_finish(writer, 1, &shared, &size), MRMR_OK); /* no payload */
    ok(pool_row_append(writer, data, sizeof data));
    assert_int_not_equal(pool_row_append(writer, data, 1), MRMR_OK); /* after a short leaf */
    ok(pool_row_append(writer, data, 0));
    assert_int_not_equal(pool_row_finish(writer, 0, &shared, &size), MRMR_OK);
    ok(pool_row_finish(writer, 1, &shared, &size));
    assert_int_not_equal(pool_row_finish(writer, 1, &shared, &size), MRMR_OK);
    pool_row_discard(writer);
    assert_true(there(drv, PATH));
    pool_row_discard(NULL);
    pool_row_close(NULL);
    mrmr_bytes_free(&shared);
    drv_close(drv);
}

static void test_leftovers(void **state)
{
    (void)state;
    struct drv *drv = drive();
    struct pool_row_writer *writer;
    struct pool_row_reader *reader;
    uint8_t *data = payload(3000), got[3000];
    /* Discarded before it was finished: nothing stays. */
    ok(pool_row_create(drv, &STRIPE, 7, 2, &writer));
    ok(pool_row_append(writer, data, 3000));
    assert_true(there(drv, PATH "~"));
    pool_row_discard(writer);
    assert_false(there(drv, PATH "~"));
    assert_false(there(drv, PATH));
    /* Both names left by a crash: the next attempt takes their place. */
    put_file(drv, "half", 4);
    ok(drv_link(drv, PATH, PATH "~"));
    write_row(drv, data, 3000);
    ok(open_row(drv, 3000, &reader));
    ok(pool_row_read(reader, 0, got, 3000));
    assert_memory_equal(got, data, 3000);
    pool_row_close(reader);
    assert_false(there(drv, PATH "~"));
    /* Removal takes both, and is content with none. */
    ok(drv_link(drv, PATH, PATH "~"));
    ok(pool_row_remove(drv, PATH));
    assert_false(there(drv, PATH));
    assert_false(there(drv, PATH "~"));
    ok(pool_row_remove(drv, PATH));
    free(data);
    drv_close(drv);
}

/* A drive whose .mrmr is durable, as add-drive leaves it. */
static struct drv *cut_drive(void)
{
    struct drv *drv;
    drv_mem_reset("row");
    ok(drv_open("mem://row?cut=1", &drv));
    ok(drv_mkdir(drv, ".mrmr", 0700));
    ok(drv_dir_sync(drv, ""));
    return drv;
}

static struct drv *cut(struct drv *drv)
{
    ok(drv_mem_power_cut("row", any()));
    drv_close(drv);
    ok(drv_open("mem://row?cut=1", &drv));
    return drv;
}

/* A power cut after each step: before finish has returned nothing has the final name; after that,
 * the row is there and whole. */
static void cut_at(unsigned step, const uint8_t *data, size_t size)
{
    struct drv *drv = cut_drive();
    struct pool_row_writer *writer;
    struct mrmr_bytes shared = body(7, size);
    uint64_t file_size;
    mrmr_err err;
    ok(pool_row_create(drv, &STRIPE, 7, 2, &writer));
    if (step > 0)
        ok(pool_row_append(writer, data, size));
    if (step > 1)
        ok(pool_row_finish(writer, 1, &shared, &file_size));
    if (step > 1)
        pool_row_discard(writer);
    ok(drv_mem_power_cut("row", any()));
    if (step <= 1)
        pool_row_discard(writer); /* of a drive that is gone: it must cope */
    drv_close(drv);
    ok(drv_open("mem://row?cut=1", &drv));
    if (step > 1)
        assert_true(right_or_corrupt(drv, data, size, &err));
    else
        assert_false(there(drv, PATH));
    ok(pool_row_remove(drv, PATH));
    drv_close(drv);
    mrmr_bytes_free(&shared);
}

static void test_power_cut(void **state)
{
    (void)state;
    seed();
    uint8_t *data = payload(20000);
    for (unsigned round = 0; round < 150; round++)
        cut_at(round % 3, data, 20000);
    free(data);
}

/* Folders that an earlier, killed attempt made and nobody synced. */
static void test_power_cut_old_folders(void **state)
{
    (void)state;
    seed();
    uint8_t *data = payload(20000);
    for (unsigned round = 0; round < 50; round++) {
        struct drv *drv = cut_drive();
        mrmr_err err;
        ok(drv_mkdirs(drv, ".mrmr/parity/3f", 0700));
        write_row(drv, data, 20000);
        drv = cut(drv);
        assert_true(right_or_corrupt(drv, data, 20000, &err));
        drv_close(drv);
    }
    free(data);
}

/* --- The order of what is made durable --- */

static const struct drv_ops *real_ops;
static char trace[512];
static unsigned calls, fail_at; /* the fail_at-th of the traced calls fails; 0 = none */

static mrmr_err traced(const char *what, const char *path)
{
    size_t at = strlen(trace);
    snprintf(trace + at, sizeof trace - at, "%s %s\n", what, path);
    return ++calls == fail_at ? mrmr_fail(MRMR_IO, "as the test asked") : MRMR_OK;
}

static mrmr_err traced_file_sync(struct drv_file *file)
{
    mrmr_err err = traced("file", "");
    return err ? err : real_ops->file_sync(file);
}

static mrmr_err traced_rename(struct drv *drv, const char *from, const char *to, unsigned flags)
{
    mrmr_err err = traced("rename", to);
    return err ? err : real_ops->rename(drv, from, to, flags);
}

static mrmr_err traced_dir_sync(struct drv *drv, const char *path)
{
    mrmr_err err = traced("folder", path);
    return err ? err : real_ops->dir_sync(drv, path);
}

/* The file before its name, then every folder on the way; when any of it fails the row is not
 * finished, and no temporary file is left of it. What has the final name is whole, and the
 * caller's. */
static void test_order(void **state)
{
    (void)state;
    struct drv *drv = drive();
    struct drv_ops ops = *drv->ops;
    real_ops = drv->ops;
    ops.file_sync = traced_file_sync;
    ops.rename = traced_rename;
    ops.dir_sync = traced_dir_sync;
    struct mrmr_bytes shared = body(7, 3000);
    uint8_t *data = payload(3000);
    for (fail_at = 5; fail_at < 6; fail_at--) {
        struct pool_row_writer *writer;
        uint64_t file_size = 77;
        drv->ops = &ops;
        ok(pool_row_create(drv, &STRIPE, 7, 2, &writer));
        ok(pool_row_append(writer, data, 3000));
        trace[0] = '\0';
        calls = 0;
        mrmr_err err = pool_row_finish(writer, 1, &shared, &file_size);
        assert_int_equal(err, fail_at ? MRMR_IO : MRMR_OK);
        if (fail_at)
            assert_int_equal(file_size, 77);
        pool_row_discard(writer);
        drv->ops = real_ops;
        assert_int_equal(there(drv, PATH), !fail_at || fail_at > 2);
        assert_false(there(drv, PATH "~"));
        if (fail_at)
            ok(pool_row_remove(drv, PATH));
    }
    assert_string_equal(trace,
        "file \nrename " PATH "\nfolder .mrmr/parity/3f\nfolder .mrmr/parity\nfolder .mrmr\n");
    mrmr_bytes_free(&shared);
    free(data);
    drv_close(drv);
}

static int all_end(void **state)
{
    (void)state;
    drv_mem_reset_all();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_manifest),
        cmocka_unit_test(test_identity),
        cmocka_unit_test(test_errors_pass),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_shrinks),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_power_cut),
        cmocka_unit_test(test_power_cut_old_folders),
    };
    return cmocka_run_group_tests(tests, NULL, all_end);
}
