/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Drives in memory, and the judgement of what is at their roots (I5): a missing drive is not an
 * empty one, and an old one is not the new one. Looking writes nothing to a drive, save that an
 * intended session found there is made durable (drive_session.c). One that is detached is closed again when it was seen
 * whether it is there, or back (detached.h).
 */
#include "pool/drive/drive.h"
#include "pool/drive/detached.h"
#include "pool/drive/failing.h"
#include "pool/drive/hung.h"

#include <stdio.h>
#include <string.h>

size_t pool_drive_index(const struct pool *pool, int64_t id)
{
    size_t i = 0;
    while (i < pool->ndrives && pool->drives[i]->meta.id != id)
        i++;
    return i;
}

size_t pool_drive_domain(const struct pool *pool, size_t drive)
{
    size_t first = 0;
    while (strcmp(pool->drives[first]->meta.domain, pool->drives[drive]->meta.domain) != 0)
        first++;
    return first;
}

struct pool_drive *pool_drive_by_id(struct pool *pool, int64_t id)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (pool->drives[i]->meta.id == id)
            return pool->drives[i];
    return NULL;
}

struct pool_drive *pool_drive_by_name(struct pool *pool, const char *name)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (strcmp(pool->drives[i]->meta.name, name) == 0)
            return pool->drives[i];
    return NULL;
}

static struct pool_drive *drive_by_uuid(struct pool *pool, const struct mrmr_uuid *uuid)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        if (mrmr_uuid_equal(&pool->drives[i]->meta.uuid, uuid))
            return pool->drives[i];
    return NULL;
}

mrmr_err pool_drive_create(struct meta_drive *meta, struct pool_drive **ret_drive)
{
    struct pool_drive *drive = calloc(1, sizeof *drive);
    if (!drive)
        return mrmr_nomem();
    drive->meta = *meta;
    memset(meta, 0, sizeof *meta);
    drive->presence = POOL_AWAY;
    pthread_mutex_init(&drive->gate, NULL);
    pthread_mutex_init(&drive->lock, NULL);
    *ret_drive = drive;
    return MRMR_OK;
}

void pool_drive_destroy(struct pool_drive *drive)
{
    if (!drive)
        return;
    if (!drive->drv_shared)
        drv_close(drive->drv);
    meta_drive_free(&drive->meta);
    pthread_mutex_destroy(&drive->gate);
    pthread_mutex_destroy(&drive->lock);
    free(drive);
}

mrmr_err pool_drive_insert(struct pool *pool, struct pool_drive *drive)
{
    struct pool_drive *_Atomic *more =
        reallocarray(pool->drives, pool->ndrives + 1, sizeof *pool->drives);
    if (!more)
        return mrmr_nomem();
    pool->drives = more;
    size_t at = pool->ndrives++;
    for (; at > 0 && more[at - 1]->meta.id > drive->meta.id; at--)
        more[at] = more[at - 1];
    more[at] = drive;
    return MRMR_OK;
}

void pool_drive_replace(struct pool *pool, size_t i, struct pool_drive *drive, bool shared)
{
    pthread_rwlock_wrlock(&pool->drives_gate);
    struct pool_drive *old = pool->drives[i];
    old->drv_shared = shared;
    old->next_left = pool->left;
    pool->left = old;
    pool->drives[i] = drive;
    pthread_rwlock_unlock(&pool->drives_gate);
}

void pool_drive_verdict(struct pool_drive *drive, enum pool_presence presence)
{
    if (presence == POOL_PRESENT) {
        memset(&drive->why, 0, sizeof drive->why);
    } else {
        mrmr_err_drive(mrmr_story_get()->err, drive->meta.name);
        mrmr_story_save(&drive->why);
    }
    drive->presence = presence;
}

/* --- What is at the root --- */

/* The root cannot be opened, or does not answer. */
static void look_failed(struct pool_drive *drive, mrmr_err err)
{
    const char *name = drive->meta.name;
    struct mrmr_story story;
    char cause[256];
    mrmr_story_save(&story);
    mrmr_story_print(&story, cause, sizeof cause);
    bool away = mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_OFFLINE ||
                err == MRMR_NOT_DIR || err == MRMR_LOOP;
    if (away) {
        mrmr_fail(MRMR_OFFLINE, "its root %s is not there (%s)", drive->meta.uri, cause);
        mrmr_err_hint(MRMR_OFFLINE,
            "mount it again, or say where it is now: mrmr set drive.%s.uri PLACE, or bring back "
            "its files: mrmr rebuild %s",
            name, name);
    } else {
        mrmr_fail(err, "its root %s cannot be read (%s)", drive->meta.uri, cause);
        mrmr_err_hint(err, "check the drive, its cables and its permissions");
    }
    drv_close(drive->drv);
    drive->drv = NULL;
    pool_drive_verdict(drive, away ? POOL_AWAY : POOL_FAILED);
}

/* The root answers, and there is no identity file. */
static void look_empty(struct pool_drive *drive)
{
    const char *name = drive->meta.name, *uri = drive->meta.uri;
    bool elsewhere = drive->meta.fs_id[0] && drive->info.fs_id[0] &&
                     strcmp(drive->meta.fs_id, drive->info.fs_id) != 0;
    if (elsewhere && !drive->info.is_mountpoint)
        mrmr_fail(MRMR_OFFLINE, "nothing is mounted at %s: the folder there is not the drive", uri);
    else if (elsewhere)
        mrmr_fail(MRMR_OFFLINE, "another file system is mounted at %s, which holds no drive", uri);
    else
        mrmr_fail(MRMR_OFFLINE,
            "%s holds no drive: nothing is mounted there, or its file %s was removed", uri,
            POOL_IDENTITY_PATH);
    mrmr_err_hint(MRMR_OFFLINE,
        "mount it, or say where it is now: mrmr set drive.%s.uri PLACE, or bring back its files: "
        "mrmr rebuild %s",
        name, name);
    drv_close(drive->drv);
    drive->drv = NULL;
    pool_drive_verdict(drive, POOL_AWAY);
}

/* Whether the other drive's root holds this one. */
static bool look_swapped(const struct pool_drive *drive, const struct pool_drive *other)
{
    struct drv *drv = NULL;
    struct pool_identity found;
    if (drv_open(other->meta.uri, &drv))
        return false;
    bool swapped = pool_identity_read(drv, &found) == MRMR_OK &&
                   mrmr_uuid_equal(&found.uuid, &drive->meta.uuid);
    drv_close(drv);
    return swapped;
}

/* An identity is there, and it is not this drive's. */
static void look_foreign(
    struct pool *pool, struct pool_drive *drive, const struct pool_identity *found)
{
    const char *name = drive->meta.name, *uri = drive->meta.uri;
    char uuid[MRMR_UUID_TEXT];
    struct pool_drive *other = drive_by_uuid(pool, &found->uuid);
    bool retired = false;
    if (!mrmr_uuid_equal(&found->pool, &pool->uuid)) {
        mrmr_fail(MRMR_CONFLICT, "a drive of another pool (%s) is at %s",
            mrmr_uuid_print(&found->pool, uuid), uri);
    } else if (other && look_swapped(drive, other)) {
        mrmr_fail(MRMR_CONFLICT,
            "the drives '%s' and '%s' are swapped: each is mounted where the other belongs", name,
            other->meta.name);
        mrmr_err_hint(
            MRMR_CONFLICT, "mount them at %s and %s the right way round", uri, other->meta.uri);
    } else if (other) {
        mrmr_fail(MRMR_CONFLICT, "the drive '%s' is at %s, where '%s' belongs", other->meta.name,
            uri, name);
    } else {
        if (meta_uuid_is_retired(pool->meta, &found->uuid, &retired))
            retired = false;
        mrmr_fail(MRMR_CONFLICT, "%s drive of this pool (%s) is at %s",
            retired ? "a retired" : "an unknown", mrmr_uuid_print(&found->uuid, uuid), uri);
    }
    mrmr_err_hint(MRMR_CONFLICT,
        "mount the right drive there, or say where it is now: mrmr set drive.%s.uri PLACE", name);
    pool_drive_verdict(drive, POOL_FOREIGN);
}

/* What the catalog says of its session by now. */
static bool session_refresh(struct pool *pool, struct pool_drive *drive)
{
    struct meta_drive *metas = NULL;
    size_t n = 0;
    bool found = false;
    if (meta_drives(pool->meta, &metas, &n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (metas[i].id == drive->meta.id && mrmr_uuid_equal(&metas[i].uuid, &drive->meta.uuid)) {
            mrmr_locked(&drive->lock);
            drive->meta.session = metas[i].session;
            drive->meta.intended = metas[i].intended;
            found = true;
        }
    meta_drives_free(metas, n);
    return found;
}

/* The owner goes from session to session, catalog, drive, catalog. Who only looks, and read the catalog before that and the drive after it, or the
 * other way round, would take them for strangers: both are read once more. */
static enum pool_session_kind look_judge(
    struct pool *pool, struct pool_drive *drive, const struct meta_session *session)
{
    enum { TRIES = 3 };
    struct pool_identity found = {.session = *session};
    enum pool_session_kind kind = pool_session_judge(&drive->meta, session);
    for (unsigned i = 0; kind == POOL_SESSION_STRANGE && pool->access != POOL_OWN && i < TRIES;
         i++) {
        if (!session_refresh(pool, drive))
            return kind;
        kind = pool_session_judge(&drive->meta, &found.session);
        if (kind == POOL_SESSION_STRANGE && (pool_identity_read(drive->drv, &found) ||
                                                !mrmr_uuid_equal(&found.uuid, &drive->meta.uuid)))
            return kind;
    }
    return kind;
}

static void look_session(
    struct pool *pool, struct pool_drive *drive, const struct meta_session *session)
{
    switch (look_judge(pool, drive, session)) {
    case POOL_SESSION_RECORDED:
        pool_drive_verdict(drive, POOL_PRESENT);
        return;
    case POOL_SESSION_INTENDED:
        if (pool_session_adopt(pool, drive))
            pool_drive_verdict(drive, POOL_FAILED);
        else
            pool_drive_verdict(drive, POOL_PRESENT);
        return;
    case POOL_SESSION_STRANGE:
        pool_session_diverged(&drive->meta, session);
        pool_drive_verdict(drive, POOL_DIVERGED);
        return;
    }
}

void pool_drive_look_at_root(struct pool *pool, struct pool_drive *drive)
{
    drv_close(drive->drv);
    drive->drv = NULL;
    if (drive->meta.state == META_DRIVE_RETIRED) {
        mrmr_fail(MRMR_OFFLINE,
            "it was given up, and what was on it is brought to other drives: "
            "go on with `mrmr rebuild %s`",
            drive->meta.name);
        pool_drive_verdict(drive, POOL_AWAY);
        return;
    }
    if (pool_drive_hangs(pool, drive)) { /* and so might a look */
        pool_drive_hung_verdict(drive);
        return;
    }
    mrmr_err err = drv_open(drive->meta.uri, &drive->drv);
    if (!err)
        err = drv_info(drive->drv, &drive->info);
    struct pool_identity found;
    if (!err) {
        err = pool_identity_read(drive->drv, &found);
        if (err == MRMR_ABSENT) {
            look_empty(drive);
            return;
        }
    }
    if (err)
        look_failed(drive, err);
    else if (!mrmr_uuid_equal(&found.pool, &pool->uuid) ||
             !mrmr_uuid_equal(&found.uuid, &drive->meta.uuid))
        look_foreign(pool, drive, &found);
    else
        look_session(pool, drive, &found.session);
}

void pool_drive_verdict_detached(struct pool_drive *drive, const struct mrmr_uuid *mark, bool gone)
{
    drv_close(drive->drv);
    drive->drv = NULL;
    drive->mark = *mark;
    drive->mark_gone = gone;
    mrmr_fail(
        MRMR_OFFLINE, gone ? "it was detached, and is not there: it is used again when it is back"
                           : "it was detached, and is there still: it can be unmounted");
    mrmr_err_hint(MRMR_OFFLINE, "to use it again: mrmr attach %s", drive->meta.name);
    pool_drive_verdict(drive, POOL_DETACHED);
}

/* It was in service as far as the catalog says, from the moment on at which it is none that is detached: if it is not now, that is
 * told like that of any other. */
static mrmr_err returned_in(struct meta *meta, void *arg)
{
    struct meta_drive next = *(const struct meta_drive *)arg;
    next.present = true;
    MRMR_TRY(pool_detached_set(meta, &next.uuid, NULL, NULL));
    return meta_drive_store(meta, &next);
}

/* It went, and is back; or was. Who may not write the catalog leaves it to the next who may. */
static void look_returned(struct pool *pool, struct pool_drive *drive, const struct mrmr_uuid *mark)
{
    if (pool->access != POOL_OWN)
        return;
    if (meta_atomically(pool->meta, returned_in, &drive->meta)) {
        mrmr_log_story(MRMR_LOG_WARN, "taking back a drive that was detached");
        return;
    }
    drive->meta.present = true;
    pool_detached_over(pool, mark);
    pool_tell(pool, NULL, false, "drive-attached", drive,
        drive->presence == POOL_PRESENT
            ? "drive %s, which was detached, has gone and come back, and is in service"
            : "drive %s, which was detached, has gone and come back, was in service, and has gone "
              "again",
        drive->meta.name);
}

/* Nothing is opened, by which it could not be unmounted. Where it cannot be seen it is there yet. */
static void look_detached(struct pool *pool, struct pool_drive *drive, const struct mrmr_uuid *mark)
{
    const struct pool_detached_stamp stamp = pool_detached_stamp_then(pool, &drive->meta.uuid);
    bool gone = false;
    uint64_t dev;
    if (!pool_drive_hangs(pool, drive) && pool_detached_look(drive->meta.uri, &stamp, &gone, &dev))
        mrmr_log_story(MRMR_LOG_INFO, "whether a detached drive is there");
    if (gone)
        pool_detached_goes(pool, mark);
    pool_drive_verdict_detached(drive, mark, gone);
}

/* True: it is out of service for that, and is not opened. */
static bool look_failing(struct pool *pool, struct pool_drive *drive)
{
    const struct mrmr_uuid *uuid = &drive->meta.uuid;
    bool gone = false;
    uint64_t dev;
    drive->failing = pool_failing_get(pool, uuid) == POOL_FAILING_HERE;
    if (drive->failing && !pool_drive_hangs(pool, drive) &&
        !pool_detached_look(drive->meta.uri, NULL, &gone, &dev) && gone) {
        pool_failing_goes(pool, uuid);
        drive->failing = false;
    }
    if (!drive->failing)
        return false;
    drv_close(drive->drv);
    drive->drv = NULL;
    pool_failing_fail(drive->meta.name);
    pool_drive_verdict(drive, POOL_FAILED);
    return true;
}

static void look_in_service(struct pool *pool, struct pool_drive *drive)
{
    pool_drive_look_at_root(pool, drive);
    if (drive->presence == POOL_PRESENT && pool->access == POOL_OWN &&
        pool_failing_get(pool, &drive->meta.uuid) == POOL_FAILING_WENT)
        pool_failing_back(pool, &drive->meta.uuid);
}

void pool_drive_look(struct pool *pool, struct pool_drive *drive)
{
    enum pool_detached detached = POOL_DETACHED_NOT;
    struct mrmr_uuid mark;
    if (drive->meta.state != META_DRIVE_RETIRED &&
        pool_detached_get(pool, &drive->meta.uuid, &detached, &mark))
        mrmr_log_story(MRMR_LOG_WARN, "whether a drive is detached");
    if (detached == POOL_DETACHED_HERE) {
        look_detached(pool, drive, &mark);
        return;
    }
    if (drive->meta.state != META_DRIVE_RETIRED && look_failing(pool, drive))
        return;
    look_in_service(pool, drive);
    const bool gone = drive->presence == POOL_AWAY || drive->presence == POOL_FOREIGN;
    if (detached == POOL_DETACHED_BACK || /* a mount has used it since it went */
        (detached == POOL_DETACHED_WENT && drive->presence == POOL_PRESENT))
        look_returned(pool, drive, &mark);
    else if (detached == POOL_DETACHED_WENT && gone)
        pool_drive_verdict_detached(drive, &mark, true);
}

/* One that is there and cannot be read (its identity is garbled, no permission, no memory, a change hangs) is not lost; nor is
 * another one in its place. One that was never looked through is in no catalog, and nothing of it comes back. */
bool pool_drive_is_lost(const struct pool_drive *drive)
{
    return drive->meta.state == META_DRIVE_ACTIVE && drive->meta.scanned && !drive->meta.hold[0] &&
           (drive->presence == POOL_AWAY || (drive->presence == POOL_FAILED && drive->failing));
}

mrmr_err pool_drive_is_over(struct pool *pool, const struct pool_drive *drive, bool *ret_over)
{
    struct meta_totals totals;
    uint64_t left = 0, bytes;
    *ret_over = false;
    if (drive->meta.state != META_DRIVE_RETIRED)
        return MRMR_OK;
    MRMR_TRY(meta_todo_totals(pool->meta, POOL_REBUILD_JOB, drive->meta.id, &left, &bytes));
    MRMR_TRY(meta_totals(pool->meta, drive->meta.id, &totals));
    *ret_over = left == 0 && totals.files == 0;
    return MRMR_OK;
}

/* --- The catalog's view --- */

/* A note costs a durable transaction: that a drive is still there is recorded this often. */
static const int64_t note_interval = 600 * MRMR_NS_PER_S;

struct note {
    struct pool *pool;
    const struct pool_drive *drive;
    const struct meta_drive *next;
};

static void note_tell(const struct note *note)
{
    const char *name = note->next->name;
    char cause[1024];
    if (note->next->present)
        pool_tell(note->pool, NULL, false, "drive-returned", note->drive,
            "drive %s is in service again", name);
    else
        pool_tell(note->pool, NULL, true, "drive-lost", note->drive,
            "drive %s is not in service any more: %s", name,
            mrmr_story_print(&note->drive->why, cause, sizeof cause));
}

/* A change is told once, since it is known and told by one transaction. */
static mrmr_err note_in(struct meta *meta, void *arg)
{
    const struct note *note = arg;
    MRMR_TRY(meta_drive_store(meta, note->next));
    /* One that was detached was told of then. */
    if (note->next->present != note->drive->meta.present && note->drive->presence != POOL_DETACHED)
        note_tell(note);
    return MRMR_OK;
}

mrmr_err pool_drive_note(struct pool *pool, struct pool_drive *drive, bool now)
{
    struct meta_drive next = drive->meta;
    int64_t time = mrmr_clock_real();
    next.present = drive->presence == POOL_PRESENT;
    bool stale = next.present && (time - next.seen > note_interval || next.seen > time);
    if (next.state == META_DRIVE_RETIRED || (!now && !stale && next.present == drive->meta.present))
        return MRMR_OK;
    struct drv_space space;
    if (next.present && drv_space(drive->drv, &space) == MRMR_OK) {
        next.total = space.total;
        next.avail = space.avail;
    }
    if (next.present)
        next.seen = time;
    MRMR_TRY(meta_atomically(
        pool->meta, note_in, &(struct note){.pool = pool, .drive = drive, .next = &next}));
    drive->meta = next;
    return MRMR_OK;
}

static mrmr_err drives_note(struct pool *pool)
{
    for (size_t i = 0; i < pool->ndrives; i++) {
        struct pool_drive *drive = pool->drives[i];
        MRMR_TRY(pool_drive_note(pool, drive, false));
    }
    return MRMR_OK;
}

mrmr_err pool_drives_load(struct pool *pool)
{
    struct meta_drive *metas = NULL;
    size_t n = 0;
    MRMR_TRY(meta_drives(pool->meta, &metas, &n));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < n; i++) {
        struct pool_drive *drive = NULL;
        err = pool_drive_create(&metas[i], &drive);
        if (!err)
            err = pool_drive_insert(pool, drive);
        if (err)
            pool_drive_destroy(drive);
    }
    meta_drives_free(metas, n);
    MRMR_TRY(err);
    for (size_t i = 0; i < pool->ndrives; i++)
        pool_drive_look(pool, pool->drives[i]);
    return pool->access == POOL_OWN ? drives_note(pool) : MRMR_OK;
}

void pool_drives_unload(struct pool *pool)
{
    for (size_t i = 0; i < pool->ndrives; i++)
        pool_drive_destroy(pool->drives[i]);
    for (struct pool_drive *old; (old = pool->left) != NULL; pool_drive_destroy(old))
        pool->left = old->next_left;
    free(pool->drives);
    pool->drives = NULL;
    pool->ndrives = 0;
}
