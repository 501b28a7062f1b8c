# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_pytest(e2e_mount test_mount.py LABELS sanitized TIMEOUT 600)
if(MRMR_SANITIZE) # else 12,000 in a large folder; these are still several of the kernel's reads of it
  set_property(TEST e2e_mount APPEND PROPERTY ENVIRONMENT "MRMR_FILES=4000")
endif()
# It lowers limits of the whole system for moments.
mrmr_pytest(e2e_mount_watch test_mount_watch.py LABELS sanitized address_long TIMEOUT 600 SERIAL)
mrmr_pytest(e2e_mount_watchdog test_mount_watchdog.py TIMEOUT 300)
mrmr_pytest(e2e_mount_rules test_mount_rules.py TIMEOUT 300)
mrmr_pytest(e2e_mount_faults test_mount_faults.py TIMEOUT 300)
set_property(TEST e2e_mount_faults APPEND PROPERTY ENVIRONMENT "MRMR_FAULT_FS=$<TARGET_FILE:fault_fs>")
mrmr_pytest(e2e_mount_user test_mount_user.py LABELS sanitized TIMEOUT 300)
mrmr_pytest(e2e_mount_drives test_mount_drives.py LABELS sanitized address_long TIMEOUT 600)
mrmr_pytest(e2e_mount_full test_mount_full.py TIMEOUT 300)
mrmr_pytest(e2e_full_release test_full_release.py TIMEOUT 300)
mrmr_pytest(e2e_full_during test_full_during.py TIMEOUT 300)
mrmr_pytest(e2e_mount_inplace test_mount_inplace.py LABELS sanitized address_long TIMEOUT 300)
mrmr_pytest(e2e_mount_hot test_mount_hot.py LABELS address_long TIMEOUT 300)
mrmr_pytest(e2e_mount_readers test_mount_readers.py LABELS sanitized address_long TIMEOUT 300)
mrmr_pytest(e2e_mount_kill test_mount_kill.py LABELS sanitized address_long TIMEOUT 300)
mrmr_pytest(e2e_mount_handles test_mount_handles.py LABELS sanitized address_long TIMEOUT 300)
mrmr_pytest(e2e_mount_appends test_mount_appends.py LABELS sanitized TIMEOUT 300)
mrmr_pytest(e2e_mount_noted test_mount_noted.py LABELS sanitized TIMEOUT 300)
mrmr_pytest(e2e_mount_libfuse test_mount_libfuse.py LABELS sanitized TIMEOUT 300)
mrmr_pytest(e2e_mount_passthrough test_mount_passthrough.py LABELS sanitized TIMEOUT 600)
# libfuse reads the groups of a caller who is another user from text that it does not end with a NUL.
set_property(TEST e2e_mount_watch APPEND PROPERTY ENVIRONMENT
  "ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:allocator_may_return_null=1")
mrmr_pytest(e2e_mount_long test_mount.py test_mount_watch.py test_mount_drives.py test_mount_kill.py LABELS long TIMEOUT 5400)
set_property(TEST e2e_mount_long APPEND PROPERTY ENVIRONMENT "MRMR_FILES=100000;MRMR_ROUNDS=20")

mrmr_pytest(e2e_mount_large test_mount_large.py LABELS long TIMEOUT 1800)

mrmr_pytest(e2e_mount_posix test_mount_posix.py TIMEOUT 600)
set_property(TEST e2e_mount_posix APPEND PROPERTY ENVIRONMENT "MRMR_POSIX_CALLS=$<TARGET_FILE:posix_calls>")

mrmr_pytest(e2e_mount_programs test_mount_programs.py TIMEOUT 600)
mrmr_pytest(e2e_mount_programs_long test_mount_programs.py LABELS long TIMEOUT 3600)
set_property(TEST e2e_mount_programs_long APPEND PROPERTY ENVIRONMENT "MRMR_ROUNDS=5")

mrmr_pytest(e2e_mount_dying test_mount_dying.py TIMEOUT 300)
mrmr_pytest(e2e_mount_dying_long test_mount_dying.py LABELS long TIMEOUT 3600)
set_property(TEST e2e_mount_dying_long APPEND PROPERTY ENVIRONMENT "MRMR_ROUNDS=30")

add_executable(mount_model ${CMAKE_CURRENT_LIST_DIR}/mount_model.c)
mrmr_pytest(e2e_mount_model test_mount_model.py TIMEOUT 600)
set_property(TEST e2e_mount_model APPEND PROPERTY ENVIRONMENT "MRMR_MOUNT_MODEL=$<TARGET_FILE:mount_model>")
# 1,000,000 operations in all, in two pools side by side.
foreach(pool a b)
  mrmr_pytest(e2e_mount_model_long_${pool} test_mount_model.py LABELS long TIMEOUT 9000)
  set_property(TEST e2e_mount_model_long_${pool} APPEND PROPERTY ENVIRONMENT
    "MRMR_MOUNT_MODEL=$<TARGET_FILE:mount_model>" "MRMR_OPS=250000" "MRMR_ROUNDS=2")
endforeach()
mrmr_pytest(e2e_detach test_detach.py LABELS sanitized address_long TIMEOUT 600)
mrmr_pytest(e2e_auto_rebuild test_auto_rebuild.py LABELS sanitized address_long TIMEOUT 600)

# It ends with the batch in which its time is over, and beside other tests a batch may take some minutes.
mrmr_pytest(e2e_torture test_torture.py TIMEOUT 1200)
mrmr_pytest(e2e_torture_long test_torture.py LABELS long TIMEOUT 400000)
set_property(TEST e2e_torture_long APPEND PROPERTY ENVIRONMENT "MRMR_TORTURE_LONG=1")
