/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A node's path, its extended attributes, the pool's own among them, and the tree's space.
 *
 * user.mrmr.* are not in the list of a file's attributes: a copy of the file made elsewhere would
 * carry them along, and they would be wrong there.
 */
#include "pool/margin.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_file.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"

#include <string.h>

#define OWN_PREFIX "user.mrmr."
#define XFS_ACLS "trusted.SGI_ACL_"
static const int64_t space_keep =
    5 * MRMR_NS_PER_S; /* reckoning it takes seconds in a large pool */

MRMR_DEFINE_AUTO(struct pool_margins, pool_margins_destroy);

mrmr_err pool_tree_path(struct pool_tree *tree, uint64_t number, struct mrmr_bytes *path)
{
    mrmr_locked(&tree->lock);
    const struct tree_node *node = tree_find_locked(tree, number);
    return node ? tree_path_locked(node, path) : mrmr_fail(MRMR_ABSENT, NULL);
}

/* --- the file's own --- */

struct listing {
    struct pool_tree *tree;
    struct tree_spot spot;
    pool_xattr_fn fn;
    void *arg;
};

static mrmr_err xattr_entry(const char *name, const void *value, size_t size, void *arg)
{
    const struct listing *listing = arg;
    /* XFS shows root its ACLs once more, under names that nobody can set elsewhere. */
    if (strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) == 0 ||
        strncmp(name, XFS_ACLS, strlen(XFS_ACLS)) == 0)
        return MRMR_OK;
    return listing->fn(name, value, size, listing->arg);
}

/* The catalog's blob is read back by whoever writes it; here only names and values are wanted. */
static mrmr_err xattrs_catalog(const struct listing *listing, size_t drive, const char *path)
{
    mrmr_autobytes struct mrmr_bytes blob = MRMR_BYTES_INIT;
    struct meta_node node;
    MRMR_TRY(tree_catalog_known(listing->tree, drive, path, &node));
    MRMR_TRY(tree_gone_attrs(listing->tree, drive, path, &node, &blob));
    return pool_attrs_each(blob.data, blob.size, xattr_entry, (void *)(uintptr_t)listing);
}

/* On one drive. */
static mrmr_err xattrs_at(const struct listing *listing, size_t drive, const char *path)
{
    struct tree_drive *own = &listing->tree->drive[drive];
    void *arg = (void *)(uintptr_t)listing;
    struct drv_stat stat;
    mrmr_err err =
        tree_live(own) ? drv_stat(own->drive->drv, path, &stat) : mrmr_fail(MRMR_OFFLINE, NULL);
    if (!err)
        err = tree_check_stat(listing->tree, &listing->spot, path, &stat);
    if (!err)
        err = drv_xattr_list(own->drive->drv, path, xattr_entry, arg);
    if (err == MRMR_UNSUPPORTED)
        return MRMR_OK;
    return tree_silent(own, err) ? xattrs_catalog(listing, drive, path) : err;
}

/* A folder's are those of the first drive that has it, as its attributes are. A drive tells all or none. */
static mrmr_err xattrs_path(const char *path, void *arg)
{
    const struct listing *listing = arg;
    if (listing->spot.kind != POOL_DIR)
        return xattrs_at(listing, listing->spot.drive, path);
    mrmr_err err = mrmr_fail(MRMR_ABSENT, NULL);
    for (size_t i = 0; i < listing->tree->ndrives; i++) {
        if (!tree_set_has(&listing->spot.on, i))
            continue;
        err = xattrs_at(listing, i, path);
        if (mrmr_class_of(err) != MRMR_CLASS_ABSENT && mrmr_class_of(err) != MRMR_CLASS_UNAVAILABLE)
            return err;
    }
    return err;
}

/* No name leads to it any more: by an open file of it. */
static mrmr_err xattrs_open(struct tree_node *node, const struct listing *listing)
{
    struct tree_original *original = tree_original_of_node(listing->tree, node, false);
    if (!original) {
        mrmr_locked(&listing->tree->lock);
        return node->gone ? MRMR_OK : mrmr_fail(MRMR_ABSENT, NULL);
    }
    mrmr_err err =
        drv_file_xattr_list(tree_original_file(original), xattr_entry, (void *)(uintptr_t)listing);
    tree_original_put(original);
    return err == MRMR_UNSUPPORTED ? MRMR_OK : err;
}

mrmr_err pool_tree_xattrs(struct pool_tree *tree, uint64_t number, pool_xattr_fn fn, void *arg)
{
    struct tree_node *node;
    MRMR_TRY(tree_node(tree, number, false, &node));
    struct listing listing = {tree, tree_spot(tree, node), fn, arg};
    mrmr_err err = tree_by_path(tree, node, xattrs_path, &listing);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = xattrs_open(node, &listing);
    tree_put(tree, node);
    return err;
}

/* --- user.mrmr.* --- */

struct own {
    struct pool_tree *tree;
    struct tree_node *node;
    struct tree_spot spot;
    const char *name; /* after the prefix */
    struct mrmr_bytes *value;
};

static mrmr_err own_drives(const struct own *own)
{
    bool first = true;
    for (size_t i = 0; i < own->tree->ndrives; i++) {
        if (!tree_set_has(&own->spot.on, i))
            continue;
        MRMR_TRY(mrmr_bytes_fmt(
            own->value, "%s%s", first ? "" : " ", own->tree->drive[i].drive->meta.name));
        first = false;
    }
    return MRMR_OK;
}

static mrmr_err own_protection(const struct own *own, const struct pool_reach *reach)
{
    if (reach->survives < 0)
        return mrmr_bytes_str(own->value, "lost");
    return mrmr_bytes_fmt(own->value, "%ssurvives %d%s", reach->degraded ? "degraded, " : "",
        reach->survives, reach->exposed_bytes ? ", exposed" : "");
}

/* Of a file that the catalog knows as it is now. */
static mrmr_err own_known(const struct own *own, const struct meta_node *node)
{
    MRMR_AUTO(pool_margins_destroy) struct pool_margins *margins = NULL;
    struct pool_reach reach = {.survives = 0};
    if (strcmp(own->name, "version") == 0)
        return mrmr_bytes_fmt(own->value, "%llu", (unsigned long long)node->version);
    pool_drives_still(own->tree->pool);
    MRMR_TRY(pool_margins_create(own->tree->pool, &margins));
    MRMR_TRY(pool_node_reach(margins, node, &reach));
    if (strcmp(own->name, "exposed") == 0)
        return mrmr_bytes_fmt(own->value, "%llu", (unsigned long long)reach.exposed_bytes);
    return own_protection(own, &reach);
}

static mrmr_err own_is(
    const struct own *own, const struct pool_attr *attr, const struct meta_node *node, bool *ret_is)
{
    const struct tree_drive *drive = &own->tree->drive[own->spot.drive];
    mrmr_autobytes struct mrmr_bytes paths = MRMR_BYTES_INIT;
    int64_t scanned;
    struct pool_found_file found = {
        .size = attr->size, .mtime = attr->mtime, .ctime = attr->ctime, .nlink = attr->nlink};
    if (!tree_number_inode(own->tree, attr->node, own->spot.drive, &found.ino))
        found.ino = 0;
    *ret_is = pool_node_claims(node, &found);
    if (!*ret_is || !tree_live(drive))
        return MRMR_OK;
    MRMR_TRY(tree_catalog_scanned(drive, &scanned));
    if (pool_node_keeps_names(&drive->drive->info, node, &found, scanned))
        return MRMR_OK;
    MRMR_TRY(tree_catalog_places(own->tree, own->spot.drive, node->id, &paths));
    *ret_is = pool_node_has_names(drive->drive->drv, node, &found, &paths);
    return MRMR_OK;
}

static mrmr_err own_path(const char *path, void *arg)
{
    const struct own *own = arg;
    struct meta_node node;
    struct pool_attr attr;
    MRMR_TRY(pool_tree_attr(own->tree, own->spot.number, &attr));
    mrmr_err err = tree_catalog_without(own->tree, own->spot.drive, path, &node);
    if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
        return err;
    bool known = !err;
    if (known)
        MRMR_TRY(own_is(own, &attr, &node, &known));
    if (known) { /* not all that is protected of it is given while its drive is away (tree_open.c) */
        bool touched;
        MRMR_TRY(tree_catalog_touched(own->tree, own->spot.drive, node.ino, &touched));
        known = !touched;
    }
    if (known)
        return own_known(own, &node);
    /* Nobody has looked at it yet as it is now. */
    if (strcmp(own->name, "version") == 0)
        return mrmr_bytes_str(own->value, "0");
    if (strcmp(own->name, "exposed") == 0)
        return mrmr_bytes_fmt(own->value, "%llu", (unsigned long long)attr.size);
    const struct pool_reach reach = {.exposed_bytes = 1};
    return own_protection(own, &reach);
}

static mrmr_err own_get(const struct own *own)
{
    static const char *const of_files[] = {"protection", "exposed", "version"};
    if (strcmp(own->name, "drive") == 0)
        return own_drives(own);
    for (size_t i = 0; i < sizeof of_files / sizeof *of_files; i++)
        if (own->spot.kind == POOL_REG && strcmp(own->name, of_files[i]) == 0)
            return tree_by_path(own->tree, own->node, own_path, (void *)(uintptr_t)own);
    return mrmr_fail(MRMR_NO_ATTR, NULL);
}

/* --- one of them --- */

struct wanted {
    const char *name;
    struct mrmr_bytes *value;
    bool found;
};

static mrmr_err wanted_entry(const char *name, const void *value, size_t size, void *arg)
{
    struct wanted *wanted = arg;
    if (strcmp(name, wanted->name) != 0)
        return MRMR_OK;
    wanted->found = true;
    return mrmr_bytes_add(wanted->value, value, size);
}

/* Events tell of a file with one name that something about it was changed. */
static bool told_of_locked(const struct tree_node *node, int64_t since)
{
    const struct tree_node *tells = node->links ? node->links->parent : NULL;
    return (tells && tells->valid && tells->watched) ||
           mrmr_clock_monotonic() - since < tree_second;
}

/* The kernel asks for a file's capabilities at each write (older libfuse does not let it leave that to
 * us); nearly none has any, and events tell when one gets some. */
static bool known_uncapped(struct pool_tree *tree, uint64_t number)
{
    mrmr_locked(&tree->lock);
    const struct tree_node *node = tree_find_locked(tree, number);
    if (!node || !node->uncapped_at)
        return false;
    return told_of_locked(node, node->uncapped_at);
}

static void now_uncapped(struct pool_tree *tree, uint64_t number, int64_t since)
{
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_find_locked(tree, number);
    if (node && node->attr_events < since)
        node->uncapped_at = mrmr_clock_monotonic();
}

bool pool_tree_may_be_setid(struct pool_tree *tree, uint64_t number)
{
    enum { SETID = 06000 };
    struct pool_attr attr;
    int64_t since = mrmr_clock_monotonic();
    {
        mrmr_locked(&tree->lock);
        const struct tree_node *node = tree_find_locked(tree, number);
        if (node && node->plain_at && told_of_locked(node, node->plain_at))
            return false;
    }
    if (pool_tree_attr(tree, number, &attr) || attr.mode & SETID)
        return true;
    mrmr_locked(&tree->lock);
    struct tree_node *node = tree_find_locked(tree, number);
    if (node && attr.nlink == 1 && node->attr_events < since)
        node->plain_at = mrmr_clock_monotonic();
    return false;
}

static mrmr_err one_of_the_file(
    struct pool_tree *tree, uint64_t number, const char *name, struct mrmr_bytes *value)
{
    struct wanted wanted = {.name = name, .value = value};
    bool capability = strcmp(name, "security.capability") == 0;
    int64_t since = mrmr_clock_monotonic();
    if (capability && known_uncapped(tree, number))
        return mrmr_fail(MRMR_NO_ATTR, NULL);
    MRMR_TRY(pool_tree_xattrs(tree, number, wanted_entry, &wanted));
    if (wanted.found)
        return MRMR_OK;
    if (capability)
        now_uncapped(tree, number, since);
    return mrmr_fail(MRMR_NO_ATTR, NULL);
}

mrmr_err pool_tree_xattr(
    struct pool_tree *tree, uint64_t number, const char *name, struct mrmr_bytes *value)
{
    if (strncmp(name, OWN_PREFIX, strlen(OWN_PREFIX)) != 0)
        return one_of_the_file(tree, number, name, value);
    struct tree_node *node;
    MRMR_TRY(tree_node(tree, number, false, &node));
    const struct own own = {tree, node, tree_spot(tree, node), name + strlen(OWN_PREFIX), value};
    mrmr_err err = own_get(&own);
    tree_put(tree, node);
    return err;
}

/* --- space --- */

/* Drives that share a file system count once. */
static bool space_counted(const struct pool_tree *tree, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (tree_live(&tree->drive[j]) && tree->drive[j].dev == tree->drive[i].dev)
            return true;
    return false;
}

static mrmr_err space_reckon(struct pool_tree *tree, struct pool_tree_space *ret_space)
{
    struct pool_status status;
    struct pool_tree_space space = {.total = 0};
    MRMR_TRY(pool_status(tree->pool, &status));
    for (size_t i = 0; i < tree->ndrives; i++) {
        struct drv_space one;
        if (!tree_live(&tree->drive[i]) || space_counted(tree, i) ||
            drv_space(tree->drive[i].drive->drv, &one))
            continue;
        space.total += one.total;
        if (one.files_avail != UINT64_MAX)
            space.files_avail += one.files_avail;
    }
    space.avail = status.storable_bytes;
    space.files = status.files;
    *ret_space = space;
    return MRMR_OK;
}

mrmr_err pool_tree_space(struct pool_tree *tree, struct pool_tree_space *ret_space)
{
    struct pool_tree_space space;
    {
        mrmr_locked(&tree->lock);
        if (tree->space_at && mrmr_clock_monotonic() - tree->space_at < space_keep) {
            *ret_space = tree->space;
            return MRMR_OK;
        }
    }
    MRMR_TRY(space_reckon(tree, &space));
    mrmr_locked(&tree->lock);
    tree->space = *ret_space = space;
    tree->space_at = mrmr_clock_monotonic();
    return MRMR_OK;
}
