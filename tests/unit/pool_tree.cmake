# SPDX-License-Identifier: GPL-3.0-or-later
# 1800 s: with --long they go through every call.
mrmr_cmocka(pool_tree pool_tree.c LIBS mrmr_rig LABELS threads TIMEOUT 300)
mrmr_cmocka(pool_gone pool_gone.c pool_gone_world.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 300)
mrmr_cmocka(pool_gone_cuts pool_gone_cuts.c pool_gone_world.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 1800)
mrmr_cmocka(pool_gone_journal pool_gone_journal.c pool_gone_world.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 1800)
mrmr_cmocka(pool_gone_compact pool_gone_compact.c LIBS mrmr_rig LABELS address_long)
mrmr_cmocka(pool_gone_follow pool_gone_follow.c LIBS mrmr_rig LABELS address_long)
mrmr_cmocka(pool_gone_begun pool_gone_begun.c LIBS mrmr_rig LABELS address_long)
mrmr_cmocka(pool_away pool_away.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 1800)
mrmr_cmocka(pool_away_names pool_away_names.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 300)
mrmr_cmocka(pool_away_rebuilt pool_away_rebuilt.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 300)
mrmr_cmocka(pool_names pool_names.c pool_tree_user.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 300)
mrmr_cmocka(pool_away_folders pool_away_folders.c pool_away_folders_world.c pool_tree_user.c pool_tree_world.c
  LIBS mrmr_rig LABELS address_long TIMEOUT 300)
mrmr_cmocka(pool_away_folders_cuts pool_away_folders_cuts.c pool_away_folders_world.c pool_tree_user.c pool_tree_world.c
  LIBS mrmr_rig LABELS address_long TIMEOUT 1800)
mrmr_cmocka(pool_away_folders_return pool_away_folders_return.c pool_away_folders_world.c pool_tree_user.c
  pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 300)
mrmr_cmocka(pool_tree_cuts pool_tree_cuts.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 1800)
foreach(part write names full)
  mrmr_cmocka(pool_tree_${part} pool_tree_${part}.c pool_tree_world.c LIBS mrmr_rig LABELS address_long TIMEOUT 300)
endforeach()
mrmr_cmocka(pool_tree_late pool_tree_late.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long thread_long)
mrmr_cmocka(pool_tree_repaired pool_tree_repaired.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long thread_long)
mrmr_cmocka(pool_tree_sync pool_tree_sync.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long thread_long)
mrmr_cmocka(pool_tree_races pool_tree_races.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long)
mrmr_cmocka(pool_tree_paths pool_tree_paths.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long thread_long)
mrmr_cmocka(pool_tree_parted pool_tree_parted.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long thread_long)
mrmr_cmocka(pool_direct pool_direct.c pool_tree_world.c LIBS mrmr_rig LABELS threads address_long thread_long TIMEOUT 300)
# Those that many threads do at once.
mrmr_some_under(thread pool_tree "*many*")
mrmr_some_under(thread pool_tree_races "*writ*")
