/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/brought.h"
#include "pool/records/pair.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct pool_brought_file {
    int64_t drive, to;
    uint64_t ino;              /* 0: it is not known */
    char name[POOL_PAIR_NAME]; /* of the record */
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
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct pool_brought_file file = {.drive = 0};
    struct pool_pair pair;
    if (strlen(name) >= sizeof file.name)
        return MRMR_OK;
    mrmr_err err = pool_pair_read(pool, name, &text, &pair);
    if (err)
        return mrmr_class_of(err) == MRMR_CLASS_ABSENT || err == MRMR_FORMAT ? MRMR_OK : err;
    file.drive = pair.from;
    file.to = pair.to;
    file.ino = pair.knows ? pair.file.ino : 0;
    memcpy(file.name, name, strlen(name) + 1);
    return mrmr_bytes_add(list, &file, sizeof file);
}

static int file_compare(const void *a, const void *b)
{
    const struct pool_brought_file *x = a, *y = b;
    if (x->drive != y->drive)
        return x->drive < y->drive ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
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
    if (ret_brought->n)
        qsort(ret_brought->file, ret_brought->n, sizeof *ret_brought->file, file_compare);
    if (err)
        pool_brought_free(ret_brought);
    return err;
}

void pool_brought_free(struct pool_brought *brought)
{
    free(brought->file);
    *brought = (struct pool_brought){.n = 0};
}

/* --- what they say --- */

static bool has(const struct pool_brought *brought, int64_t drive, uint64_t ino)
{
    const struct pool_brought_file key = {.drive = drive, .ino = ino};
    return brought->n && bsearch(&key, brought->file, brought->n, sizeof key, file_compare);
}

bool pool_brought_has(const struct pool_brought *brought, int64_t drive, uint64_t ino)
{
    return has(brought, drive, ino) || has(brought, drive, 0);
}

static bool is_lost(const struct pool_drive *drive)
{
    return !drive || drive->meta.state == META_DRIVE_RETIRED;
}

/* Where the source's drive is held, or is not there, the catalog has it yet; where the copy's is, nobody has met that. */
static bool is_judged(const struct pool_drive *drive)
{
    return is_lost(drive) || (pool_drive_readable(drive) && !drive->meta.hold[0]);
}

enum pool_brought_source pool_brought_source(
    struct pool *pool, const struct pool_brought *brought, int64_t drive, uint64_t ino)
{
    enum pool_brought_source source = POOL_BROUGHT_MET;
    if (!has(brought, drive, ino))
        return POOL_BROUGHT_NOT;
    for (size_t i = 0; i < brought->n; i++) {
        const struct pool_brought_file *file = &brought->file[i];
        const struct pool_drive *to = pool_drive_by_id(pool, file->to);
        if (file->drive != drive || file->ino != ino)
            continue;
        if (is_lost(to))
            source = POOL_BROUGHT_LOST;
        else if (!is_judged(to))
            return POOL_BROUGHT_WAITS;
    }
    return source;
}

void pool_brought_forget(struct pool *pool, const struct pool_brought *brought)
{
    for (size_t i = 0; i < brought->n; i++) {
        const struct pool_brought_file *file = &brought->file[i];
        if (has_ended(file) && is_judged(pool_drive_by_id(pool, file->drive)) &&
            is_judged(pool_drive_by_id(pool, file->to)))
            unlinkat(pool->dirfd, file->name, 0);
    }
}
