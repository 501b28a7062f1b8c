/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive's identity: the file .mrmr/drive at its root, which says whose drive this is and which
 * session wrote it last (I5).
 *
 * Format 1: ASCII lines `key=value`, each ended by a newline, each key exactly once, in any order:
 *
 *     format=1
 *     pool=<uuid of the pool>
 *     uuid=<uuid of the drive>
 *     name=<name, percent-encoded; a hint>
 *     slot=<0 … 247>
 *     session=<number, from 1>
 *     token=<32 hex digits>
 *
 * A reader of format 1 refuses another format (MRMR_NEWER), an unknown key, a missing or doubled
 * one, and more than POOL_IDENTITY_MAX bytes (MRMR_FORMAT): the file comes from a drive and may be
 * hostile (I9).
 *
 * Pure but for read and write. Any thread.
 */
#ifndef MRMR_POOL_IDENTITY_H
#define MRMR_POOL_IDENTITY_H

#include "drivers/driver.h"
#include "meta/meta.h"

#define POOL_IDENTITY_PATH ".mrmr/drive"
#define POOL_IDENTITY_MAX 4096

struct pool_identity {
    struct mrmr_uuid pool, uuid;
    char name[64];
    uint8_t slot;
    struct meta_session session;
};

/* text has size bytes and need not be NUL-terminated. */
mrmr_err pool_identity_parse(const char *text, size_t size, struct pool_identity *ret_identity);
mrmr_err pool_identity_print(
    const struct pool_identity *identity, struct mrmr_bytes *text); /* appends */

/* MRMR_ABSENT if the root answers and has no identity; MRMR_FORMAT if it is not one. */
mrmr_err pool_identity_read(struct drv *drv, struct pool_identity *ret_identity);
/* Durable replace. After an error the file is the old or the new one, whole. */
mrmr_err pool_identity_write(struct drv *drv, const struct pool_identity *identity);

bool pool_session_equal(const struct meta_session *a, const struct meta_session *b);

#endif
