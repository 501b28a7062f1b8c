# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(golden_parity parity_files.c LIBS mrmr_pool mrmr_drivers mrmr_base)
# Its time is Python's, which no sanitizer sees.
if(NOT MRMR_SANITIZE)
  mrmr_pytest(golden_recover test_recover.py)
endif()
