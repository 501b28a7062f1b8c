# SPDX-License-Identifier: GPL-3.0-or-later
# sqlite3: hostile catalogs are written, and views asked, by a connection of the test's own.
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
set(meta_test_libs mrmr_meta mrmr_base PkgConfig::SQLITE3)
mrmr_cmocka(meta_catalog meta_catalog.c meta_support.c LIBS ${meta_test_libs} LABELS threads)
foreach(part tree drives staged)
  mrmr_cmocka(meta_${part} meta_${part}.c meta_support.c LIBS ${meta_test_libs})
endforeach()
mrmr_cmocka(meta_exposed meta_exposed.c meta_support.c LIBS ${meta_test_libs})
mrmr_cmocka(meta_stripe meta_stripe.c meta_support.c LIBS ${meta_test_libs})
mrmr_cmocka(meta_hostile meta_hostile.c meta_support.c LIBS ${meta_test_libs})
mrmr_cmocka(meta_fault meta_fault.c meta_support.c LIBS ${meta_test_libs} LABELS address_long)

# Measures a catalog of a million files; not a test (docs/CATALOG.md has its figures).
add_executable(catalog_bench ${CMAKE_SOURCE_DIR}/tests/bench/catalog_bench.c)
target_link_libraries(catalog_bench PRIVATE mrmr_meta mrmr_base)
