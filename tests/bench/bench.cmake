# SPDX-License-Identifier: GPL-3.0-or-later
# What tools/bench measures beside; never installed.
pkg_check_modules(FUSE3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
add_executable(null_fs ${CMAKE_CURRENT_LIST_DIR}/null_fs.c)
target_link_libraries(null_fs PRIVATE PkgConfig::FUSE3 Threads::Threads)
