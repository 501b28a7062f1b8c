/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/brought.h"
#include "pool/hung.h"
#include "pool/retained.h"
#include "pool/scan.h"
#include "pool/tree_pair.h"

#include "base/durable.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum { SAME_INODE = 8, RECORD_MOST = 64 << 10 };

struct pool_brought_file {
    char name[TREE_PAIR_NAME]; /* of the record */
    struct mrmr_bytes text;    /* what ids.path is of */
    struct tree_pair_ids ids;
};

/* --- records --- */

static bool is_record(const char *name)
{
    return strncmp(name, POOL_BROUGHT_BEGUN, strlen(POOL_BROUGHT_BEGUN)) == 0 ||
           strncmp(name, POOL_BROUGHT_ENDED, strlen(POOL_BROUGHT_ENDED)) == 0;
}

static bool has_ended(const struct pool_brought_file *file)
{
    return strncmp(file->name, POOL_BROUGHT_ENDED, strlen(POOL_BROUGHT_ENDED)) == 0;
}

/* One that has gone, or another name, since it was listed: the mount is through with it. */
static mrmr_err record_add(struct pool *pool, const char *name, struct mrmr_bytes *list)
{
    struct pool_brought_file file = {.text = MRMR_BYTES_INIT};
    if (strlen(name) >= sizeof file.name)
        return MRMR_OK;
    memcpy(file.name, name, strlen(name) + 1);
    mrmr_err err = mrmr_durable_read(pool->dirfd, name, RECORD_MOST, &file.text);
    if (!err && tree_pair_parse(&file.text, &file.ids))
        err = mrmr_bytes_add(list, &file, sizeof file);
    else {
        err = mrmr_class_of(err) == MRMR_CLASS_ABSENT ? MRMR_OK : err;
        mrmr_bytes_free(&file.text);
        return err;
    }
    if (err)
        mrmr_bytes_free(&file.text);
    return err;
}

static mrmr_err records_list(struct pool *pool, const char *prefix, struct mrmr_bytes *list)
{
    const int fd = openat(pool->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    mrmr_err err = MRMR_OK;
    if (!dir) {
        err = mrmr_fail_errno(errno, "list", pool->dir);
        if (fd >= 0)
            close(fd);
        return err;
    }
    for (const struct dirent *entry; !err && (entry = readdir(dir)) != NULL;)
        if (is_record(entry->d_name) && strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            err = record_add(pool, entry->d_name, list);
    closedir(dir);
    return err;
}

/* Those that are under way first: one that ends meanwhile is found by its other name, perhaps by both. */
mrmr_err pool_brought_load(struct pool *pool, struct pool_brought *ret_brought)
{
    struct mrmr_bytes list = MRMR_BYTES_INIT;
    mrmr_err err = records_list(pool, POOL_BROUGHT_BEGUN, &list);
    if (!err)
        err = records_list(pool, POOL_BROUGHT_ENDED, &list);
    *ret_brought = (struct pool_brought){
        (struct pool_brought_file *)(void *)list.data, list.size / sizeof *ret_brought->file};
    if (err)
        pool_brought_free(ret_brought);
    return err;
}

void pool_brought_free(struct pool_brought *brought)
{
    for (size_t i = 0; i < brought->n; i++)
        mrmr_bytes_free(&brought->file[i].text);
    free(brought->file);
    *brought = (struct pool_brought){.n = 0};
}

/* --- what became of a copy --- */

enum copy_state {
    COPY_UNKNOWN,   /* nobody can tell now */
    COPY_PENDING,   /* the catalog has it, and some of it is exposed */
    COPY_PROTECTED, /* and nothing of it is */
    COPY_GONE,
    COPY_GIVEN_UP, /* its drive is none of the pool any more */
};

/* The file of an inode, or where the record does not say which, at a path; id 0: the catalog has none. */
static mrmr_err node_of(
    struct pool *pool, int64_t drive, uint64_t ino, const char *path, struct meta_node *ret_node)
{
    struct pool_drive *on = pool_drive_by_id(pool, drive);
    struct meta_node nodes[SAME_INODE];
    size_t n = 0;
    ret_node->id = 0;
    if (ino)
        MRMR_TRY(meta_node_by_ino(pool->meta, drive, ino, nodes, SAME_INODE, &n));
    for (size_t i = 0; i < n && !ret_node->id; i++)
        if (nodes[i].type == META_REG)
            *ret_node = nodes[i];
    if (ino || !on)
        return MRMR_OK;
    mrmr_err err = meta_lookup_path(pool->meta, on->meta.root, path, nodes);
    if (!err && nodes[0].type == META_REG)
        *ret_node = nodes[0];
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR ? MRMR_OK : err;
}

static mrmr_err source_of(
    struct pool *pool, const struct pool_brought_file *file, struct meta_node *ret_node)
{
    const uint64_t ino = file->ids.knows ? file->ids.file.ino : 0;
    return node_of(pool, file->ids.from, ino, file->ids.path, ret_node);
}

/* Its file is open, and the one that the catalog has. */
static mrmr_err open_node(struct pool *pool, const struct meta_node *node,
    struct drv_file **ret_file, struct drv_stat *ret_stat)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct pool_drive *drive = pool_drive_by_id(pool, node->drive);
    if (!pool_drive_present(drive))
        return mrmr_fail(MRMR_OFFLINE, NULL);
    MRMR_TRY(pool_node_open(pool, node->id, &file));
    MRMR_TRY(drv_file_stat(file, ret_stat));
    if (!pool_node_is(&drive->info, node, ret_stat))
        return mrmr_fail(MRMR_ABSENT, "another file has its name");
    *ret_file = mrmr_steal(file);
    return MRMR_OK;
}

static bool is_in_place(struct pool *pool, const struct meta_node *node)
{
    struct drv_file *file = NULL;
    struct drv_stat stat;
    const bool is = !open_node(pool, node, &file, &stat);
    drv_file_close(file);
    return is;
}

static mrmr_err state_of_node(
    struct pool *pool, const struct meta_node *node, enum copy_state *ret_state)
{
    mrmr_autofree struct meta_exposed *ranges = NULL;
    size_t n;
    MRMR_TRY(meta_exposed_of(pool->meta, node->id, &ranges, &n));
    *ret_state = n ? COPY_PENDING : is_in_place(pool, node) ? COPY_PROTECTED : COPY_UNKNOWN;
    return MRMR_OK;
}

/* The catalog does not have it. */
static enum copy_state state_unseen(
    const struct pool_brought_file *file, const struct pool_drive *drive, bool scanned)
{
    const uint64_t ino = file->ids.knows ? file->ids.copy.ino : 0;
    struct drv_stat stat;
    if (!drive || drive->meta.state == META_DRIVE_RETIRED)
        return COPY_GIVEN_UP;
    if (!scanned || !pool_drive_present(drive))
        return COPY_UNKNOWN;
    mrmr_err err = drv_stat(drive->drv, file->ids.path, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_NOT_DIR)
        return COPY_GONE;
    return !err && ino && stat.ino != ino ? COPY_GONE : COPY_UNKNOWN;
}

/* The record of where the copy was brought from there in turn. */
static const struct pool_brought_file *next_of(
    const struct pool_brought *brought, const struct pool_brought_file *file)
{
    for (size_t i = 0; file->ids.knows && i < brought->n; i++) {
        const struct tree_pair_ids *ids = &brought->file[i].ids;
        if (&brought->file[i] != file && ids->knows && ids->from == file->ids.to &&
            ids->file.ino == file->ids.copy.ino)
            return &brought->file[i];
    }
    return NULL;
}

static mrmr_err copy_of(struct pool *pool, const struct pool_brought *brought,
    const struct pool_brought_file *file, bool scanned, struct meta_node *ret_copy,
    enum copy_state *ret_state)
{
    for (size_t i = 0; i < brought->n; i++) { /* they are no circle but in a hostile folder */
        const struct pool_brought_file *next = next_of(brought, file);
        if (!next)
            break;
        file = next;
    }
    const uint64_t ino = file->ids.knows ? file->ids.copy.ino : 0;
    MRMR_TRY(node_of(pool, file->ids.to, ino, file->ids.path, ret_copy));
    if (ret_copy->id)
        return state_of_node(pool, ret_copy, ret_state);
    *ret_state = state_unseen(file, pool_drive_by_id(pool, file->ids.to), scanned);
    return MRMR_OK;
}

static mrmr_err has_extents(struct pool *pool, int64_t node, bool *ret_has)
{
    mrmr_autofree struct meta_extent *extents = NULL;
    size_t n;
    MRMR_TRY(meta_extents_of(pool->meta, node, &extents, &n));
    *ret_has = n > 0;
    return MRMR_OK;
}

static mrmr_err file_counts(struct pool *pool, const struct pool_brought *brought,
    const struct pool_brought_file *file, const struct meta_node *source, bool scanned, bool accept,
    bool *ret_counts)
{
    struct meta_node copy;
    enum copy_state state;
    MRMR_TRY(has_extents(pool, source->id, ret_counts));
    if (!*ret_counts)
        return MRMR_OK;
    MRMR_TRY(copy_of(pool, brought, file, scanned, &copy, &state));
    *ret_counts =
        state == COPY_UNKNOWN || state == COPY_PENDING || (state == COPY_GIVEN_UP && !accept);
    return MRMR_OK;
}

mrmr_err pool_brought_counts(struct pool *pool, const struct pool_brought *brought,
    const struct meta_node *node, bool scanned, bool accept, bool *ret_counts)
{
    *ret_counts = false;
    for (size_t i = 0; !*ret_counts && i < brought->n; i++) {
        struct meta_node source;
        if (brought->file[i].ids.from != node->drive)
            continue;
        MRMR_TRY(source_of(pool, &brought->file[i], &source));
        if (source.id == node->id)
            MRMR_TRY(file_counts(
                pool, brought, &brought->file[i], &source, scanned, accept, ret_counts));
    }
    return MRMR_OK;
}

mrmr_err pool_brought_each(struct pool *pool, const struct pool_brought *brought, int64_t drive,
    bool accept, pool_brought_fn fn, void *arg)
{
    for (size_t i = 0; i < brought->n; i++) {
        struct meta_node source;
        bool counts;
        if (brought->file[i].ids.from != drive)
            continue;
        MRMR_TRY(source_of(pool, &brought->file[i], &source));
        if (!source.id)
            continue;
        MRMR_TRY(file_counts(pool, brought, &brought->file[i], &source, true, accept, &counts));
        if (counts)
            MRMR_TRY(fn(source.id, arg));
    }
    return MRMR_OK;
}

/* --- standing in --- */

struct standing {
    struct pool *pool;
    const struct pool_job *job;
    struct meta_node source, copy;
    struct drv_file *file; /* the copy's */
    struct meta_extent *extent;
    size_t n;
    struct meta_verdict *verdict; /* one a leaf, of one extent after another */
    uint8_t *buf;
};

/* What is kept where its block lies, and right, is there; and what the copy has, too, stands in for it. */
static mrmr_err stand_leaf(
    struct standing *s, const struct meta_extent *extent, uint64_t i, struct meta_verdict *verdict)
{
    const uint64_t offset = (extent->first + i) * META_LEAF;
    const uint32_t size = pool_leaf_size(extent, i);
    const uint64_t rest = offset < s->copy.size ? s->copy.size - offset : 0;
    bool same = (rest < META_LEAF ? rest : META_LEAF) == size;
    mrmr_err err = pool_retained_leaf(s->pool, extent, i, s->buf);
    if (mrmr_ran_short(err) || mrmr_class_of(err) == MRMR_CLASS_UNAVAILABLE)
        return err;
    const bool kept = !err;
    if (same && kept) {
        MRMR_TRY(drv_file_read_exact(s->file, offset, s->buf, size));
        const struct mrmr_digest got = mrmr_digest_of(s->buf, size);
        same = mrmr_digest_equal(&got, &extent->digests[i]);
    }
    *verdict = (struct meta_verdict){1, kept ? META_STALE : META_GONE, !(same && kept)};
    return MRMR_OK;
}

static mrmr_err stand_look(struct standing *s)
{
    struct meta_verdict *verdict = s->verdict;
    for (size_t e = 0; e < s->n; e++)
        for (uint64_t i = 0; i < s->extent[e].leaves; i++) {
            MRMR_TRY(pool_job_poll(s->job));
            MRMR_TRY(stand_leaf(s, &s->extent[e], i, verdict++));
        }
    return MRMR_OK;
}

struct stand_name {
    int64_t parent;
    char name[META_NAME_MAX + 1];
};

static mrmr_err name_add(int64_t parent, const char *name, void *arg)
{
    struct stand_name entry = {.parent = parent};
    memcpy(entry.name, name, strlen(name) + 1);
    return mrmr_bytes_add(arg, &entry, sizeof entry);
}

static mrmr_err stand_in(struct meta *meta, void *arg)
{
    const struct standing *s = arg;
    mrmr_autobytes struct mrmr_bytes list = MRMR_BYTES_INIT;
    const struct meta_verdict *verdict = s->verdict;
    for (size_t e = 0; e < s->n; verdict += s->extent[e++].leaves)
        MRMR_TRY(meta_extent_judge(meta, s->extent[e].id, verdict, s->extent[e].leaves));
    MRMR_TRY(meta_extents_give(meta, s->source.id, s->copy.id));
    MRMR_TRY(meta_names(meta, s->source.id, name_add, &list));
    const struct stand_name *names = (const struct stand_name *)(void *)list.data;
    for (size_t i = 0; i < list.size / sizeof *names; i++)
        MRMR_TRY(meta_name_remove(meta, names[i].parent, names[i].name));
    return meta_node_remove(meta, s->source.id);
}

/* Who writes finds out anew what counts. */
static mrmr_err stand_commit(struct standing *s)
{
    MRMR_TRY(pool_stop_for(s->pool, s->job, &s->source.drive, 1));
    mrmr_err err = pool_writers_new_epoch(s->pool->writers);
    if (!err)
        err = meta_atomically(s->pool->meta, stand_in, s);
    pool_writers_go(s->pool->writers);
    pool_views_forget(s->pool, 0);
    return err;
}

/* The file is the catalog's version of it, and nobody could write to it in the tick of the clock in which it was read. */
static mrmr_err copy_is_same(struct standing *s, struct drv_stat *ret_stat)
{
    const struct pool_drive *drive = pool_drive_by_id(s->pool, s->copy.drive);
    MRMR_TRY(drv_file_stat(s->file, ret_stat));
    return pool_stat_same(&drive->info, &s->copy, ret_stat) == POOL_SAME
               ? MRMR_OK
               : mrmr_fail(MRMR_CHANGED, "it was changed since the scan");
}

static mrmr_err stand(struct standing *s)
{
    const struct pool_drive *drive = pool_drive_by_id(s->pool, s->copy.drive);
    struct drv_stat stat;
    uint64_t leaves = 0;
    MRMR_TRY(open_node(s->pool, &s->copy, &s->file, &stat));
    MRMR_TRY(copy_is_same(s, &stat));
    MRMR_TRY(pool_tick_wait(&drive->info, &stat));
    MRMR_TRY(meta_extents_of(s->pool->meta, s->source.id, &s->extent, &s->n));
    for (size_t e = 0; e < s->n; e++)
        leaves += s->extent[e].leaves;
    s->verdict = calloc(leaves + 1, sizeof *s->verdict);
    s->buf = malloc(META_LEAF);
    if (!s->verdict || !s->buf)
        return mrmr_nomem();
    MRMR_TRY(stand_look(s));
    MRMR_TRY(copy_is_same(s, &stat));
    return stand_commit(s);
}

/* What concerns one file leaves it for the next time. */
static mrmr_err settle_file(struct pool *pool, const struct pool_job *job,
    const struct pool_brought *brought, const struct pool_brought_file *file)
{
    struct standing s = {.pool = pool, .job = job};
    enum copy_state state;
    bool has;
    MRMR_TRY(source_of(pool, file, &s.source));
    if (!s.source.id || is_in_place(pool, &s.source))
        return MRMR_OK;
    MRMR_TRY(has_extents(pool, s.source.id, &has));
    MRMR_TRY(copy_of(pool, brought, file, true, &s.copy, &state));
    if (!has || state != COPY_PENDING || s.copy.id == s.source.id)
        return MRMR_OK;
    mrmr_err err = stand(&s);
    drv_file_close(s.file);
    free(s.extent);
    free(s.verdict);
    free(s.buf);
    if (!err || mrmr_ran_short(err) || err == MRMR_CANCELLED || err == MRMR_BUSY)
        return err;
    mrmr_log_story(MRMR_LOG_INFO, "what was brought to another drive counts where it was for now");
    return MRMR_OK;
}

/* Nothing counts by the record, and no other one leads to it. */
static mrmr_err is_over(struct pool *pool, const struct pool_brought *brought,
    const struct pool_brought_file *file, bool *ret_over)
{
    struct meta_node source;
    *ret_over = false;
    for (size_t i = 0; i < brought->n; i++)
        if (next_of(brought, &brought->file[i]) == file)
            return MRMR_OK;
    MRMR_TRY(source_of(pool, file, &source));
    if (!source.id) {
        *ret_over = true;
        return MRMR_OK;
    }
    MRMR_TRY(file_counts(pool, brought, file, &source, true, false, ret_over));
    *ret_over = !*ret_over && is_in_place(pool, &source); /* it is another file with its number */
    return MRMR_OK;
}

static mrmr_err clear_over(struct pool *pool, const struct pool_brought *brought)
{
    for (size_t i = 0; i < brought->n; i++) {
        bool over;
        if (!has_ended(&brought->file[i]))
            continue;
        MRMR_TRY(is_over(pool, brought, &brought->file[i], &over));
        if (over && unlinkat(pool->dirfd, brought->file[i].name, 0) < 0 && errno != ENOENT)
            return mrmr_fail_errno(errno, "remove", brought->file[i].name);
    }
    return MRMR_OK;
}

mrmr_err pool_brought_settle(struct pool *pool, const struct pool_job *job)
{
    struct pool_brought brought;
    MRMR_TRY(pool_brought_load(pool, &brought));
    mrmr_err err = MRMR_OK;
    for (size_t i = 0; !err && i < brought.n; i++)
        err = settle_file(pool, job, &brought, &brought.file[i]);
    if (!err)
        err = clear_over(pool, &brought);
    pool_brought_free(&brought);
    return err;
}
