# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(golden_parity parity_files.c LIBS mrmr_pool mrmr_drivers mrmr_base)
mrmr_pytest(golden_recover test_recover.py LABELS address_long)
