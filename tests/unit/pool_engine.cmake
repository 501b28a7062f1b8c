# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(pool_engine pool_engine.c LIBS mrmr_rig LABELS threads TIMEOUT 600)
mrmr_cmocka(pool_engine_repair pool_engine_repair.c LIBS mrmr_rig TIMEOUT 600)
mrmr_cmocka(pool_engine_margin pool_engine_margin.c LIBS mrmr_rig TIMEOUT 180)
mrmr_cmocka(pool_engine_media pool_engine_media.c LIBS mrmr_rig LABELS threads)
mrmr_cmocka(pool_engine_orders pool_engine_orders.c LIBS mrmr_rig TIMEOUT 600)
mrmr_cmocka(pool_engine_red_team pool_engine_red_team.c LIBS mrmr_rig TIMEOUT 600)
mrmr_cmocka(pool_check pool_check.c LIBS mrmr_rig)
mrmr_cmocka(pool_engine_place pool_engine_place.c LIBS mrmr_rig TIMEOUT 180)
