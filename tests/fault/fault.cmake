# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(fault_nth_call nth_call.c LIBS mrmr_rig TIMEOUT 900)
mrmr_some_under(address fault_nth_call "sync")
# With MRMR_ROUNDS=0 every call, one after another, which takes hours: each scenario is a test of its own, so that they run side by
# side. A sanitizer's build has fault_nth_call_all.
if(NOT MRMR_SANITIZE)
  foreach(scenario sync first-sync scrub rebuild-onto rebuild-away rebuild-in-place redundancy-up redundancy-down merge)
    mrmr_add_test(fault_nth_call_long_${scenario} ${CMAKE_CURRENT_LIST_DIR}
      "$<TARGET_FILE:test_fault_nth_call>;long;${scenario}" "long" 14400 FALSE)
  endforeach()
endif()
