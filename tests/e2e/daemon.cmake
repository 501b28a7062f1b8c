# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_pytest(e2e_daemon test_daemon.py LABELS sanitized TIMEOUT 600)
if(MRMR_SANITIZE) # that library would have to be the first
  set_property(TEST e2e_daemon APPEND PROPERTY ENVIRONMENT "MRMR_DIES_AT_SPAWN=none")
else()
  add_library(dies_at_spawn MODULE ${CMAKE_SOURCE_DIR}/tests/support/dies_at_spawn.c)
  set_property(TEST e2e_daemon APPEND PROPERTY ENVIRONMENT "MRMR_DIES_AT_SPAWN=$<TARGET_FILE:dies_at_spawn>")
endif()
