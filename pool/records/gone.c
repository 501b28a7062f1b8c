/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/gone_format.h"
#include "pool/records/gone_journal.h"
#include "pool/records/spare.h"

#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>

#define LOCK_NAME "gone-lock"

/* Locks of an open file description, one byte each. */
enum gone_lock { LOCK_JOURNAL, LOCK_APPLY };

/* --- locks --- */

static mrmr_err lock_set(const struct pool_gone *gone, enum gone_lock which, short type, bool waits)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};
    if (gone->lockfd < 0)
        return mrmr_fail(MRMR_READONLY, "the pool's folder is not to be written");
    while (fcntl(gone->lockfd, waits ? F_OFD_SETLKW : F_OFD_SETLK, &lock) < 0) {
        if (!waits && (errno == EAGAIN || errno == EACCES))
            return mrmr_fail(MRMR_BUSY, NULL);
        if (errno != EINTR)
            return mrmr_fail_errno(errno, "lock", LOCK_NAME);
    }
    return MRMR_OK;
}

/* It is held over the pool's folder's input and output, and nothing else. */
static mrmr_err journal_lock(const struct pool_gone *gone)
{
    return lock_set(gone, LOCK_JOURNAL, F_WRLCK, true);
}

static void journal_unlock(const struct pool_gone *gone)
{
    lock_set(gone, LOCK_JOURNAL, F_UNLCK, true);
}

/* Whoever has it may be waiting for a drive, and for how long is the kernel's business. */
static mrmr_err apply_lock(struct pool_gone *gone, const struct pool_job *job, int64_t until)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000000L};
    mrmr_err err;
    while ((err = lock_set(gone, LOCK_APPLY, F_WRLCK, false)) == MRMR_BUSY) {
        MRMR_TRY(pool_job_poll(job));
        if (until && mrmr_clock_monotonic() >= until)
            return err;
        nanosleep(&moment, NULL);
    }
    return err;
}

/* The same of another thread of this process. */
static mrmr_err apply_thread(struct pool_gone *gone, const struct pool_job *job, int64_t until)
{
    const struct timespec moment = {.tv_nsec = 20 * 1000000L};
    while (pthread_mutex_trylock(&gone->applying) != 0) {
        MRMR_TRY(pool_job_poll(job));
        if (until && mrmr_clock_monotonic() >= until)
            return mrmr_fail(MRMR_BUSY, NULL);
        nanosleep(&moment, NULL);
    }
    return MRMR_OK;
}

mrmr_err pool_gone_apply_begin(
    struct pool_gone *gone, const struct pool_job *job, int64_t thread_until, int64_t process_waits)
{
    MRMR_TRY(apply_thread(gone, job, thread_until));
    mrmr_err err =
        apply_lock(gone, job, process_waits ? mrmr_clock_monotonic() + process_waits : 0);
    if (err)
        pthread_mutex_unlock(&gone->applying);
    return err;
}

void pool_gone_apply_end(struct pool_gone *gone)
{
    lock_set(gone, LOCK_APPLY, F_UNLCK, false);
    pthread_mutex_unlock(&gone->applying);
}

/* --- asking --- */

mrmr_err pool_gone_refresh(struct pool_gone *gone)
{
    mrmr_locked(&gone->lock);
    return gone_refresh(gone);
}

mrmr_err pool_gone_stamp(struct pool_gone *gone, uint64_t *ret_stamp)
{
    mrmr_locked(&gone->lock);
    MRMR_TRY(gone_refresh(gone));
    *ret_stamp = gone->stamp;
    return MRMR_OK;
}

bool pool_gone_any(const struct pool_gone *gone)
{
    return gone->n > 0;
}

bool pool_gone_has(struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    mrmr_locked(&gone->lock);
    for (const struct gone_entry *at = gone_first(gone, node->drive, path); at; at = at->next)
        if (gone_is_at(at, POOL_GONE_REMOVED, node->drive, path) &&
            pool_gone_is_node(&at->record, node))
            return true;
    return false;
}

/* A folder that came late has by now what others put into it. */
static bool hides_at(const struct gone_entry *entry, int64_t drive, const char *path)
{
    return gone_is_at(entry, POOL_GONE_REMOVED, drive, path) ||
           (gone_is_at(entry, POOL_GONE_LATE, drive, path) && entry->record.type != META_DIR);
}

bool pool_gone_waits(struct pool_gone *gone, const struct pool_drive *drive, const char *path,
    const struct drv_stat *stat, bool *ret_surely)
{
    bool waits = false, surely = false;
    mrmr_locked(&gone->lock);
    for (const struct gone_entry *at = gone_first(gone, drive->meta.id, path); at; at = at->next) {
        if (at->record.over || !hides_at(at, drive->meta.id, path) ||
            !pool_gone_is(&at->record, &drive->info, stat))
            continue;
        waits = true;
        surely = surely || pool_gone_is_surely(&at->record, &drive->info, stat);
    }
    if (ret_surely)
        *ret_surely = surely;
    return waits;
}

void pool_gone_list_free(struct pool_gone_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->record[i].path);
    free(list->record);
    *list = (struct pool_gone_list){.n = 0};
}

static mrmr_err list_add(struct pool_gone_list *list, const struct pool_gone_record *record)
{
    size_t size = strlen(record->path) + 1;
    char *path = malloc(size + record->extra_size);
    if (!path)
        return mrmr_nomem();
    memcpy(path, record->path, size);
    memcpy(path + size, record->extra, record->extra_size);
    struct pool_gone_record *copy = &list->record[list->n++];
    *copy = *record;
    copy->path = path;
    copy->extra = path + size;
    return MRMR_OK;
}

mrmr_err pool_gone_list(
    struct pool_gone *gone, int64_t drive, bool over, struct pool_gone_list *ret_list)
{
    mrmr_locked(&gone->lock);
    struct pool_gone_list list = {.record = calloc(gone->n + 1, sizeof *list.record)};
    mrmr_err err = list.record ? MRMR_OK : mrmr_nomem();
    for (size_t i = 0; !err && i < gone->entries; i++) {
        const struct pool_gone_record *record = &gone->entry[i]->record;
        if (!gone->entry[i]->dropped && record->over == over && (!drive || record->drive == drive))
            err = list_add(&list, record);
    }
    if (err)
        pool_gone_list_free(&list);
    else
        *ret_list = list;
    return err;
}

static bool is_asked_for(const struct gone_entry *entry, enum pool_gone_kind kind, const char *path,
    const struct meta_node *node)
{
    return gone_is_at(entry, kind, node->drive, path) && pool_gone_is_node(&entry->record, node);
}

/* What is in a bucket has the latest first. */
static mrmr_err each_locked(const struct gone_entry *first, enum pool_gone_kind kind,
    const char *path, const struct meta_node *node, pool_gone_fn fn, void *arg)
{
    size_t n = 0, nfound = 0;
    for (const struct gone_entry *at = first; at; at = at->next)
        n += is_asked_for(at, kind, path, node);
    if (!n)
        return MRMR_OK;
    mrmr_autofree const struct gone_entry **found = calloc(n, sizeof(struct gone_entry *));
    if (!found)
        return mrmr_nomem();
    for (const struct gone_entry *at = first; at; at = at->next)
        if (is_asked_for(at, kind, path, node))
            found[nfound++] = at;
    while (nfound > 0)
        MRMR_TRY(fn(&found[--nfound]->record, arg));
    return MRMR_OK;
}

mrmr_err pool_gone_each(struct pool_gone *gone, enum pool_gone_kind kind, const char *path,
    const struct meta_node *node, pool_gone_fn fn, void *arg)
{
    mrmr_locked(&gone->lock);
    return each_locked(gone_first(gone, node->drive, path), kind, path, node, fn, arg);
}

/* --- writing --- */

static bool waits_locked(
    const struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    for (const struct gone_entry *at = gone_first(gone, node->drive, path); at; at = at->next)
        if (!at->record.over && gone_is_at(at, POOL_GONE_REMOVED, node->drive, path) &&
            pool_gone_is_node(&at->record, node))
            return true;
    return false;
}

static struct pool_gone_record record_of(
    enum pool_gone_kind kind, const char *path, const struct meta_node *node)
{
    return (struct pool_gone_record){.kind = kind,
        .drive = node->drive,
        .type = node->type,
        .size = node->size,
        .ino = node->ino,
        .mtime = node->mtime,
        .btime = node->btime,
        .ctime = kind == POOL_GONE_REMOVED && node->type == META_REG ? node->ctime : 0,
        .version = node->version,
        .path = (char *)(uintptr_t)path};
}

/* What cannot be made shorter now is written on. */
static void compact_if_it_pays(struct pool_gone *gone)
{
    if (gone_compact_pays(gone, false) && gone_compact(gone))
        mrmr_log_story(MRMR_LOG_INFO, "writing anew what was removed from drives that are away");
}

/* What was removed has room for itself whatever else was asked for. */
static mrmr_err add_locked(struct pool_gone *gone, struct pool_gone_record *record)
{
    const uint64_t most = record->kind == POOL_GONE_REMOVED ? GONE_MOST : GONE_LATER_MOST;
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_random(&record->id, sizeof record->id));
    MRMR_TRY(gone_record_append(record, &bytes));
    compact_if_it_pays(gone);
    mrmr_err err;
    do
        err = gone_append(gone, &bytes, most);
    while (pool_spare_gives(gone->dirfd, NULL, err));
    if (err == MRMR_SPACE && gone_compact_pays(gone, true)) {
        MRMR_TRY(gone_compact(gone));
        err = gone_append(gone, &bytes, most);
    }
    if (err == MRMR_SPACE && !gone->told)
        mrmr_log_story(MRMR_LOG_WARN,
            "what is removed from a drive that is away, or changed, cannot be recorded");
    gone->told = err == MRMR_SPACE;
    return err;
}

static mrmr_err add_once_locked(
    struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    struct pool_gone_record record = record_of(POOL_GONE_REMOVED, path, node);
    MRMR_TRY(gone_refresh(gone));
    return waits_locked(gone, path, node) ? MRMR_OK : add_locked(gone, &record);
}

mrmr_err pool_gone_add(struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    MRMR_TRY(drv_path_check(path));
    mrmr_locked(&gone->lock);
    MRMR_TRY(journal_lock(gone));
    mrmr_err err = add_once_locked(gone, path, node);
    journal_unlock(gone);
    return err;
}

mrmr_err pool_gone_add_later(struct pool_gone *gone, enum pool_gone_kind kind, const char *path,
    const struct meta_node *node, const void *extra, size_t size, uint64_t *ret_id)
{
    struct pool_gone_record record = record_of(kind, path, node);
    record.extra = extra;
    record.extra_size = size;
    MRMR_TRY(drv_path_check(path));
    mrmr_locked(&gone->lock);
    MRMR_TRY(journal_lock(gone));
    mrmr_err err = gone_refresh(gone);
    if (!err)
        err = add_locked(gone, &record);
    journal_unlock(gone);
    if (!err)
        *ret_id = record.id;
    return err;
}

/* Those that are there, and are not what they are to become; the first *n. */
static void ids_of_some(struct pool_gone *gone, uint64_t ids[], size_t *n, bool drop)
{
    size_t left = 0;
    for (size_t i = 0; i < *n; i++) {
        const struct gone_entry *entry = gone_by_id(gone, ids[i]);
        if (entry && (drop || !entry->record.over))
            ids[left++] = ids[i];
    }
    *n = left;
}

struct settled { /* what an entry was */
    bool dropped, over;
    int64_t mtime;
};

static struct settled settle_entry(struct gone_entry *entry, const struct settled *to)
{
    const struct settled was = {entry->dropped, entry->record.over, entry->record.mtime};
    entry->dropped = to->dropped;
    entry->record.over = to->over;
    if (entry->record.kind != POOL_GONE_REMOVED)
        entry->record.mtime = to->mtime;
    return was;
}

/* There is no room for a word about it, but for the journal without it. */
static mrmr_err settle_anew(struct pool_gone *gone, const uint64_t ids[], size_t n, bool drop)
{
    const struct settled to = {drop, true, mrmr_clock_real()};
    mrmr_autofree struct settled *was = calloc(n, sizeof *was);
    if (!was)
        return mrmr_nomem();
    for (size_t i = 0; i < n; i++)
        was[i] = settle_entry(gone_by_id(gone, ids[i]), &to);
    mrmr_err err = gone_compact(gone);
    for (size_t i = 0; err && i < n; i++) {
        struct gone_entry *entry = gone_by_id(gone, ids[i]);
        if (entry)
            settle_entry(entry, &was[i]);
    }
    return err;
}

static mrmr_err settle_locked(struct pool_gone *gone, uint64_t ids[], size_t n, bool drop)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    MRMR_TRY(gone_refresh(gone));
    ids_of_some(gone, ids, &n, drop);
    if (!n)
        return MRMR_OK;
    MRMR_TRY(gone_marks_append(drop ? GONE_DROPPED : GONE_OVER, ids, n, &bytes));
    mrmr_err err = gone_append(gone, &bytes, GONE_MOST);
    if (err == MRMR_SPACE)
        return settle_anew(gone, ids, n, drop);
    if (!err)
        compact_if_it_pays(gone);
    return err;
}

mrmr_err pool_gone_settle(struct pool_gone *gone, uint64_t ids[], size_t n, bool drop)
{
    if (!n)
        return MRMR_OK;
    mrmr_locked(&gone->lock);
    MRMR_TRY(journal_lock(gone));
    mrmr_err err = settle_locked(gone, ids, n, drop);
    journal_unlock(gone);
    return err;
}

/* --- what is begun --- */

/* Those that wait, and are not marked yet; the first *n. */
static void ids_to_begin(struct pool_gone *gone, uint64_t ids[], size_t *n)
{
    size_t left = 0;
    for (size_t i = 0; i < *n; i++) {
        const struct gone_entry *entry = gone_by_id(gone, ids[i]);
        if (entry && !entry->record.over && !entry->begun)
            ids[left++] = ids[i];
    }
    *n = left;
}

static mrmr_err begin_locked(struct pool_gone *gone, uint64_t ids[], size_t n)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    MRMR_TRY(gone_refresh(gone));
    ids_to_begin(gone, ids, &n);
    if (!n)
        return MRMR_OK;
    MRMR_TRY(gone_marks_append(GONE_BEGUN, ids, n, &bytes));
    mrmr_err err = gone_append(gone, &bytes, GONE_MOST);
    if (err != MRMR_SPACE)
        return err;
    for (size_t i = 0; i < n; i++)
        gone_by_id(gone, ids[i])->begun = true;
    err = gone_compact(gone);
    for (size_t i = 0; err && i < n; i++)
        gone_by_id(gone, ids[i])->begun = false; /* nothing says so */
    return err;
}

mrmr_err pool_gone_begin(struct pool_gone *gone, uint64_t ids[], size_t n)
{
    if (!n)
        return MRMR_OK;
    mrmr_locked(&gone->lock);
    MRMR_TRY(journal_lock(gone));
    mrmr_err err = begin_locked(gone, ids, n);
    journal_unlock(gone);
    return err;
}

mrmr_err pool_gone_get(struct pool_gone *gone, uint64_t id, struct pool_gone_list *ret_list)
{
    mrmr_locked(&gone->lock);
    const struct gone_entry *entry = gone_by_id(gone, id);
    struct pool_gone_list list = {.record = calloc(1, sizeof *list.record)};
    mrmr_err err = list.record ? MRMR_OK : mrmr_nomem();
    if (!err && entry)
        err = list_add(&list, &entry->record);
    if (err)
        pool_gone_list_free(&list);
    else
        *ret_list = list;
    return err;
}

/* --- other paths --- */

static int id_compare(const void *a, const void *b)
{
    const struct pool_gone_path *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static mrmr_err repath_locked(struct pool_gone *gone, const struct pool_gone_path paths[], size_t n)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    bool any = false;
    MRMR_TRY(gone_refresh(gone));
    for (size_t i = 0; i < gone->entries; i++) {
        struct pool_gone_record record = gone->entry[i]->record;
        const struct pool_gone_path key = {.id = record.id}, *path;
        if (gone->entry[i]->dropped)
            continue;
        path = bsearch(&key, paths, n, sizeof *paths, id_compare);
        if (path)
            record.path = path->path;
        any = any || path;
        MRMR_TRY(gone_record_append(&record, &bytes));
    }
    MRMR_TRY(gone_begun_append(gone, &bytes));
    if (any && bytes.size > GONE_MOST)
        return gone_full();
    return any ? gone_replace(gone, &bytes) : MRMR_OK;
}

bool pool_gone_path_fits(const char *path)
{
    return strlen(path) <= GONE_PATH_MOST;
}

mrmr_err pool_gone_repath(struct pool_gone *gone, struct pool_gone_path paths[], size_t n)
{
    if (!n)
        return MRMR_OK;
    qsort(paths, n, sizeof *paths, id_compare);
    mrmr_locked(&gone->lock);
    MRMR_TRY(journal_lock(gone));
    mrmr_err err = repath_locked(gone, paths, n);
    journal_unlock(gone);
    return err;
}

/* --- life --- */

static mrmr_err gone_start(struct pool_gone *gone, bool changes)
{
    if (changes)
        gone->lockfd =
            openat(gone->dirfd, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (changes && gone->lockfd < 0)
        return mrmr_fail_errno(errno, "open", LOCK_NAME);
    return pool_gone_refresh(gone);
}

mrmr_err pool_gone_open(int dirfd, bool changes, struct pool_gone **ret_gone)
{
    struct pool_gone *gone = calloc(1, sizeof *gone);
    if (!gone)
        return mrmr_nomem();
    gone->dirfd = dirfd;
    gone->fd = gone->lockfd = -1;
    pthread_mutex_init(&gone->lock, NULL);
    pthread_mutex_init(&gone->applying, NULL);
    mrmr_err err = gone_start(gone, changes);
    if (err)
        pool_gone_close(gone);
    else
        *ret_gone = gone;
    return err;
}

void pool_gone_close(struct pool_gone *gone)
{
    if (!gone)
        return;
    gone_table_free(gone);
    if (gone->lockfd >= 0)
        close(gone->lockfd);
    pthread_mutex_destroy(&gone->applying);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}
