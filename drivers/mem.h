/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives in memory, for tests: a full Unix file system (hard links, symlinks, xattrs, holes,
 * reflinks, both rename flags) that lives in this process under a name, and keeps its content when
 * it is closed and opened again.
 *
 *     mem://NAME[?size=64M][&cut=1]
 *
 * size: writes beyond it are MRMR_SPACE (1 TiB if never said; the last open that says one counts).
 * Only bytes count, in pieces of 4 KiB; names and attributes are free, and clones count in full.
 * cut: keep track of what was made durable, so that drv_mem_power_cut() can be called; only where
 * the drive is still empty.
 *
 * The power cut. Names: every change of the name space (make, link, unlink, rename; each atomic)
 * waits in a log. dir_sync of a folder makes durable the changes in it, and with each all earlier
 * ones of the same file or folder and of the other folder of a rename; sync_all everything. A cut
 * keeps a prefix of what still waits; what lost a name by the rest has its change time of before,
 * if nothing else has changed it. Files: bytes, size and attributes as of the last file_sync are
 * durable; of what came later, a cut keeps all, nothing, or a mixture, piece by piece (4 KiB, a
 * piece itself torn at 512 bytes). A folder made durable by none of this takes its content with it.
 * The seed decides everything: the same history and seed give the same drive.
 *
 * Ownership: content belongs to the process until drv_mem_reset(). Threads: any. After a cut, reset
 * or unplug every open drive and file of that name answers MRMR_OFFLINE; close them and open anew.
 */
#ifndef MRMR_DRIVERS_MEM_H
#define MRMR_DRIVERS_MEM_H

#include "base/err.h"

/* Forget the content. Fine if there is no such drive. */
void drv_mem_reset(const char *name);
/* Forget every drive. */
void drv_mem_reset_all(void);

/* MRMR_NO_DRIVE, MRMR_UNSUPPORTED without cut=1. After MRMR_NOMEM the content is undefined. */
mrmr_err drv_mem_power_cut(const char *name, uint64_t seed);

/* Take the drive away (opening it is MRMR_NO_DRIVE then), or put it back. */
mrmr_err drv_mem_unplug(const char *name, bool away);

/* Rot: exclusive-or the byte at offset with mask, without a trace in size or times. MRMR_INVALID at
 * a hole or past the end. */
mrmr_err drv_mem_rot(const char *name, const char *path, uint64_t offset, uint8_t mask);

#endif
