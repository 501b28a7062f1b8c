/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The texts that lie on every drive, for a person who has the drive and nothing else (I8).
 * docs/FORMAT.md is the long form of the second; what one says the other says, too.
 */
#ifndef MRMR_POOL_DRIVE_TEXT_H
#define MRMR_POOL_DRIVE_TEXT_H

extern const char pool_drive_readme[]; /* .mrmr/README */
extern const char pool_drive_format[]; /* .mrmr/FORMAT */

#endif
