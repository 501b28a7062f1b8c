# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(tools_worker tools_worker.c ${CMAKE_SOURCE_DIR}/tools/worker.c LIBS mrmr_base)
mrmr_cmocka(tools_auto_rebuild tools_auto_rebuild.c ${CMAKE_SOURCE_DIR}/tools/auto_rebuild.c LIBS mrmr_base)
mrmr_cmocka(tools_hook tools_hook.c ../../tools/hook.c ../../tools/hook_run.c ../../tools/mrmr_print.c LIBS mrmr_pool mrmr_base)
mrmr_cmocka(tools_daemon_task tools_daemon_task.c ../../tools/daemon_task.c LIBS mrmr_base)
target_link_options(test_tools_daemon_task PRIVATE -Wl,--wrap=mrmr_clock_boot)
mrmr_cmocka(tools_daemon_hear tools_daemon_hear.c ../../tools/daemon_hear.c ../../tools/daemon_task.c LIBS mrmr_base)
target_link_options(test_tools_daemon_hear PRIVATE -Wl,--wrap=mrmr_clock_boot)
