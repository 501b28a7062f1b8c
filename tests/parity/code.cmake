# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(parity_matrix parity_matrix.c code_reference.c LIBS mrmr_parity)
mrmr_cmocka(parity_code parity_code.c code_reference.c LIBS mrmr_parity)
mrmr_cmocka(parity_decode parity_decode.c code_reference.c LIBS mrmr_parity)
target_link_options(test_parity_decode PRIVATE -Wl,--wrap=calloc)

# The same over the kernels that this processor would not pick; see code_kernels.c.
set(mrmr_kernels base)
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64")
  list(APPEND mrmr_kernels sse avx avx2)
endif()
foreach(kernel IN LISTS mrmr_kernels)
  mrmr_cmocka(parity_code_${kernel} parity_code.c code_reference.c code_kernels.c LIBS mrmr_parity)
  target_compile_definitions(test_parity_code_${kernel} PRIVATE KERNEL_${kernel})
  target_link_options(test_parity_code_${kernel} PRIVATE
    -Wl,--wrap=ec_init_tables -Wl,--wrap=ec_encode_data_update)
  set_tests_properties(parity_code_${kernel} PROPERTIES SKIP_RETURN_CODE 77)
endforeach()
