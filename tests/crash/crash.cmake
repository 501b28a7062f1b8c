# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(crash_kill kill.c LIBS mrmr_rig LABELS address_long TIMEOUT 900)
mrmr_cmocka(crash_power power.c LIBS mrmr_rig TIMEOUT 900)
mrmr_some_under(address crash_power "rebuild-onto")
mrmr_add_test(crash_kill_long ${CMAKE_CURRENT_LIST_DIR} "$<TARGET_FILE:test_crash_kill>;long" "long" 14400 FALSE)
mrmr_add_test(crash_power_long ${CMAKE_CURRENT_LIST_DIR} "$<TARGET_FILE:test_crash_power>;long" "long" 14400 FALSE)
