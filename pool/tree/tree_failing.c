/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A drive that answers errors again and again while the tree uses it is cut off by its guard (guard.h), and from then on is as one
 * that went: its files are read by reconstruction, and what is written goes elsewhere. It is not put back by the next look, which may well
 * find it there: that would be the same again, with a file half written each time.
 *
 * States of a drive:
 *
 *     in service -> fails      cut off; the monitor is woken. Not while as many drives are out of service as the redundancy, or it is
 *                              the last: what it still gives is all that there is of some files then. Where two are cut off
 *                              at one moment, the one that is too much is looked for like any other
 *     fails -> failing         noted in the pool's folder (failing.h), and told. Where that cannot be written it is tried again
 *                              with each look, and the drive is out of service all the same
 *     failing -> looked for    by the user's word (the note is gone), or since it was seen gone. A tree that cannot write the
 *                              pool's folder goes by its own word alone: until it was seen gone
 *
 * Crash argument: failing.h.
 *
 * Threads: the monitor's.
 */
#include "pool/tree/tree.h"
#include "pool/tree/tree_watch.h"

#include "drivers/guard.h"
#include "pool/drive/failing.h"

static void tell(const struct tree_drive *drive)
{
    const char *name = drive->drive->meta.name;
    pool_tell(drive->tree->pool, NULL, true, "drive-failing", drive->drive,
        "drive %s answered errors again and again, and is out of service: its files are read by "
        "reconstruction. Look at its cable, its power and the system's log; to use it again: mrmr "
        "attach %s; to bring its files to other drives: mrmr rebuild %s",
        name, name, name);
}

/* The others have what is on it: fewer of them are out of service, for whatever reason, than the redundancy. */
static bool may_go(const struct tree_drive *drive)
{
    struct pool_tree *tree = drive->tree;
    unsigned live = 0, out = 0;
    for (size_t i = 0; i < tree->ndrives; i++) {
        const struct tree_drive *other = &tree->drive[i];
        if (other == drive || other->left)
            continue;
        live += tree_live(other);
        out += !tree_live(other);
    }
    return live && out < tree->redundancy;
}

void tree_failing_limit(struct pool_tree *tree)
{
    for (size_t i = 0; i < tree->ndrives; i++) {
        struct tree_drive *drive = &tree->drive[i];
        drv_guard_error_limit(drive->drive->drv, may_go(drive) ? tree->error_limit : 0);
    }
}

static void note(struct tree_drive *drive)
{
    if (!may_go(drive)) {
        drive->fails = false;
        return;
    }
    drive->failing = true;
    if (drive->tree->keeper && pool_failing_set(drive->tree->pool, &drive->drive->meta.uuid)) {
        mrmr_log_story(MRMR_LOG_WARN, "that a drive fails is not known to others yet");
        return;
    }
    drive->fails = false;
    tell(drive);
}

static void follow(struct tree_drive *drive)
{
    struct pool_drive *own = drive->drive;
    if (drive->fails)
        note(drive);
    else if (drive->tree->keeper)
        drive->failing = pool_failing_get(drive->tree->pool, &own->meta.uuid) == POOL_FAILING_HERE;
    if (!drive->failing || tree_drive_is_coming(drive) || !drv_guard_serves(own->drv))
        return;
    mrmr_fail(MRMR_OFFLINE, "it answers errors");
    drv_guard_cut(own->drv, MRMR_OFFLINE);
}

void tree_failing_follow(struct pool_tree *tree)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree->drive[i].drive->meta.state != META_DRIVE_RETIRED)
            follow(&tree->drive[i]);
}

void tree_failing_goes(struct tree_drive *drive)
{
    if (drive->tree->keeper)
        pool_failing_goes(drive->tree->pool, &drive->drive->meta.uuid);
    else
        drive->failing = false;
}
