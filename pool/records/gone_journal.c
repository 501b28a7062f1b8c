/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The records that gone.h describes, in memory and as they lie in the journal.
 */
#include "pool/records/gone_format.h"

#include <string.h>

#include "base/durable.h"
#include "pool/records/gone_journal.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { ALIGN = 8, BUCKETS_FIRST = 64 };

/* --- the table --- */

size_t gone_bucket(const struct pool_gone *gone, int64_t drive, const char *path)
{
    uint64_t hash = UINT64_C(14695981039346656037) ^ (uint64_t)drive; /* FNV-1a */
    for (; *path; path++)
        hash = (hash ^ (uint8_t)*path) * UINT64_C(1099511628211);
    return (size_t)((hash ^ hash >> 32) & (gone->buckets - 1));
}

struct gone_entry *gone_first(const struct pool_gone *gone, int64_t drive, const char *path)
{
    return gone->buckets ? gone->bucket[gone_bucket(gone, drive, path)] : NULL;
}

/* Ids are random. */
static struct gone_entry **id_bucket(const struct pool_gone *gone, uint64_t id)
{
    return &gone->by_id[id & (gone->buckets - 1)];
}

struct gone_entry *gone_by_id(const struct pool_gone *gone, uint64_t id)
{
    struct gone_entry *at = gone->buckets ? *id_bucket(gone, id) : NULL;
    while (at && at->record.id != id)
        at = at->next_id;
    return at;
}

static void table_put(struct pool_gone *gone, struct gone_entry *entry)
{
    struct gone_entry **bucket =
        &gone->bucket[gone_bucket(gone, entry->record.drive, entry->record.path)];
    struct gone_entry **by_id = id_bucket(gone, entry->record.id);
    entry->next = *bucket;
    *bucket = entry;
    entry->next_id = *by_id;
    *by_id = entry;
}

static void table_drop(struct pool_gone *gone, struct gone_entry *entry)
{
    struct gone_entry **at =
        &gone->bucket[gone_bucket(gone, entry->record.drive, entry->record.path)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    at = id_bucket(gone, entry->record.id);
    while (*at != entry)
        at = &(*at)->next_id;
    *at = entry->next_id;
    entry->dropped = true;
    gone->live--;
    gone->dead += entry->length;
}

void gone_table_clear(struct pool_gone *gone)
{
    for (size_t i = 0; i < gone->entries; i++)
        free(gone->entry[i]);
    gone->live = gone->entries = 0;
    gone->stamp++;
    for (size_t i = 0; i < gone->buckets; i++)
        gone->bucket[i] = gone->by_id[i] = NULL;
    if (gone->fd >= 0)
        close(gone->fd);
    gone->fd = -1;
    gone->at = gone->seen = gone->base = gone->dead = gone->maybe = gone->failed = 0;
}

void gone_table_free(struct pool_gone *gone)
{
    gone_table_clear(gone);
    free(gone->entry);
    free(gone->bucket);
    free(gone->by_id);
    gone->entry = gone->bucket = gone->by_id = NULL;
    gone->room = gone->buckets = 0;
}

static mrmr_err table_grow(struct pool_gone *gone)
{
    size_t room = gone->room ? 2 * gone->room : BUCKETS_FIRST;
    struct gone_entry **entry = reallocarray(gone->entry, room, sizeof(struct gone_entry *));
    if (!entry)
        return mrmr_nomem();
    gone->entry = entry;
    struct gone_entry **bucket = calloc(room, sizeof(struct gone_entry *));
    struct gone_entry **by_id = calloc(room, sizeof(struct gone_entry *));
    if (!bucket || !by_id) {
        free(bucket);
        free(by_id);
        return mrmr_nomem();
    }
    free(gone->bucket);
    free(gone->by_id);
    gone->bucket = bucket;
    gone->by_id = by_id;
    gone->room = gone->buckets = room;
    for (size_t i = 0; i < gone->entries; i++)
        if (!gone->entry[i]->dropped)
            table_put(gone, gone->entry[i]);
    return MRMR_OK;
}

/* What a record has besides its header: one of the first magic has its path alone. */
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

/* There is one of what has this path, among the latest. */
static bool has_set(const struct pool_gone *gone, const struct gone_entry *entry)
{
    enum { MOST = 8 };
    const struct gone_entry *at = gone_first(gone, entry->record.drive, entry->path);
    for (unsigned i = 0; at && i < MOST; i++, at = at->next)
        if (gone_is_at(at, POOL_GONE_SET, entry->record.drive, entry->path))
            return true;
    return false;
}

static bool is_mark(const struct gone_later *later)
{
    return later->kind == GONE_MARK_OVER || later->kind == GONE_MARK_DROPPED ||
           later->kind == GONE_MARK_BEGUN;
}

/* Of a folder's time nobody asks (gone_format.h). */
static void table_over(struct gone_entry *entry, int64_t since)
{
    entry->record.over = true;
    if (entry->record.kind != POOL_GONE_REMOVED)
        entry->record.mtime = since;
}

/* Of what is not there any more it says nothing. */
static void table_mark(struct pool_gone *gone, const struct gone_header *header)
{
    const struct body body = body_of(header);
    for (size_t at = 0; at < body.later.extra_size; at += sizeof(uint64_t)) {
        uint64_t id;
        memcpy(&id, body.path + at, sizeof id);
        struct gone_entry *entry = gone_by_id(gone, id);
        if (entry && body.later.kind == GONE_MARK_DROPPED)
            table_drop(gone, entry);
        else if (entry && body.later.kind == GONE_MARK_BEGUN)
            entry->begun = true;
        else if (entry)
            table_over(entry, header->mtime);
    }
    gone->dead += header->length;
}

/* A removal that has a change time. */
static bool is_dated(const struct gone_header *header, const struct gone_later *later)
{
    return header->magic == GONE_LATER_MAGIC && later->kind == POOL_GONE_REMOVED;
}

/* The record is whole. */
static mrmr_err table_add(struct pool_gone *gone, const struct gone_header *header)
{
    const struct body body = body_of(header);
    if (gone->entries == gone->room)
        MRMR_TRY(table_grow(gone));
    struct gone_entry *entry =
        malloc(sizeof *entry + header->path_size + 1 + body.later.extra_size);
    if (!entry)
        return mrmr_nomem();
    char *extra = entry->path + header->path_size + 1;
    memcpy(entry->path, body.path, header->path_size);
    entry->path[header->path_size] = '\0';
    memcpy(extra, body.path + header->path_size, body.later.extra_size);
    entry->record = (struct pool_gone_record){(enum pool_gone_kind)body.later.kind, header->id,
        header->drive, (enum meta_type)header->type, header->size, header->ino, header->mtime,
        header->btime, 0, 0, header->over, entry->path, extra, body.later.extra_size};
    if (is_dated(header, &body.later)) {
        struct gone_removed removed;
        memcpy(&removed, extra, sizeof removed);
        entry->record.ctime = removed.ctime;
        entry->record.version = removed.version;
        entry->record.extra_size = 0;
    }
    entry->length = header->length;
    entry->dropped = entry->begun = false;
    if (entry->record.kind == POOL_GONE_SET && has_set(gone, entry))
        gone->maybe += entry->length;
    table_put(gone, entry);
    gone->entry[gone->entries++] = entry;
    gone->live++;
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
    const bool marks = is_mark(&body.later);
    if (header->magic == GONE_LATER_MAGIC &&
        ((body.later.kind > POOL_GONE_LATE && !marks) || body.later.extra_size > GONE_EXTRA_MOST))
        return false;
    if (header->magic == GONE_LATER_MAGIC && body.later.kind == POOL_GONE_LATE &&
        (!header->path_size || body.later.extra_size != sizeof(struct gone_late)))
        return false;
    if (is_dated(header, &body.later) &&
        (!header->path_size || body.later.extra_size != sizeof(struct gone_removed)))
        return false;
    if (marks && (header->path_size || body.later.extra_size % sizeof(uint64_t)))
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

/* What lies in bytes from `at` on, but for its digest. */
static void record_seal(struct mrmr_bytes *bytes, size_t at)
{
    struct gone_header *put = (struct gone_header *)(void *)(bytes->data + at);
    const struct mrmr_digest digest = record_digest(put);
    memcpy(put->digest, digest.bytes, sizeof digest.bytes);
}

/* later: of the second magic; the path and what follows it. */
static mrmr_err append(struct gone_header *header, const struct gone_later *later, const char *path,
    const void *extra, struct mrmr_bytes *bytes)
{
    static const char zeros[ALIGN];
    const size_t at = bytes->size;
    const size_t used = head_size(header->magic) + header->path_size + later->extra_size;
    header->length = (uint32_t)aligned(used);
    MRMR_TRY(mrmr_bytes_reserve(bytes, header->length));
    MRMR_TRY(mrmr_bytes_add(bytes, header, sizeof *header));
    MRMR_TRY(mrmr_bytes_add(bytes, later, head_size(header->magic) - sizeof *header));
    MRMR_TRY(mrmr_bytes_add(bytes, path, header->path_size));
    MRMR_TRY(mrmr_bytes_add(bytes, extra, later->extra_size));
    MRMR_TRY(mrmr_bytes_add(bytes, zeros, header->length - used));
    record_seal(bytes, at);
    return MRMR_OK;
}

mrmr_err gone_record_append(const struct pool_gone_record *record, struct mrmr_bytes *bytes)
{
    const bool removal = record->kind == POOL_GONE_REMOVED;
    const struct gone_removed removed = {record->ctime, record->version};
    struct gone_later later = {record->kind, (uint32_t)record->extra_size};
    const size_t path_size = strlen(record->path);
    struct gone_header header = {
        .magic = removal && !record->ctime ? GONE_MAGIC : GONE_LATER_MAGIC,
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
    if ((!path_size && removal) || path_size > GONE_PATH_MOST)
        return mrmr_fail(MRMR_NAME_TOO_LONG, NULL);
    if (record->extra_size > GONE_EXTRA_MOST)
        return mrmr_fail(MRMR_NAME_TOO_LONG, "it is too much to be recorded");
    if (removal)
        later.extra_size = record->ctime ? sizeof removed : 0;
    return append(&header, &later, record->path, removal ? &removed : record->extra, bytes);
}

mrmr_err gone_marks_append(
    enum gone_mark mark, const uint64_t ids[], size_t n, struct mrmr_bytes *bytes)
{
    enum { EACH = GONE_EXTRA_MOST / sizeof(uint64_t) };
    static const uint32_t kinds[] = {[GONE_OVER] = GONE_MARK_OVER,
        [GONE_DROPPED] = GONE_MARK_DROPPED,
        [GONE_BEGUN] = GONE_MARK_BEGUN};
    for (size_t at = 0; at < n; at += EACH) {
        const size_t some = n - at < EACH ? n - at : EACH;
        const struct gone_later later = {kinds[mark], (uint32_t)(some * sizeof *ids)};
        struct gone_header header = {.magic = GONE_LATER_MAGIC, .mtime = mrmr_clock_real()};
        MRMR_TRY(append(&header, &later, "", ids + at, bytes));
    }
    return MRMR_OK;
}

mrmr_err gone_begun_append(const struct pool_gone *gone, struct mrmr_bytes *bytes)
{
    mrmr_autofree uint64_t *ids = calloc(gone->entries + 1, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return mrmr_nomem();
    for (size_t i = 0; i < gone->entries; i++)
        if (gone->entry[i]->begun && !gone->entry[i]->dropped && !gone->entry[i]->record.over)
            ids[n++] = gone->entry[i]->record.id;
    return gone_marks_append(GONE_BEGUN, ids, n, bytes);
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
        const struct body body = body_of(header);
        if (is_mark(&body.later))
            table_mark(gone, header);
        else if (record_path_is_fine(header))
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

static mrmr_err journal_read_whole(struct pool_gone *fresh)
{
    struct stat st;
    fresh->fd = openat(fresh->dirfd, GONE_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fresh->fd < 0)
        return errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "open", GONE_NAME);
    if (fstat(fresh->fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", GONE_NAME);
    if (!S_ISREG(st.st_mode))
        return mrmr_err_path(mrmr_fail(MRMR_FORMAT, "not a file"), GONE_NAME);
    fresh->base = fresh->seen = (uint64_t)st.st_size;
    return journal_read_locked(fresh, fresh->seen);
}

/* The table becomes the other one, which is used up. */
static void table_take(struct pool_gone *gone, struct pool_gone *fresh)
{
    gone_table_free(gone);
    gone->fd = fresh->fd;
    gone->at = fresh->at;
    gone->seen = fresh->seen;
    gone->base = fresh->base;
    gone->dead = fresh->dead;
    gone->maybe = fresh->maybe;
    gone->entry = fresh->entry;
    gone->entries = fresh->entries;
    gone->room = fresh->room;
    gone->live = fresh->live;
    gone->bucket = fresh->bucket;
    gone->by_id = fresh->by_id;
    gone->buckets = fresh->buckets;
}

/* What was read of the file before counts until all of this one has been. */
static mrmr_err journal_anew_locked(struct pool_gone *gone)
{
    struct pool_gone fresh = {.dirfd = gone->dirfd, .lockfd = -1, .fd = -1};
    mrmr_err err = journal_read_whole(&fresh);
    if (err)
        gone_table_free(&fresh);
    else
        table_take(gone, &fresh);
    return err;
}

static mrmr_err refresh(struct pool_gone *gone)
{
    struct stat st;
    if (fstatat(gone->dirfd, GONE_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return mrmr_fail_errno(errno, "stat", GONE_NAME);
        if (gone->fd >= 0)
            gone_table_clear(gone);
        return MRMR_OK;
    }
    if (!journal_is_same_locked(gone, &st))
        return journal_anew_locked(gone);
    if ((uint64_t)st.st_size == gone->seen)
        return MRMR_OK;
    gone->stamp++;
    MRMR_TRY(journal_read_locked(gone, (uint64_t)st.st_size)); /* else it is read on from there */
    gone->seen = (uint64_t)st.st_size;
    return MRMR_OK;
}

/* Whoever asks without the lock whether there is anything is not told of a table that is half read. */
mrmr_err gone_refresh(struct pool_gone *gone)
{
    mrmr_err err = refresh(gone);
    gone->n = gone->live;
    return err;
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

mrmr_err gone_full(void)
{
    return mrmr_err_hint(
        mrmr_fail(MRMR_SPACE, "too much was removed from drives that are away, or changed"),
        "connect them, or, if they are lost: mrmr rebuild");
}

static mrmr_err journal_append(
    const struct pool_gone *gone, const struct mrmr_bytes *bytes, uint64_t most)
{
    struct stat st;
    mrmr_autoclose int fd =
        openat(gone->dirfd, GONE_NAME, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", GONE_NAME);
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", GONE_NAME);
    uint64_t offset = aligned((size_t)st.st_size);
    if (offset + bytes->size > most)
        return gone_full();
    mrmr_err err = write_at(fd, bytes, offset);
    if (!err && !offset && fsync(gone->dirfd) < 0)
        err = mrmr_fail_errno(errno, "sync the folder of", GONE_NAME);
    if (err && ftruncate(fd, st.st_size) < 0) /* the caller is told that it is not removed */
        mrmr_log(MRMR_LOG_WARN, "a record of what was removed may be there, or not");
    return err;
}

mrmr_err gone_append(struct pool_gone *gone, const struct mrmr_bytes *bytes, uint64_t most)
{
    MRMR_TRY(journal_append(gone, bytes, most));
    return gone_refresh(gone);
}

mrmr_err gone_replace(struct pool_gone *gone, const struct mrmr_bytes *bytes)
{
    MRMR_TRY(mrmr_durable_replace(
        gone->dirfd, GONE_NAME, bytes->data ? bytes->data : "", bytes->size, 0600));
    return gone_refresh(gone);
}
