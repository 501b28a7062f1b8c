# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_tree_known pool_tree_known.c pool_drive_world.c LIBS mrmr_pool mrmr_meta mrmr_drivers mrmr_base LABELS threads)
target_link_options(test_pool_tree_known PRIVATE -Wl,--wrap=drv_stat -Wl,--wrap=drv_info -Wl,--wrap=drv_mkdir)
