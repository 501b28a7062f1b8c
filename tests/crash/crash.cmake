# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(crash_kill kill.c LIBS mrmr_rig LABELS address_long TIMEOUT 900)
mrmr_cmocka(crash_power power.c LIBS mrmr_rig TIMEOUT 900)
mrmr_some_under(address crash_power "rebuild-onto")
# Of each job 20 deaths and 30 cuts of a kind, spread from the seed on; MRMR_ROUNDS=1000 asks for more. A sanitizer's build
# goes through the same code with one of each.
if(NOT MRMR_SANITIZE)
  foreach(what kill power)
    mrmr_add_test(crash_${what}_long ${CMAKE_CURRENT_LIST_DIR} "$<TARGET_FILE:test_crash_${what}>;long" "long" 14400 FALSE)
  endforeach()
endif()
