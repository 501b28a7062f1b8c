# SPDX-License-Identifier: GPL-3.0-or-later
mrmr_cmocka(fuse_daemon fuse_daemon.c ../../fuse/daemon.c LIBS mrmr_base)
