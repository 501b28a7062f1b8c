# SPDX-License-Identifier: GPL-3.0-or-later
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
foreach(part "" _hostile)
  mrmr_cmocka(meta_journal${part} meta_journal${part}.c meta_copies.c catalog_same.c meta_support.c
    LIBS mrmr_meta mrmr_base PkgConfig::SQLITE3 LABELS address_long)
endforeach()
