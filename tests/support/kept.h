/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every test of retained bytes ends with: whoever changed something on one drive lowered
 * nobody else's protection. For rigs of five drives and two rows.
 */
#ifndef MRMR_TESTS_SUPPORT_KEPT_H
#define MRMR_TESTS_SUPPORT_KEPT_H

#include "pool/retained/retained.h"
#include "tests/support/rig.h"

/* Files and symlinks that are retained on a drive. */
unsigned count_retained(struct rig *rig, unsigned drive);
/* For drv_list: each name, with its NUL, onto a struct mrmr_bytes. */
mrmr_err list_name(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg);
/* Counts what is no folder, in an unsigned. */
mrmr_err count_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg);
/* Every byte of every file but one (NULL: of all), with the drives that are there. */
void reads_but(struct rig *rig, const char *but);
/* Every byte of every file but one (NULL: of all), with these two drives away, unless one of them is
 * that file's. */
void reads_without(struct rig *rig, unsigned a, unsigned b, const char *but, unsigned its_drive);
/* Every byte of every file but one (NULL: of all), with choices of two drives away (all of them
 * where rig_all says so), others than that one's. */
void reads_all_but(struct rig *rig, const char *but, unsigned its_drive);
/* No row can be made anywhere, until rig_clear_faults. */
void no_new_rows(struct rig *rig);
/* `changed` was changed on drive 0 since it was protected, or is gone, and that lowers nobody's
 * protection: before the scan, after it while nothing can be encoded, and afterwards, when nothing
 * is retained any more. Destroys the rig. */
void nobody_suffers(struct rig *rig, const char *changed);

#endif
