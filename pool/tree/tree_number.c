/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Numbers of nodes.
 *
 * A number is the drive's id in the catalog in its upper 16 bits and the inode's number in the lower
 * 48, so a node that nobody holds any more can be found again from its number alone. Where an
 * inode's number is longer, or a drive has none, a hash takes its place, with the highest of the 48
 * bits set: still the same each time, but not to be found again.
 *
 * A folder that lies on several drives has the number of its copy on the drive with the lowest id of
 * those where it was when its node was made, and keeps it as long as it is held and that copy is one of
 * its copies (tree_inherit.c); a copy that we make on a drive with a lower id has that number, too.
 *
 * A file that was brought to another drive keeps its number, and its generation: the pool's file
 * `numbers` has a record for each, 32 bytes as this machine has them: the drive's id, the inode's
 * number there, the number and the generation (both 0: not any more). Records are appended and not
 * synced: where one is lost, the file has another number from then on. An inode that comes to have a
 * number which a file that was brought elsewhere still has gets a hash instead, the first one that no file has that was
 * brought elsewhere. So does what is made through us with an inode of something that was removed and is held still.
 * Whatever is made through us and has another number than its inode's has a record of its own, too: it keeps that number, whoever lets go of the
 * other one.
 */
#include "pool/tree/tree_number.h"
#include "pool/records/spare.h"
#include "pool/tree/tree.h"

#include "base/durable.h"
#include "base/uuid.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define NUMBERS_NAME "numbers"
enum { NUMBER_BITS = 48, NUMBERS_MOST = 1 << 30 };

struct number_record {
    int64_t drive;
    uint64_t ino, number, generation;
};

struct number_list { /* sorted */
    struct number_record *record;
    size_t n, room;
    int (*compare)(const void *a, const void *b);
};

struct tree_numbers {
    _Atomic bool any; /* asked without the lock: most pools have none */
    pthread_rwlock_t lock;
    /* Guarded by lock. */
    struct number_list by_inode, by_number;
    int fd; /* -1: not open */
};

/* --- what is recorded --- */

static int compare_inode(const void *a, const void *b)
{
    const struct number_record *x = a, *y = b;
    if (x->drive != y->drive)
        return x->drive < y->drive ? -1 : 1;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

static int compare_number(const void *a, const void *b)
{
    const struct number_record *x = a, *y = b;
    return x->number < y->number ? -1 : x->number > y->number;
}

static struct number_record *list_find(
    const struct number_list *list, const struct number_record *wanted)
{
    return list->n ? bsearch(wanted, list->record, list->n, sizeof *wanted, list->compare) : NULL;
}

static void list_remove(struct number_list *list, const struct number_record *wanted)
{
    struct number_record *found = list_find(list, wanted);
    if (!found)
        return;
    size_t after = list->n - (size_t)(found - list->record) - 1;
    memmove(found, found + 1, after * sizeof *found);
    list->n--;
}

static mrmr_err list_insert(struct number_list *list, const struct number_record *record)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 16;
        struct number_record *more = realloc(list->record, room * sizeof *more);
        if (!more)
            return mrmr_nomem();
        list->record = more;
        list->room = room;
    }
    size_t at = list->n;
    while (at && list->compare(&list->record[at - 1], record) > 0)
        at--;
    memmove(&list->record[at + 1], &list->record[at], (list->n - at) * sizeof *record);
    list->record[at] = *record;
    list->n++;
    return MRMR_OK;
}

/* The last word about an inode, and about a number. */
static mrmr_err numbers_put(struct tree_numbers *numbers, const struct number_record *record)
{
    const struct number_record *old = list_find(&numbers->by_inode, record);
    if (old)
        list_remove(&numbers->by_number, old);
    list_remove(&numbers->by_inode, record);
    old = record->number ? list_find(&numbers->by_number, record) : NULL;
    if (old)
        list_remove(&numbers->by_inode, old);
    if (old)
        list_remove(&numbers->by_number, record);
    if (!record->number)
        return MRMR_OK;
    numbers->any = true;
    MRMR_TRY(list_insert(&numbers->by_inode, record));
    return list_insert(&numbers->by_number, record);
}

/* --- the file --- */

static mrmr_err numbers_load(struct pool_tree *tree, struct tree_numbers *numbers)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    struct number_record record;
    mrmr_err err = mrmr_durable_read(tree->pool->dirfd, NUMBERS_NAME, NUMBERS_MOST, &bytes);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        return MRMR_OK;
    MRMR_TRY(err);
    for (size_t at = 0; at + sizeof record <= bytes.size; at += sizeof record) {
        memcpy(&record, bytes.data + at, sizeof record);
        MRMR_TRY(numbers_put(numbers, &record));
    }
    size_t kept = numbers->by_inode.n * sizeof record;
    return !tree->keeper || kept == bytes.size
               ? MRMR_OK
               : mrmr_durable_replace(
                     tree->pool->dirfd, NUMBERS_NAME, numbers->by_inode.record, kept, 0600);
}

static mrmr_err numbers_write(struct pool_tree *tree, const struct number_record *record)
{
    struct tree_numbers *numbers = tree->numbers;
    if (numbers->fd < 0)
        numbers->fd = openat(tree->pool->dirfd, NUMBERS_NAME,
            O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (numbers->fd < 0)
        return mrmr_fail_errno(errno, "open", NUMBERS_NAME);
    ssize_t n = write(numbers->fd, record, sizeof *record);
    return n == sizeof *record ? MRMR_OK
                               : mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", NUMBERS_NAME);
}

static mrmr_err numbers_append(struct pool_tree *tree, const struct number_record *record)
{
    mrmr_err err;
    do
        err = numbers_write(tree, record);
    while (pool_spare_gives(tree->pool->dirfd, tree->pool->dir, err));
    return err;
}

mrmr_err tree_numbers_start(struct pool_tree *tree)
{
    struct tree_numbers *numbers = calloc(1, sizeof *numbers);
    if (!numbers)
        return mrmr_nomem();
    numbers->fd = -1;
    numbers->by_inode.compare = compare_inode;
    numbers->by_number.compare = compare_number;
    pthread_rwlock_init(&numbers->lock, NULL);
    tree->numbers = numbers;
    return numbers_load(tree, numbers);
}

void tree_numbers_stop(struct pool_tree *tree)
{
    struct tree_numbers *numbers = tree->numbers;
    tree->numbers = NULL;
    if (!numbers)
        return;
    if (numbers->fd >= 0)
        close(numbers->fd);
    free(numbers->by_inode.record);
    free(numbers->by_number.record);
    pthread_rwlock_destroy(&numbers->lock);
    free(numbers);
}

static mrmr_err numbers_say(struct pool_tree *tree, const struct number_record *record)
{
    pthread_rwlock_wrlock(&tree->numbers->lock);
    mrmr_err err = numbers_append(tree, record);
    if (!err)
        err = numbers_put(tree->numbers, record);
    pthread_rwlock_unlock(&tree->numbers->lock);
    return err;
}

mrmr_err tree_number_keep(
    struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number, uint64_t generation)
{
    const struct number_record record = {
        tree->drive[drive].drive->meta.id, ino, number, generation};
    return numbers_say(tree, &record);
}

void tree_number_forget(struct pool_tree *tree, size_t drive, uint64_t ino)
{
    const struct number_record record = {.drive = tree->drive[drive].drive->meta.id, .ino = ino};
    if (!tree->numbers->any)
        return;
    pthread_rwlock_rdlock(&tree->numbers->lock);
    bool known = list_find(&tree->numbers->by_inode, &record);
    pthread_rwlock_unlock(&tree->numbers->lock);
    if (known && numbers_say(tree, &record))
        mrmr_log_story(MRMR_LOG_INFO, "the number of a file that is gone");
}

/* The n-th that it may have; 0: its own. */
static uint64_t number_made(
    int64_t drive, uint64_t ino, unsigned n, const char *folder, const char *name)
{
    const uint64_t hashed = UINT64_C(1) << (NUMBER_BITS - 1);
    uint64_t low = ino;
    if (n || ino == 0 || ino >= hashed) {
        mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
        mrmr_err err = ino ? mrmr_bytes_fmt(&text, "%llu", (unsigned long long)ino)
                           : mrmr_bytes_fmt(&text, "%s/%s", folder, name);
        if (!err && n > 1)
            err = mrmr_bytes_fmt(&text, " %u", n);
        struct mrmr_digest digest = mrmr_digest_of(err ? name : text.data, text.size);
        memcpy(&low, digest.bytes, sizeof low);
        low = (low & (hashed - 1)) | hashed;
    }
    return (uint64_t)drive << NUMBER_BITS | low;
}

static bool number_in_use(struct pool_tree *tree, uint64_t number)
{
    const struct number_record record = {.number = number};
    {
        mrmr_locked(&tree->lock);
        if (tree_find_locked(tree, number))
            return true;
    }
    pthread_rwlock_rdlock(&tree->numbers->lock);
    bool used = list_find(&tree->numbers->by_number, &record);
    pthread_rwlock_unlock(&tree->numbers->lock);
    return used;
}

uint64_t tree_number_other(struct pool_tree *tree, size_t drive, uint64_t ino)
{
    uint64_t random = ino, number;
    do {
        if (mrmr_random(&random, sizeof random))
            random = random * UINT64_C(0x9e3779b97f4a7c15) + 1;
        number = number_made(tree->drive[drive].drive->meta.id, random, 1, "", "");
    } while (number_in_use(tree, number));
    return number;
}

uint64_t tree_generation(struct pool_tree *tree, uint64_t number, uint64_t generation)
{
    const struct number_record record = {.number = number};
    if (!tree->numbers->any)
        return generation;
    pthread_rwlock_rdlock(&tree->numbers->lock);
    const struct number_record *found = list_find(&tree->numbers->by_number, &record);
    if (found)
        generation = found->generation;
    pthread_rwlock_unlock(&tree->numbers->lock);
    return generation;
}

bool tree_number_where(
    struct pool_tree *tree, uint64_t number, int64_t *ret_drive, uint64_t *ret_ino)
{
    const struct number_record record = {.number = number};
    *ret_drive = (int64_t)(number >> NUMBER_BITS);
    *ret_ino = number & ((UINT64_C(1) << NUMBER_BITS) - 1);
    if (!tree->numbers->any)
        return false;
    pthread_rwlock_rdlock(&tree->numbers->lock);
    const struct number_record *found = list_find(&tree->numbers->by_number, &record);
    if (found) {
        *ret_drive = found->drive;
        *ret_ino = found->ino;
    }
    pthread_rwlock_unlock(&tree->numbers->lock);
    return found;
}

/* --- numbers --- */

static uint64_t number_free_locked(const struct tree_numbers *numbers, int64_t drive, uint64_t ino,
    const char *folder, const char *name)
{
    struct number_record record = {.drive = drive, .ino = ino};
    unsigned n = 0;
    do
        record.number = number_made(drive, ino, n++, folder, name);
    while (list_find(&numbers->by_number, &record) && n < numbers->by_number.n + 2);
    return record.number;
}

uint64_t tree_number(
    const struct pool_tree *tree, size_t drive, uint64_t ino, const char *folder, const char *name)
{
    struct tree_numbers *numbers = tree->numbers;
    const struct number_record record = {.drive = tree->drive[drive].drive->meta.id, .ino = ino};
    if (!numbers->any)
        return number_made(record.drive, ino, 0, folder, name);
    pthread_rwlock_rdlock(&numbers->lock);
    const struct number_record *found = list_find(&numbers->by_inode, &record);
    const uint64_t number =
        found ? found->number : number_free_locked(numbers, record.drive, ino, folder, name);
    pthread_rwlock_unlock(&numbers->lock);
    return number;
}

bool tree_number_is_own(const struct pool_tree *tree, size_t drive, uint64_t ino, uint64_t number)
{
    return number == number_made(tree->drive[drive].drive->meta.id, ino, 0, "", "");
}

bool tree_number_inode(struct pool_tree *tree, uint64_t number, size_t drive, uint64_t *ret_ino)
{
    int64_t id;
    uint64_t ino;
    tree_number_where(tree, number, &id, &ino);
    if (!ino || id != tree->drive[drive].drive->meta.id ||
        tree_number(tree, drive, ino, "", "") != number)
        return false;
    *ret_ino = ino;
    return true;
}
