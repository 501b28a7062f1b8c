# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_tree_hops pool_tree_hops.c pool_drive_world.c LIBS mrmr_pool mrmr_meta mrmr_drivers mrmr_base LABELS threads)
target_link_options(test_pool_tree_hops PRIVATE -Wl,--wrap=guard_call -Wl,--wrap=drv_unlink -Wl,--wrap=mrmr_clock_real)
