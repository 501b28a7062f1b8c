# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(contract_drivers contract.c host.c cases_paths.c cases_names.c cases_list.c cases_files.c cases_sparse.c
  cases_attrs.c cases_open.c cases_local.c cases_act.c LIBS mrmr_drivers mrmr_base TIMEOUT 300)
if(MRMR_SANITIZE)
  target_compile_definitions(test_contract_drivers PRIVATE SOME_KINDS)
endif()
