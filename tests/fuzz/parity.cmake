# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(fuzz_parity parity_mutate.c parity_fuzz.c LIBS mrmr_pool mrmr_drivers mrmr_base TIMEOUT 300)

if(MRMR_FUZZ)
  # fuzz_parity_file tests/golden/parity: runs until it is stopped or finds something.
  foreach(entry text gzip file fixed)
    add_executable(fuzz_parity_${entry} ${CMAKE_CURRENT_LIST_DIR}/parity_target.c ${CMAKE_CURRENT_LIST_DIR}/parity_fuzz.c)
    target_compile_definitions(fuzz_parity_${entry} PRIVATE ENTRY=parity_fuzz_${entry})
    target_compile_options(fuzz_parity_${entry} PRIVATE -fsanitize=fuzzer)
    target_link_options(fuzz_parity_${entry} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(fuzz_parity_${entry} PRIVATE mrmr_pool mrmr_drivers mrmr_base)
  endforeach()
endif()
