# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_tree_due pool_tree_due.c pool_drive_world.c LIBS mrmr_pool mrmr_meta mrmr_drivers mrmr_base LABELS threads)
