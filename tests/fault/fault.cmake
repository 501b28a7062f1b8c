# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(fault_nth_call nth_call.c LIBS mrmr_rig TIMEOUT 900)
