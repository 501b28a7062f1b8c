/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the red team's lists share: a rig in memory, and where a row lies.
 */
#ifndef MRMR_TESTS_UNIT_POOL_ENGINE_RED_TEAM_H
#define MRMR_TESTS_UNIT_POOL_ENGINE_RED_TEAM_H

#include "tests/support/rig.h"

static inline int rig_setup(void **state)
{
    *state = rig_create(&(struct rig_spec){.kind = RIG_MEM, .seed = 41});
    return 0;
}

static inline int rig_teardown(void **state)
{
    rig_destroy(*state);
    return 0;
}

static inline void row_path(
    const struct meta_stripe *image, unsigned index, char path[POOL_ROW_PATH])
{
    pool_row_path(&image->uuid, image->generation, index, path);
}

#define rig_test(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

#endif
