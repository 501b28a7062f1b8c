/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "drivers/mem.h"
#include "pool/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct drv *drive(void)
{
    struct drv *drv;
    struct drv_file *file;
    drv_mem_reset("attrs");
    assert_int_equal(drv_open("mem://attrs", &drv), MRMR_OK);
    for (const char *name = "ab"; *name; name++) {
        const char path[] = {*name, '\0'};
        assert_int_equal(
            drv_file_open(drv, path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file), MRMR_OK);
        drv_file_close(file);
    }
    return drv;
}

static void attributes_come_back_as_they_were(void **state)
{
    (void)state;
    struct drv *drv = drive();
    struct mrmr_bytes blob = MRMR_BYTES_INIT, again = MRMR_BYTES_INIT;
    char big[3000];
    memset(big, 7, sizeof big);
    assert_int_equal(pool_attrs_read(drv, "a", &blob), MRMR_OK);
    assert_int_equal(blob.size, 0);
    assert_int_equal(drv_xattr_set(drv, "a", "user.z", big, sizeof big), MRMR_OK);
    assert_int_equal(drv_xattr_set(drv, "a", "user.empty", "", 0), MRMR_OK);
    assert_int_equal(drv_xattr_set(drv, "a", "user.a\xff", "\0x\0", 3), MRMR_OK);
    assert_int_equal(pool_attrs_read(drv, "a", &blob), MRMR_OK);
    assert_int_equal(pool_attrs_write(drv, "b", blob.data, blob.size), MRMR_OK);
    assert_int_equal(pool_attrs_read(drv, "b", &again), MRMR_OK);
    assert_int_equal(blob.size, again.size);
    assert_true(blob.size > sizeof big);
    assert_memory_equal(blob.data, again.data, blob.size);
    assert_int_equal(pool_attrs_read(drv, "nowhere", &again), MRMR_ABSENT);
    mrmr_bytes_free(&blob);
    mrmr_bytes_free(&again);
    drv_close(drv);
    drv_mem_reset("attrs");
}

static void hostile_blobs_are_refused(void **state)
{
    (void)state;
    struct drv *drv = drive();
    static const struct {
        const char *blob;
        size_t size;
    } bad[] = {
        {"\1\0\1\0\0", 5},                   /* no whole head */
        {"\6\0\1\0\0\0user.x", 12},          /* its value is missing */
        {"\6\0\377\377\377\377user.xv", 13}, /* a value that runs out */
        {"\377\377\1\0\0\0user.xv", 13},     /* a name that runs out */
        {"\0\0\1\0\0\0v", 7},                /* no name */
        {"\6\0\1\0\0\0us\0r.xv", 13},        /* a NUL in the name */
        {"\6\0\1\0\0\0user.xvmore", 17},     /* something after it */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(pool_attrs_write(drv, "a", bad[i].blob, bad[i].size), MRMR_FORMAT);
    assert_int_equal(pool_attrs_write(drv, "a", "\6\0\1\0\0\0user.xv", 13), MRMR_OK);
    drv_close(drv);
    drv_mem_reset("attrs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_come_back_as_they_were),
        cmocka_unit_test(hostile_blobs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
