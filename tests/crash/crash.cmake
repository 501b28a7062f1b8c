# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(crash_kill kill.c LIBS mrmr_rig TIMEOUT 900)
mrmr_cmocka(crash_power power.c LIBS mrmr_rig TIMEOUT 900)
