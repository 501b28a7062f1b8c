# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(fuzz_parity parity_mutate.c parity_fuzz.c LIBS mrmr_pool mrmr_drivers mrmr_base TIMEOUT 300)

if(MRMR_FUZZ)
  # fuzz_parity_file tests/golden/parity: runs until it is stopped or finds something. As a test, for a few seconds; what it finds goes
  # into its folder.
  set(golden ${CMAKE_SOURCE_DIR}/tests/golden/parity)
  set(seeds ${CMAKE_CURRENT_BINARY_DIR}/fuzz_parity.seeds)
  add_custom_target(fuzzers DEPENDS test_fuzz_parity) # all that the tests labelled `fuzz` run
  mrmr_add_test(fuzz_seeds ${CMAKE_CURRENT_LIST_DIR} "${MRMR_PYTHON};${CMAKE_CURRENT_LIST_DIR}/seeds.py;${golden};${seeds}" "" "" FALSE)
  set_tests_properties(fuzz_seeds PROPERTIES FIXTURES_SETUP fuzz_seeds)
  foreach(entry text gzip file fixed)
    add_executable(fuzz_parity_${entry} ${CMAKE_CURRENT_LIST_DIR}/parity_target.c ${CMAKE_CURRENT_LIST_DIR}/parity_fuzz.c)
    target_compile_definitions(fuzz_parity_${entry} PRIVATE ENTRY=parity_fuzz_${entry})
    target_link_options(fuzz_parity_${entry} PRIVATE -fsanitize=fuzzer)
    add_dependencies(fuzzers fuzz_parity_${entry})
    target_link_libraries(fuzz_parity_${entry} PRIVATE mrmr_pool mrmr_drivers mrmr_base)
    set(found ${CMAKE_CURRENT_BINARY_DIR}/fuzz_parity_${entry}.found)
    file(MAKE_DIRECTORY ${found})
    set(corpus ${golden})
    if(entry MATCHES "text|gzip")
      set(corpus ${seeds}/${entry})
    endif()
    mrmr_add_test(fuzz_run_parity_${entry} ${CMAKE_CURRENT_LIST_DIR}
      "$<TARGET_FILE:fuzz_parity_${entry}>;-max_total_time=10;-max_len=100000;-artifact_prefix=${found}/;${found};${corpus}"
      "" 60 FALSE)
    set_tests_properties(fuzz_run_parity_${entry} PROPERTIES FIXTURES_REQUIRED fuzz_seeds)
  endforeach()
endif()
