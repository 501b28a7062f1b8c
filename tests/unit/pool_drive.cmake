# SPDX-License-Identifier: GPL-3.0-or-later
set(pool_world_libs mrmr_pool mrmr_drivers mrmr_meta mrmr_parity mrmr_base)
mrmr_cmocka(pool_drive_identity pool_drive_identity.c pool_drive_world.c LIBS ${pool_world_libs})
mrmr_cmocka(pool_drive_add pool_drive_add.c pool_drive_world.c LIBS ${pool_world_libs})
mrmr_cmocka(pool_drive_session pool_drive_session.c pool_drive_world.c LIBS ${pool_world_libs} LABELS threads)
mrmr_cmocka(pool_drive_presence pool_drive_presence.c pool_drive_world.c LIBS ${pool_world_libs})
mrmr_cmocka(pool_drive_settings pool_drive_settings.c pool_drive_world.c LIBS ${pool_world_libs})
mrmr_cmocka(pool_open pool_open.c pool_drive_world.c LIBS ${pool_world_libs})
mrmr_cmocka(pool_status pool_status.c pool_drive_world.c LIBS ${pool_world_libs})
