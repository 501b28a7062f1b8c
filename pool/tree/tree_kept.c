/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/tree/tree_kept.h"

#include "pool/retained/retained.h"
#include "pool/tree/tree_drives.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LOOK_MOST: of one file, at a time. */
enum { NAME_ROOM = 24, LOOK_MOST = 16, KEPT_LEAST = 1 << 16 };

struct tree_kept_name {
    uint64_t ino;
    char name[NAME_ROOM]; /* in POOL_RETAINED_FILES */
};

void tree_kept_start(struct tree_kept *kept)
{
    pthread_mutex_init(&kept->reading, NULL);
    pthread_mutex_init(&kept->lock, NULL);
    kept->most = KEPT_LEAST;
}

static void forget_locked(struct tree_kept *kept)
{
    free(kept->name);
    kept->name = NULL;
    kept->n = kept->room = 0;
    kept->all = false;
    kept->again_at = 0;
    kept->changes++;
}

void tree_kept_stop(struct tree_kept *kept)
{
    forget_locked(kept);
    pthread_mutex_destroy(&kept->lock);
    pthread_mutex_destroy(&kept->reading);
}

void tree_kept_forget(struct tree_drive *drive)
{
    mrmr_locked(&drive->kept.lock);
    forget_locked(&drive->kept);
}

static size_t first_locked(const struct tree_kept *kept, uint64_t ino)
{
    size_t low = 0, high = kept->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (kept->name[middle].ino < ino)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool has_locked(const struct tree_kept *kept, size_t at, uint64_t ino, const char *name)
{
    for (; at < kept->n && kept->name[at].ino == ino; at++)
        if (strcmp(kept->name[at].name, name) == 0)
            return true;
    return false;
}

static mrmr_err room_locked(struct tree_kept *kept, size_t n)
{
    if (n <= kept->room)
        return MRMR_OK;
    const size_t room = n < 16 ? 16 : 2 * n;
    struct tree_kept_name *grown = reallocarray(kept->name, room, sizeof *grown);
    if (!grown)
        return mrmr_nomem();
    kept->name = grown;
    kept->room = room;
    return MRMR_OK;
}

static mrmr_err add_locked(struct tree_kept *kept, uint64_t ino, const char *name)
{
    const size_t at = first_locked(kept, ino);
    if (strlen(name) >= NAME_ROOM || has_locked(kept, at, ino, name))
        return MRMR_OK; /* a longer one is none of ours */
    MRMR_TRY(room_locked(kept, kept->n + 1));
    struct tree_kept_name *to = kept->name + at;
    memmove(to + 1, to, (kept->n++ - at) * sizeof *to);
    to->ino = ino;
    snprintf(to->name, sizeof to->name, "%s", name);
    return MRMR_OK;
}

void tree_kept_add(struct tree_drive *drive, uint64_t ino, const char *path)
{
    struct tree_kept *kept = &drive->kept;
    mrmr_locked(&kept->lock);
    /* So many are found by looking, if anyone asks; most of them a sync has let go of long ago. */
    if (kept->n >= kept->most || add_locked(kept, ino, strrchr(path, '/') + 1))
        forget_locked(kept);
}

/* --- what lay there before --- */

/* In any order. */
static mrmr_err found(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct tree_kept *there = arg;
    (void)err;
    if (!stat || stat->type != DRV_REG || stat->nlink <= 1 || strlen(name) >= NAME_ROOM)
        return MRMR_OK;
    MRMR_TRY(room_locked(there, there->n + 1));
    struct tree_kept_name *to = &there->name[there->n++];
    to->ino = stat->ino;
    snprintf(to->name, sizeof to->name, "%s", name);
    return MRMR_OK;
}

static int name_compare(const void *a, const void *b)
{
    const struct tree_kept_name *x = a, *y = b;
    return x->ino == y->ino ? strcmp(x->name, y->name) : x->ino < y->ino ? -1 : 1;
}

/* In order, each once. */
static void tidy_locked(struct tree_kept *kept)
{
    size_t n = 0;
    qsort(kept->name, kept->n, sizeof *kept->name, name_compare);
    for (size_t i = 0; i < kept->n; i++)
        if (!n || name_compare(&kept->name[n - 1], &kept->name[i]) != 0)
            kept->name[n++] = kept->name[i];
    kept->n = n;
}

static bool wants_all(struct tree_kept *kept, uint32_t *ret_changes)
{
    mrmr_locked(&kept->lock);
    *ret_changes = kept->changes;
    return !kept->all && (!kept->again_at || kept->again_at < mrmr_clock_monotonic());
}

static mrmr_err take_all(
    struct tree_kept *kept, const struct tree_kept *there, uint32_t changes, mrmr_err err)
{
    mrmr_locked(&kept->lock);
    if (kept->changes != changes)
        return MRMR_OK;
    if (!err && there->n)
        err = room_locked(kept, kept->n + there->n);
    if (!err && there->n) {
        memcpy(kept->name + kept->n, there->name, there->n * sizeof *there->name);
        kept->n += there->n;
        tidy_locked(kept);
        kept->most = kept->n > KEPT_LEAST / 2 ? 2 * kept->n : KEPT_LEAST;
    }
    kept->all = !err;
    kept->again_at = err ? mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S : 0;
    return err;
}

/* Once for all who want to know. */
static void read_all(struct tree_drive *drive)
{
    struct tree_kept there = {.n = 0};
    uint32_t changes;
    struct mrmr_story story;
    if (!wants_all(&drive->kept, &changes))
        return;
    mrmr_locked(&drive->kept.reading);
    if (!wants_all(&drive->kept, &changes))
        return;
    mrmr_story_save(&story);
    mrmr_err err = drv_list(drive->drive->drv, POOL_RETAINED_FILES, found, &there);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        err = MRMR_OK; /* nothing is kept */
    err = take_all(&drive->kept, &there, changes, err);
    free(there.name);
    if (err) {
        mrmr_err_drive(err, drive->drive->meta.name);
        mrmr_log_story(MRMR_LOG_WARN, "files of several names may seem to have more than they do");
    }
    mrmr_story_restore(&story);
}

/* --- those of a file --- */

static size_t names_of(struct tree_kept *kept, uint64_t ino, struct tree_kept_name names[LOOK_MOST])
{
    size_t n = 0;
    mrmr_locked(&kept->lock);
    for (size_t at = first_locked(kept, ino);
         n < LOOK_MOST && at < kept->n && kept->name[at].ino == ino; at++)
        names[n++] = kept->name[at];
    return n;
}

static void drop(struct tree_kept *kept, const struct tree_kept_name *name)
{
    mrmr_locked(&kept->lock);
    for (size_t at = first_locked(kept, name->ino); at < kept->n && kept->name[at].ino == name->ino;
         at++)
        if (strcmp(kept->name[at].name, name->name) == 0) {
            struct tree_kept_name *gone = kept->name + at;
            memmove(gone, gone + 1, (--kept->n - at) * sizeof *gone);
            return;
        }
}

static bool is_kept(struct tree_drive *drive, const struct tree_kept_name *name)
{
    char path[POOL_RETAINED_PATH];
    struct drv_stat stat;
    snprintf(path, sizeof path, POOL_RETAINED_FILES "/%.*s", NAME_ROOM, name->name);
    mrmr_err err = drv_stat(drive->drive->drv, path, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || (!err && stat.ino != name->ino))
        drop(&drive->kept, name);
    return !err && stat.ino == name->ino;
}

uint32_t tree_kept_nlink(struct tree_drive *drive, const struct drv_stat *stat)
{
    struct tree_kept_name names[LOOK_MOST];
    struct mrmr_story story;
    uint32_t kept = 0;
    if (stat->type != DRV_REG || stat->nlink <= 1 || !stat->ino)
        return stat->nlink;
    read_all(drive);
    const size_t n = names_of(&drive->kept, stat->ino, names);
    mrmr_story_save(&story);
    for (size_t i = 0; i < n; i++)
        kept += is_kept(drive, &names[i]);
    mrmr_story_restore(&story);
    return kept < stat->nlink ? stat->nlink - kept : 0;
}
