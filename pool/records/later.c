/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/later.h"

#include <string.h>

/* --- renames --- */

mrmr_err pool_later_add_rename(struct pool_gone *gone, const char *path,
    const struct meta_node *node, const char *from, const char *to, uint64_t *ret_id)
{
    mrmr_autobytes struct mrmr_bytes extra = MRMR_BYTES_INIT;
    MRMR_TRY(drv_path_check(from));
    MRMR_TRY(drv_path_check(to));
    MRMR_TRY(mrmr_bytes_add(&extra, from, strlen(from) + 1));
    MRMR_TRY(mrmr_bytes_add(&extra, to, strlen(to) + 1));
    return pool_gone_add_later(gone, POOL_GONE_RENAMED, path, node, extra.data, extra.size, ret_id);
}

static bool is_path(const char *path)
{
    return *path && !drv_path_check(path);
}

bool pool_later_rename(const struct pool_gone_record *record, struct pool_later_rename *ret_rename)
{
    const char *from = record->extra, *end = from + record->extra_size;
    if (record->kind != POOL_GONE_RENAMED || record->extra_size < 2 || end[-1])
        return false;
    const char *to = from + strlen(from) + 1;
    if (to >= end || to + strlen(to) + 1 != end || !is_path(from) || !is_path(to))
        return false;
    *ret_rename = (struct pool_later_rename){from, to};
    return true;
}

/* --- attributes --- */

bool pool_later_set(const struct pool_gone_record *record, struct pool_later_set *ret_set)
{
    struct pool_later_set set = {.name = NULL};
    if (record->kind != POOL_GONE_SET || record->extra_size < sizeof set.fixed)
        return false;
    memcpy(&set.fixed, record->extra, sizeof set.fixed);
    const char *name = (const char *)record->extra + sizeof set.fixed;
    size_t left = record->extra_size - sizeof set.fixed, size = strnlen(name, left);
    if (set.fixed.xattr > POOL_LATER_XATTR_REMOVED ||
        (set.fixed.what & ~(uint32_t)(DRV_ATTR_MODE | DRV_ATTR_UID | DRV_ATTR_GID | DRV_ATTR_ATIME |
                                      DRV_ATTR_MTIME)))
        return false;
    if (set.fixed.xattr != POOL_LATER_NONE) {
        if (!size || size >= left)
            return false;
        set.name = name;
        set.value = name + size + 1;
        set.size = left - size - 1;
    }
    *ret_set = set;
    return true;
}

struct mrmr_digest pool_later_digest(const void *value, size_t size)
{
    return mrmr_digest_of(value, size);
}

struct finding {
    const char *name;
    struct pool_later_fixed *fixed;
};

static mrmr_err find_value(const char *name, const void *value, size_t size, void *arg)
{
    const struct finding *finding = arg;
    if (strcmp(name, finding->name) == 0) {
        const struct mrmr_digest digest = pool_later_digest(value, size);
        memcpy(finding->fixed->xattr_was, digest.bytes, sizeof finding->fixed->xattr_was);
    }
    return MRMR_OK;
}

static mrmr_err fill_was(struct pool *pool, struct pool_gone *gone, const char *path,
    const struct meta_node *node, struct pool_later_set *set)
{
    mrmr_autobytes struct mrmr_bytes blob = MRMR_BYTES_INIT;
    struct finding finding = {set->name, &set->fixed};
    struct meta_node was = *node;
    MRMR_TRY(pool_later_node(gone, path, &was));
    set->fixed.was = (struct pool_later_values){
        .mode = was.mode, .uid = was.uid, .gid = was.gid, .mtime = was.mtime};
    if (set->fixed.xattr == POOL_LATER_NONE)
        return MRMR_OK;
    MRMR_TRY(pool_later_attrs(pool, gone, path, node, &blob));
    return pool_attrs_each(blob.data, blob.size, find_value, &finding);
}

mrmr_err pool_later_add_set(struct pool *pool, struct pool_gone *gone, const char *path,
    const struct meta_node *node, struct pool_later_set *set)
{
    mrmr_autobytes struct mrmr_bytes extra = MRMR_BYTES_INIT;
    uint64_t id;
    MRMR_TRY(fill_was(pool, gone, path, node, set));
    MRMR_TRY(mrmr_bytes_add(&extra, &set->fixed, sizeof set->fixed));
    if (set->fixed.xattr != POOL_LATER_NONE) {
        MRMR_TRY(mrmr_bytes_add(&extra, set->name, strlen(set->name) + 1));
        MRMR_TRY(mrmr_bytes_add(&extra, set->value, set->size));
    }
    return pool_gone_add_later(gone, POOL_GONE_SET, path, node, extra.data, extra.size, &id);
}

/* --- what is shown meanwhile --- */

/* The drive has what is over, and the catalog may have it, too, or what somebody set there since: by
 * its ctime, if that can be trusted, or since it is neither what was there before nor what was asked for. */
static bool is_known(const struct pool_gone_record *record, const struct meta_node *known)
{
    return record->over && known->ctime >= record->mtime;
}

#define IS_TO_BE(bit, field)                                                                       \
    (set.fixed.what & (bit) &&                                                                     \
        (!record->over || node->field == set.fixed.was.field || node->field == now->field))

struct showing {
    const struct meta_node *known;
    struct meta_node *node;
};

static mrmr_err set_node(const struct pool_gone_record *record, void *arg)
{
    const struct showing *showing = arg;
    struct meta_node *node = showing->node;
    struct pool_later_set set;
    if (!pool_later_set(record, &set) || is_known(record, showing->known))
        return MRMR_OK;
    const struct pool_later_values *now = &set.fixed.now;
    if (IS_TO_BE(DRV_ATTR_MODE, mode))
        node->mode = now->mode;
    if (IS_TO_BE(DRV_ATTR_UID, uid))
        node->uid = now->uid;
    if (IS_TO_BE(DRV_ATTR_GID, gid))
        node->gid = now->gid;
    if (IS_TO_BE(DRV_ATTR_MTIME, mtime))
        node->mtime = now->mtime;
    if (set.fixed.asked > node->ctime)
        node->ctime = set.fixed.asked;
    return MRMR_OK;
}

mrmr_err pool_later_node(struct pool_gone *gone, const char *path, struct meta_node *node)
{
    const struct meta_node known = *node;
    if (node->type != META_DIR || !node->id || !pool_gone_any(gone))
        return MRMR_OK;
    struct showing showing = {&known, node};
    return pool_gone_each(gone, POOL_GONE_SET, path, &known, set_node, &showing);
}

struct showing_attrs {
    const struct meta_node *known;
    struct mrmr_bytes *blob;
};

/* As IS_TO_BE. */
static mrmr_err attr_is_to_be(
    const struct showing_attrs *showing, const struct pool_later_set *set, bool over, bool *ret_is)
{
    struct pool_later_fixed found = {.asked = 0};
    struct finding finding = {set->name, &found};
    static const uint8_t none[MRMR_DIGEST_SIZE];
    const struct mrmr_digest digest = pool_later_digest(set->value, set->size);
    const uint8_t *now = set->fixed.xattr == POOL_LATER_XATTR_SET ? digest.bytes : none;
    *ret_is = true;
    if (!over)
        return MRMR_OK;
    MRMR_TRY(pool_attrs_each(showing->blob->data, showing->blob->size, find_value, &finding));
    *ret_is = memcmp(found.xattr_was, now, sizeof none) == 0 ||
              memcmp(found.xattr_was, set->fixed.xattr_was, sizeof none) == 0;
    return MRMR_OK;
}

static mrmr_err set_attr(const struct pool_gone_record *record, void *arg)
{
    const struct showing_attrs *showing = arg;
    struct mrmr_bytes *blob = showing->blob;
    mrmr_autobytes struct mrmr_bytes other = MRMR_BYTES_INIT;
    struct pool_later_set set;
    bool is;
    if (!pool_later_set(record, &set) || set.fixed.xattr == POOL_LATER_NONE ||
        is_known(record, showing->known))
        return MRMR_OK;
    MRMR_TRY(attr_is_to_be(showing, &set, record->over, &is));
    if (!is)
        return MRMR_OK;
    MRMR_TRY(pool_attrs_with(blob->data, blob->size, set.name,
        set.fixed.xattr == POOL_LATER_XATTR_SET ? set.value : NULL, set.size, &other));
    mrmr_bytes_clear(blob);
    return mrmr_bytes_add(blob, other.data, other.size);
}

mrmr_err pool_later_attrs(struct pool *pool, struct pool_gone *gone, const char *path,
    const struct meta_node *node, struct mrmr_bytes *ret_blob)
{
    struct meta_node known; /* the caller's may be as it is shown */
    MRMR_TRY(meta_attr_get(pool->meta, node->id, ret_blob));
    if (node->type != META_DIR || !node->id || !pool_gone_any(gone))
        return MRMR_OK;
    MRMR_TRY(meta_node_get(pool->meta, node->id, &known));
    struct showing_attrs showing = {&known, ret_blob};
    return pool_gone_each(gone, POOL_GONE_SET, path, node, set_attr, &showing);
}
