# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_engine pool_engine.c LIBS mrmr_rig TIMEOUT 180)
