# SPDX-License-Identifier: GPL-3.0-or-later
add_executable(posix_calls)
foreach(part calls script names files ranges space links kinds attributes times xattrs acl rename folders users setid
    locks mmap handles)
  target_sources(posix_calls PRIVATE ${CMAKE_CURRENT_LIST_DIR}/${part}.c)
endforeach()
