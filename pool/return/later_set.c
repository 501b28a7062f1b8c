/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Attributes that were asked for while a drive was away are set on its folders, where nobody else set
 * them after that (later.h).
 */
#include "pool/return/later_apply.h"

#include <string.h>
#include <unistd.h>

/* What is there is left: somebody else set it after it was asked for. */
static bool is_left(struct pool_later *l, const struct pool_later_set *set,
    const struct later_seen *seen, bool is_new, bool is_was)
{
    bool stable = l->drive->info.caps & DRV_CAP_STABLE_CTIME;
    return !is_new && !is_was && (!stable || !seen->is || seen->stat.ctime > set->fixed.asked);
}

static mrmr_err set_values(struct pool_later *l, const char *path, const struct pool_later_set *set,
    const struct later_seen *seen, const struct drv_stat *is)
{
    const struct pool_later_values *now = &set->fixed.now, *was = &set->fixed.was;
    unsigned what = set->fixed.what, left = 0;
    if (what & DRV_ATTR_MODE && is_left(l, set, seen, is->mode == now->mode, is->mode == was->mode))
        left |= DRV_ATTR_MODE;
    if (what & DRV_ATTR_UID && is_left(l, set, seen, is->uid == now->uid, is->uid == was->uid))
        left |= DRV_ATTR_UID;
    if (what & DRV_ATTR_GID && is_left(l, set, seen, is->gid == now->gid, is->gid == was->gid))
        left |= DRV_ATTR_GID;
    if (what & DRV_ATTR_MTIME &&
        is_left(l, set, seen, is->mtime == now->mtime, is->mtime == was->mtime))
        left |= DRV_ATTR_MTIME;
    if (left)
        later_tell(l, path, NULL,
            left == DRV_ATTR_MTIME
                ? "its time has been changed on the drive since, and is left"
                : "its mode, owner or time have been changed on the drive since, and are left");
    const struct drv_stat stat = {.mode = now->mode,
        .uid = now->uid,
        .gid = now->gid,
        .atime = now->atime,
        .mtime = now->mtime};
    what &= ~left;
    /* An owner is set first: that may take bits from the mode. */
    if (what & DRV_ATTR_OWNER)
        MRMR_TRY(drv_set_attr(l->drive->drv, path, what & DRV_ATTR_OWNER, &stat));
    what &= ~(unsigned)DRV_ATTR_OWNER;
    return what ? drv_set_attr(l->drive->drv, path, what, &stat) : MRMR_OK;
}

struct comparing {
    const struct pool_later_set *set;
    bool has, is_new, is_was;
};

static mrmr_err compare_value(const char *name, const void *value, size_t size, void *arg)
{
    struct comparing *c = arg;
    if (strcmp(name, c->set->name) != 0)
        return MRMR_OK;
    const struct mrmr_digest digest = pool_later_digest(value, size);
    c->has = true;
    c->is_new = c->set->fixed.xattr == POOL_LATER_XATTR_SET && size == c->set->size &&
                (!size || memcmp(value, c->set->value, size) == 0);
    c->is_was = memcmp(digest.bytes, c->set->fixed.xattr_was, sizeof digest.bytes) == 0;
    return MRMR_OK;
}

static mrmr_err set_xattr(struct pool_later *l, const char *path, const struct pool_later_set *set,
    const struct later_seen *seen)
{
    static const uint8_t none[MRMR_DIGEST_SIZE];
    struct comparing c = {.set = set};
    bool removes = set->fixed.xattr == POOL_LATER_XATTR_REMOVED;
    MRMR_TRY(drv_xattr_list(l->drive->drv, path, compare_value, &c));
    if (!c.has) {
        c.is_new = removes;
        c.is_was = memcmp(set->fixed.xattr_was, none, sizeof none) == 0;
    }
    if (c.is_new)
        return MRMR_OK;
    if (is_left(l, set, seen, false, c.is_was)) {
        later_tell(l, path, NULL,
            "an extended attribute has been changed on the drive since, and is left");
        return MRMR_OK;
    }
    return drv_xattr_set(
        l->drive->drv, path, set->name, removes ? NULL : set->value, removes ? 0 : set->size);
}

/* This run removed or renamed something in it: its time is what it was before. */
static mrmr_err time_back(struct pool_later *l, size_t i, const char *path, struct drv_stat *is)
{
    const struct later_seen *seen = &l->seen[i];
    if (!seen->is || seen->stat.mtime == is->mtime)
        return MRMR_OK;
    for (size_t j = 0; j < i; j++) {
        const struct pool_gone_record *before = &l->list->record[j];
        struct pool_later_set set;
        if (pool_later_set(before, &set) && set.fixed.what & DRV_ATTR_MTIME &&
            strcmp(before->path, l->list->record[i].path) == 0)
            return MRMR_OK; /* one that was asked for before set it */
    }
    is->mtime = seen->stat.mtime;
    return drv_set_attr(l->drive->drv, path, DRV_ATTR_MTIME, is);
}

static mrmr_err set_at(struct pool_later *l, size_t i, const struct pool_later_set *set,
    const char *path, struct drv_stat *is)
{
    if (set->fixed.what & DRV_ATTR_MTIME)
        MRMR_TRY(time_back(l, i, path, is));
    if (set->fixed.xattr != POOL_LATER_NONE)
        MRMR_TRY(set_xattr(l, path, set, &l->seen[i]));
    if (set->fixed.what)
        MRMR_TRY(set_values(l, path, set, &l->seen[i], is));
    return later_sync_folder(l, path);
}

/* The drive has no such attribute, or not for this user, or has room for none of that size: the last is
 * an answer only where there is room for anything else. */
static bool is_final_of(struct pool_later *l, const struct pool_later_set *set, const char *path,
    const struct drv_stat *is, mrmr_err err)
{
    enum { ROOM = 1 << 20 };
    const uint32_t caps = l->drive->info.caps;
    const bool owner = set->fixed.what & DRV_ATTR_OWNER;
    struct drv_space space;
    if (err == MRMR_DENIED)
        return (owner && !(caps & DRV_CAP_OWNER)) ||
               (set->fixed.what & DRV_ATTR_MODE && !(caps & DRV_CAP_MODE)) ||
               (geteuid() != 0 && (owner || (caps & DRV_CAP_OWNER && is->uid != geteuid())));
    if (err == MRMR_SPACE && set->fixed.xattr == POOL_LATER_XATTR_SET)
        return !drv_space(l->drive->drv, &space) && space.avail >= ROOM &&
               !drv_dir_sync(l->drive->drv, path);
    return later_is_final(err);
}

static mrmr_err set_failed(struct pool_later *l, const struct pool_gone_record *record,
    const struct pool_later_set *set, const char *path, const struct drv_stat *is, mrmr_err err)
{
    struct mrmr_story story;
    mrmr_story_save(&story);
    bool final = is_final_of(l, set, path, is, err);
    mrmr_story_restore(&story);
    if (!final)
        return mrmr_err_path(err, record->path);
    mrmr_log_story(MRMR_LOG_WARN, "an attribute that was set while its drive was away");
    later_tell(l, path, NULL, "an attribute cannot be set there, and is what it was");
    return MRMR_OK;
}

/* The record is as it was read after it was marked as begun. */
static mrmr_err set_record(struct pool_later *l, size_t i, const struct pool_gone_record *record)
{
    mrmr_autofree char *path = NULL;
    struct pool_later_set set;
    struct drv_stat is;
    if (!pool_later_set(record, &set))
        return MRMR_OK;
    MRMR_TRY(later_find(l, record, &path, &is));
    mrmr_err err = path ? set_at(l, i, &set, path, &is) : MRMR_OK;
    if (err)
        return set_failed(l, record, &set, path, &is, err);
    if (!path && !later_was_removed(l, record))
        later_tell(l, record->path, NULL,
            "it is not found there, or is another folder by now: nothing was set. If it was moved "
            "on "
            "the drive itself, set it again at its new place");
    return MRMR_OK;
}

/* Records of one folder are in order: none is done before one that waits. What is not there any more a
 * later one says, which waits. */
mrmr_err later_set_one(struct pool_later *l, size_t i)
{
    const uint64_t id = l->list->record[i].id;
    struct pool_gone_list now;
    MRMR_TRY(pool_gone_get(l->gone, id, &now));
    mrmr_err err = now.n ? set_record(l, i, &now.record[0]) : MRMR_OK;
    pool_gone_list_free(&now);
    return err ? err : mrmr_bytes_add(&l->ids, &id, sizeof id);
}

/* gone_compact.c says why. */
mrmr_err later_sets_begin(struct pool_later *l)
{
    mrmr_autofree uint64_t *ids = calloc(l->list->n + 1, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return mrmr_nomem();
    for (size_t i = 0; i < l->list->n; i++)
        if (l->list->record[i].kind == POOL_GONE_SET)
            ids[n++] = l->list->record[i].id;
    return pool_gone_begin(l->gone, ids, n);
}
