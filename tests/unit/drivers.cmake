# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(unit_drivers_registry drivers_registry.c LIBS mrmr_drivers)
mrmr_cmocka(unit_drivers_mem drivers_mem.c LIBS mrmr_drivers)
mrmr_cmocka(unit_drivers_fault drivers_fault.c LIBS mrmr_drivers)
