# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(parity_planner planner.c planner_sim.c LIBS mrmr_parity mrmr_base)
mrmr_cmocka(parity_planner_pools planner_pools.c planner_sim.c LIBS mrmr_parity mrmr_base LABELS address_long TIMEOUT 600)
