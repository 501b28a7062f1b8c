/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Open files. The bytes come from the original while its drive answers; else from what the stripes
 * hold of the content that was opened, if the catalog knows that content: the same size and mtime.
 * What is made that way is verified and goes through the leaf cache.
 *
 * An original that was opened before its drive was taken out of service is of no use when the drive
 * comes back: it is opened again, if it is still the same content; for writing, if it is still the
 * same inode.
 *
 * A file that was written through us is not what the catalog knows of it, whatever its size and time
 * are: from then on its descriptors have no bytes but the original's.
 */
#include "pool/tree_change.h"

#include <string.h>

struct tree_original { /* counted: a read may still be on it when it is given up */
    atomic_uint refs;
    struct drv_file *file;
    uint64_t ino;
    struct tree_seen_file seen; /* guarded by the tree's lock */
    struct tree_original *next;
};

struct pool_tree_file {
    struct pool_tree *tree;
    /* Guarded by the tree's lock. */
    struct pool_tree_file *next, **at;           /* among the tree's */
    struct pool_tree_file *node_next, **node_at; /* among the node's */
    bool writing;
    enum tree_way way;
    uint64_t writes; /* of the node, when it was opened */
    uint32_t births; /* likewise */
    uint64_t seen;   /* the last loss of the node that a sync through this one told of, or had to */

    atomic_bool brought;    /* elsewhere, since it was opened */
    _Atomic size_t drive;   /* where it lies now */
    _Atomic int64_t btime;  /* of the inode */
    struct tree_node *node; /* counted */
    struct tree_spot spot;  /* when it was opened */
    bool acts;              /* its bytes are written as this user: */
    struct pool_caller caller;
    int64_t mtime; /* of the content that was opened */
    uint64_t size;

    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct tree_original *original; /* NULL: none now */
    struct pool_file *made;         /* NULL: not wanted yet */
};

/* --- the original --- */

struct tree_original *tree_original_of_file(struct pool_tree_file *file)
{
    mrmr_locked(&file->lock);
    if (file->original)
        atomic_fetch_add(&file->original->refs, 1);
    return file->original;
}

void tree_original_ref(struct tree_original *original)
{
    atomic_fetch_add(&original->refs, 1);
}

void tree_original_put(struct tree_original *original)
{
    if (!original || atomic_fetch_sub(&original->refs, 1) != 1)
        return;
    drv_file_close(original->file);
    free(original);
}

struct drv_file *tree_original_file(const struct tree_original *original)
{
    return original->file;
}

struct tree_original *tree_original_new(struct drv_file *opened, uint64_t ino)
{
    struct tree_original *original = calloc(1, sizeof *original);
    if (!original) {
        drv_file_close(opened);
        return NULL;
    }
    original->refs = 1;
    original->file = opened;
    original->ino = ino;
    return original;
}

struct pool_tree *tree_file_tree(const struct pool_tree_file *file)
{
    return file->tree;
}

uint64_t tree_original_ino(const struct tree_original *original)
{
    return original->ino;
}

struct tree_seen_file *tree_original_seen(struct tree_original *original)
{
    return &original->seen;
}

struct tree_node *tree_file_node(const struct pool_tree_file *file)
{
    return file->node;
}

void pool_tree_file_act(struct pool_tree_file *file, const struct pool_caller *caller)
{
    file->acts = caller;
    if (caller)
        file->caller = (struct pool_caller){.uid = caller->uid, .gid = caller->gid};
}

const struct pool_caller *tree_file_caller(const struct pool_tree_file *file)
{
    return file->acts ? &file->caller : NULL;
}

size_t tree_file_drive(const struct pool_tree_file *file)
{
    return file->drive;
}

static struct tree_original *original_open_locked(const struct tree_node *node, bool writing)
{
    for (struct pool_tree_file *file = node->files; file; file = file->node_next) {
        struct tree_original *original =
            file->writing || !writing ? tree_original_of_file(file) : NULL;
        if (original)
            return original;
    }
    return NULL;
}

struct tree_original *tree_original_of_node(
    struct pool_tree *tree, struct tree_node *node, bool writing)
{
    mrmr_locked(&tree->lock);
    struct tree_original *original;
    while (!(original = original_open_locked(node, writing)) && node->taking)
        pthread_cond_wait(&tree->moved, &tree->lock); /* as long as a drive may take */
    return original ? original : tree_parted_original_locked(node, writing);
}

enum tree_way *tree_file_way_locked(struct pool_tree_file *file)
{
    return &file->way;
}

bool tree_node_ordinary_locked(const struct tree_node *node)
{
    for (const struct pool_tree_file *file = node->files; file; file = file->node_next)
        if (file->way == TREE_WAY_ORDINARY)
            return true;
    return false;
}

bool tree_file_writes(const struct pool_tree_file *file)
{
    return file->writing;
}

uint64_t *tree_file_seen(struct pool_tree_file *file)
{
    return &file->seen;
}

void tree_file_written(struct pool_tree *tree, struct tree_node *node)
{
    mrmr_locked(&tree->lock);
    node->writes++;
    node->own_until = mrmr_clock_monotonic() + tree_own_window;
}

static struct tree_original *original_take_out(struct pool_tree_file *file)
{
    mrmr_locked(&file->lock);
    return mrmr_steal(file->original);
}

void tree_originals_put(struct tree_original *list)
{
    while (list) {
        struct tree_original *next = list->next;
        drv_file_close(list->file);
        free(list);
        list = next;
    }
}

/* If nobody else is on it, it is closed with the list. */
static void original_onto(struct pool_tree_file *file, struct tree_original **list)
{
    struct tree_original *original = original_take_out(file);
    if (!original || atomic_fetch_sub(&original->refs, 1) != 1)
        return;
    original->next = *list;
    *list = original;
}

bool tree_node_open_locked(const struct tree_node *node)
{
    for (struct pool_tree_file *file = node->files; file; file = file->node_next) {
        mrmr_locked(&file->lock);
        if (file->original)
            return true;
    }
    return tree_parted_open_locked(node);
}

void tree_files_let_go(struct pool_tree *tree, size_t drive)
{
    struct tree_original *list = NULL;
    {
        mrmr_locked(&tree->lock);
        for (struct pool_tree_file *file = tree->files; file; file = file->next)
            if (file->drive == drive)
                original_onto(file, &list);
    }
    tree_originals_put(list);
    tree_parted_let_go(tree, drive);
}

void tree_files_brought_locked(struct tree_node *node, size_t drive, struct tree_original **ret_old)
{
    for (struct pool_tree_file *file = node->files; file; file = file->node_next) {
        original_onto(file, ret_old);
        file->drive = drive;
        file->brought = true;
    }
}

struct tree_original *tree_files_turn_locked(
    struct pool_tree *tree, struct tree_node **ret_node, size_t *ret_drive)
{
    struct pool_tree_file *file = tree->turn;
    struct tree_node *node = file->node;
    tree->turn = file->next;
    if (node->files != file || node->direct || tree->drive[file->drive].silent)
        return NULL;
    *ret_node = node;
    *ret_drive = file->drive;
    return tree_original_of_file(file);
}

struct opening {
    struct pool_tree_file *file;
    struct drv_file *original;
    struct drv_stat stat;
    struct meta_node known;
    size_t drive;  /* that was asked */
    int64_t asked; /* before that; real */
    bool answered; /* by the drive; else known says what it was */
};

static mrmr_err opening_catalog(struct opening *opening, const char *path)
{
    struct pool_tree_file *file = opening->file;
    struct mrmr_story story;
    bool touched = false;
    mrmr_story_save(&story);
    mrmr_err err = tree_catalog(file->tree, file->drive, path, &opening->known);
    if (!err && opening->known.type != META_REG)
        err = mrmr_fail(MRMR_ABSENT, NULL);
    if (!err)
        err = tree_keep_touched(file->tree, file->drive, opening->known.ino, &touched);
    if (!err && touched)
        return mrmr_fail(MRMR_OFFLINE, "its drive went away before what was written was protected");
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? mrmr_story_restore(&story) : err;
}

/* For writing it must be readable, too: what a stripe counts on is read before it is written over.
 * Who may write it and not read it gets it for writing alone, and cannot change such bytes. */
mrmr_err tree_open_original(struct drv *drv, const char *path, bool writing,
    struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    const unsigned flags = DRV_OPEN_READ | (writing ? DRV_OPEN_WRITE : 0);
    mrmr_err err = drv_file_open_stat(drv, path, flags, 0, ret_file, ret_stat);
    if (writing && mrmr_class_of(err) == MRMR_CLASS_DENIED)
        err = drv_file_open_stat(drv, path, DRV_OPEN_WRITE, 0, ret_file, ret_stat);
    return err;
}

static mrmr_err opening_path(const char *path, void *arg)
{
    struct opening *opening = arg;
    struct pool_tree_file *file = opening->file;
    struct tree_spot spot = file->spot;
    spot.drive = opening->drive = file->drive;
    opening->asked = mrmr_clock_real();
    struct tree_drive *own = &file->tree->drive[spot.drive];
    drv_file_close(opening->original);
    opening->original = NULL;
    mrmr_err err = tree_live(own) ? tree_open_original(own->drive->drv, path, file->writing,
                                        &opening->original, &opening->stat)
                                  : mrmr_fail(MRMR_OFFLINE, NULL);
    if (!err)
        err = tree_check_stat(file->tree, &spot, path, &opening->stat);
    opening->answered = !err;
    if (tree_silent(own, err))
        err = opening_catalog(opening, path);
    return mrmr_err_drive(err, own->drive->meta.name);
}

/* It takes the place of the one before. */
static mrmr_err opening_take(struct opening *opening)
{
    struct pool_tree_file *file = opening->file;
    struct tree_original *original =
                             tree_original_new(mrmr_steal(opening->original), opening->stat.ino),
                         *old;
    if (!original)
        return mrmr_nomem();
    bool there;
    {
        mrmr_locked(&file->tree->lock);
        mrmr_locked(&file->lock);
        there = file->drive == opening->drive;
        old = there ? file->original : original;
        original->seen = (struct tree_seen_file){
            true, opening->stat.mtime, opening->stat.size, file->node->writes};
        file->original = there ? original : file->original;
    }
    tree_original_put(old);
    return there ? MRMR_OK : mrmr_fail(MRMR_OFFLINE, "it was brought elsewhere just now");
}

/* A store through a mapping changes no times where the page is to be written back already. */
static const int64_t stores_hide = 60 * MRMR_NS_PER_S;

/* Somebody may be changing it through what he has open. Old as before where the drive cannot tell. */
static bool opened_written(const struct opening *opening)
{
    const int64_t age = opening->asked - opening->stat.mtime;
    if (opening->file->writing)
        return true;
    struct tree_original *original = tree_original_of_file(opening->file);
    bool written = true;
    if (age > stores_hide)
        written = false;
    else if (original && drv_file_is_written(original->file, &written))
        written = age <= 2 * tree_second;
    tree_original_put(original);
    return written;
}

/* Whoever changes it from now on gives it other times than it has. Of a drive that tells nothing, as
 * one of another machine, nobody knows how its clock goes. */
static bool opened_late(const struct opening *opening)
{
    const struct tree_drive *drive = &opening->file->tree->drive[opening->drive];
    if (drive->silent)
        return opening->asked - opening->stat.mtime > 2 * tree_second;
    return pool_tick_over(&drive->drive->info, &opening->stat, opening->asked) &&
           !opened_written(opening);
}

/* Nothing has changed since the last open, as far as events and attributes tell. Two changes in quick
 * succession may leave the same times behind: what the last open found must have been older then. */
static bool opened_same(struct opening *opening)
{
    struct tree_node *node = opening->file->node;
    const bool late = opening->answered && opened_late(opening);
    mrmr_locked(&opening->file->tree->lock);
    bool same = opening->answered && node->open_late && node->open_mtime == opening->stat.mtime &&
                node->open_ctime == opening->stat.ctime && node->open_size == opening->stat.size &&
                node->open_changes == node->changes;
    node->open_late = late;
    node->open_mtime = opening->stat.mtime;
    node->open_ctime = opening->answered ? opening->stat.ctime : -1;
    node->open_size = opening->stat.size;
    node->open_changes = node->changes;
    return same;
}

/* A change through another name of it, which no event told of: whoever keeps its attributes asks for them
 * again, and not only once it is open: he would read to the end that it had. */
static void opened_tells(const struct opening *opening)
{
    struct pool_tree *tree = opening->file->tree;
    struct tree_node *node = opening->file->node;
    const struct drv_stat *stat = &opening->stat;
    {
        mrmr_locked(&tree->lock);
        const struct tree_shown *shown = &node->shown;
        if (!opening->answered || !shown->is ||
            (shown->mtime == stat->mtime && shown->size == stat->size &&
                shown->nlink == stat->nlink))
            return;
        node->shown.is = false;
    }
    tree_tell_node(tree, node->number, false);
}

/* No name leads to it any more, but somebody has it open: his descriptor serves this one, too. */
static mrmr_err opening_share(struct opening *opening)
{
    struct pool_tree_file *file = opening->file;
    struct tree_original *original = tree_original_of_node(file->tree, file->node, file->writing);
    if (!original)
        return mrmr_fail(MRMR_ABSENT, NULL);
    opening->drive = file->drive;
    opening->asked = mrmr_clock_real();
    mrmr_err err = drv_file_stat(original->file, &opening->stat);
    opening->answered = !err;
    if (err) {
        tree_original_put(original);
        return err;
    }
    mrmr_locked(&file->lock);
    file->original = original;
    return MRMR_OK;
}

static void file_link(struct pool_tree_file *file)
{
    struct pool_tree *tree = file->tree;
    mrmr_locked(&tree->lock);
    file->next = tree->files;
    if (file->next)
        file->next->at = &file->next;
    file->at = &tree->files;
    tree->files = file;
    struct tree_node *node = file->node;
    file->node_next = node->files;
    if (file->node_next)
        file->node_next->node_at = &file->node_next;
    file->node_at = &node->files;
    node->files = file;
    file->writes = node->writes;
    file->births = node->births;
    file->seen = tree_seen_locked(node);
    file->drive = tree_set_first(&node->on);
    tree_stores_opened_locked(tree);
    if (!file->writing)
        return;
    /* Events tell nothing of it from now on: whoever was told to keep its attributes asks again. */
    if (!node->writers++ && node->kept &&
        tree_own_ttl(file->tree, &node->on, POOL_KEEP) != POOL_KEEP) {
        tree_later_locked(tree, TREE_TELL_ATTRS, node->number, "");
        node->kept = false;
    }
}

static void file_unlink(struct pool_tree_file *file)
{
    mrmr_locked(&file->tree->lock);
    if (!file->at)
        return;
    *file->at = file->next;
    if (file->tree->turn == file)
        file->tree->turn = file->next;
    if (file->next)
        file->next->at = file->at;
    *file->node_at = file->node_next;
    if (file->node_next)
        file->node_next->node_at = file->node_at;
    if (!file->writing)
        return;
    file->node->writers--;
    file->node->own_until = mrmr_clock_monotonic() + tree_own_window;
}

static mrmr_err file_open(struct pool_tree_file *file, bool *ret_same)
{
    struct opening opening = {.file = file};
    file_link(file);
    mrmr_err err = tree_by_path(file->tree, file->node, opening_path, &opening);
    if (!err && opening.answered)
        err = opening_take(&opening);
    drv_file_close(opening.original);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = opening_share(&opening);
    MRMR_TRY(err);
    file->btime = opening.answered ? opening.stat.btime : opening.known.btime;
    file->mtime = opening.answered ? opening.stat.mtime : opening.known.mtime;
    file->size = opening.answered ? opening.stat.size : opening.known.size;
    *ret_same = opened_same(&opening);
    opened_tells(&opening);
    return MRMR_OK;
}

static mrmr_err file_new(
    struct pool_tree *tree, uint64_t number, bool writing, struct pool_tree_file **ret_file)
{
    struct pool_tree_file *file = calloc(1, sizeof *file);
    if (!file)
        return mrmr_nomem();
    file->tree = tree;
    file->writing = writing;
    pthread_mutex_init(&file->lock, NULL);
    *ret_file = file;
    MRMR_TRY(tree_node(tree, number, false, &file->node));
    file->spot = tree_spot(tree, file->node);
    return MRMR_OK;
}

mrmr_err tree_file_made(struct pool_tree *tree, struct tree_node *node, struct drv_file *original,
    const struct drv_stat *stat, struct pool_tree_file **ret_file)
{
    struct pool_tree_file *file = NULL;
    mrmr_err err = file_new(tree, node->number, true, &file);
    struct opening opening = {.file = file, .original = original, .stat = *stat};
    if (!err) {
        file_link(file);
        opening.drive = file->drive;
        err = opening_take(&opening);
        file->btime = stat->btime;
        file->mtime = stat->mtime;
        file->size = stat->size;
    }
    drv_file_close(opening.original);
    if (err)
        pool_tree_file_close(file);
    else
        *ret_file = file;
    return err;
}

mrmr_err pool_tree_file_open(struct pool_tree *tree, uint64_t number, bool writing,
    struct pool_tree_file **ret_file, bool *ret_same)
{
    struct pool_tree_file *file = NULL;
    mrmr_err err = file_new(tree, number, writing, &file);
    if (!err && writing && !pool_tree_writable(tree))
        err = mrmr_fail(MRMR_READONLY, "the pool's folder cannot be written");
    if (!err && file->spot.kind != POOL_REG)
        err = file->spot.kind == POOL_DIR ? mrmr_fail(MRMR_IS_DIR, NULL)
                                          : mrmr_fail(MRMR_INVALID, "not a regular file");
    if (!err)
        err = file_open(file, ret_same);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        pool_tree_file_close(file);
        return mrmr_story_restore(&story);
    }
    *ret_file = file;
    return MRMR_OK;
}

void pool_tree_file_close(struct pool_tree_file *file)
{
    if (!file)
        return;
    pool_tree_file_undirect(file); /* whoever could be told of it has gone */
    file_unlink(file);
    if (file->made)
        leaf_cache_leave(file->tree->leaves, file->made);
    pool_file_close(file->made);
    tree_original_put(file->original);
    tree_put(file->tree, file->node);
    pthread_mutex_destroy(&file->lock);
    free(file);
}

/* The node is not what was opened any more: it was removed, and something else may have its number. */
static bool file_is_dead(struct pool_tree_file *file)
{
    mrmr_locked(&file->tree->lock);
    return file->node->gone || file->node->births != file->births;
}

void tree_file_open_again(struct pool_tree_file *file)
{
    struct opening opening = {.file = file};
    if (file_is_dead(file))
        return;
    mrmr_err err = tree_by_path(file->tree, file->node, opening_path, &opening);
    bool same = opening.stat.size == file->size && opening.stat.mtime == file->mtime;
    bool born = file->brought || opening.stat.btime == file->btime;
    if (!err && opening.answered && born && (same || file->writing || file->brought)) {
        err = opening_take(&opening);
        file->btime = opening.stat.btime;
    }
    drv_file_close(opening.original);
    if (err)
        mrmr_log_story(MRMR_LOG_INFO, "opening a file again on a drive that came back");
}

struct tree_original *tree_original_now(struct pool_tree_file *file)
{
    if (tree_replaced_look(file->tree)) {
        mrmr_log_story(MRMR_LOG_WARN, "whether an open file was repaired is not known");
        return NULL;
    }
    struct tree_original *original = tree_original_of_file(file);
    if (original || !tree_live(&file->tree->drive[file->drive]))
        return original;
    tree_file_open_again(file);
    return tree_original_of_file(file);
}

/* --- reading --- */

static mrmr_err read_original(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct tree_original *original = tree_original_of_file(file);
    if (!original)
        return mrmr_fail(MRMR_OFFLINE, "the drive was not there when it was opened");
    mrmr_err err = drv_file_read_sure(original->file, offset, buf, size, ret_got);
    tree_original_put(original);
    return err;
}

struct finding {
    struct pool_tree_file *file;
    struct meta_node node;
};

static mrmr_err finding_path(const char *path, void *arg)
{
    struct finding *finding = arg;
    return tree_catalog(finding->file->tree, finding->file->drive, path, &finding->node);
}

static bool written_since(struct pool_tree_file *file)
{
    mrmr_locked(&file->tree->lock);
    return file->node->writes != file->writes;
}

/* What the catalog knows of this content. */
static mrmr_err made_open(struct pool_tree_file *file, struct pool_file **ret_made)
{
    struct finding finding = {.file = file};
    MRMR_TRY(tree_by_path(file->tree, file->node, finding_path, &finding));
    if (finding.node.type != META_REG || finding.node.size != file->size ||
        finding.node.mtime != file->mtime)
        return mrmr_fail(MRMR_ABSENT, "it changed since it was protected");
    bool touched;
    MRMR_TRY(tree_keep_touched(file->tree, file->drive, finding.node.ino, &touched));
    if (touched)
        return mrmr_fail(MRMR_ABSENT, "it changed since it was protected");
    return pool_file_open_node(file->tree->pool, &finding.node, POOL_READ_VERIFY, ret_made);
}

static mrmr_err file_made(struct pool_tree_file *file, struct pool_file **ret_made)
{
    struct pool_file *made = NULL;
    {
        mrmr_locked(&file->lock);
        *ret_made = file->made;
    }
    if (*ret_made)
        return MRMR_OK;
    MRMR_TRY(made_open(file, &made));
    mrmr_locked(&file->lock);
    if (file->made)
        pool_file_close(made); /* another thread was faster */
    else
        file->made = made;
    *ret_made = file->made;
    return MRMR_OK;
}

/* Verified, leaf by leaf. */
static mrmr_err read_made(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct pool_file *made;
    if (written_since(file))
        return mrmr_fail(MRMR_ABSENT, "it changed since it was protected");
    MRMR_TRY(file_made(file, &made));
    size_t done = 0;
    if (offset >= file->size)
        size = 0;
    else if (size > file->size - offset)
        size = file->size - offset;
    while (done < size) {
        uint64_t at = offset + done;
        size_t from = at % META_LEAF, part = META_LEAF - from;
        if (part > size - done)
            part = size - done;
        MRMR_TRY(leaf_cache_read(
            file->tree->leaves, made, at / META_LEAF, from, (char *)buf + done, part));
        done += part;
    }
    *ret_got = done;
    return MRMR_OK;
}

mrmr_err pool_tree_file_read(
    struct pool_tree_file *file, uint64_t offset, void *buf, size_t size, size_t *ret_got)
{
    struct mrmr_story story;
    MRMR_TRY(tree_replaced_look(file->tree));
    if (file->tree->verify && !read_made(file, offset, buf, size, ret_got))
        return MRMR_OK;
    mrmr_err err = read_original(file, offset, buf, size, ret_got);
    if (err == MRMR_OFFLINE && tree_live(&file->tree->drive[file->drive])) {
        tree_file_open_again(file);
        err = read_original(file, offset, buf, size, ret_got);
    }
    if (!tree_silent(&file->tree->drive[file->drive], err) &&
        mrmr_class_of(err) != MRMR_CLASS_CORRUPT)
        return err;
    mrmr_story_save(&story);
    mrmr_err made = read_made(file, offset, buf, size, ret_got);
    if (made && mrmr_class_of(made) == MRMR_CLASS_ABSENT)
        return mrmr_story_restore(&story);
    return made;
}

mrmr_err pool_tree_file_seek(
    struct pool_tree_file *file, uint64_t offset, bool hole, uint64_t *ret_offset)
{
    struct tree_original *original = tree_original_now(file);
    uint64_t start = offset, end = file->size, size = file->size;
    struct drv_stat stat;
    if (original) {
        if (!drv_file_stat(original->file, &stat))
            size = end = stat.size;
        if (drv_file_next_data(original->file, offset, &start, &end)) {
            start = offset; /* all is data */
            end = size;
        }
    }
    tree_original_put(original);
    if (offset >= size || (!hole && start >= size))
        return mrmr_fail(MRMR_ABSENT, "there is no more");
    *ret_offset = !hole ? start : start > offset ? offset : end;
    return MRMR_OK;
}

mrmr_err pool_tree_file_attr(struct pool_tree_file *file, struct pool_attr *ret_attr)
{
    struct tree_original *original = tree_original_now(file);
    struct drv_stat stat;
    mrmr_err err = original ? drv_file_stat(original->file, &stat) : MRMR_OFFLINE;
    tree_original_put(original);
    if (err)
        return pool_tree_attr(file->tree, file->node->number, ret_attr);
    tree_attr_from_stat(&stat, ret_attr);
    ret_attr->node = file->node->number;
    ret_attr->keep = tree_own_window;
    mrmr_locked(&file->tree->lock);
    if (file->node->gone)
        ret_attr->nlink = 0;
    return MRMR_OK;
}
