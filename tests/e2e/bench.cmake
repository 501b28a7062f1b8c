# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_pytest(e2e_bench test_bench.py TIMEOUT 300)
set_property(TEST e2e_bench APPEND PROPERTY ENVIRONMENT "MRMR_NULL_FS=$<TARGET_FILE:null_fs>")
