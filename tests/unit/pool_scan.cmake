# SPDX-License-Identifier: GPL-3.0-or-later
set(pool_scan_libs mrmr_pool mrmr_drivers mrmr_meta mrmr_parity mrmr_base)
mrmr_cmocka(pool_scan pool_scan.c pool_scan_world.c LIBS ${pool_scan_libs} LABELS threads)
mrmr_cmocka(pool_scan_hold pool_scan_hold.c pool_scan_world.c LIBS ${pool_scan_libs} LABELS threads address_long thread_long)
mrmr_cmocka(pool_scan_model pool_scan_model.c pool_scan_world.c LIBS ${pool_scan_libs} LABELS threads address_long thread_long TIMEOUT 600)
mrmr_cmocka(pool_scan_moved pool_scan_moved.c pool_scan_world.c LIBS ${pool_scan_libs})
mrmr_cmocka(pool_compare pool_compare.c pool_scan_world.c LIBS ${pool_scan_libs} LABELS threads)
mrmr_cmocka(pool_supply pool_supply.c pool_scan_world.c LIBS ${pool_scan_libs})
mrmr_cmocka(pool_attrs pool_scan_attrs.c LIBS ${pool_scan_libs})
