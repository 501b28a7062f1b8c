# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(unit_drivers_registry drivers_registry.c LIBS mrmr_drivers)
mrmr_cmocka(unit_drivers_mem drivers_mem.c LIBS mrmr_drivers)
mrmr_cmocka(unit_drivers_fault drivers_fault.c LIBS mrmr_drivers)
mrmr_cmocka(unit_drivers_guard drivers_guard.c drivers_guard_world.c LIBS mrmr_drivers LABELS threads)
foreach(part close late)
  mrmr_cmocka(unit_drivers_guard_${part} drivers_guard_${part}.c drivers_guard_world.c LIBS mrmr_drivers LABELS threads)
endforeach()
mrmr_cmocka(unit_drivers_watch drivers_watch.c LIBS mrmr_drivers LABELS threads)
