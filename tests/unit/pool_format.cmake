# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_row pool_row.c LIBS mrmr_pool mrmr_drivers mrmr_base)
mrmr_cmocka(pool_manifest pool_manifest.c LIBS mrmr_pool mrmr_drivers mrmr_meta mrmr_base)
