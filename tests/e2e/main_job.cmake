# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_pytest(e2e_six_drives test_six_drives.py TIMEOUT 600)
mrmr_pytest(e2e_recover_by_hand test_recover_by_hand.py TIMEOUT 900)
mrmr_pytest(e2e_rebuild_orders test_rebuild_orders.py TIMEOUT 600)

mrmr_pytest(e2e_small_files test_small_files.py TIMEOUT 600)
mrmr_pytest(e2e_small_files_long test_small_files.py LABELS long TIMEOUT 1800)
set_property(TEST e2e_small_files_long APPEND PROPERTY ENVIRONMENT "MRMR_FILES=40000")
