# SPDX-License-Identifier: GPL-3.0-or-later
add_library(mrmr_rig STATIC ${CMAKE_CURRENT_LIST_DIR}/rig.c ${CMAKE_CURRENT_LIST_DIR}/rig_answer.c
  ${CMAKE_CURRENT_LIST_DIR}/kept.c
  ${CMAKE_CURRENT_LIST_DIR}/scenario.c)
target_link_libraries(mrmr_rig PUBLIC mrmr_pool mrmr_drivers mrmr_meta mrmr_parity mrmr_base PkgConfig::CMOCKA)

pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
add_executable(fault_fs ${CMAKE_CURRENT_LIST_DIR}/fault_fs.c)
target_link_libraries(fault_fs PRIVATE PkgConfig::FUSE3 Threads::Threads)
