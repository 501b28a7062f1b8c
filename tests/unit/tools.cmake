# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(tools_worker tools_worker.c ${CMAKE_SOURCE_DIR}/tools/worker.c LIBS mrmr_base)
mrmr_cmocka(tools_auto_rebuild tools_auto_rebuild.c ${CMAKE_SOURCE_DIR}/tools/auto_rebuild.c LIBS mrmr_base)
mrmr_cmocka(tools_hook tools_hook.c ../../tools/hook.c ../../tools/hook_run.c ../../tools/mrmr_print.c LIBS mrmr_base)
