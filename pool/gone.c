/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/gone.h"
#include "pool/gone_format.h"

#include "base/durable.h"
#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define GONE_NAME "gone"
#define LOCK_NAME "gone-lock"

/* Locks of an open file description, one byte each. */
enum gone_lock { LOCK_JOURNAL, LOCK_APPLY };

enum { ALIGN = 8, BUCKETS_FIRST = 64 };

struct entry {
    struct entry *next; /* in its bucket */
    struct pool_gone_record record;
    char path[];
};

struct pool_gone {
    int dirfd, lockfd; /* lockfd -1: nothing is changed */
    pthread_mutex_t applying;
    _Atomic size_t n;

    pthread_mutex_t lock;
    /* Guarded by lock. */
    int fd;               /* of the journal that was read; -1: there was none */
    uint64_t at;          /* behind the last whole record of it */
    uint64_t seen;        /* its size when it was read */
    struct entry **entry; /* in order */
    size_t room;
    struct entry **bucket;
    size_t buckets;
};

/* --- locks --- */

static mrmr_err lock_set(const struct pool_gone *gone, enum gone_lock which, short type)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = which, .l_len = 1};
    if (gone->lockfd < 0)
        return mrmr_fail(MRMR_READONLY, "the pool's folder is not to be written");
    while (fcntl(gone->lockfd, F_OFD_SETLKW, &lock) < 0)
        if (errno != EINTR)
            return mrmr_fail_errno(errno, "lock", LOCK_NAME);
    return MRMR_OK;
}

mrmr_err pool_gone_apply_begin(struct pool_gone *gone)
{
    pthread_mutex_lock(&gone->applying);
    mrmr_err err = lock_set(gone, LOCK_APPLY, F_WRLCK);
    if (err)
        pthread_mutex_unlock(&gone->applying);
    return err;
}

void pool_gone_apply_end(struct pool_gone *gone)
{
    lock_set(gone, LOCK_APPLY, F_UNLCK);
    pthread_mutex_unlock(&gone->applying);
}

/* --- the table --- */

static size_t bucket_of(const struct pool_gone *gone, int64_t drive, const char *path)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ (uint64_t)drive; /* FNV-1a */
    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * UINT64_C(1099511628211);
    return (size_t)((hash ^ hash >> 32) & (gone->buckets - 1));
}

static void table_put(struct pool_gone *gone, struct entry *entry)
{
    struct entry **bucket = &gone->bucket[bucket_of(gone, entry->record.drive, entry->record.path)];
    entry->next = *bucket;
    *bucket = entry;
}

static void table_clear(struct pool_gone *gone)
{
    for (size_t i = 0; i < gone->n; i++)
        free(gone->entry[i]);
    gone->n = 0;
    for (size_t i = 0; i < gone->buckets; i++)
        gone->bucket[i] = NULL;
    if (gone->fd >= 0)
        close(gone->fd);
    gone->fd = -1;
    gone->at = gone->seen = 0;
}

static mrmr_err table_grow(struct pool_gone *gone)
{
    size_t room = gone->room ? 2 * gone->room : BUCKETS_FIRST;
    struct entry **entry = reallocarray(gone->entry, room, sizeof(struct entry *));
    if (!entry)
        return mrmr_nomem();
    gone->entry = entry;
    struct entry **bucket = calloc(room, sizeof(struct entry *));
    if (!bucket)
        return mrmr_nomem();
    free(gone->bucket);
    gone->bucket = bucket;
    gone->room = gone->buckets = room;
    for (size_t i = 0; i < gone->n; i++)
        table_put(gone, gone->entry[i]);
    return MRMR_OK;
}

/* What a record has besides its header: a removal has its path alone. */
struct body {
    struct gone_later later;
    const char *path; /* without a NUL; the rest comes after it */
};

static size_t head_size(uint64_t magic)
{
    return sizeof(struct gone_header) + (magic == GONE_LATER_MAGIC ? sizeof(struct gone_later) : 0);
}

static struct body body_of(const struct gone_header *header)
{
    struct body body = {
        .later = {POOL_GONE_REMOVED, 0}, .path = (const char *)header + head_size(header->magic)};
    if (header->magic == GONE_LATER_MAGIC)
        memcpy(&body.later, header + 1, sizeof body.later);
    return body;
}

/* The record is whole. */
static mrmr_err table_add(struct pool_gone *gone, const struct gone_header *header)
{
    const struct body body = body_of(header);
    if (gone->n == gone->room)
        MRMR_TRY(table_grow(gone));
    struct entry *entry = malloc(sizeof *entry + header->path_size + 1 + body.later.extra_size);
    if (!entry)
        return mrmr_nomem();
    char *extra = entry->path + header->path_size + 1;
    memcpy(entry->path, body.path, header->path_size);
    entry->path[header->path_size] = '\0';
    memcpy(extra, body.path + header->path_size, body.later.extra_size);
    entry->record = (struct pool_gone_record){(enum pool_gone_kind)body.later.kind, header->id,
        header->drive, (enum meta_type)header->type, header->size, header->ino, header->mtime,
        header->btime, header->over, entry->path, extra, body.later.extra_size};
    table_put(gone, entry);
    gone->entry[gone->n] = entry;
    gone->n++;
    return MRMR_OK;
}

/* --- records --- */

static size_t aligned(size_t size)
{
    return (size + ALIGN - 1) / ALIGN * ALIGN;
}

static struct mrmr_digest record_digest(const struct gone_header *header)
{
    const size_t before = offsetof(struct gone_header, length);
    return mrmr_digest_of((const char *)header + before, header->length - before);
}

static bool body_fits(const struct gone_header *header)
{
    const struct body body = body_of(header);
    if (header->magic == GONE_LATER_MAGIC &&
        (body.later.kind == POOL_GONE_REMOVED || body.later.kind > POOL_GONE_SET ||
            body.later.extra_size > GONE_EXTRA_MOST))
        return false;
    return header->length ==
           aligned(head_size(header->magic) + (size_t)header->path_size + body.later.extra_size);
}

/* What lies here, in `size` bytes, is a whole record. */
static bool record_is_whole(const struct gone_header *header, size_t size)
{
    if (size < sizeof *header ||
        (header->magic != GONE_MAGIC && header->magic != GONE_LATER_MAGIC) ||
        size < head_size(header->magic) || (!header->path_size && header->magic == GONE_MAGIC) ||
        header->path_size > GONE_PATH_MOST || header->length > size || !body_fits(header) ||
        header->type > META_BLOCK || header->over > 1)
        return false;
    const struct mrmr_digest digest = record_digest(header);
    return memcmp(digest.bytes, header->digest, sizeof digest.bytes) == 0;
}

static bool record_path_is_fine(const struct gone_header *header)
{
    char path[GONE_PATH_MOST + 1];
    memcpy(path, body_of(header).path, header->path_size);
    path[header->path_size] = '\0';
    return strlen(path) == header->path_size && !drv_path_check(path);
}

static mrmr_err record_append(const struct pool_gone_record *record, struct mrmr_bytes *bytes)
{
    static const char zeros[ALIGN];
    const struct gone_later later = {record->kind, (uint32_t)record->extra_size};
    const uint64_t magic = record->kind == POOL_GONE_REMOVED ? GONE_MAGIC : GONE_LATER_MAGIC;
    size_t path_size = strlen(record->path), at = bytes->size;
    size_t used = head_size(magic) + path_size + record->extra_size;
    struct gone_header header = {
        .magic = magic,
        .length = (uint32_t)aligned(used),
        .path_size = (uint32_t)path_size,
        .id = record->id,
        .drive = record->drive,
        .size = record->size,
        .ino = record->ino,
        .mtime = record->mtime,
        .btime = record->btime,
        .type = record->type,
        .over = record->over,
    };
    if ((!path_size && magic == GONE_MAGIC) || path_size > GONE_PATH_MOST)
        return mrmr_fail(MRMR_NAME_TOO_LONG, NULL);
    if (record->extra_size > GONE_EXTRA_MOST)
        return mrmr_fail(MRMR_NAME_TOO_LONG, "it is too much to be recorded");
    MRMR_TRY(mrmr_bytes_reserve(bytes, header.length));
    MRMR_TRY(mrmr_bytes_add(bytes, &header, sizeof header));
    MRMR_TRY(mrmr_bytes_add(bytes, &later, head_size(magic) - sizeof header));
    MRMR_TRY(mrmr_bytes_add(bytes, record->path, path_size));
    MRMR_TRY(mrmr_bytes_add(bytes, record->extra, record->extra_size));
    MRMR_TRY(mrmr_bytes_add(bytes, zeros, header.length - used));
    struct gone_header *put = (struct gone_header *)(void *)(bytes->data + at);
    const struct mrmr_digest digest = record_digest(put);
    memcpy(put->digest, digest.bytes, sizeof digest.bytes);
    return MRMR_OK;
}

/* --- reading --- */

/* What was read from gone->at on. What is not whole at the end may become so. */
static mrmr_err journal_parse_locked(struct pool_gone *gone, const struct mrmr_bytes *bytes)
{
    uint64_t from = gone->at;
    for (size_t at = 0; at + sizeof(struct gone_header) <= bytes->size;) {
        const struct gone_header *header =
            (const struct gone_header *)(const void *)(bytes->data + at);
        if (!record_is_whole(header, bytes->size - at)) {
            at += ALIGN;
            continue;
        }
        if (record_path_is_fine(header))
            MRMR_TRY(table_add(gone, header));
        at += header->length;
        gone->at = from + at;
    }
    return MRMR_OK;
}

static mrmr_err journal_read_locked(struct pool_gone *gone, uint64_t size)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    if (size > GONE_MOST)
        size = GONE_MOST;
    if (size <= gone->at)
        return MRMR_OK;
    MRMR_TRY(mrmr_bytes_reserve(&bytes, size - gone->at));
    while (bytes.size < size - gone->at) {
        ssize_t n = pread(gone->fd, bytes.data + bytes.size, size - gone->at - bytes.size,
            (off_t)(gone->at + bytes.size));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return mrmr_fail_errno(errno, "read", GONE_NAME);
        if (n == 0)
            break;
        bytes.size += (size_t)n;
    }
    return journal_parse_locked(gone, &bytes);
}

/* The journal is the file that was read before, and has not become shorter. */
static bool journal_is_same_locked(const struct pool_gone *gone, const struct stat *now)
{
    struct stat then; /* of an open file: nobody else has its number meanwhile */
    return gone->fd >= 0 && fstat(gone->fd, &then) == 0 && then.st_ino == now->st_ino &&
           then.st_dev == now->st_dev && (uint64_t)now->st_size >= gone->seen;
}

static mrmr_err journal_open_locked(struct pool_gone *gone)
{
    table_clear(gone);
    gone->fd = openat(gone->dirfd, GONE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return gone->fd >= 0 || errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "open", GONE_NAME);
}

static mrmr_err refresh_locked(struct pool_gone *gone)
{
    struct stat st;
    if (fstatat(gone->dirfd, GONE_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return mrmr_fail_errno(errno, "stat", GONE_NAME);
        table_clear(gone);
        return MRMR_OK;
    }
    if (!journal_is_same_locked(gone, &st)) {
        MRMR_TRY(journal_open_locked(gone));
        if (gone->fd < 0)
            return MRMR_OK;
        if (fstat(gone->fd, &st) < 0)
            return mrmr_fail_errno(errno, "stat", GONE_NAME);
        if (!S_ISREG(st.st_mode))
            return mrmr_err_path(mrmr_fail(MRMR_FORMAT, "not a file"), GONE_NAME);
    } else if ((uint64_t)st.st_size == gone->seen) {
        return MRMR_OK;
    }
    mrmr_err err = journal_read_locked(gone, (uint64_t)st.st_size);
    if (err)
        table_clear(gone); /* what is half read is read again */
    else
        gone->seen = (uint64_t)st.st_size;
    return err;
}

mrmr_err pool_gone_refresh(struct pool_gone *gone)
{
    mrmr_locked(&gone->lock);
    return refresh_locked(gone);
}

/* --- asking --- */

bool pool_gone_any(const struct pool_gone *gone)
{
    return gone->n > 0;
}

/* By the catalog, on both sides. Of a folder only who it is: what it held went before it. */
static bool is_node(const struct pool_gone_record *record, const struct meta_node *node)
{
    if (record->type != node->type || record->ino != node->ino || record->btime != node->btime)
        return false;
    return record->type == META_DIR || (record->size == node->size && record->mtime == node->mtime);
}

static bool fact_differs(uint32_t caps, uint32_t cap, uint64_t known, uint64_t seen)
{
    return (caps & cap) && known && seen && known != seen;
}

bool pool_gone_is(
    const struct pool_gone_record *record, const struct drv_info *info, const struct drv_stat *stat)
{
    if ((int)record->type != (int)stat->type ||
        fact_differs(info->caps, DRV_CAP_STABLE_INO, record->ino, stat->ino) ||
        fact_differs(info->caps, DRV_CAP_BTIME, (uint64_t)record->btime, (uint64_t)stat->btime))
        return false;
    return record->type == META_DIR || (record->size == stat->size && record->mtime == stat->mtime);
}

static const struct entry *first_locked(
    const struct pool_gone *gone, int64_t drive, const char *path)
{
    return gone->n ? gone->bucket[bucket_of(gone, drive, path)] : NULL;
}

static bool is_at(
    const struct entry *entry, enum pool_gone_kind kind, int64_t drive, const char *path)
{
    return entry->record.kind == kind && entry->record.drive == drive &&
           strcmp(entry->path, path) == 0;
}

bool pool_gone_has(struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    mrmr_locked(&gone->lock);
    for (const struct entry *at = first_locked(gone, node->drive, path); at; at = at->next)
        if (is_at(at, POOL_GONE_REMOVED, node->drive, path) && is_node(&at->record, node))
            return true;
    return false;
}

bool pool_gone_waits(struct pool_gone *gone, const struct pool_drive *drive, const char *path,
    const struct drv_stat *stat)
{
    mrmr_locked(&gone->lock);
    for (const struct entry *at = first_locked(gone, drive->meta.id, path); at; at = at->next)
        if (!at->record.over && is_at(at, POOL_GONE_REMOVED, drive->meta.id, path) &&
            pool_gone_is(&at->record, &drive->info, stat))
            return true;
    return false;
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
    for (size_t i = 0; !err && i < gone->n; i++) {
        const struct pool_gone_record *record = &gone->entry[i]->record;
        if (record->over == over && (!drive || record->drive == drive))
            err = list_add(&list, record);
    }
    if (err)
        pool_gone_list_free(&list);
    else
        *ret_list = list;
    return err;
}

/* What is in a bucket has the latest first. */
static mrmr_err each_locked(const struct pool_gone *gone, const struct entry *at,
    enum pool_gone_kind kind, const char *path, const struct meta_node *node, pool_gone_fn fn,
    void *arg)
{
    const size_t n = gone->n; /* no bucket has more */
    mrmr_autofree const struct entry **found = NULL;
    size_t nfound = 0;
    for (; at; at = at->next) {
        if (!is_at(at, kind, node->drive, path) || !is_node(&at->record, node))
            continue;
        if (!found && !(found = calloc(n, sizeof(struct entry *))))
            return mrmr_nomem();
        found[nfound++] = at;
    }
    while (nfound > 0)
        MRMR_TRY(fn(&found[--nfound]->record, arg));
    return MRMR_OK;
}

mrmr_err pool_gone_each(struct pool_gone *gone, enum pool_gone_kind kind, const char *path,
    const struct meta_node *node, pool_gone_fn fn, void *arg)
{
    mrmr_locked(&gone->lock);
    return each_locked(gone, first_locked(gone, node->drive, path), kind, path, node, fn, arg);
}

/* --- writing --- */

static mrmr_err write_at(int fd, const struct mrmr_bytes *bytes, uint64_t offset)
{
    for (size_t done = 0; done < bytes->size;) {
        ssize_t n = pwrite(fd, bytes->data + done, bytes->size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", GONE_NAME);
        done += (size_t)n;
    }
    return fdatasync(fd) < 0 ? mrmr_fail_errno(errno, "sync", GONE_NAME) : MRMR_OK;
}

/* What was removed has room for itself whatever else was asked for. */
static mrmr_err journal_append(
    const struct pool_gone *gone, const struct mrmr_bytes *bytes, enum pool_gone_kind kind)
{
    const uint64_t most = kind == POOL_GONE_REMOVED ? GONE_MOST : GONE_LATER_MOST;
    struct stat st;
    mrmr_autoclose int fd =
        openat(gone->dirfd, GONE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", GONE_NAME);
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", GONE_NAME);
    uint64_t offset = aligned((size_t)st.st_size);
    if (offset + bytes->size > most)
        return mrmr_err_hint(
            mrmr_fail(MRMR_SPACE, "too much was removed from drives that are away, or changed"),
            "connect them, or, if they are lost: mrmr rebuild");
    mrmr_err err = write_at(fd, bytes, offset);
    if (!err && !offset && fsync(gone->dirfd) < 0)
        err = mrmr_fail_errno(errno, "sync the folder of", GONE_NAME);
    if (err && ftruncate(fd, st.st_size) < 0) /* the caller is told that it is not removed */
        mrmr_log(MRMR_LOG_WARN, "a record of what was removed may be there, or not");
    return err;
}

static bool waits_locked(
    const struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    for (const struct entry *at = first_locked(gone, node->drive, path); at; at = at->next)
        if (!at->record.over && is_at(at, POOL_GONE_REMOVED, node->drive, path) &&
            is_node(&at->record, node))
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
        .path = (char *)(uintptr_t)path};
}

static mrmr_err add_locked(struct pool_gone *gone, struct pool_gone_record *record)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_random(&record->id, sizeof record->id));
    MRMR_TRY(record_append(record, &bytes));
    MRMR_TRY(journal_append(gone, &bytes, record->kind));
    return refresh_locked(gone);
}

static mrmr_err add_once_locked(
    struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    struct pool_gone_record record = record_of(POOL_GONE_REMOVED, path, node);
    MRMR_TRY(refresh_locked(gone));
    return waits_locked(gone, path, node) ? MRMR_OK : add_locked(gone, &record);
}

mrmr_err pool_gone_add(struct pool_gone *gone, const char *path, const struct meta_node *node)
{
    MRMR_TRY(drv_path_check(path));
    mrmr_locked(&gone->lock);
    MRMR_TRY(lock_set(gone, LOCK_JOURNAL, F_WRLCK));
    mrmr_err err = add_once_locked(gone, path, node);
    lock_set(gone, LOCK_JOURNAL, F_UNLCK);
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
    MRMR_TRY(lock_set(gone, LOCK_JOURNAL, F_WRLCK));
    mrmr_err err = refresh_locked(gone);
    if (!err)
        err = add_locked(gone, &record);
    lock_set(gone, LOCK_JOURNAL, F_UNLCK);
    if (!err)
        *ret_id = record.id;
    return err;
}

static int id_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static mrmr_err settle_locked(struct pool_gone *gone, const uint64_t ids[], size_t n, bool drop)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    bool any = false;
    MRMR_TRY(refresh_locked(gone));
    for (size_t i = 0; i < gone->n; i++) {
        struct pool_gone_record record = gone->entry[i]->record;
        bool meant = bsearch(&record.id, ids, n, sizeof *ids, id_compare);
        any = any || meant;
        record.over = record.over || meant;
        if (!meant || !drop)
            MRMR_TRY(record_append(&record, &bytes));
    }
    if (!any)
        return MRMR_OK;
    MRMR_TRY(mrmr_durable_replace(
        gone->dirfd, GONE_NAME, bytes.data ? bytes.data : "", bytes.size, 0600));
    return refresh_locked(gone);
}

mrmr_err pool_gone_settle(struct pool_gone *gone, uint64_t ids[], size_t n, bool drop)
{
    if (!n)
        return MRMR_OK;
    qsort(ids, n, sizeof *ids, id_compare);
    mrmr_locked(&gone->lock);
    MRMR_TRY(lock_set(gone, LOCK_JOURNAL, F_WRLCK));
    mrmr_err err = settle_locked(gone, ids, n, drop);
    lock_set(gone, LOCK_JOURNAL, F_UNLCK);
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
    table_clear(gone);
    if (gone->lockfd >= 0)
        close(gone->lockfd);
    free(gone->entry);
    free(gone->bucket);
    pthread_mutex_destroy(&gone->applying);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}
