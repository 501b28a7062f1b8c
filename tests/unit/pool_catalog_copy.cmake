# SPDX-License-Identifier: GPL-3.0-or-later
# sqlite3: catalogs are compared by a connection of the test's own; the command restores one by hand.
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
foreach(part copy damaged faulty)
  mrmr_cmocka(pool_catalog_${part} pool_catalog_${part}.c pool_catalog_world.c catalog_same.c pool_drive_world.c
    LIBS mrmr_rig PkgConfig::SQLITE3 LABELS address_long TIMEOUT 600)
endforeach()
