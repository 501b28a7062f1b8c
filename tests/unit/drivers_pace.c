/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * No more than so many bytes a second, by however many threads; what is small never waits, and a cancel ends every wait.
 */
#include "drivers/driver.h"
#include "drivers/pace.h"
#include "tests/unit/base_check.h"

#include "base/clock.h"
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20, PIECES = 8, THREADS = 4 };

static struct drv_file *a_file(struct drv **ret_drv)
{
    struct drv_file *file = NULL;
    assert_int_equal(drv_open("mem://pace?size=256M", ret_drv), MRMR_OK);
    assert_int_equal(drv_file_open(*ret_drv, "file",
                         DRV_OPEN_READ | DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &file),
        MRMR_OK);
    return file;
}

/* ns that so many bytes take, written (or read) in pieces. */
static int64_t moves(struct drv_file *file, bool writes, size_t piece, size_t pieces)
{
    char *buf = calloc(1, piece);
    size_t got;
    const int64_t begun = mrmr_clock_monotonic();
    for (size_t i = 0; i < pieces; i++)
        assert_int_equal(writes ? drv_file_write(file, i * piece, buf, piece)
                                : drv_file_read(file, i * piece, buf, piece, &got),
            MRMR_OK);
    free(buf);
    return mrmr_clock_monotonic() - begun;
}

static void test_reads_and_writes(void **state)
{
    struct drv *drv;
    struct drv_file *file = a_file(&drv);
    (void)state;
    drv_pace_set(16 * MIB, NULL);
    /* 8 MiB at 16 MiB/s, less a tenth of a second that was not used before. */
    assert_true(moves(file, true, MIB, PIECES) >= MRMR_NS_PER_S * 39 / 100);
    assert_true(moves(file, false, MIB, PIECES) >= MRMR_NS_PER_S * 39 / 100);
    drv_pace_set(MIB, NULL);
    assert_true(moves(file, true, 4096, PIECES * 256) < MRMR_NS_PER_S * 4); /* it would be 8 */
    drv_pace_set(0, NULL);
    assert_true(moves(file, false, MIB, PIECES) < MRMR_NS_PER_S * 4);
    drv_file_close(file);
    drv_close(drv);
}

static void *takes(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < PIECES / THREADS; i++)
        drv_pace_take(MIB);
    return NULL;
}

/* ns until all have theirs. */
static int64_t together(void)
{
    pthread_t thread[THREADS];
    const int64_t begun = mrmr_clock_monotonic();
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, takes, NULL), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    return mrmr_clock_monotonic() - begun;
}

static void test_threads(void **state)
{
    struct mrmr_cancel cancel = {0};
    (void)state;
    drv_pace_set(16 * MIB, NULL);
    assert_true(together() >= MRMR_NS_PER_S * 39 / 100);
    drv_pace_set(1, &cancel); /* months */
    atomic_store(&cancel.flag, true);
    assert_true(together() < 20 * MRMR_NS_PER_S);
    drv_pace_set(0, NULL);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_and_writes), cmocka_unit_test(test_threads)};
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("drivers_pace", tests, NULL, NULL);
}
