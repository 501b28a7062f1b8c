/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How often a daemon that ends is started anew.
 */
#include "fuse/daemon.h"
#include "tests/unit/base_check.h"

#include "base/clock.h"
#include <stdlib.h>

#define S MRMR_NS_PER_S

static void test_less_and_less_often(void **state)
{
    static const int64_t wanted[] = {10, 20, 40, 80, 160, 320, 600, 600};
    int64_t wait = 0;
    (void)state;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        wait = mfs_daemon_wait(wait, S);
        assert_int_equal(wait, wanted[i] * S);
    }
    assert_int_equal(mfs_daemon_wait(wait, 601 * S), 10 * S); /* it had lasted */
    assert_int_equal(mfs_daemon_wait(20 * S, 599 * S), 40 * S);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_less_and_less_often)};
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("fuse_daemon", tests, NULL, NULL);
}
