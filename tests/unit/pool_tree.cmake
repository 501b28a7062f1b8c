# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_tree pool_tree.c LIBS mrmr_rig LABELS threads TIMEOUT 300)
