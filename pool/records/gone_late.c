/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What was asked of a drive that hung, was given up at its deadline, and may be there, or come yet.
 *
 * Whoever asked was told that it failed, and may have made it elsewhere meanwhile: a new file that comes late is
 * empty, is the newest by its times, and would hide the one that was written; so would a symlink, or another name of a file, and a
 * folder that comes where a file has the name by then. A copy that a file was not brought to (tree_bring.c) is an old one of
 * it, which no catalog knows. The guard takes back a file that it made too late (guard.h), as long as its process
 * lives; this is for one that is killed, and for all that the guard does not take back.
 *
 * Crash argument. The record is in the journal (gone.h), durably, before the one who asked is told that it failed, so before
 * he can have made anything elsewhere for that. It waits until the drive is next in service, which it is not as long as
 * something that was asked of it can still come, also of a process that was killed (hung.h): by then it is there, or
 * never will be. A cut of the machine ends it likewise. It is applied as a removal: what came goes before the drive shows anything, by the
 * same steps, and a cut in between leaves the record, and what came or nothing. A process that is killed before the deadline of
 * what hangs has recorded nothing, and nobody was told anything: what comes then shows as any file that somebody put
 * there.
 *
 * Only what nobody has touched goes (I1): a file that was to be made if it is empty and has one name, a symlink of the
 * same length, a folder that is empty, a copy with the inode, the size and the time that it had, and the change time, where that is known,
 * since a rename changes it. Another name of a file goes if it leads to the inode, which has a name besides. What somebody changed is kept:
 * of a copy an event tells so. What has the path and is none of this is somebody else's.
 *
 * The path is the one on the drive, and nobody renames it there: no folder above it can be, while its drive hangs, but with
 * it, late. What comes below a folder that was renamed late is not found, and stays.
 */
#include "pool/records/gone.h"
#include "pool/records/gone_format.h"

#include <string.h>

mrmr_err pool_gone_add_late(struct pool_gone *gone, enum pool_gone_late what, const char *path,
    const struct meta_node *node)
{
    const struct gone_late late = {.what = what, .ctime = node->ctime};
    uint64_t id;
    return pool_gone_add_later(gone, POOL_GONE_LATE, path, node, &late, sizeof late, &id);
}

static bool late_of(const struct pool_gone_record *record, struct gone_late *ret_late)
{
    if (record->kind != POOL_GONE_LATE || record->extra_size != sizeof *ret_late)
        return false;
    memcpy(ret_late, record->extra, sizeof *ret_late);
    return true;
}

static bool is_new(const struct pool_gone_record *record, const struct drv_stat *stat)
{
    switch (stat->type) {
    case DRV_DIR: /* whether it is empty is found when it is removed */
        return true;
    case DRV_REG:
        return stat->size == 0 && stat->nlink <= 1;
    case DRV_SYMLINK:
        return stat->size == record->size && stat->nlink <= 1;
    default:
        return stat->nlink <= 1;
    }
}

bool pool_gone_late_is(const struct pool_gone_record *record, const struct drv_stat *stat)
{
    struct gone_late late;
    if (!late_of(record, &late) || (int)record->type != (int)stat->type)
        return false;
    switch (late.what) {
    case POOL_GONE_LATE_NEW:
        return is_new(record, stat);
    case POOL_GONE_LATE_COPY:
        return record->ino && stat->ino == record->ino && stat->size == record->size &&
               stat->mtime == record->mtime;
    case POOL_GONE_LATE_NAME:
        return record->ino && stat->ino == record->ino && stat->nlink > 1;
    default: /* of a version to come */
        return false;
    }
}

bool pool_gone_late_is_surely(const struct pool_gone_record *record, const struct drv_stat *stat)
{
    struct gone_late late;
    return pool_gone_late_is(record, stat) && late_of(record, &late) &&
           (!late.ctime || late.ctime == stat->ctime);
}

bool pool_gone_late_is_copy(const struct pool_gone_record *record)
{
    struct gone_late late;
    return late_of(record, &late) && late.what == POOL_GONE_LATE_COPY;
}

bool pool_gone_late_changed(const struct pool_gone_record *record, const struct drv_stat *stat)
{
    struct gone_late late;
    return late_of(record, &late) && late.what == POOL_GONE_LATE_COPY && stat->ino == record->ino &&
           !pool_gone_late_is_surely(record, stat);
}
