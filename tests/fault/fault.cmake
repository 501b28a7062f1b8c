# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(fault_nth_call nth_call.c LIBS mrmr_rig TIMEOUT 900)
mrmr_add_test(fault_nth_call_long ${CMAKE_CURRENT_LIST_DIR} "$<TARGET_FILE:test_fault_nth_call>;long" "long" 14400 FALSE)
