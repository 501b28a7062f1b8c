/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/retained/pointers.h"
#include "pool/retained/pointers_format.h"

#include "base/cleanup.h"
#include <pthread.h>
#include <string.h>

MRMR_DEFINE_AUTO(struct drv_file, drv_file_close);

enum { RECORD = sizeof(struct pointers_record), PART = 1024 };

/* A deleted leaf takes 48 bytes here, and each file a name of 24 or so in a folder: with this much, a
 * drive that is full to the last byte loses some thousands of files before a sync has to run. */
static const uint64_t room_of_drive = 8192; /* of its total */
static const uint64_t room_least = 128 << 10, room_most = 64 << 20;
/* That much is given back at once: some blocks of a folder, on any file system. */
static const uint64_t give_least = 16 << 10, give_of_room = 16;

_Static_assert(sizeof((struct mrmr_digest){0}.bytes) == sizeof((struct pointers_record){0}.digest),
    "a digest is stored as it is");

/* --- records --- */

static bool record_is_one(const struct pointers_record *record)
{
    static const uint8_t none[sizeof record->digest];
    return memcmp(record->digest, none, sizeof none) != 0;
}

static struct pool_pointer record_read(const struct pointers_record *record)
{
    struct pool_pointer pointer;
    memcpy(pointer.digest.bytes, record->digest, sizeof record->digest);
    memcpy(pointer.file, record->file, sizeof record->file);
    pointer.leaf = 0;
    for (size_t i = sizeof record->leaf; i-- > 0;)
        pointer.leaf = pointer.leaf << 8 | record->leaf[i];
    return pointer;
}

static struct pointers_record record_of(
    const struct mrmr_digest *digest, const uint8_t file[POOL_POINTERS_FILE], uint64_t leaf)
{
    struct pointers_record record;
    memcpy(record.digest, digest->bytes, sizeof record.digest);
    memcpy(record.file, file, sizeof record.file);
    for (size_t i = 0; i < sizeof record.leaf; i++)
        record.leaf[i] = (uint8_t)(leaf >> (8 * i));
    return record;
}

/* fn may be NULL. *ret_end: where the records end. */
static mrmr_err records_each(
    struct drv_file *file, pool_pointer_fn fn, void *arg, uint64_t *ret_end)
{
    mrmr_autofree struct pointers_record *part = malloc(PART * RECORD);
    size_t got = PART * RECORD, n = PART;
    if (!part)
        return mrmr_nomem();
    *ret_end = 0;
    while (got == PART * RECORD && n == PART) {
        MRMR_TRY(drv_file_read(file, *ret_end, part, PART * RECORD, &got));
        for (n = 0; n < got / RECORD && record_is_one(&part[n]); n++) {
            const struct pool_pointer pointer = record_read(&part[n]);
            if (fn)
                MRMR_TRY(fn(&pointer, arg));
        }
        *ret_end += n * RECORD;
    }
    return MRMR_OK;
}

/* --- where they end --- */

/* What was found or added last, so that it is not read again for each file that is kept. Only what was
 * synced is here: all before it is in the file, without a gap, for as long as the last record of it lies
 * where it was. One that was replaced (by its owner, without gaps) or cut to nothing has others there, or
 * none: a record is of a file with a random name. */
enum { ENDS = 64 };
struct end {
    const struct drv *drv; /* which may be another by now: nothing is believed of it but to look */
    uint64_t at;
    struct pointers_record last;
};
static pthread_mutex_t ends_lock = PTHREAD_MUTEX_INITIALIZER;
static struct end ends[ENDS]; /* guarded by that */
static size_t ends_next;

static bool end_get(const struct drv *drv, struct end *ret_end)
{
    mrmr_locked(&ends_lock);
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i].drv == drv) {
            *ret_end = ends[i];
            return true;
        }
    return false;
}

static void end_put(const struct end *end)
{
    mrmr_locked(&ends_lock);
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i].drv == end->drv) {
            ends[i] = *end;
            return;
        }
    ends[ends_next++ % ENDS] = *end;
}

void pool_pointers_forget(const struct drv *drv)
{
    mrmr_locked(&ends_lock);
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i].drv == drv)
            ends[i].drv = NULL;
}

static mrmr_err end_is_there(struct drv_file *file, const struct end *end, bool *ret_there)
{
    struct pointers_record around[2] = {{.digest = {0}}};
    size_t got;
    MRMR_TRY(drv_file_read(file, end->at - RECORD, around, sizeof around, &got));
    *ret_there = got >= RECORD && memcmp(&around[0], &end->last, RECORD) == 0 &&
                 (got < sizeof around || !record_is_one(&around[1]));
    return MRMR_OK;
}

static mrmr_err records_end(const struct drv *drv, struct drv_file *file, uint64_t *ret_end)
{
    struct end end;
    bool there = false;
    if (end_get(drv, &end))
        MRMR_TRY(end_is_there(file, &end, &there));
    if (!there)
        return records_each(file, NULL, NULL, ret_end);
    *ret_end = end.at;
    return MRMR_OK;
}

mrmr_err pool_pointers_each(struct drv *drv, pool_pointer_fn fn, void *arg)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    uint64_t end;
    mrmr_err err = drv_file_open(drv, POOL_POINTERS, DRV_OPEN_READ, 0, &file);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    return records_each(file, fn, arg, &end);
}

/* --- writing --- */

static mrmr_err pointers_open(struct drv *drv, struct drv_file **ret_file)
{
    const unsigned flags = DRV_OPEN_READ | DRV_OPEN_WRITE;
    mrmr_err err = drv_file_open(drv, POOL_POINTERS, flags, 0, ret_file);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        return err;
    err = drv_file_open(drv, POOL_POINTERS, flags | DRV_OPEN_CREATE, 0600, ret_file);
    if (err == MRMR_EXISTS)
        return drv_file_open(drv, POOL_POINTERS, flags, 0, ret_file);
    MRMR_TRY(err);
    return drv_dir_sync(drv, POOL_DOT);
}

mrmr_err pool_pointers_add(struct drv *drv, const struct pool_retained_leaf leaves[], size_t n,
    const uint8_t name[POOL_POINTERS_FILE])
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    mrmr_autofree struct pointers_record *records = malloc(n * RECORD + 1);
    uint64_t end;
    if (!n)
        return MRMR_OK;
    if (!records)
        return mrmr_nomem();
    for (size_t i = 0; i < n; i++)
        records[i] = record_of(&leaves[i].digest, name, leaves[i].leaf);
    MRMR_TRY(pointers_open(drv, &file));
    MRMR_TRY(records_end(drv, file, &end));
    MRMR_TRY(drv_file_write(file, end, records, n * RECORD));
    MRMR_TRY(drv_file_sync(file));
    end_put(&(struct end){drv, end + n * RECORD, records[n - 1]});
    return MRMR_OK;
}

mrmr_err pool_pointers_replace(struct drv *drv, const struct pool_pointer pointers[], size_t n)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    if (!n) {
        MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
        MRMR_TRY(pointers_open(drv, &file));
        MRMR_TRY(drv_file_truncate(file, 0));
        return drv_file_sync(file);
    }
    for (size_t i = 0; i < n; i++) {
        const struct pointers_record record =
            record_of(&pointers[i].digest, pointers[i].file, pointers[i].leaf);
        MRMR_TRY(mrmr_bytes_add(&bytes, &record, RECORD));
    }
    return drv_replace(drv, POOL_POINTERS, bytes.data, bytes.size, 0600);
}

/* --- room --- */

mrmr_err pool_pointers_give(struct drv *drv, bool *ret_gave)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct drv_stat stat;
    uint64_t end;
    *ret_gave = false;
    mrmr_err err = drv_file_open(drv, POOL_POINTERS, DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &file);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    MRMR_TRY(records_end(drv, file, &end));
    MRMR_TRY(drv_file_stat(file, &stat));
    uint64_t room = stat.size > end ? stat.size - end : 0;
    uint64_t give = room / give_of_room > give_least ? room / give_of_room : give_least;
    if (!room)
        return MRMR_OK;
    MRMR_TRY(drv_file_truncate(file, give < room ? stat.size - give : end));
    *ret_gave = true;
    return drv_file_sync(file); /* some file systems have it free only then */
}

uint64_t pool_pointers_wanted(uint64_t total)
{
    uint64_t wanted = total / room_of_drive;
    return wanted < room_least ? room_least : wanted > room_most ? room_most : wanted;
}

mrmr_err pool_pointers_room(struct drv *drv, uint64_t *ret_bytes)
{
    struct drv_stat stat;
    mrmr_err err = drv_stat(drv, POOL_POINTERS, &stat);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) {
        *ret_bytes = 0;
        return MRMR_OK;
    }
    MRMR_TRY(err);
    *ret_bytes = stat.size;
    return MRMR_OK;
}

mrmr_err pool_pointers_make(struct drv *drv, uint64_t bytes)
{
    MRMR_AUTO(drv_file_close) struct drv_file *file = NULL;
    struct drv_stat stat;
    MRMR_TRY(drv_mkdirs(drv, POOL_RETAINED_FILES, 0700));
    MRMR_TRY(drv_dir_sync(drv, POOL_RETAINED));
    MRMR_TRY(pointers_open(drv, &file));
    MRMR_TRY(drv_file_stat(file, &stat));
    if (stat.size >= bytes)
        return drv_dir_sync(drv, POOL_DOT);
    mrmr_err err = drv_file_allocate(file, bytes);
    /* A drive that is full by a little less than it should be is the one that will need it. Nothing is
     * cut off again: a writer may be adding. */
    while (err == MRMR_SPACE && bytes - bytes / 16 > stat.size && bytes > give_least) {
        bytes -= bytes / 16;
        err = drv_file_allocate(file, bytes);
    }
    MRMR_TRY(err);
    MRMR_TRY(drv_file_sync(file));
    return drv_dir_sync(drv, POOL_DOT);
}
