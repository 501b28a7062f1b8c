/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A folder's names, found on its drives: all of them, or one that events made unsure.
 *
 * Each live drive's copy of the folder is watched before it is read, so whatever happens while it is
 * read is told of: such names are unsure in the new map. A drive that is not live, or goes while it
 * is read, is answered for by the catalog; one that is live and gives an error, too, but the catalog does
 * not know what was made since the last scan. So what it does not know is not taken for absent then: whoever
 * asks for such a name gets the drive's error, whoever lists the folder gets it after the names that are
 * known (partial), and all of it is looked at again. Of one error nobody hears: it is asked twice.
 */
#include "pool/tree/tree_load.h"
#include "pool/change/tree_replaced.h"
#include "pool/tree/tree.h"
#include "pool/tree/tree_gone.h"
#include "pool/tree/tree_known.h"
#include "pool/tree/tree_look.h"
#include "pool/tree/tree_number.h"
#include "pool/tree/tree_watch.h"

#include <string.h>

enum { LOAD_TRIES = 3, MOVED_TRIES = 8 };

struct load {
    struct pool_tree *tree;
    struct tree_node *folder;
    struct mrmr_bytes path;
    struct tree_set on; /* where the folder may lie */
    size_t drive;       /* that is read */
    struct tree_map map;
    struct mrmr_bytes copies; /* of folders, besides the first of each: struct tree_copy */
    bool watched;
    int64_t ttl; /* if it is not */
    struct tree_times times, was;
    uint64_t moves; /* renames of ours before it began */
    bool absent;    /* a drive does not have the path */
    bool partial;   /* a drive that is live could not be read */
    bool looked;    /* for what was replaced, since the drive was read */

    /* Of one name: */
    uint32_t events; /* about it before it began */
    int64_t loaded;  /* the folder's map then */
    struct tree_seen seen;
    bool silent; /* the drive could not say, */
    size_t silent_drive;
    struct mrmr_story why; /* as it was asked */
};

static void load_free(struct load *load)
{
    mrmr_bytes_free(&load->path);
    mrmr_bytes_free(&load->copies);
    tree_map_free(&load->map);
    tree_times_free(&load->times);
    tree_times_free(&load->was);
}

static const char *load_folder(const struct load *load)
{
    return load->path.data ? load->path.data : "";
}

/* --- which copy shows --- */

/* One copy of a name on a drive. */
struct copy {
    enum pool_kind kind;
    uint64_t ino;
    int64_t mtime;
};

/* The copy on the drive that is read is newer than the one that shows. */
static bool copy_newer(struct load *load, const struct tree_name *shows, const struct copy *copy)
{
    struct tree_version was = {.drive = tree_set_first(&shows->on), .mtime = shows->mtime};
    const struct tree_version is = {load->drive, copy->ino, copy->mtime};
    if (!tree_number_inode(load->tree, shows->number, was.drive, &was.ino))
        was.ino = 0;
    return tree_version_newer(load->tree, load_folder(load), shows->name, &was, &is);
}

static mrmr_err load_copy(struct load *load, const struct tree_name *of, const struct copy *copy)
{
    const uint64_t number =
        tree_number(load->tree, load->drive, copy->ino, load_folder(load), of->name);
    const struct tree_copy further = {of->place, number};
    return mrmr_bytes_add(&load->copies, &further, sizeof further);
}

static mrmr_err load_add(struct load *load, const char *name, const struct copy *copy)
{
    const char *folder = load_folder(load);
    if (pool_scan_excluded(tree_excludes(load->tree), folder, name))
        return MRMR_OK;
    struct tree_name *old = tree_map_find(&load->map, name);
    bool is_new = !old;
    if (old && old->kind == POOL_DIR && copy->kind == POOL_DIR) {
        tree_set_add(&old->on, load->drive); /* the number stays that of the first */
        return load_copy(load, old, copy);
    }
    if (old)
        old->several = true;
    if (old && (old->kind == POOL_DIR || (copy->kind != POOL_DIR && !copy_newer(load, old, copy))))
        return MRMR_OK;
    struct tree_name *shows = is_new ? tree_map_add(&load->map, name) : old;
    if (!shows)
        return mrmr_nomem();
    shows->kind = copy->kind;
    shows->number = tree_number(load->tree, load->drive, copy->ino, folder, name);
    shows->mtime = copy->mtime;
    shows->on = (struct tree_set){{0}};
    tree_set_add(&shows->on, load->drive);
    return MRMR_OK;
}

static mrmr_err load_stat(struct load *load, const char *name, const struct drv_stat *stat)
{
    if (stat->dev != load->tree->drive[load->drive].dev)
        return MRMR_OK; /* another file system is mounted there */
    if (!load->looked)
        MRMR_TRY(tree_replaced_look(load->tree));
    load->looked = true;
    if (tree_gone_hides_stat(load->tree, load->drive, load_folder(load), name, stat))
        return MRMR_OK;
    const struct copy copy = {(enum pool_kind)stat->type, stat->ino, stat->mtime};
    return load_add(load, name, &copy);
}

static mrmr_err load_node(struct load *load, const char *name, const struct meta_node *node)
{
    const struct copy copy = {(enum pool_kind)node->type, node->ino, node->mtime};
    if (tree_gone_hides_node(load->tree, load->drive, load_folder(load), name, node))
        return MRMR_OK;
    return load_add(load, name, &copy);
}

/* --- a whole folder --- */

static mrmr_err load_entry(const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct load *load = arg;
    if (stat)
        return load_stat(load, name, stat);
    /* It is there, and cannot be looked at now. */
    struct tree_name *made = mrmr_ran_short(err) ? NULL : tree_map_add(&load->map, name);
    if (!made)
        return mrmr_nomem();
    if (!made->number)
        tree_name_doubt_all(made);
    return MRMR_OK;
}

/* Which copy shows is asked of the catalog, too: once the list is whole. */
struct known {
    struct mrmr_bytes nodes, names;
};

static mrmr_err known_add(const char *name, const struct meta_node *node, void *arg)
{
    struct known *known = arg;
    MRMR_TRY(mrmr_bytes_add(&known->nodes, node, sizeof *node));
    return mrmr_bytes_add(&known->names, name, strlen(name) + 1);
}

static mrmr_err load_from_catalog(struct load *load)
{
    struct known known = {MRMR_BYTES_INIT, MRMR_BYTES_INIT};
    mrmr_err err = tree_catalog_list(load->tree, load->drive, load_folder(load), known_add, &known);
    const char *name = known.names.data;
    for (size_t at = 0; !err && at < known.nodes.size; at += sizeof(struct meta_node)) {
        struct meta_node node;
        memcpy(&node, known.nodes.data + at, sizeof node);
        err = load_node(load, name, &node);
        name += strlen(name) + 1;
    }
    mrmr_bytes_free(&known.nodes);
    mrmr_bytes_free(&known.names);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

/* What is seen of this drive is good for so long, and no event will tell. */
static void load_unwatched(struct load *load, int64_t ttl)
{
    const struct tree_drive *drive = &load->tree->drive[load->drive];
    if (tree_live(drive))
        tree_times_take(&load->times, &load->was, drive, load_folder(load));
    else
        load->times.unknown = true;
    load->ttl = load->watched || ttl < load->ttl ? ttl : load->ttl;
    load->watched = false;
}

static mrmr_err load_drive(struct load *load)
{
    struct tree_drive *drive = &load->tree->drive[load->drive];
    const char *path = load_folder(load);
    if (!tree_live(drive)) {
        if (drive->drive->presence == POOL_PRESENT)
            load_unwatched(load, tree_second);
        return load_from_catalog(load);
    }
    load->looked = false;
    if (!tree_watch_folder(drive, path, load->folder->number))
        load_unwatched(load, drive->silent ? load->tree->remote_ttl : tree_second);
    mrmr_err err = drv_list(drive->drive->drv, path, load_entry, load);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR) {
        load->absent = true;
        return MRMR_OK; /* it was there a moment ago: its parent's events tell */
    }
    if (tree_silent(drive, err)) {
        load->times.unknown = true;
        load->partial = load->partial || tree_live(drive);
        return load_from_catalog(load);
    }
    return mrmr_err_drive(err, drive->drive->meta.name);
}

static mrmr_err load_run(struct load *load)
{
    load->watched = true;
    tree_gone_refresh(load->tree);
    for (load->drive = 0; load->drive < load->tree->ndrives; load->drive++)
        if (tree_set_has(&load->on, load->drive))
            MRMR_TRY(load_drive(load));
    if (load->partial && (load->watched || load->ttl > tree_second)) {
        load->watched = false;
        load->ttl = tree_second;
    }
    return MRMR_OK;
}

/* --- taking it over --- */

static bool tells_who(const struct pool_tree *tree, const struct tree_set *on)
{
    for (size_t i = 0; i < tree->ndrives; i++)
        if (tree_set_has(on, i) && !tree->drive[i].tells_who)
            return false;
    return true;
}

int64_t tree_own_ttl(const struct pool_tree *tree, const struct tree_set *on, int64_t ttl)
{
    return ttl <= tree_own_window || tells_who(tree, on) ? ttl : tree_own_window;
}

static bool name_differs(const struct tree_name *a, const struct tree_name *b)
{
    return a->number != b->number || a->kind != b->kind || !tree_set_equal(&a->on, &b->on);
}

/* Names that one of two maps has and the other has not, or otherwise; each with its NUL. */
static void map_compare_locked(
    struct load *load, const struct tree_map *was, struct mrmr_bytes *names)
{
    struct tree_map *now = &load->map;
    const int64_t clock = mrmr_clock_monotonic();
    const bool exact =
        tells_who(load->tree, &load->folder->on); /* what is ours may be kept for long, too */
    for (struct tree_name *at = tree_map_at(now, 0); at; at = tree_map_at(now, at->place + 1)) {
        const struct tree_name *old = tree_map_find(was, at->name);
        if (tree_inherits_locked(load->tree, load->folder, at, old, &load->copies))
            at->number = old->number;
        if (old)
            at->own_until = old->own_until;
        if (at->own_until > clock && !exact)
            continue;
        if (!old || old->unsure || name_differs(at, old))
            mrmr_bytes_add(names, at->name, strlen(at->name) + 1);
    }
    for (const struct tree_name *at = tree_map_at(was, 0); at; at = tree_map_at(was, at->place + 1))
        if (!tree_map_find(now, at->name) && (at->own_until <= clock || exact))
            mrmr_bytes_add(names, at->name, strlen(at->name) + 1);
}

static void map_touch_locked(struct tree_map *map, const struct mrmr_bytes *names)
{
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1) {
        struct tree_name *name = tree_map_add(map, names->data + at);
        if (name) {
            tree_name_doubt_all(name);
            name->events++;
        }
    }
}

/* Subfolders that are held learn on which drives they lie now. */
static void children_update_locked(struct pool_tree *tree, const struct tree_map *map)
{
    for (struct tree_name *at = tree_map_at(map, 0); at; at = tree_map_at(map, at->place + 1)) {
        const bool sure = at->kind == POOL_DIR && !at->unsure; /* else who looks at it tells */
        struct tree_node *node = sure ? tree_find_locked(tree, at->number) : NULL;
        if (node)
            tree_lies_on_locked(tree, node, &at->on);
    }
}

/* A thread that serves a request tells nobody itself; and whoever reads the folder after it finds
 * nothing changed any more. */
static void tell_later_locked(
    struct pool_tree *tree, uint64_t folder, const struct mrmr_bytes *names)
{
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1)
        tree_later_locked(tree, TREE_TELL_NAME, folder, names->data + at);
}

/* changed: what to tell of; NULL: the monitor does. */
static void load_take_locked(struct load *load, struct mrmr_bytes *changed)
{
    struct tree_node *folder = load->folder;
    struct tree_map was = folder->map;
    mrmr_autobytes struct mrmr_bytes found = MRMR_BYTES_INIT;
    map_compare_locked(load, &was, changed ? changed : &found);
    if (folder->loaded) /* else nobody was shown anything */
        tell_later_locked(load->tree, folder->number, &found);
    folder->map = load->map;
    load->map = (struct tree_map){.bucket = NULL};
    map_touch_locked(&folder->map, &folder->touched);
    mrmr_bytes_clear(&folder->touched);
    tree_map_free(&was);
    folder->watched = load->watched;
    folder->ttl = load->ttl;
    folder->partial = load->partial;
    tree_times_free(&folder->times);
    folder->times = load->times;
    load->times = (struct tree_times){.at = NULL};
    folder->loaded = mrmr_clock_monotonic();
    folder->valid = !folder->lost;
    folder->lost = false;
    folder->version++;
    tree_known_void_all_locked(folder);
    folder->acl = TREE_ACL_UNKNOWN;
    if (folder->valid)
        children_update_locked(load->tree, &folder->map);
}

int64_t tree_folder_ttl_locked(const struct tree_node *folder)
{
    if (!folder->valid)
        return tree_second;
    return folder->watched ? POOL_KEEP : folder->ttl;
}

/* Whoever comes first loads; the others wait. True: it is the caller. */
static bool load_begin_locked(struct pool_tree *tree, struct tree_node *folder, bool anew)
{
    while (folder->loading)
        pthread_cond_wait(&tree->moved, &tree->lock);
    bool fresh =
        folder->valid && (folder->watched || mrmr_clock_monotonic() - folder->loaded < folder->ttl);
    if (fresh && !anew)
        return false;
    folder->loading = true;
    mrmr_bytes_clear(&folder->touched);
    return true;
}

/* From where it lies now. */
static mrmr_err load_again(struct load *load)
{
    load_free(load);
    load->path = (struct mrmr_bytes)MRMR_BYTES_INIT;
    load->absent = load->partial = false;
    {
        mrmr_locked(&load->tree->lock);
        load->moves = load->tree->moves;
        load->on = load->folder->on;
        MRMR_TRY(tree_path_locked(load->folder, &load->path));
        MRMR_TRY(tree_times_copy(&load->folder->times, &load->was));
    }
    return load_run(load);
}

/* The time of what was read is over, and by the folder's own times it is what is there. */
static bool load_spared(struct load *load)
{
    struct tree_node *folder = load->folder;
    {
        mrmr_locked(&load->tree->lock);
        if (!folder->valid || folder->watched || tree_path_locked(folder, &load->path) ||
            tree_times_copy(&folder->times, &load->was))
            return false;
    }
    int64_t now = mrmr_clock_monotonic();
    if (!tree_times_same(load->tree, &load->was, load_folder(load)))
        return false;
    mrmr_locked(&load->tree->lock);
    for (struct tree_name *at = tree_map_at(&folder->map, 0); at;
         at = tree_map_at(&folder->map, at->place + 1))
        at->unsure = at->unsure || at->several;
    folder->loaded = now;
    return folder->valid && !folder->lost;
}

static mrmr_err folder_load(
    struct pool_tree *tree, struct tree_node *folder, bool anew, struct mrmr_bytes *changed)
{
    __attribute__((cleanup(load_free))) struct load load = {.tree = tree, .folder = folder};
    mrmr_err err;
    {
        mrmr_locked(&tree->lock);
        if (folder->gone) /* nothing is in it any more */
            return MRMR_OK;
        if (!load_begin_locked(tree, folder, anew))
            return MRMR_OK;
    }
    bool spared = !anew && load_spared(&load);
    unsigned tries = 0;
    do
        err = spared ? MRMR_OK : load_again(&load);
    while (!err && load.absent && ++tries < MOVED_TRIES && tree_moved_since(tree, load.moves));
    if (!err && load.partial)
        err = load_again(&load); /* that may be over */
    mrmr_locked(&tree->lock);
    if (!err && !spared)
        load_take_locked(&load, changed);
    folder->loading = false;
    pthread_cond_broadcast(&tree->moved);
    return err;
}

mrmr_err tree_folder_ready(struct pool_tree *tree, struct tree_node *folder)
{
    return folder_load(tree, folder, false, NULL);
}

mrmr_err tree_folder_reload(struct pool_tree *tree, struct tree_node *folder)
{
    mrmr_autobytes struct mrmr_bytes changed = MRMR_BYTES_INIT;
    MRMR_TRY(folder_load(tree, folder, true, &changed));
    for (size_t at = 0; at < changed.size; at += strlen(changed.data + at) + 1)
        tree_tell_name(tree, folder->number, changed.data + at);
    tree_tell_node(tree, folder->number, false);
    return MRMR_OK;
}

/* --- one name --- */

/* What the catalog has by this name on a drive that did not say; asked: it is live, and was asked. */
static mrmr_err load_known(struct load *load, const char *path, const char *name, bool asked)
{
    struct meta_node node;
    if (asked) {
        mrmr_story_save(&load->why);
        load->silent_drive = load->drive;
        load->silent = true;
    }
    MRMR_TRY(tree_catalog_without(load->tree, load->drive, path, &node));
    return load_node(load, name, &node);
}

/* The same of what it says, or of what the catalog does. */
static mrmr_err load_name_on(struct load *load, const char *path, const char *name)
{
    struct tree_drive *drive = &load->tree->drive[load->drive];
    struct drv_stat stat;
    const bool asked = tree_live(drive);
    load->looked = false;
    mrmr_err err = asked ? drv_stat(drive->drive->drv, path, &stat) : mrmr_fail(MRMR_OFFLINE, NULL);
    mrmr_err_drive(err, drive->drive->meta.name);
    if (tree_silent(drive, err))
        return load_known(load, path, name, asked);
    MRMR_TRY(err);
    MRMR_TRY(load_stat(load, name, &stat));
    const struct tree_name *shows = tree_map_find(&load->map, name);
    if (shows && shows->kind != POOL_DIR && tree_set_first(&shows->on) == load->drive)
        load->seen = (struct tree_seen){true, load->drive, stat};
    return MRMR_OK;
}

/* A drive did not say. What was found all the same is looked at again; that there is nothing is not known. */
static mrmr_err load_silent(struct load *load, const char *name)
{
    struct tree_name *found = load->silent ? tree_map_find(&load->map, name) : NULL;
    if (found)
        tree_name_doubt(found, load->silent_drive);
    return found || !load->silent ? MRMR_OK : mrmr_story_restore(&load->why);
}

/* What the folder's drives have by this name, in load.map. */
static mrmr_err load_name(struct load *load, const char *name)
{
    mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
    MRMR_TRY(tree_join(load_folder(load), name, &path));
    tree_gone_refresh(load->tree);
    for (load->drive = 0; load->drive < load->tree->ndrives; load->drive++) {
        mrmr_err err =
            tree_set_has(&load->on, load->drive) ? load_name_on(load, path.data, name) : MRMR_OK;
        if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT && err != MRMR_NOT_DIR)
            return mrmr_err_drive(err, load->tree->drive[load->drive].drive->meta.name);
    }
    return load_silent(load, name);
}

/* It is unsure because of one drive alone, the others are known to have nothing by this name: that one
 * is looked at. */
static bool only_one_locked(const struct tree_node *folder, const struct tree_name *old)
{
    const bool known = folder->valid && folder->watched && !folder->loading;
    if (!known || !old || !old->unsure || old->own || old->several)
        return false;
    if (old->doubt == TREE_DOUBT_NONE || old->doubt == TREE_DOUBT_ALL)
        return false;
    const size_t drive = old->doubt - 1U;
    if (!tree_set_has(&folder->on, drive))
        return false;
    return !old->number || (old->kind != POOL_DIR && tree_set_has(&old->on, drive));
}

/* Nobody else did anything in the folder, as far as was told, and we nothing but this one change. */
static bool undisturbed_locked(const struct pool_tree *tree, const struct tree_node *folder,
    const struct tree_known_ticket *ticket)
{
    return folder->watched && tells_who(tree, &folder->on) && ticket->voids == folder->others &&
           ticket->owns + 1 == folder->owns;
}

void tree_name_made_locked(const struct pool_tree *tree, struct tree_node *folder, const char *name,
    size_t drive, const struct tree_known_ticket *ticket)
{
    struct tree_name *made = tree_map_find(&folder->map, name);
    tree_known_settle_locked(folder, drive);
    if (!made || !made->own) /* it was looked at meanwhile */
        return;
    made->own = false;
    tree_name_doubt(made, drive);
    if (!undisturbed_locked(tree, folder, ticket))
        return;
    made->unsure = false;
    made->doubt = TREE_DOUBT_NONE;
}

void tree_name_taken(struct pool_tree *tree, struct tree_node *folder, const char *name,
    const struct tree_name *shows, const struct tree_known_ticket *ticket)
{
    mrmr_locked(&tree->lock);
    struct tree_name *gone = tree_map_find(&folder->map, name);
    if (!gone || !gone->own || shows->several || shows->kind == POOL_DIR)
        return;
    gone->own = false;
    if (undisturbed_locked(tree, folder, ticket))
        tree_map_remove(&folder->map, name);
    else
        tree_name_doubt(gone, tree_set_first(&shows->on));
}

/* The folder's map gets what was found; it stays unsure if an event came meanwhile. */
static mrmr_err name_take_locked(struct load *load, const char *name)
{
    struct tree_node *folder = load->folder;
    struct tree_name *found = tree_map_find(&load->map, name);
    struct tree_name *old = tree_map_find(&folder->map, name);
    bool sure = (old ? old->events : 0) == load->events && folder->loaded == load->loaded;
    if (!found) {
        if (sure)
            tree_map_remove(&folder->map, name);
        return MRMR_OK;
    }
    if (!old && !(old = tree_map_add(&folder->map, name)))
        return mrmr_nomem();
    if (!tree_inherits_locked(load->tree, folder, found, old, &load->copies))
        old->number = found->number;
    old->mtime = found->mtime;
    old->on = found->on;
    old->kind = found->kind;
    old->several = found->several;
    if (sure) {
        old->unsure = found->unsure;
        old->doubt = found->doubt;
        old->own = false;
    } else {
        old->unsure = true;
    }
    struct tree_node *node =
        sure && old->kind == POOL_DIR ? tree_find_locked(load->tree, old->number) : NULL;
    if (node)
        tree_lies_on_locked(load->tree, node, &old->on);
    return MRMR_OK;
}

/* Where the name is to be looked for, as of now. */
static mrmr_err name_begin(struct load *load, const char *name)
{
    struct tree_node *folder = load->folder;
    load_free(load);
    load->path = (struct mrmr_bytes)MRMR_BYTES_INIT;
    load->seen.is = load->silent = false;
    mrmr_locked(&load->tree->lock);
    const struct tree_name *old = tree_map_find(&folder->map, name);
    load->events = old ? old->events : 0;
    load->loaded = folder->loaded;
    load->moves = load->tree->moves;
    load->on = folder->on;
    if (only_one_locked(folder, old)) {
        load->on = (struct tree_set){{0}};
        tree_set_add(&load->on, old->doubt - 1U);
    }
    return tree_path_locked(folder, &load->path);
}

static mrmr_err name_find(struct load *load, const char *name)
{
    unsigned tries = 0;
    do {
        MRMR_TRY(name_begin(load, name));
        MRMR_TRY(load_name(load, name));
    } while (!load->map.n && ++tries < MOVED_TRIES && tree_moved_since(load->tree, load->moves));
    return MRMR_OK;
}

static mrmr_err name_resolve(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct tree_seen *ret_seen)
{
    __attribute__((cleanup(load_free))) struct load load = {.tree = tree, .folder = folder};
    mrmr_err err = name_find(&load, name);
    struct tree_drive *silent = load.silent ? &tree->drive[load.silent_drive] : NULL;
    if (err && silent && (tree_live(silent) || !tree_drive_is_member(silent)))
        err = name_find(
            &load, name); /* that may be over; or another has its place, or none, just now */
    MRMR_TRY(err);
    *ret_seen = load.seen;
    mrmr_locked(&tree->lock);
    return name_take_locked(&load, name);
}

/* A struct tree_name without its name. */
static mrmr_err name_copy_locked(
    struct tree_node *folder, const char *name, struct tree_name *ret_name, bool *ret_unsure)
{
    const struct tree_name *found = tree_map_find(&folder->map, name);
    *ret_unsure = found ? found->unsure : folder->partial;
    if (!found || (*ret_unsure && !found->number))
        return mrmr_fail(MRMR_ABSENT, NULL);
    memcpy(ret_name, found, sizeof *found);
    return MRMR_OK;
}

mrmr_err tree_name_see(struct pool_tree *tree, struct tree_node *folder, const char *name,
    struct tree_name *ret_name, struct tree_seen *ret_seen)
{
    mrmr_err err = MRMR_ABSENT;
    bool unsure = true;
    ret_seen->is = false;
    /* A name that changes all the time is what it was at one of the looks. */
    for (unsigned i = 0; unsure && i <= LOAD_TRIES; i++) {
        if (i)
            MRMR_TRY(name_resolve(tree, folder, name, ret_seen));
        mrmr_locked(&tree->lock);
        err = name_copy_locked(folder, name, ret_name, &unsure);
    }
    return err;
}

mrmr_err tree_name_get(
    struct pool_tree *tree, struct tree_node *folder, const char *name, struct tree_name *ret_name)
{
    struct tree_seen seen;
    return tree_name_see(tree, folder, name, ret_name, &seen);
}
