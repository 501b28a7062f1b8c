/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/records/touched.h"
#include "pool/drive/hung.h"

#include "base/clock.h"
#include "base/durable.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOUCHED_NAME "touched"
#define TOUCHED_CUT "touched.cut"
#define TOUCHED_OLD "touched.old"
enum {
    RECORD = sizeof(struct pool_touched_inode),
    BATCH = 4096,               /* records */
    TOUCHED_READ_MOST = 1 << 30 /* there was no bound once */
};

/* In the order in which a record goes through them. */
static const char *const names[] = {TOUCHED_NAME, TOUCHED_CUT, TOUCHED_OLD};
enum { NAMES = sizeof names / sizeof *names, SORTED = 2 };

#define KINDS (POOL_TOUCHED_NAME | POOL_TOUCHED_ATTRS)

static int64_t drive_of(const struct pool_touched_inode *record)
{
    return record->drive & POOL_TOUCHED_DRIVE;
}

static int64_t second_of(const struct pool_touched_inode *record)
{
    return record->drive / POOL_TOUCHED_SECOND & POOL_TOUCHED_SECONDS;
}

static void second_set(struct pool_touched_inode *record, int64_t second)
{
    record->drive &= POOL_TOUCHED_DRIVE | KINDS;
    record->drive |= (second & POOL_TOUCHED_SECONDS) * POOL_TOUCHED_SECOND;
}

/* It is of something else than these kinds. */
static bool says_more(const struct pool_touched_inode *record, int64_t unless)
{
    const int64_t kinds = record->drive & KINDS;
    return !kinds || kinds & ~unless;
}

/* It is what counts as changed, not only a name that went. */
static bool counts(const struct pool_touched_inode *record)
{
    return says_more(record, POOL_TOUCHED_NAME);
}

/* One that stays takes up since when what it stands for was so. */
static void since_take(struct pool_touched_inode *record, const struct pool_touched_inode *other)
{
    const int64_t mine = counts(record) ? second_of(record) : 0, its = second_of(other);
    if (counts(other) && its && (!mine || its < mine))
        second_set(record, its);
}

/* What is looked for: anything, but for these kinds. */
struct wanted {
    int64_t drive;
    uint64_t ino;
    int64_t unless;
    bool itself; /* a mark for all does not do */
};

static bool is_wanted(const struct pool_touched_inode *record, const struct wanted *wanted)
{
    return drive_of(record) == wanted->drive &&
           (record->ino == wanted->ino || (record->ino == POOL_TOUCHED_ALL && !wanted->itself)) &&
           says_more(record, wanted->unless);
}

/* --- adding --- */

mrmr_err pool_touched_open(int dirfd, int *ret_fd)
{
    int fd =
        openat(dirfd, TOUCHED_NAME, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return mrmr_fail_errno(errno, "open", TOUCHED_NAME);
    *ret_fd = fd;
    return MRMR_OK;
}

static mrmr_err record_add(int fd, const struct pool_touched_inode *record)
{
    ssize_t n;
    do
        n = write(fd, record, RECORD);
    while (n < 0 && errno == EINTR);
    return n == RECORD ? MRMR_OK : mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", TOUCHED_NAME);
}

static mrmr_err records_read(int fd, const char *name, uint64_t offset,
    struct pool_touched_inode records[], size_t most, size_t *ret_n)
{
    ssize_t n;
    do
        n = pread(fd, records, most * RECORD, (off_t)offset);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return mrmr_fail_errno(errno, "read", name);
    *ret_n = (size_t)n / RECORD;
    return MRMR_OK;
}

/* From the offset on, one by one, the last first: of a file that is written to all the time there is one from each epoch. */
static mrmr_err records_have(
    int fd, const char *name, uint64_t offset, const struct wanted *wanted, bool *ret_has)
{
    mrmr_autofree struct pool_touched_inode *records = malloc(BATCH * RECORD);
    struct stat st;
    size_t n;
    if (!records)
        return mrmr_nomem();
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", name);
    const uint64_t end = (uint64_t)st.st_size / RECORD, first = offset / RECORD;
    for (uint64_t at = end; at > first && !*ret_has;) {
        const size_t part = at - first < BATCH ? (size_t)(at - first) : BATCH;
        at -= part;
        MRMR_TRY(records_read(fd, name, at * RECORD, records, part, &n));
        for (size_t i = 0; i < n && !*ret_has; i++)
            *ret_has = is_wanted(&records[i], wanted);
    }
    return MRMR_OK;
}

/* Beyond the bound there are marks alone, one or two a drive; or a few, where two processes were at it. */
static mrmr_err mark_add(int fd, const struct pool_touched_inode *record)
{
    const int64_t as = record->drive & POOL_TOUCHED_ATTRS;
    const struct pool_touched_inode mark = {record->drive & ~POOL_TOUCHED_NAME, POOL_TOUCHED_ALL};
    const struct wanted wanted = {drive_of(record), POOL_TOUCHED_ALL, as ? 0 : KINDS, true};
    bool has = false;
    MRMR_TRY(records_have(fd, TOUCHED_NAME, POOL_TOUCHED_MOST, &wanted, &has));
    return has ? MRMR_OK : record_add(fd, &mark);
}

static mrmr_err add(int fd, const struct pool_touched_inode *record)
{
    struct stat st;
    if (!record->ino)
        return MRMR_OK;
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", TOUCHED_NAME);
    if ((uint64_t)st.st_size >= POOL_TOUCHED_MOST)
        return mark_add(fd, record);
    return record_add(fd, record);
}

mrmr_err pool_touched_add(int fd, int64_t drive, uint64_t ino, int64_t as)
{
    struct pool_touched_inode record = {drive | as, ino};
    const int64_t now = mrmr_clock_real();
    if (drive & ~POOL_TOUCHED_DRIVE)
        return mrmr_fail(MRMR_INVALID, "there can be no drive with the id %" PRId64, drive);
    second_set(&record, now > 0 ? now / MRMR_NS_PER_S : 0);
    return add(fd, &record);
}

/* --- looking --- */

static mrmr_err file_size(struct pool *pool, const char *name, uint64_t *ret_size)
{
    struct stat st;
    *ret_size = 0;
    if (fstatat(pool->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        *ret_size = (uint64_t)st.st_size;
    else if (errno != ENOENT)
        return mrmr_fail_errno(errno, "stat", name);
    return MRMR_OK;
}

mrmr_err pool_touched_size(struct pool *pool, uint64_t *ret_size)
{
    uint64_t all = 0, size;
    for (size_t i = 0; i < NAMES; i++) {
        MRMR_TRY(file_size(pool, names[i], &size));
        all += size;
    }
    *ret_size = all;
    return MRMR_OK;
}

static int inode_compare(const void *a, const void *b)
{
    const struct pool_touched_inode *x = a, *y = b;
    if (drive_of(x) != drive_of(y))
        return drive_of(x) < drive_of(y) ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* What is of the bytes comes first. */
static int record_compare(const void *a, const void *b)
{
    const struct pool_touched_inode *x = a, *y = b;
    int order = inode_compare(x, y);
    return order ? order : x->drive < y->drive ? -1 : x->drive > y->drive;
}

static void since_take_all(
    struct pool_touched_inode *record, const struct pool_touched_inode others[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        since_take(record, &others[i]);
}

/* Each once, as of its bytes or of all else; and of a drive with a mark for all, which is its last one, nothing else. */
static void touched_tidy(struct pool_touched *touched)
{
    struct pool_touched_inode *inode = touched->inode;
    size_t n = 0, first = 0; /* of the drive */
    qsort(inode, touched->n, RECORD, record_compare);
    for (size_t i = 0; i < touched->n; i++) {
        if (n && inode_compare(&inode[n - 1], &inode[i]) == 0) {
            since_take(&inode[n - 1], &inode[i]);
            if (inode[n - 1].drive & KINDS)
                inode[n - 1].drive |= inode[i].drive & KINDS;
            continue;
        }
        if (n && drive_of(&inode[n - 1]) != drive_of(&inode[i]))
            first = n;
        if (inode[i].ino == POOL_TOUCHED_ALL && !(inode[i].drive & KINDS)) {
            since_take_all(&inode[i], &inode[first], n - first);
            n = first;
        }
        inode[n++] = inode[i];
    }
    touched->n = n;
}

/* Of the files from the first on. */
static mrmr_err touched_read(struct pool *pool, size_t first, struct pool_touched *ret_touched)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_reserve(&bytes, RECORD));
    for (size_t i = first; i < NAMES; i++) {
        mrmr_err err = mrmr_durable_read(pool->dirfd, names[i], TOUCHED_READ_MOST, &bytes);
        if (err && mrmr_class_of(err) != MRMR_CLASS_ABSENT)
            return err;
        bytes.size -= bytes.size % RECORD; /* one that was cut short */
    }
    ret_touched->n = bytes.size / RECORD;
    ret_touched->inode = (struct pool_touched_inode *)(void *)bytes.data;
    bytes = (struct mrmr_bytes){0};
    touched_tidy(ret_touched);
    return MRMR_OK;
}

mrmr_err pool_touched_load(struct pool *pool, struct pool_touched *ret_touched)
{
    return touched_read(pool, 0, ret_touched);
}

static bool has_record(
    const struct pool_touched *touched, int64_t drive, uint64_t ino, int64_t unless)
{
    const struct pool_touched_inode wanted = {drive, ino}, *found = NULL;
    if (touched->n)
        found = bsearch(&wanted, touched->inode, touched->n, RECORD, inode_compare);
    return found && says_more(found, unless);
}

bool pool_touched_all(const struct pool_touched *touched, int64_t drive)
{
    return has_record(touched, drive, POOL_TOUCHED_ALL, KINDS);
}

uint64_t pool_touched_count(const struct pool_touched *touched, int64_t drive)
{
    uint64_t n = 0;
    for (size_t i = 0; i < touched->n; i++) {
        const struct pool_touched_inode *record = &touched->inode[i];
        if (drive_of(record) != drive || !counts(record))
            continue;
        if (record->ino == POOL_TOUCHED_ALL)
            return UINT64_MAX;
        n++;
    }
    return n;
}

int64_t pool_touched_since(const struct pool_touched *touched, int64_t drive)
{
    struct pool_touched_inode first = {drive, 0};
    for (size_t i = 0; i < touched->n; i++)
        if (drive_of(&touched->inode[i]) == drive)
            since_take(&first, &touched->inode[i]);
    return second_of(&first) * MRMR_NS_PER_S;
}

bool pool_touched_has(const struct pool_touched *touched, int64_t drive, uint64_t ino)
{
    return ino && (has_record(touched, drive, ino, POOL_TOUCHED_ATTRS) ||
                      pool_touched_all(touched, drive));
}

bool pool_touched_has_bytes(const struct pool_touched *touched, int64_t drive, uint64_t ino)
{
    return ino && (has_record(touched, drive, ino, KINDS) || pool_touched_all(touched, drive));
}

/* The inode itself, or the mark. */
static mrmr_err sorted_has(
    int fd, const char *name, const struct wanted *wanted, uint64_t ino, bool *ret_has)
{
    const struct pool_touched_inode key = {wanted->drive, ino};
    bool found = false;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return mrmr_fail_errno(errno, "stat", name);
    uint64_t low = 0, high = (uint64_t)st.st_size / RECORD;
    while (low < high && !found) {
        struct pool_touched_inode record;
        uint64_t middle = low + (high - low) / 2;
        size_t n;
        MRMR_TRY(records_read(fd, name, middle * RECORD, &record, 1, &n));
        int order = n ? inode_compare(&record, &key) : 1;
        found = order == 0;
        *ret_has = *ret_has || (found && is_wanted(&record, wanted));
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return MRMR_OK;
}

static mrmr_err file_has(
    struct pool *pool, size_t which, const struct wanted *wanted, bool *ret_has)
{
    const char *name = names[which];
    mrmr_autoclose int fd =
        openat(pool->dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "open", name);
    if (which != SORTED)
        return records_have(fd, name, 0, wanted, ret_has);
    MRMR_TRY(sorted_has(fd, name, wanted, wanted->ino, ret_has));
    return *ret_has || wanted->itself ? MRMR_OK
                                      : sorted_has(fd, name, wanted, POOL_TOUCHED_ALL, ret_has);
}

static mrmr_err find(struct pool *pool, const struct wanted *wanted, bool *ret_has)
{
    *ret_has = false;
    for (size_t i = 0; wanted->ino && i < NAMES && !*ret_has; i++)
        MRMR_TRY(file_has(pool, i, wanted, ret_has));
    return MRMR_OK;
}

mrmr_err pool_touched_find(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has)
{
    return find(pool, &(struct wanted){drive, ino, POOL_TOUCHED_ATTRS, false}, ret_has);
}

mrmr_err pool_touched_find_bytes(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has)
{
    return find(pool, &(struct wanted){drive, ino, KINDS, false}, ret_has);
}

mrmr_err pool_touched_find_itself(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has)
{
    return find(pool, &(struct wanted){drive, ino, KINDS, true}, ret_has);
}

mrmr_err pool_touched_find_attrs(struct pool *pool, int64_t drive, uint64_t ino, bool *ret_has)
{
    return find(pool, &(struct wanted){drive, ino, POOL_TOUCHED_NAME, false}, ret_has);
}

mrmr_err pool_touched_may_hide(
    struct pool *pool, const struct pool_drive *drive, uint64_t ino, bool *ret_may)
{
    *ret_may = false;
    return drive->info.caps & DRV_CAP_STABLE_CTIME
               ? MRMR_OK
               : pool_touched_find(pool, drive->meta.id, ino, ret_may);
}

void pool_touched_free(struct pool_touched *touched)
{
    free(touched->inode);
    *touched = (struct pool_touched){.n = 0};
}

/* --- the scan --- */

/* A mark for so many records of one drive, or, where most are of attributes alone, one for those. How many are left. */
static size_t mark_for(struct pool_touched_inode *inode, size_t n)
{
    struct pool_touched_inode mark = {drive_of(&inode[0]), POOL_TOUCHED_ALL};
    size_t left = 0;
    for (size_t i = 0; i < n; i++)
        left += (inode[i].drive & KINDS) != POOL_TOUCHED_ATTRS;
    since_take_all(&mark, inode, n);
    if (left > n / 2) {
        inode[0] = mark;
        return 1;
    }
    mark.drive |= POOL_TOUCHED_ATTRS;
    left = 0;
    for (size_t i = 0; i < n; i++)
        if ((inode[i].drive & KINDS) != POOL_TOUCHED_ATTRS)
            inode[left++] = inode[i];
    inode[left++] = mark;
    return left;
}

/* The drive with most records gets a mark for them. */
static void touched_mark_one(struct pool_touched *touched)
{
    struct pool_touched_inode *inode = touched->inode;
    size_t first = 0, most = 0, from = 0;
    for (size_t i = 0; i < touched->n; i++) {
        if (drive_of(&inode[i]) != drive_of(&inode[first]))
            first = i;
        if (i - first + 1 > most) {
            most = i - first + 1;
            from = first;
        }
    }
    const size_t left = mark_for(&inode[from], most);
    memmove(&inode[from + left], &inode[from + most], (touched->n - from - most) * RECORD);
    touched->n -= most - left;
}

static mrmr_err old_replace(struct pool *pool, const struct pool_touched *touched)
{
    return mrmr_durable_replace(
        pool->dirfd, TOUCHED_OLD, touched->inode, touched->n * RECORD, 0600);
}

/* What was set aside goes into the old ones. Nobody adds to it. */
static mrmr_err cut_take_in(struct pool *pool)
{
    struct pool_touched touched = {.n = 0};
    uint64_t size;
    MRMR_TRY(file_size(pool, TOUCHED_CUT, &size));
    if (!size)
        return MRMR_OK;
    MRMR_TRY(touched_read(pool, 1, &touched));
    while (touched.n > POOL_TOUCHED_MOST / RECORD)
        touched_mark_one(&touched);
    mrmr_err err = old_replace(pool, &touched);
    pool_touched_free(&touched);
    MRMR_TRY(err);
    if (unlinkat(pool->dirfd, TOUCHED_CUT, 0) < 0)
        return mrmr_fail_errno(errno, "remove", TOUCHED_CUT);
    return MRMR_OK;
}

/* Writers stand still. */
static mrmr_err set_aside(struct pool *pool)
{
    if (renameat(pool->dirfd, TOUCHED_NAME, pool->dirfd, TOUCHED_CUT) < 0 && errno != ENOENT)
        return mrmr_fail_errno(errno, "set aside", TOUCHED_NAME);
    return pool_writers_new_epoch(pool->writers);
}

static mrmr_err stand_still(struct pool *pool, const struct pool_job *job)
{
    MRMR_TRY(pool_stop_for(pool, job, NULL, 0));
    mrmr_err err = pool_writers_new_epoch(pool->writers);
    pool_writers_go(pool->writers);
    return err;
}

mrmr_err pool_touched_begin(struct pool *pool, const struct pool_job *job)
{
    uint64_t size, left;
    MRMR_TRY(file_size(pool, TOUCHED_NAME, &size));
    MRMR_TRY(file_size(pool, TOUCHED_CUT, &left));
    if (left) { /* of one that was cut short: somebody may be adding to it yet */
        MRMR_TRY(stand_still(pool, job));
        MRMR_TRY(cut_take_in(pool));
    }
    if (!size)
        return MRMR_OK;
    MRMR_TRY(pool_stop_for(pool, job, NULL, 0));
    mrmr_err err = set_aside(pool);
    pool_writers_go(pool->writers);
    return err ? err : cut_take_in(pool);
}

static bool is_one_of(int64_t drive, const int64_t drives[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (drives[i] == drive)
            return true;
    return false;
}

/* left NULL: nothing of these drives stays. */
static mrmr_err old_keep(struct pool_touched *touched, const int64_t drives[], size_t ndrives,
    pool_touched_left left, void *arg)
{
    size_t kept = 0;
    for (size_t i = 0; i < touched->n; i++) {
        const struct pool_touched_inode record = touched->inode[i];
        bool stays = !is_one_of(drive_of(&record), drives, ndrives) ||
                     (left && record.ino == POOL_TOUCHED_ALL);
        if (!stays && left)
            MRMR_TRY(left(drive_of(&record), record.ino, arg, &stays));
        if (stays)
            touched->inode[kept++] = record;
    }
    touched->n = kept;
    return MRMR_OK;
}

mrmr_err pool_touched_drop_but(
    struct pool *pool, const int64_t drives[], size_t ndrives, pool_touched_left left, void *arg)
{
    struct pool_touched touched = {.n = 0};
    MRMR_TRY(touched_read(pool, SORTED, &touched));
    const size_t n = touched.n;
    mrmr_err err = old_keep(&touched, drives, ndrives, left, arg);
    if (!err && touched.n < n)
        err = old_replace(pool, &touched);
    pool_touched_free(&touched);
    return err;
}

mrmr_err pool_touched_any(struct pool *pool, bool *ret_any)
{
    uint64_t size, left;
    MRMR_TRY(file_size(pool, TOUCHED_NAME, &size));
    MRMR_TRY(file_size(pool, TOUCHED_CUT, &left));
    *ret_any = size || left;
    return MRMR_OK;
}

mrmr_err pool_touched_drop(
    struct pool *pool, const struct pool_job *job, int64_t drives[], size_t ndrives)
{
    MRMR_TRY(pool_stop_for_some(pool, job, drives, &ndrives));
    mrmr_err err = pool_writers_new_epoch(pool->writers);
    pool_writers_go(pool->writers);
    return err || !ndrives ? err : pool_touched_drop_but(pool, drives, ndrives, NULL, NULL);
}
