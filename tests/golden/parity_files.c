/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The golden parity files, each opened as the row it should be and read as a whole;
 * parity/index.txt says what must come out. They were made from docs/FORMAT.md by make_parity.py,
 * without any code of MRMR.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "drivers/mem.h"
#include "pool/stripe/manifest.h"

static struct mrmr_uuid stripe;
static unsigned wrong;

static void ok(mrmr_err err)
{
    char text[2048];
    if (err)
        fail_msg("%s", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

static const char *word(mrmr_err err)
{
    switch (err) {
    case MRMR_OK:
        return "ok";
    case MRMR_FORMAT:
        return "format";
    case MRMR_DIGEST:
        return "digest";
    case MRMR_TRUNCATED:
        return "truncated";
    case MRMR_NEWER:
        return "newer";
    default:
        return mrmr_err_name(err);
    }
}

static void compare(const char *name, const char *what, const char *want, mrmr_err err)
{
    char text[2048];
    if (strcmp(want, word(err)) == 0) {
        if (err && !mrmr_story_get()->text[0]) {
            print_error("%s, %s: refused without a reason\n", name, what);
            wrong++;
        }
        return;
    }
    print_error("%s, %s: %s expected, not %s: %s\n", name, what, want, word(err),
        err ? mrmr_story_print(mrmr_story_get(), text, sizeof text) : "");
    wrong++;
}

static void load(struct drv *drv, const char *folder, const char *name, const char *path)
{
    struct drv *local;
    struct drv_file *file;
    struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    char from[300];
    snprintf(from, sizeof from, "%s.row", name);
    ok(drv_open(folder, &local));
    ok(drv_read_all(local, from, 16 << 20, &bytes));
    drv_close(local);
    mrmr_err err = drv_unlink(drv, path);
    assert_true(err == MRMR_OK || err == MRMR_ABSENT);
    ok(drv_file_open(drv, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file));
    if (bytes.size)
        ok(drv_file_write(file, 0, bytes.data, bytes.size));
    drv_file_close(file);
    mrmr_bytes_free(&bytes);
}

static void judge(struct drv *drv, const char *name, uint64_t length, const char *head,
    const char *whole, const char *path)
{
    struct pool_row_reader *reader = NULL;
    struct pool_manifest *manifest = NULL;
    compare(name, "the row", head, pool_row_open(drv, &stripe, 7, 0, length, &reader));
    compare(name, "the manifest", whole, pool_manifest_read(drv, path, &manifest));
    pool_row_close(reader);
    pool_manifest_free(manifest);
}

static void test_golden(void **state)
{
    (void)state;
    const char *source = getenv("MRMR_SOURCE");
    char folder[1000], index[1100], path[POOL_ROW_PATH], name[128], head[32], whole[32];
    unsigned long long length;
    unsigned n = 0;
    assert_non_null(source);
    snprintf(folder, sizeof folder, "%s/tests/golden/parity", source);
    snprintf(index, sizeof index, "%s/index.txt", folder);
    FILE *list = fopen(index, "r");
    assert_non_null(list);
    struct drv *drv;
    ok(drv_open("mem://golden", &drv));
    assert_true(mrmr_uuid_parse("3f9c0d2e-5b1a-4c7e-9f00-1234567890e1", &stripe));
    pool_row_path(&stripe, 7, 0, path);
    ok(drv_mkdirs(drv, ".mrmr/parity/3f", 0700));
    for (; fscanf(list, "%127s %llu %31s %31s", name, &length, head, whole) == 4; n++) {
        load(drv, folder, name, path);
        judge(drv, name, length, head, whole, path);
    }
    assert_int_equal(fclose(list), 0);
    print_message("%u golden parity files\n", n);
    assert_true(n > 100);
    assert_int_equal(wrong, 0);
    drv_close(drv);
    drv_mem_reset("golden");
}

/* What the good ones say, in detail. */
static void test_content(void **state)
{
    (void)state;
    char folder[1000];
    snprintf(folder, sizeof folder, "%s/tests/golden/parity", getenv("MRMR_SOURCE"));
    struct drv *local;
    struct pool_manifest *m;
    ok(drv_open(folder, &local));
    ok(pool_manifest_read(local, "good-usual.row", &m));
    assert_int_equal(m->blocks, 3);
    assert_int_equal(m->block[1].slot, 3);
    assert_int_equal(m->block[2].slot, 200);
    assert_string_equal(m->block[2].name, "drive 2");
    assert_int_equal(m->superseded, 1);
    assert_int_equal(m->supersedes[0].generation, 6);
    assert_int_equal(m->rows, 2);
    assert_int_equal(m->file[1].mtime, 1700000000123456789);
    assert_int_equal(m->file[1].mode, 0644);
    assert_int_equal(m->file[1].uid, 1000);
    assert_int_equal(m->file[1].sequence, 11);
    assert_string_equal(pool_manifest_path(m, &m->file[1]), "folder/file 1");
    assert_int_equal(m->extent[1].bytes, 2000);
    pool_manifest_free(m);
    ok(pool_manifest_read(local, "good-bytes-in-names.row", &m));
    assert_memory_equal(pool_manifest_path(m, &m->file[0]), "\n\xff%/caf\xc3\xa9/nnn", 13);
    pool_manifest_free(m);
    ok(pool_manifest_read(local, "good-gone.row", &m));
    assert_null(pool_manifest_path(m, &m->file[0]));
    pool_manifest_free(m);
    ok(pool_manifest_read(local, "good-question-mark.row", &m));
    assert_string_equal(pool_manifest_path(m, &m->file[0]), "?");
    pool_manifest_free(m);
    ok(pool_manifest_read(local, "good-time-before-1970.row", &m));
    assert_true(m->file[0].mtime == INT64_MIN);
    pool_manifest_free(m);
    ok(pool_manifest_read(local, "good-states.row", &m));
    assert_int_equal(m->extent[0].state, META_GONE);
    pool_manifest_free(m);
    ok(pool_manifest_read(local, "good-all-slots.row", &m));
    assert_int_equal(m->blocks, META_SLOTS_MAX);
    pool_manifest_free(m);
    drv_close(local);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden), cmocka_unit_test(test_content)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
