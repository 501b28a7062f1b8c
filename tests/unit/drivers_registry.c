/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The table of drivers: what it takes, what it refuses, and how a URI finds its driver; what
 * wrappers do for ops that are not there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "drivers/driver.h"
#include <stdlib.h>
#include <string.h>

/* A driver that can only be looked at: one empty file. */
static uint32_t reader_caps;
static unsigned reader_closed;

static mrmr_err reader_open(const char *uri, struct drv **ret_drv);
static void reader_close(struct drv *drv)
{
    reader_closed++;
    free(drv);
}
static mrmr_err reader_info(struct drv *drv, struct drv_info *ret_info)
{
    (void)drv;
    *ret_info = (struct drv_info){.caps = reader_caps, .fs_name = "reader"};
    return MRMR_OK;
}
static mrmr_err reader_space(struct drv *drv, struct drv_space *ret_space)
{
    (void)drv;
    *ret_space = (struct drv_space){0};
    return MRMR_OK;
}
static mrmr_err reader_stat(struct drv *drv, const char *path, struct drv_stat *ret_stat)
{
    (void)drv;
    *ret_stat = (struct drv_stat){.type = *path ? DRV_REG : DRV_DIR, .size = 1000};
    return MRMR_OK;
}
static mrmr_err reader_list(struct drv *drv, const char *path, drv_list_fn fn, void *arg)
{
    (void)drv;
    (void)path;
    return fn("file", &(struct drv_stat){.type = DRV_REG}, MRMR_OK, arg);
}
static mrmr_err reader_file_open(
    struct drv *drv, const char *path, unsigned flags, uint32_t mode, struct drv_file **ret_file)
{
    (void)path;
    (void)flags;
    (void)mode;
    *ret_file = calloc(1, sizeof **ret_file);
    (*ret_file)->drv = drv;
    return MRMR_OK;
}
static void reader_file_close(struct drv_file *file)
{
    free(file);
}
static mrmr_err reader_file_stat(struct drv_file *file, struct drv_stat *ret_stat)
{
    return reader_stat(file->drv, "file", ret_stat);
}
static mrmr_err reader_file_read(
    struct drv_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    (void)file;
    (void)offset;
    memset(buf, 0, size);
    *ret_got = size;
    return MRMR_OK;
}
static mrmr_err reader_unlink(struct drv *drv, const char *path)
{
    (void)drv;
    (void)path;
    return MRMR_OK;
}

static const struct drv_ops reader = {
    .scheme = "reader",
    .open = reader_open,
    .close = reader_close,
    .info = reader_info,
    .space = reader_space,
    .stat = reader_stat,
    .list = reader_list,
    .file_open = reader_file_open,
    .file_close = reader_file_close,
    .file_stat = reader_file_stat,
    .file_read = reader_file_read,
};

static mrmr_err reader_open(const char *uri, struct drv **ret_drv)
{
    (void)uri;
    *ret_drv = calloc(1, sizeof **ret_drv);
    (*ret_drv)->ops = &reader;
    return MRMR_OK;
}

static void incomplete_drivers_are_refused(void **state)
{
    (void)state;
    /* Each required op missing in turn. */
    static const size_t required[] = {offsetof(struct drv_ops, open),
        offsetof(struct drv_ops, close), offsetof(struct drv_ops, info),
        offsetof(struct drv_ops, space), offsetof(struct drv_ops, stat),
        offsetof(struct drv_ops, list), offsetof(struct drv_ops, file_open),
        offsetof(struct drv_ops, file_close), offsetof(struct drv_ops, file_stat),
        offsetof(struct drv_ops, file_read)};
    for (size_t i = 0; i < sizeof required / sizeof *required; i++) {
        static struct drv_ops ops;
        ops = reader;
        ops.scheme = "incomplete";
        memset((char *)&ops + required[i], 0, sizeof(void (*)(void)));
        assert_int_equal(drv_register(&ops), MRMR_INVALID);
        assert_non_null(strstr(mrmr_story_get()->text, "incomplete"));
    }
    static struct drv_ops half;
    half = reader;
    half.scheme = "half";
    half.unlink = reader_unlink; /* can change things, but lacks the rest of what writing needs */
    assert_int_equal(drv_register(&half), MRMR_INVALID);
    static const char *const schemes[] = {NULL, "", "Upper", "with space", "a/b", "a:b"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        half = reader;
        half.scheme = schemes[i];
        assert_int_equal(drv_register(&half), MRMR_INVALID);
    }
    static const char *const taken[] = {"local", "mem"};
    for (size_t i = 0; i < 2; i++) {
        half = reader;
        half.scheme = taken[i];
        assert_int_equal(drv_register(&half), MRMR_EXISTS);
    }
}

static void uris_find_their_driver(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "relative", "./here", "../up", "ftp://host/x", "://x",
        "re/lative://x", "mem", "mem:x", "reader:/x"};
    struct drv *drv = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(drv_open(bad[i], &drv), MRMR_INVALID);
        assert_non_null(strstr(mrmr_story_get()->hint, "/absolute/path"));
        assert_non_null(strstr(mrmr_story_get()->hint, "mem://"));
    }
    assert_int_equal(drv_open(NULL, &drv), MRMR_INVALID);
    assert_int_equal(drv_open("local://relative", &drv), MRMR_INVALID);
    assert_null(drv);
    drv_close(NULL);
    drv_file_close(NULL);
}

static void a_registered_driver_is_found(void **state)
{
    (void)state;
    struct drv *drv = NULL;
    struct drv_file *file = NULL;
    assert_int_equal(drv_register(&reader), MRMR_OK);
    assert_int_equal(drv_register(&reader), MRMR_EXISTS);
    reader_caps = 0;
    assert_int_equal(drv_open("reader://any", &drv), MRMR_OK);
    assert_ptr_equal(drv->ops, &reader);

    /* What the backend lacks is unsupported, and the story says what. */
    assert_int_equal(drv_mkdir(drv, "d", 0755), MRMR_UNSUPPORTED);
    assert_string_equal(mrmr_story_get()->op, "mkdir");
    assert_string_equal(mrmr_story_get()->path, "d");
    assert_int_equal(drv_unlink(drv, "d"), MRMR_UNSUPPORTED);
    assert_int_equal(drv_rmdir(drv, "d"), MRMR_UNSUPPORTED);
    assert_int_equal(drv_rename(drv, "d", "e", 0), MRMR_UNSUPPORTED);
    assert_int_equal(drv_link(drv, "d", "e"), MRMR_UNSUPPORTED);
    assert_int_equal(drv_symlink(drv, "d", "e"), MRMR_UNSUPPORTED);
    assert_int_equal(drv_mknod(drv, "d", DRV_FIFO, 0600, 0), MRMR_UNSUPPORTED);
    assert_int_equal(drv_clone(drv, "d", "e"), MRMR_UNSUPPORTED);
    assert_int_equal(drv_dir_sync(drv, ""), MRMR_UNSUPPORTED);
    assert_int_equal(drv_sync_all(drv), MRMR_UNSUPPORTED);
    assert_int_equal(drv_set_attr(drv, "d", 0, &(struct drv_stat){0}), MRMR_UNSUPPORTED);
    assert_int_equal(drv_xattr_set(drv, "d", "user.x", "1", 1), MRMR_UNSUPPORTED);
    assert_int_equal(drv_readlink(drv, "d", NULL), MRMR_UNSUPPORTED);
    assert_int_equal(drv_xattr_list(drv, "d", NULL, NULL), MRMR_UNSUPPORTED);
    assert_int_equal(drv_file_open(drv, "f", DRV_OPEN_WRITE, 0, &file), MRMR_UNSUPPORTED);
    assert_null(file);

    /* Without the op all of a file is data, and advice goes nowhere. */
    uint64_t start, end;
    assert_int_equal(drv_file_open(drv, "f", DRV_OPEN_READ, 0, &file), MRMR_OK);
    assert_int_equal(drv_file_next_data(file, 400, &start, &end), MRMR_OK);
    assert_int_equal(start, 400);
    assert_int_equal(end, 1000);
    assert_int_equal(drv_file_next_data(file, 4000, &start, &end), MRMR_OK);
    assert_int_equal(start, 1000);
    assert_int_equal(end, 1000);
    drv_file_advise(file, 0, 1000, false);
    assert_int_equal(drv_file_write(file, 0, "x", 1), MRMR_UNSUPPORTED);
    drv_file_close(file);
    drv_close(drv);
    assert_int_equal(reader_closed, 1);

    /* A drive that claims to be writable by a driver that cannot write is a broken driver. */
    drv = NULL;
    reader_caps = DRV_CAP_WRITABLE;
    assert_int_equal(drv_open("reader://any", &drv), MRMR_INTERNAL);
    assert_null(drv);
    assert_int_equal(reader_closed, 2);
}

static void the_table_is_bounded(void **state)
{
    (void)state;
    static struct drv_ops ops[32];
    static char schemes[32][8];
    mrmr_err err = MRMR_OK;
    for (int i = 0; i < 32 && !err; i++) {
        ops[i] = reader;
        schemes[i][0] = 'x';
        schemes[i][1] = (char)('a' + i % 26);
        schemes[i][2] = (char)('a' + i / 26);
        ops[i].scheme = schemes[i];
        err = drv_register(&ops[i]);
    }
    assert_int_equal(err, MRMR_SPACE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(incomplete_drivers_are_refused),
        cmocka_unit_test(uris_find_their_driver),
        cmocka_unit_test(a_registered_driver_is_found),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests_name("drivers: table", tests, NULL, NULL);
}
