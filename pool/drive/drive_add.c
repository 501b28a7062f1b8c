/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Taking a folder into the pool, and a known drive at a new place.
 *
 * Crash argument. The drive is written first, the catalog last:
 *
 *     1  .mrmr, README, FORMAT       no identity: the next add begins anew
 *     2  .mrmr/drive                 an identity of this pool that the catalog does not know, and no
 *                                    parity beside it: the next add adopts it (its uuid, a later
 *                                    session number)
 *     3  the catalog's transaction   done
 *
 * An unknown identity of this pool WITH parity files beside it cannot come from here: rows are
 * written to drives in the catalog only. So the catalog is older than the drive, and the drive is
 * refused as diverged (I5); nothing on it is touched.
 */
#include "pool/drive/detached.h"
#include "pool/drive/drive.h"
#include "pool/drive/failing.h"

#include "pool/drive/drive_text.h"
#include <stdio.h>
#include <string.h>

struct adding {
    const struct pool_drive_spec *spec;
    char *uri;
    struct drv *drv;
    struct drv_info info;
    bool known; /* identity is set: the root has one */
    struct pool_identity identity;
    struct meta_drive meta;
};

static void adding_free(struct adding *adding)
{
    free(adding->uri);
    drv_close(adding->drv);
    meta_drive_free(&adding->meta);
}

static struct pool_drive *add_find(struct pool *pool, const struct mrmr_uuid *uuid, const char *uri)
{
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct meta_drive *meta = &pool->drives[i]->meta;
        if (meta->state != META_DRIVE_RETIRED &&
            (uuid ? mrmr_uuid_equal(&meta->uuid, uuid) : strcmp(meta->uri, uri) == 0))
            return pool->drives[i];
    }
    return NULL;
}

/* --- Looking at the root --- */

/* Something is where the identity would be, and cannot be read as one. */
static mrmr_err add_refuse_identity(struct adding *adding, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    mrmr_fail(err, "%s/%s: %s", adding->uri, POOL_IDENTITY_PATH,
        story.text[0] ? story.text : mrmr_err_name(err));
    return mrmr_err_hint(err, "if that drive's pool is gone, move %.150s/.mrmr away", adding->uri);
}

static mrmr_err add_open(struct adding *adding, const char *uri)
{
    MRMR_TRY(pool_place_resolve(uri, &adding->uri));
    mrmr_err err = drv_open(adding->uri, &adding->drv);
    if (!err)
        err = drv_info(adding->drv, &adding->info);
    if (err)
        return mrmr_err_hint(err, "check that %.150s is a folder that you may read and write", uri);
    err = pool_identity_read(adding->drv, &adding->identity);
    adding->known = err == MRMR_OK;
    if (err == MRMR_ABSENT)
        return MRMR_OK;
    return err ? add_refuse_identity(adding, err) : MRMR_OK;
}

static mrmr_err add_stop_at_first(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)name, (void)stat, (void)err;
    *(bool *)arg = true;
    return MRMR_CANCELLED;
}

static mrmr_err add_has_parity(struct adding *adding, bool *ret_has)
{
    bool has = false;
    mrmr_err err = drv_list(adding->drv, POOL_DOT "/parity", add_stop_at_first, &has);
    if (err && !has && err != MRMR_ABSENT && err != MRMR_NOT_DIR)
        return err;
    *ret_has = has;
    return MRMR_OK;
}

static mrmr_err add_refuse_other_pool(struct adding *adding)
{
    char uuid[MRMR_UUID_TEXT];
    mrmr_fail(MRMR_EXISTS, "%s is a drive ('%s') of another pool, %s", adding->uri,
        adding->identity.name, mrmr_uuid_print(&adding->identity.pool, uuid));
    return mrmr_err_hint(MRMR_EXISTS,
        "use that pool (--pool); if it is gone for good, move %.150s/.mrmr away and add the drive "
        "again",
        adding->uri);
}

static mrmr_err add_refuse_retired(struct adding *adding)
{
    mrmr_fail(MRMR_CONFLICT,
        "%s is the retired drive '%s': another drive took its place, so its files are older copies "
        "beside those of the pool",
        adding->uri, adding->identity.name);
    return mrmr_err_hint(MRMR_CONFLICT,
        "take from it what you still need; to use it as a new drive move %.120s/.mrmr away first",
        adding->uri);
}

static mrmr_err add_refuse_ahead(struct adding *adding)
{
    mrmr_fail(MRMR_DIVERGED,
        "%s holds parity files of %s that this catalog does not know: the catalog is older than "
        "the drive",
        adding->uri, adding->known ? "this pool" : "an unknown pool (its .mrmr/drive is missing)");
    return mrmr_err_hint(MRMR_DIVERGED,
        "use the newest catalog of this pool; if there is none, move %.120s/.mrmr away and add the "
        "drive as a new one",
        adding->uri);
}

/* An identity of this pool that no drive of the catalog has: left by an add that was interrupted,
 * or worse. */
static mrmr_err add_check_unknown(struct pool *pool, struct adding *adding)
{
    bool retired = false, parity = false;
    if (adding->known) {
        MRMR_TRY(meta_uuid_is_retired(pool->meta, &adding->identity.uuid, &retired));
        if (retired)
            return add_refuse_retired(adding);
    }
    MRMR_TRY(add_has_parity(adding, &parity));
    return parity ? add_refuse_ahead(adding) : MRMR_OK;
}

static mrmr_err add_check_fresh(struct pool *pool, struct adding *adding)
{
    struct pool_drive *was = add_find(pool, NULL, adding->uri);
    if (!was)
        return add_check_unknown(pool, adding);
    mrmr_fail(MRMR_OFFLINE,
        "%s is the place of the drive '%s', and nothing of it is there: it is not mounted, or its "
        "%s was removed",
        adding->uri, was->meta.name, POOL_IDENTITY_PATH);
    mrmr_err_hint(MRMR_OFFLINE,
        "mount it; if it is lost, add an empty drive at another place and: mrmr rebuild %s --onto "
        "THAT",
        was->meta.name);
    return MRMR_OFFLINE;
}

static mrmr_err add_check_writable(struct adding *adding)
{
    if (adding->info.caps & DRV_CAP_WRITABLE)
        return MRMR_OK;
    mrmr_fail(MRMR_READONLY,
        "%s is read-only, and a drive of the pool holds parity and identity files of its own",
        adding->uri);
    return mrmr_err_hint(
        MRMR_READONLY, "mount it writable, or give yourself the right to write there");
}

/* --- A known drive at a new place --- */

static mrmr_err move_check(struct pool *pool, struct pool_drive *drive, struct adding *adding)
{
    const char *name = drive->meta.name;
    if (strcmp(drive->meta.uri, adding->uri) == 0) {
        const bool detached = drive->presence == POOL_DETACHED;
        mrmr_fail(MRMR_EXISTS, "%s is in the pool already, as drive '%s'%s", adding->uri, name,
            detached ? ", which is detached" : "");
        return detached ? mrmr_err_hint(MRMR_EXISTS, "to use it again: mrmr attach %s", name)
                        : mrmr_err_hint(MRMR_EXISTS, "see: mrmr drives");
    }
    pool_drive_look_at_root(pool, drive);
    if (pool_drive_readable(drive)) {
        mrmr_fail(MRMR_EXISTS, "%s is the drive '%s', or a copy of it, which is also at %s",
            adding->uri, name, drive->meta.uri);
        return mrmr_err_hint(MRMR_EXISTS,
            "use only one of them; to add a copy as a new drive move its .mrmr away first");
    }
    if (pool_session_judge(&drive->meta, &adding->identity.session) == POOL_SESSION_STRANGE)
        return pool_session_diverged(&drive->meta, &adding->identity.session);
    return pool_place_check(pool, adding->uri, drive);
}

/* Who says where it is wants it to be used: it is not detached any more. */
static mrmr_err move_in(struct meta *meta, void *arg)
{
    const struct meta_drive *next = arg;
    MRMR_TRY(pool_detached_set(meta, &next->uuid, NULL, NULL));
    return meta_drive_store(meta, next);
}

static mrmr_err move_to(struct pool *pool, struct pool_drive *drive, struct adding *adding)
{
    mrmr_err err = move_check(pool, drive, adding);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_drive_look(pool, drive); /* it may be detached */
        return mrmr_story_restore(&story);
    }
    struct meta_drive next = drive->meta;
    next.uri = adding->uri;
    MRMR_TRY(meta_atomically(pool->meta, move_in, &next));
    pool_detached_over(pool, &drive->mark);
    free(drive->meta.uri);
    drive->meta.uri = mrmr_steal(adding->uri);
    pool_failing_over(
        pool, &drive->meta.uuid); /* it gave errors, and the user wants it all the same */
    pool_drive_look(pool, drive);
    MRMR_TRY(pool_drive_note(pool, drive, true));
    pool_tell(pool, NULL, false, "drive-moved", drive, "the drive '%s' is at %s now",
        drive->meta.name, drive->meta.uri);
    return drive->presence == POOL_PRESENT ? MRMR_OK : mrmr_story_restore(&drive->why);
}

static mrmr_err move_open(
    struct pool *pool, struct pool_drive *drive, struct adding *adding, const char *uri)
{
    MRMR_TRY(add_open(adding, uri));
    if (adding->known && mrmr_uuid_equal(&adding->identity.pool, &pool->uuid) &&
        mrmr_uuid_equal(&adding->identity.uuid, &drive->meta.uuid))
        return move_to(pool, drive, adding);
    if (adding->known)
        mrmr_fail(MRMR_CONFLICT, "%s is not the drive '%s' but '%s'", adding->uri, drive->meta.name,
            adding->identity.name);
    else
        mrmr_fail(MRMR_OFFLINE, "%s holds no drive of a pool", adding->uri);
    return mrmr_err_hint(mrmr_story_get()->err,
        "name the place where '%s' is mounted now; an empty drive "
        "is added with: mrmr add-drive",
        drive->meta.name);
}

mrmr_err pool_drive_move(struct pool *pool, struct pool_drive *drive, const char *uri)
{
    struct adding adding = {0};
    mrmr_err err = move_open(pool, drive, &adding, uri);
    adding_free(&adding);
    return err;
}

/* --- A new drive --- */

static mrmr_err add_describe_words(struct pool *pool, struct adding *adding)
{
    const struct pool_drive_spec *spec = adding->spec;
    struct meta_drive *meta = &adding->meta;
    MRMR_TRY(pool_role_parse(spec->role ? spec->role : "data", &meta->role));
    if (spec->name) {
        MRMR_TRY(pool_drive_name_check(spec->name));
        if (pool_drive_by_name(pool, spec->name)) {
            mrmr_fail(MRMR_EXISTS, "there is a drive '%s' already", spec->name);
            return mrmr_err_hint(MRMR_EXISTS, "choose another name; see: mrmr drives");
        }
        snprintf(meta->name, sizeof meta->name, "%s", spec->name);
    } else {
        MRMR_TRY(pool_drive_name_make(pool, adding->uri, meta->name));
    }
    if (!spec->domain)
        return pool_drive_domain_make(pool, adding->uri, meta->name, meta->domain);
    MRMR_TRY(pool_domain_check(spec->domain));
    snprintf(meta->domain, sizeof meta->domain, "%s", spec->domain);
    return MRMR_OK;
}

static mrmr_err add_describe(struct pool *pool, struct adding *adding)
{
    struct meta_drive *meta = &adding->meta;
    struct drv_space space;
    MRMR_TRY(add_describe_words(pool, adding));
    MRMR_TRY(drv_space(adding->drv, &space));
    MRMR_TRY(meta_slot_free(pool->meta, &meta->slot));
    meta->reserve = adding->spec->reserve;
    meta->max_usage = adding->spec->max_usage;
    meta->total = space.total;
    meta->avail = space.avail;
    meta->present = true;
    meta->seen = mrmr_clock_real();
    memcpy(meta->fs_id, adding->info.fs_id, sizeof meta->fs_id);
    meta->uuid = adding->identity.uuid;
    if (!adding->known)
        MRMR_TRY(mrmr_uuid_make(&meta->uuid));
    meta->session.number = adding->identity.session.number + 1;
    MRMR_TRY(mrmr_random(meta->session.token, sizeof meta->session.token));
    meta->uri = strdup(adding->uri);
    return meta->uri ? MRMR_OK : mrmr_nomem();
}

static mrmr_err add_make_folder(struct drv *drv)
{
    struct drv_stat stat;
    mrmr_err err = drv_mkdir(drv, POOL_DOT, 0700);
    if (err && err != MRMR_EXISTS)
        return err;
    MRMR_TRY(drv_stat(drv, POOL_DOT, &stat));
    if (stat.type != DRV_DIR) {
        mrmr_err_path(mrmr_fail(MRMR_NOT_DIR, "it is not a folder"), POOL_DOT);
        return mrmr_err_hint(
            MRMR_NOT_DIR, "move it away: the pool keeps its files under this name");
    }
    return drv_dir_sync(drv, "");
}

static mrmr_err add_write(struct pool *pool, struct adding *adding)
{
    const struct meta_drive *meta = &adding->meta;
    struct pool_identity identity = {
        .pool = pool->uuid, .uuid = meta->uuid, .slot = meta->slot, .session = meta->session};
    memcpy(identity.name, meta->name, sizeof identity.name);
    MRMR_TRY(add_make_folder(adding->drv));
    MRMR_TRY(drv_replace(
        adding->drv, POOL_DOT "/README", pool_drive_readme, strlen(pool_drive_readme), 0644));
    MRMR_TRY(drv_replace(
        adding->drv, POOL_DOT "/FORMAT", pool_drive_format, strlen(pool_drive_format), 0644));
    return pool_identity_write(adding->drv, &identity);
}

/* The first other drive here on the same file system, or NULL. */
static const struct pool_drive *add_beside(struct pool *pool, const struct pool_drive *drive)
{
    struct drv_stat mine, other;
    if (!pool_place_is_local(drive->meta.uri) || drv_stat(drive->drv, "", &mine))
        return NULL;
    for (size_t i = 0; i < pool->ndrives; i++) {
        const struct pool_drive *at = pool->drives[i];
        if (at != drive && at->drv && pool_place_is_local(at->meta.uri) &&
            strcmp(at->meta.domain, drive->meta.domain) != 0 && !drv_stat(at->drv, "", &other) &&
            other.dev == mine.dev)
            return at;
    }
    return NULL;
}

static mrmr_err add_take_in(struct pool *pool, struct adding *adding)
{
    MRMR_TRY(meta_drive_add(pool->meta, &adding->meta));
    struct pool_drive *drive = NULL;
    MRMR_TRY(pool_drive_create(&adding->meta, &drive));
    mrmr_err err = pool_drive_insert(pool, drive);
    if (err) {
        pool_drive_destroy(drive);
        return err;
    }
    pool_drive_look(pool, drive);
    pool_tell(pool, NULL, false, "drive-added", drive, "the drive '%s' at %s was added as %s",
        drive->meta.name, drive->meta.uri, pool_role_name(drive->meta.role));
    const struct pool_drive *beside = adding->spec->domain ? NULL : add_beside(pool, drive);
    if (beside)
        pool_tell(pool, NULL, true, "same-disk", drive,
            "the drives '%s' and '%s' lie on one file system: they fail together, and the pool "
            "counts them as two. If that is meant, say so: mrmr set drive.%s.domain %s",
            drive->meta.name, beside->meta.name, drive->meta.name, beside->meta.domain);
    return drive->presence == POOL_PRESENT ? MRMR_OK : mrmr_story_restore(&drive->why);
}

static mrmr_err add_run(struct pool *pool, struct adding *adding)
{
    MRMR_TRY(add_open(adding, adding->spec->uri));
    if (adding->known && !mrmr_uuid_equal(&adding->identity.pool, &pool->uuid))
        return add_refuse_other_pool(adding);
    struct pool_drive *known = adding->known ? add_find(pool, &adding->identity.uuid, NULL) : NULL;
    if (known)
        return move_to(pool, known, adding);
    MRMR_TRY(pool_place_check(pool, adding->uri, NULL));
    MRMR_TRY(adding->known ? add_check_unknown(pool, adding) : add_check_fresh(pool, adding));
    MRMR_TRY(add_check_writable(adding));
    MRMR_TRY(add_describe(pool, adding));
    mrmr_err err = add_write(pool, adding);
    if (err) {
        mrmr_err_drive(err, adding->meta.name);
        return mrmr_err_hint(err, "the pool must be able to write to %.150s", adding->uri);
    }
    return add_take_in(pool, adding);
}

mrmr_err pool_drive_add(struct pool *pool, const struct pool_drive_spec *spec)
{
    if (pool->access != POOL_OWN)
        return mrmr_fail(MRMR_READONLY, "the pool was opened to look only");
    struct adding adding = {.spec = spec};
    mrmr_err err = add_run(pool, &adding);
    adding_free(&adding);
    return err;
}
