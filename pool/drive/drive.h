/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files that implement drives share (drive*.c, pool.c, settings.c, status.c); everyone
 * else uses pool/engine.h.
 */
#ifndef MRMR_POOL_DRIVE_H
#define MRMR_POOL_DRIVE_H

#include "pool/drive/identity.h"
#include "pool/engine.h"

/* --- drive.c --- */

/* A drive in memory for a catalog entry, which is moved in (its uri is owned then); not opened,
 * AWAY. */
mrmr_err pool_drive_create(struct meta_drive *meta, struct pool_drive **ret_drive);
void pool_drive_destroy(struct pool_drive *drive); /* NULL-safe */
/* Put it into pool->drives, by id. */
mrmr_err pool_drive_insert(struct pool *pool, struct pool_drive *drive);
/* Another one, which is moved in, takes the place of pool->drives[i]; under the live tree. shared: it has
 * the other's drv, and closes it. */
void pool_drive_replace(struct pool *pool, size_t i, struct pool_drive *drive, bool shared);
/* Open the root and judge what is there; never fails, the verdict is presence and why. With
 * POOL_OWN an intended session that was found on the drive is adopted. */
void pool_drive_look(struct pool *pool, struct pool_drive *drive);
/* The same of one that may be detached, as if it were not. */
void pool_drive_look_at_root(struct pool *pool, struct pool_drive *drive);
/* It is closed, and DETACHED. gone: it is not there. */
void pool_drive_verdict_detached(struct pool_drive *drive, const struct mrmr_uuid *mark, bool gone);
/* As pool_drive_view.lost. */
bool pool_drive_is_lost(const struct pool_drive *drive);
/* The catalog's `present`, `seen`, `total`, `avail` after a look, where they changed, and the event drive-lost or
 * drive-returned where `present` did. POOL_OWN only, and not inside a transaction. */
mrmr_err pool_drive_note(struct pool *pool, struct pool_drive *drive, bool now);
/* Set presence and why from this thread's story; if no story code is given the drive is PRESENT. */
void pool_drive_verdict(struct pool_drive *drive, enum pool_presence presence);

/* --- drive_session.c --- */

/* What a session on the drive means to the catalog. */
enum pool_session_kind { POOL_SESSION_RECORDED, POOL_SESSION_INTENDED, POOL_SESSION_STRANGE };
enum pool_session_kind pool_session_judge(
    const struct meta_drive *meta, const struct meta_session *session);
/* The drive holds the intended session: make its name durable there, then the recorded one in the
 * catalog. */
mrmr_err pool_session_adopt(struct pool *pool, struct pool_drive *drive);
/* The story of a drive whose session is strange; returns MRMR_DIVERGED. */
mrmr_err pool_session_diverged(const struct meta_drive *meta, const struct meta_session *session);
/* The session ends, attached by this process or not, and with it the drive is marked as detached. */
mrmr_err pool_drive_detach_by(
    struct pool *pool, struct pool_drive *drive, const struct mrmr_uuid *mark);
/* Why not, for a drive that is out of service, or only read, whether it is attached or not. */
mrmr_err pool_drive_may_write(const struct pool *pool, struct pool_drive *drive);
/* A scan has judged the drive: an attachment that ended uncleanly before it is history. */
void pool_session_boot_judged(struct meta_drive *meta, bool attached);

/* --- drive_space.c --- */

/* Best effort, under drive->gate: pool_drive_slack_keep for who holds the gate already. */
mrmr_err pool_drive_slack_keep_locked(struct pool *pool, struct pool_drive *drive);
/* A small piece of it, for something small, or all of it; *ret_lent false: there was none. */
mrmr_err pool_drive_slack_lend_locked(struct pool_drive *drive, bool all, bool *ret_lent);
bool pool_drive_may_hold_rows(const struct meta_drive *meta); /* by role and state */
/* As pool_drive_room, for data or rows alike; the drive must be readable. */
mrmr_err pool_drive_free(struct pool *pool, struct pool_drive *drive, uint64_t *ret_bytes);

/* --- pool.c --- */

/* MRMR_BUSY, with who owns the pool, or did last. */
mrmr_err pool_busy(const struct pool *pool);

/* --- settings.c --- */

/* A number setting's value or default; 0 stands for "by itself" where the key allows that. */
mrmr_err pool_setting_u64(struct pool *pool, const char *key, uint64_t *ret_value);
/* A switch: on or off. */
mrmr_err pool_setting_on(struct pool *pool, const char *key, bool *ret_on);

/* --- drive_name.c --- */

/* 1 to 63 bytes of UTF-8 without control characters, white space or '/', not beginning with '-' or
 * '.': MRMR_INVALID, saying so. */
mrmr_err pool_drive_name_check(const char *name);
/* A valid name from the URI's last component that no drive has. */
mrmr_err pool_drive_name_make(struct pool *pool, const char *uri, char ret_name[64]);
/* Its own for a local drive, one a host for remote ones. */
mrmr_err pool_drive_domain_make(
    struct pool *pool, const char *uri, const char *name, char ret_domain[128]);
/* 1 to 127 bytes of UTF-8 without control characters: MRMR_INVALID. */
mrmr_err pool_domain_check(const char *domain);
mrmr_err pool_role_parse(const char *text, enum meta_role *ret_role);
const char *pool_role_name(enum meta_role role);
const char *pool_state_name(enum meta_drive_state state);

/* --- drive_add.c --- */

/* The drive is at another place now: its identity must be there, in a session that we know, and not
 * at the old place as well. */
mrmr_err pool_drive_move(struct pool *pool, struct pool_drive *drive, const char *uri);

/* --- drive_place.c --- */

/* The URI as it is kept: of a folder here its canonical path. MRMR_NO_DRIVE, MRMR_NOT_DIR,
 * MRMR_DENIED with the next step. free(). */
mrmr_err pool_place_resolve(const char *uri, char **ret_uri);
/* Refuses a place inside or around the pool's folder, another drive's root, or below the root of
 * any drive of any pool. `self` (may be NULL) is the drive that moves there. */
mrmr_err pool_place_check(struct pool *pool, const char *uri, const struct pool_drive *self);
/* Refuses a pool's folder that is, or lies inside, a drive of any pool. */
mrmr_err pool_place_check_home(const char *dir);
bool pool_place_is_local(const char *uri);

#endif
