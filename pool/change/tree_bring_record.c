/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is done with the record of a file that was being brought to another drive (pair.h), left by a cut, or since it could
 * not be recorded what is over (tree_bring.c has the crash argument): by whoever opens the tree next, and before a drive is
 * live again.
 *
 * Both drives are asked, as far as they serve; one that serves and does not say what it has there, as one with a bad place, counts as
 * one that is away. What was judged is named first, then carried out: who comes later goes on by the name.
 * What cannot be recorded keeps the drive whose file or copy goes from being live, until it can be.
 */
#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/records/spare.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"

#include "drivers/guard.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static mrmr_err clear_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    (void)stat;
    (void)err;
    return mrmr_bytes_add(arg, name, strlen(name) + 1);
}

/* It may have a file's number already (tree_bring.c), which what is made with its inode must not have. */
static mrmr_err clear_copy(struct tree_drive *drive, const char *path)
{
    struct pool_tree *tree = drive->tree;
    struct drv_stat stat;
    MRMR_TRY(drv_stat(drive->drive->drv, path, &stat));
    tree_number_forget(tree, (size_t)(drive - tree->drive), stat.ino);
    return drv_unlink(drive->drive->drv, path);
}

/* What lies under .mrmr/moving has no name that anyone knows. */
static void clear_drive(struct tree_drive *drive)
{
    mrmr_autobytes struct mrmr_bytes names = MRMR_BYTES_INIT;
    struct drv *drv = drive->drive->drv;
    if (!tree_live(drive) || drv_list(drv, TREE_BRING_FOLDER, clear_entry, &names))
        return;
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (mrmr_bytes_fmt(&path, TREE_BRING_FOLDER "/%s", names.data + at) ||
            clear_copy(drive, path.data))
            mrmr_log_story(MRMR_LOG_INFO, "clearing away a copy that was not finished");
    }
}

/* --- what goes --- */

static bool is_file(const struct drv_stat *stat, uint64_t ino)
{
    return stat->type == DRV_REG && stat->ino == ino;
}

static bool is_none(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR;
}

static bool is_as_recorded(struct pool_tree *tree, size_t drive, const struct drv_stat *recorded,
    const struct drv_stat *now)
{
    return is_file(now, recorded->ino) && now->size == recorded->size &&
           now->mtime == recorded->mtime && !tree_pair_touched(tree, drive, recorded, now);
}

/* The drive is away. What the catalog has of it is recorded as removed, by which it is compared if it may have been edited since
 * (gone_version.c); what the catalog never had is recorded as late. So is what a scan has seen changed since, and that alone: it is
 * somebody's, is kept, and told of. One that was recorded before a cut is not the other besides, nor anew when it was applied
 * already. */
static mrmr_err goes_when_back(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file)
{
    struct meta_node known;
    mrmr_err err = tree_catalog_without(tree, from, path, &known);
    if (err && !is_none(err))
        return err;
    const bool is = !err && (int)known.type == (int)file->type && known.ino == file->ino &&
                    !(file->ctime && known.ctime > file->ctime);
    const bool seen = is && known.size == file->size && known.mtime == file->mtime;
    tree_gone_refresh(tree);
    if (seen && tree_gone_hides_node(tree, from, "", path, &known))
        return MRMR_OK;
    if (is) /* first: it is recorded once, however often the other fails */
        MRMR_TRY(tree_gone_add(tree, from, path, &known));
    return seen ? MRMR_OK : tree_gone_late(tree, from, POOL_GONE_LATE_COPY, path, file);
}

mrmr_err tree_bring_goes_later(
    struct pool_tree *tree, size_t from, const char *path, const struct drv_stat *file)
{
    return tree_live(&tree->drive[from])
               ? tree_gone_late(tree, from, POOL_GONE_LATE_COPY, path, file)
               : goes_when_back(tree, from, path, file);
}

/* At once, if it is there and what was recorded; else, or where that fails, when it can. */
static mrmr_err goes_among(
    struct pool_tree *tree, size_t drive, const struct tree_pair *record, bool copy, uint64_t epoch)
{
    const struct drv_stat *recorded = copy ? &record->copy : &record->file;
    struct drv_stat now;
    if (tree_live(&tree->drive[drive]) &&
        !drv_stat(tree->drive[drive].drive->drv, record->path, &now) &&
        is_as_recorded(tree, drive, recorded, &now)) {
        if (copy) /* it has the file's number */
            tree_number_forget(tree, drive, now.ino);
        if (!tree_keep_taken(tree, drive, record->path, &now, epoch) &&
            !tree_place_sync_name(tree, drive, record->path))
            return MRMR_OK;
        mrmr_log_story(MRMR_LOG_WARN, "one of two copies of a file cannot be removed for good yet");
    }
    return tree_bring_goes_later(tree, drive, record->path, recorded);
}

static mrmr_err goes(struct pool_tree *tree, const struct tree_pair *record, bool copy)
{
    uint64_t epoch;
    MRMR_TRY(tree_change_begin(tree, &epoch));
    mrmr_err err = goes_among(tree, copy ? record->to : record->from, record, copy, epoch);
    tree_change_end(tree);
    return err;
}

/* --- what its drives say --- */

enum says { SAYS_NOTHING, SAYS_IT_IS, SAYS_IT_IS_NOT };

struct answer {
    enum says says;
    struct drv_stat stat;
};

static bool serves(const struct tree_drive *drive)
{
    return drive->drive->presence == POOL_PRESENT && drv_guard_serves(drive->drive->drv);
}

/* What the drive has there is recorded as removed, or late: the other one is the file. */
static bool is_over(
    struct pool_tree *tree, size_t drive, const char *path, const struct drv_stat *stat)
{
    tree_gone_refresh(tree);
    return tree_gone_hides_stat(tree, drive, "", path, stat);
}

/* It does not say it, or what it says may be gone with the next cut. */
static mrmr_err refuses(const struct pool_drive *drive, const char *path, mrmr_err err)
{
    if (mrmr_ran_short(err))
        return err;
    mrmr_err_path(mrmr_err_drive(err, drive->meta.name), path);
    mrmr_log_story(MRMR_LOG_WARN,
        "a drive does not say what it has of a file that was being brought to another one");
    return MRMR_OK;
}

static mrmr_err ask(
    struct pool_tree *tree, size_t drive, const char *path, uint64_t ino, struct answer *ret_answer)
{
    const struct pool_drive *own = tree->drive[drive].drive;
    *ret_answer = (struct answer){.says = SAYS_NOTHING};
    if (!serves(&tree->drive[drive]))
        return MRMR_OK;
    mrmr_err err = drv_stat(own->drv, path, &ret_answer->stat);
    if (err && !is_none(err))
        return refuses(own, path, err);
    const bool is =
        !err && is_file(&ret_answer->stat, ino) && !is_over(tree, drive, path, &ret_answer->stat);
    ret_answer->says = is ? SAYS_IT_IS : SAYS_IT_IS_NOT;
    return MRMR_OK;
}

/* Nothing else goes for it unless its name is durable. */
static mrmr_err ask_copy(
    struct pool_tree *tree, const struct tree_pair *record, struct answer *ret_answer)
{
    MRMR_TRY(ask(tree, record->to, record->path, record->copy.ino, ret_answer));
    if (ret_answer->says != SAYS_IT_IS)
        return MRMR_OK;
    mrmr_err err = tree_place_sync_name(tree, record->to, record->path);
    if (!err)
        return MRMR_OK;
    ret_answer->says = SAYS_NOTHING;
    return refuses(tree->drive[record->to].drive, record->path, err);
}

/* --- what becomes of it --- */

enum verdict { NOT_YET, BOTH_STAY, FILE_GOES, COPY_GOES };

/* Nobody has changed the file since it was copied, also not with its time set back. */
static bool file_is_over(struct pool_tree *tree, const struct tree_pair *record,
    const struct drv_stat *file, const struct drv_stat *copy)
{
    return !tree_pair_touched(tree, record->from, &record->file, file) &&
           file->size == copy->size && file->mtime == copy->mtime;
}

/* Somebody has changed the file where it was, and nobody the copy, as far as that can be told: where size and time do not, it was not
 * changed after the file. */
static bool copy_is_old(struct pool_tree *tree, const struct tree_pair *record,
    const struct drv_stat *file, const struct drv_stat *copy)
{
    return copy->size == record->copy.size && copy->mtime == record->copy.mtime &&
           (!tree_pair_touched(tree, record->from, &record->file, file) ||
               file->ctime > copy->ctime);
}

/* Both are there, and nobody has seen either: the tree is opened, or neither is live yet. */
static enum verdict judge_both(struct pool_tree *tree, const struct tree_pair *record,
    const struct drv_stat *file, const struct drv_stat *copy)
{
    if (file_is_over(tree, record, file, copy))
        return FILE_GOES;
    if (copy_is_old(tree, record, file, copy))
        return COPY_GOES;
    mrmr_log(MRMR_LOG_WARN,
        "'%s' was being brought from drive %s to drive %s when that was cut, and somebody changed "
        "both there since: both stay; mrmr where lists them",
        record->path, tree->drive[record->from].drive->meta.name,
        tree->drive[record->to].drive->meta.name);
    return BOTH_STAY;
}

/* Where the file's drive alone is live it is the file that shows, and may have been changed by now. Else the copy counts, if it is
 * there; where its drive is live, and did not say so, nobody knows. */
static enum verdict judge(struct pool_tree *tree, const struct tree_pair *record,
    const struct answer *file, const struct answer *copy)
{
    const bool shows = tree_live(&tree->drive[record->from]);
    const bool copy_shows = tree_live(&tree->drive[record->to]);
    if (file->says == SAYS_NOTHING && copy->says == SAYS_NOTHING)
        return shows && serves(&tree->drive[record->to]) ? BOTH_STAY : NOT_YET;
    if (file->says == SAYS_IT_IS_NOT || copy->says == SAYS_IT_IS_NOT)
        return BOTH_STAY; /* there is one at most */
    if (copy->says == SAYS_NOTHING && copy_shows && !shows)
        return BOTH_STAY;
    if (file->says == copy->says && shows == copy_shows)
        return judge_both(tree, record, &file->stat, &copy->stat);
    return file->says == SAYS_IT_IS && (shows || copy->says == SAYS_NOTHING) ? COPY_GOES
                                                                             : FILE_GOES;
}

static mrmr_err find_verdict(
    struct pool_tree *tree, const struct tree_pair *record, enum verdict *ret_verdict)
{
    struct answer file, copy;
    MRMR_TRY(ask(tree, record->from, record->path, record->file.ino, &file));
    MRMR_TRY(ask_copy(tree, record, &copy));
    *ret_verdict = record->knows ? judge(tree, record, &file, &copy) : BOTH_STAY; /* of before */
    return MRMR_OK;
}

/* --- records --- */

static mrmr_err record_name(
    struct pool_tree *tree, const char *record, const char *prefix, char ret_name[POOL_PAIR_NAME])
{
    const int dir = tree->pool->dirfd;
    mrmr_err err;
    snprintf(ret_name, POOL_PAIR_NAME, "%s%s", prefix, strrchr(record, '-') + 1);
    do
        err = renameat(dir, record, dir, ret_name) < 0 ? mrmr_fail_errno(errno, "rename", record)
                                                       : MRMR_OK;
    while (pool_spare_gives(dir, tree->pool->dir, err));
    return err;
}

void tree_bring_record_is(struct pool_tree *tree, const char *record, const char *prefix)
{
    char name[POOL_PAIR_NAME];
    if (record_name(tree, record, prefix, name))
        mrmr_log_story(
            MRMR_LOG_WARN, "the record of a file that was brought to another drive stays");
}

struct visit {
    size_t drive; /* that returns; SIZE_MAX: the tree is opened */
    const char *prefix;
    enum verdict verdict; /* that is known of records with it; else it is found out */
    bool unclear;         /* something could not be recorded */
    mrmr_err err;         /* that one could not be read */
};

/* The verdict is durable, as the record's name, on return. What somebody else has named meanwhile is not named: it is another one. */
static mrmr_err record_judge(struct pool_tree *tree, char name[POOL_PAIR_NAME],
    const struct tree_pair *record, enum verdict *ret_verdict)
{
    char named[POOL_PAIR_NAME];
    enum verdict verdict;
    MRMR_TRY(find_verdict(tree, record, &verdict));
    if (verdict == FILE_GOES || verdict == COPY_GOES) {
        MRMR_TRY(record_name(
            tree, name, verdict == COPY_GOES ? TREE_BRING_LATE : TREE_BRING_OVER, named));
        memcpy(name, named, sizeof named);
        if (fsync(tree->pool->dirfd) < 0)
            return mrmr_fail_errno(errno, "sync", tree->pool->dir);
    }
    *ret_verdict = verdict;
    return MRMR_OK;
}

/* It was judged, and the drive of its copy may have gone since: what the other one has is not taken from it unless the copy's drive
 * answers. Told once. */
static void file_waits(
    const struct tree_drive *from, const struct tree_drive *to, const struct tree_pair *record)
{
    if (!from->told_waits)
        mrmr_log(MRMR_LOG_WARN,
            "'%s' was brought from drive %s to drive %s, which is away: what drive %s has of it "
            "stays, and of that drive what the catalog has shows, until drive %s is back, or is "
            "none of the pool any more",
            record->path, from->drive->meta.name, to->drive->meta.name, from->drive->meta.name,
            to->drive->meta.name);
}

/* *verdict: that the file goes was told. Not before its copy's drive is back (NOT_YET); not at all where there is nothing to go, where
 * that drive is there and does not say it, or where the pool has lost it. */
static mrmr_err ask_whether_it_goes(
    struct pool_tree *tree, const struct tree_pair *record, enum verdict *verdict)
{
    struct tree_drive *to = &tree->drive[record->to];
    struct answer file, copy;
    MRMR_TRY(ask(tree, record->from, record->path, record->file.ino, &file));
    if (file.says == SAYS_IT_IS_NOT) {
        *verdict = BOTH_STAY;
        return MRMR_OK;
    }
    MRMR_TRY(ask_copy(tree, record, &copy));
    if (copy.says == SAYS_NOTHING)
        *verdict = serves(to) || !tree_drive_is_member(to) ? BOTH_STAY : NOT_YET;
    if (*verdict == NOT_YET)
        file_waits(&tree->drive[record->from], to, record);
    return MRMR_OK;
}

static mrmr_err record_carry_out(
    struct pool_tree *tree, const char *name, const struct tree_pair *record, enum verdict verdict)
{
    char named[POOL_PAIR_NAME];
    if (verdict == NOT_YET)
        return MRMR_OK;
    if (verdict != BOTH_STAY)
        MRMR_TRY(goes(tree, record, verdict == COPY_GOES));
    if (verdict != COPY_GOES)
        return record_name(tree, name, POOL_BROUGHT_ENDED, named);
    unlinkat(tree->pool->dirfd, name, 0);
    return MRMR_OK;
}

static bool is_begun(struct pool_tree *tree, const char *name)
{
    mrmr_locked(&tree->lock);
    for (const struct tree_bring_begun *at = tree->begun; at; at = at->next)
        if (strcmp(at->record, name) == 0)
            return true;
    return false;
}

/* What goes, or may go, or would show beside that, lies on the drive that returns. */
static bool is_about(const struct visit *visit, const struct tree_pair *record)
{
    return visit->drive == SIZE_MAX || visit->drive == record->to ||
           (visit->drive == record->from && visit->verdict != COPY_GOES);
}

/* Where what goes cannot be recorded its drive returns once more, and is not live before it is; of one that is live already the
 * other waits. So does the one at hand while it is not known what goes; when the tree is opened, both. */
static void hold_back(struct pool_tree *tree, struct visit *visit, const struct tree_pair *record,
    enum verdict verdict)
{
    struct tree_drive *own = &tree->drive[verdict == FILE_GOES ? record->from : record->to];
    if (visit->drive == SIZE_MAX && verdict == NOT_YET)
        tree->drive[record->from].returning = true;
    if (visit->drive == SIZE_MAX)
        own->returning = true; /* nothing shows of the tree yet */
    else if (verdict == NOT_YET || own == &tree->drive[visit->drive] || tree_live(own))
        visit->unclear = true;
}

static mrmr_err record_finish(struct pool_tree *tree, struct visit *visit,
    char name[POOL_PAIR_NAME], const struct tree_pair *record)
{
    enum verdict verdict = visit->verdict;
    atomic_store(&tree->brings_left, true);
    mrmr_err err = verdict == NOT_YET ? record_judge(tree, name, record, &verdict) : MRMR_OK;
    enum verdict now = verdict;
    if (!err && verdict == FILE_GOES)
        err = ask_whether_it_goes(tree, record, &now);
    if (!err)
        err = record_carry_out(tree, name, record, now);
    if (err || (verdict == FILE_GOES && now == NOT_YET))
        hold_back(tree, visit, record, verdict);
    return err;
}

/* What cannot be read now may be of any drive; of what is none, or has gone meanwhile, there is nothing to do. */
static mrmr_err record_read(struct pool_tree *tree, struct visit *visit, const char *name,
    struct mrmr_bytes *text, struct tree_pair *ret_record, bool *ret_ours)
{
    mrmr_err err = tree_pair_read(tree, name, text, ret_record, ret_ours);
    const enum mrmr_class class = mrmr_class_of(err);
    if (err && class != MRMR_CLASS_CORRUPT && class != MRMR_CLASS_ABSENT)
        visit->err = err;
    return err;
}

static mrmr_err record_visit(struct pool_tree *tree, const char *entry, void *arg)
{
    struct visit *visit = arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair record;
    char name[POOL_PAIR_NAME];
    bool ours;
    snprintf(name, sizeof name, "%s", entry);
    if (is_begun(tree, name))
        return MRMR_OK;
    MRMR_TRY(record_read(tree, visit, name, &text, &record, &ours));
    if (!ours) {
        mrmr_log(MRMR_LOG_INFO, "the pool has lost a drive that a copy of %s was made on, or from",
            record.path);
        unlinkat(tree->pool->dirfd, name, 0);
        return MRMR_OK;
    }
    return is_about(visit, &record) ? record_finish(tree, visit, name, &record) : MRMR_OK;
}

/* *ret_unclear: something could not be recorded, which was logged. */
static mrmr_err records_visit(struct pool_tree *tree, size_t drive, bool *ret_unclear)
{
    struct visit visits[] = {
        {.drive = drive, .prefix = TREE_BRING_LATE, .verdict = COPY_GOES},
        {.drive = drive, .prefix = TREE_BRING_OVER, .verdict = FILE_GOES},
        {.drive = drive, .prefix = TREE_BRING_RECORD, .verdict = NOT_YET},
    };
    bool unclear = false;
    for (size_t i = 0; i < sizeof visits / sizeof *visits; i++) {
        MRMR_TRY(tree_records_each(tree, visits[i].prefix, record_visit, &visits[i]));
        MRMR_TRY(visits[i].err);
        unclear = unclear || visits[i].unclear;
    }
    *ret_unclear = unclear;
    return MRMR_OK;
}

/* --- what was removed of two that are away --- */

/* What goes with it is found first: what cannot be found or recorded is not acknowledged. */
struct removed {
    size_t drive;
    const char *path;
    const struct meta_node *known;
    bool over;                /* it was judged that the copy is the file */
    struct mrmr_bytes copies; /* struct copy */
    mrmr_err err;
};

struct copy {
    size_t drive;
    struct drv_stat stat;
};

static bool is_removed(const struct tree_pair *record, const struct removed *removed)
{
    const struct meta_node *known = removed->known;
    const struct drv_stat *file = &record->file;
    return record->knows && record->from == removed->drive &&
           strcmp(record->path, removed->path) == 0 && known->type == META_REG &&
           known->ino == file->ino && known->size == file->size && known->mtime == file->mtime &&
           (!file->ctime || known->ctime == file->ctime);
}

/* One that has another name by now was judged: it is found by that. Where the copy was judged to be the file, and shows, it is removed
 * as what it is. */
static mrmr_err removed_visit(struct pool_tree *tree, const char *name, void *arg)
{
    struct removed *removed = arg;
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct tree_pair record;
    bool ours;
    if (removed->err || is_begun(tree, name))
        return MRMR_OK;
    mrmr_err err = tree_pair_read(tree, name, &text, &record, &ours);
    const enum mrmr_class class = mrmr_class_of(err);
    if (class == MRMR_CLASS_CORRUPT || class == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    if (!err && ours && is_removed(&record, removed) &&
        !(removed->over && tree_live(&tree->drive[record.to]))) {
        const struct copy copy = {record.to, record.copy};
        err = mrmr_bytes_add(&removed->copies, &copy, sizeof copy);
    }
    removed->err = err;
    return MRMR_OK; /* it is told by whoever removes */
}

static mrmr_err add_id(const struct pool_gone_record *record, void *arg)
{
    return record->over ? MRMR_OK : mrmr_bytes_add(arg, &record->id, sizeof record->id);
}

/* Nobody was told of it. */
static mrmr_err removed_back(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *known)
{
    mrmr_autobytes struct mrmr_bytes at = MRMR_BYTES_INIT, ids = MRMR_BYTES_INIT;
    MRMR_TRY(tree_catalog_path(tree, drive, path, &at));
    MRMR_TRY(pool_gone_each(tree->gone, POOL_GONE_REMOVED, at.data, known, add_id, &ids));
    return pool_gone_settle(
        tree->gone, (uint64_t *)(void *)ids.data, ids.size / sizeof(uint64_t), true);
}

static mrmr_err copies_go(struct pool_tree *tree, const struct removed *removed)
{
    for (size_t at = 0; at < removed->copies.size; at += sizeof(struct copy)) {
        struct copy copy;
        memcpy(&copy, removed->copies.data + at, sizeof copy);
        mrmr_err err = tree_bring_goes_later(tree, copy.drive, removed->path, &copy.stat);
        if (err == MRMR_CHANGED) /* it came back just now */
            err = tree_bring_goes_later(tree, copy.drive, removed->path, &copy.stat);
        MRMR_TRY(err);
    }
    return MRMR_OK;
}

static mrmr_err removed_with(struct pool_tree *tree, const struct removed *removed)
{
    struct mrmr_story story;
    tree_gone_refresh(tree);
    if (tree_gone_hides_node(tree, removed->drive, "", removed->path, removed->known))
        return mrmr_fail(MRMR_ABSENT, "it was brought to another drive just now");
    MRMR_TRY(tree_gone_add(tree, removed->drive, removed->path, removed->known));
    mrmr_err err = copies_go(tree, removed);
    if (!err)
        return MRMR_OK;
    mrmr_story_save(&story);
    if (removed_back(tree, removed->drive, removed->path, removed->known))
        mrmr_log_story(MRMR_LOG_WARN, "a removal that failed may be done when its drive is back");
    return mrmr_story_restore(&story);
}

mrmr_err tree_bring_removed(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *known)
{
    struct removed removed = {.drive = drive, .path = path, .known = known};
    if (!atomic_load(&tree->brings_left))
        return tree_gone_add(tree, drive, path, known);
    mrmr_err err = tree_records_each(tree, TREE_BRING_RECORD, removed_visit, &removed);
    removed.over = true;
    if (!err)
        err = tree_records_each(tree, TREE_BRING_OVER, removed_visit, &removed);
    if (!err)
        err = removed.err;
    if (!err)
        err = removed_with(tree, &removed);
    mrmr_bytes_free(&removed.copies);
    return err;
}

static mrmr_err try_clear(struct pool_tree *tree, const char *name, void *arg)
{
    (void)arg;
    unlinkat(tree->pool->dirfd, name, 0);
    return MRMR_OK;
}

mrmr_err tree_brings_finish(struct pool_tree *tree)
{
    if (!pool_tree_writable(tree))
        return MRMR_OK;
    mrmr_locked(&tree->brings_gate);
    for (size_t i = 0; i < tree->ndrives; i++)
        clear_drive(&tree->drive[i]);
    MRMR_TRY(tree_records_each(tree, TREE_BRING_TRY, try_clear, NULL));
    bool unclear;
    return records_visit(tree, SIZE_MAX, &unclear);
}

bool tree_brings_return(struct pool_tree *tree, size_t drive)
{
    if (!pool_tree_writable(tree))
        return true;
    mrmr_locked(&tree->brings_gate);
    bool unclear;
    mrmr_err err = records_visit(tree, drive, &unclear);
    if (err)
        mrmr_log_story(MRMR_LOG_WARN, "finishing what was brought to or from a drive");
    return !err && !unclear;
}
