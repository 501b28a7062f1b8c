/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/events/noted.h"
#include "pool/events/noted_format.h"
#include "pool/events/told.h"

#include "base/durable.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { SEEN = 4096, APPEND_TRIES = 100, TOLD_MOST = 20 };

static const int64_t seldom = 60 * MRMR_NS_PER_S;

struct pool_noted {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct noted_seen {
        uint64_t key;     /* 0: free */
        int64_t again_at; /* monotonic: it could not be noted, and is new again then; 0: it was */
    } seen[SEEN];         /* a ring */
    size_t next;
    int64_t told_at; /* monotonic: that one could not be noted again; 0: never */
};

mrmr_err pool_noted_create(struct pool *pool)
{
    pool->noted = calloc(1, sizeof *pool->noted);
    if (!pool->noted)
        return mrmr_nomem();
    pthread_mutex_init(&pool->noted->lock, NULL);
    return MRMR_OK;
}

void pool_noted_destroy(struct pool *pool)
{
    if (!pool->noted)
        return;
    pthread_mutex_destroy(&pool->noted->lock);
    free(pool->noted);
    pool->noted = NULL;
}

/* --- what this process has noted --- */

/* 0: without memory. */
static uint64_t note_key(const struct pool_note *note)
{
    mrmr_autobytes struct mrmr_bytes what = MRMR_BYTES_INIT;
    char uuid[MRMR_UUID_TEXT];
    uint64_t key;
    mrmr_err err = note->stripe
                       ? mrmr_bytes_fmt(&what, "%s\n%s\n%s\n%" PRId64, note->kind, note->drive,
                             mrmr_uuid_print(note->stripe, uuid), note->scrubbed)
                       : mrmr_bytes_fmt(&what, "%s\n%s\n\n%s", note->kind, note->drive, note->text);
    if (err)
        return 0;
    struct mrmr_digest digest = mrmr_digest_of(what.data, what.size);
    memcpy(&key, digest.bytes, sizeof key);
    return key;
}

/* NULL: it was not noted, nor tried. */
static struct noted_seen *seen_locked(struct pool_noted *noted, uint64_t key)
{
    for (size_t i = 0; key && i < SEEN; i++)
        if (noted->seen[i].key == key)
            return &noted->seen[i];
    return NULL;
}

static bool seen_is_over(const struct noted_seen *seen)
{
    return seen->again_at && seen->again_at <= mrmr_clock_monotonic();
}

bool pool_noted_knows(struct pool *pool, const struct pool_note *note)
{
    uint64_t key = note_key(note);
    mrmr_locked(&pool->noted->lock);
    const struct noted_seen *seen = seen_locked(pool->noted, key);
    return seen && !seen_is_over(seen);
}

/* False if it was noted before. *ret_again: it was to be, and could not. */
static bool note_is_new(struct pool_noted *noted, const struct pool_note *note, bool *ret_again)
{
    uint64_t key = note_key(note);
    mrmr_locked(&noted->lock);
    struct noted_seen *seen = seen_locked(noted, key);
    *ret_again = seen;
    if (seen && !seen_is_over(seen))
        return false;
    if (!seen && key)
        seen = &noted->seen[noted->next++ % SEEN];
    if (seen)
        *seen = (struct noted_seen){.key = key};
    return true;
}

/* It was not, and is when it is found again, but not at once. What is lost each time it is found would fill the log:
 * each is told of, and that it is so still, of whichever, once in a while. */
static bool note_failed(struct pool_noted *noted, const struct pool_note *note, bool again)
{
    const int64_t now = mrmr_clock_monotonic();
    const uint64_t key = note_key(note);
    mrmr_locked(&noted->lock);
    struct noted_seen *seen = seen_locked(noted, key);
    if (seen)
        seen->again_at = now + seldom;
    if (again && noted->told_at && now - noted->told_at < seldom)
        return false;
    if (again)
        noted->told_at = now;
    return true;
}

/* --- the files --- */

/* Nothing if there is no file. */
static mrmr_err file_read(struct pool *pool, const char *name, struct mrmr_bytes *bytes)
{
    mrmr_err err = mrmr_durable_read(pool->dirfd, name, NOTED_READ_MOST, bytes);
    if (err == MRMR_SPACE)
        return mrmr_err_hint(err, "remove it from the pool's folder: it tells of events alone");
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT)
        err = MRMR_OK;
    return err;
}

static const int64_t a_day = 24 * 3600 * MRMR_NS_PER_S;

/* --- adding --- */

struct same {
    const struct pool_note *note;
    int64_t
        since; /* what is older is told of again; what is of a stripe is known as long as it is there */
    bool found;
};

static mrmr_err is_same(const struct pool_noted_entry *entry, const char *text, void *arg)
{
    struct same *same = arg;
    const struct pool_note *note = same->note;
    same->found = same->found ||
                  (strcmp(entry->kind, note->kind) == 0 && strcmp(entry->drive, note->drive) == 0 &&
                      entry->has_stripe == !!note->stripe &&
                      (note->stripe ? mrmr_uuid_equal(&entry->stripe, note->stripe)
                                    : entry->time > same->since &&
                                          strncmp(text, note->text, NOTED_TEXT_MOST) == 0));
    return MRMR_OK;
}

static mrmr_err file_has(struct pool *pool, const struct pool_note *note, bool *ret_has)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    struct same same = {note, mrmr_clock_real() - a_day, false};
    MRMR_TRY(file_read(pool, NOTED_NAME, &bytes));
    MRMR_TRY(file_read(pool, NOTED_CUT, &bytes));
    MRMR_TRY(noted_may_have(&bytes, note, ret_has));
    if (!*ret_has)
        return MRMR_OK;
    MRMR_TRY(noted_lines_each(&bytes, is_same, &same));
    *ret_has = same.found;
    return MRMR_OK;
}

static mrmr_err line_sync(struct pool *pool, int fd)
{
    if (fdatasync(fd) < 0 || fsync(pool->dirfd) < 0)
        return mrmr_fail_errno(errno, "sync", NOTED_NAME);
    return MRMR_OK;
}

/* A file that root makes in somebody's pool would be closed to him. */
static void owner_is_the_folders(struct pool *pool, int fd, const struct stat *mine)
{
    struct stat folder;
    if (geteuid() == 0 && fstat(pool->dirfd, &folder) == 0 && folder.st_uid != mine->st_uid &&
        fchown(fd, folder.st_uid, folder.st_gid) < 0)
        mrmr_log(MRMR_LOG_INFO, "the file %s is root's", NOTED_NAME);
}

/* *ret_moved: the owner has renamed the file, and may have read it before. */
static mrmr_err append_once(
    struct pool *pool, const struct mrmr_bytes *line, bool durable, bool *ret_moved)
{
    struct stat mine, named;
    mrmr_autoclose int fd = openat(pool->dirfd, NOTED_NAME,
        O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 || fstat(fd, &mine) < 0)
        return mrmr_fail_errno(errno, "open", NOTED_NAME);
    owner_is_the_folders(pool, fd, &mine);
    if ((uint64_t)mine.st_size + line->size > NOTED_MOST)
        return mrmr_err_hint(
            mrmr_fail(MRMR_SPACE, "too much was noted since the last sync"), "run mrmr sync");
    ssize_t n;
    do
        n = write(fd, line->data, line->size);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)line->size) /* a part of it is no line */
        return mrmr_fail_errno(n < 0 ? errno : ENOSPC, "write", NOTED_NAME);
    if (durable)
        MRMR_TRY(line_sync(pool, fd));
    *ret_moved = fstatat(pool->dirfd, NOTED_NAME, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
                 named.st_ino != mine.st_ino || named.st_dev != mine.st_dev;
    return MRMR_OK;
}

static mrmr_err append(struct pool *pool, const struct pool_note *note, bool durable)
{
    mrmr_autobytes struct mrmr_bytes line = MRMR_BYTES_INIT;
    bool has, moved = true;
    MRMR_TRY(file_has(pool, note, &has));
    if (has)
        return MRMR_OK;
    MRMR_TRY(noted_line_make(note, &line));
    for (unsigned i = 0; i < APPEND_TRIES && moved; i++)
        MRMR_TRY(append_once(pool, &line, durable, &moved));
    return moved ? mrmr_fail(MRMR_BUSY, "the owner takes in what is noted again and again")
                 : MRMR_OK;
}

void pool_noted_add(struct pool *pool, const struct pool_note *note, bool durable)
{
    struct mrmr_story kept;
    bool again;
    if (!note_is_new(pool->noted, note, &again))
        return;
    mrmr_story_save(&kept);
    if (append(pool, note, durable) && note_failed(pool->noted, note, again)) {
        mrmr_log_story(MRMR_LOG_WARN, "noting an event");
        mrmr_log(note->warning ? MRMR_LOG_WARN : MRMR_LOG_INFO, "%s: %s", note->kind, note->text);
    }
    mrmr_story_restore(&kept);
}

/* --- reading --- */

struct loading {
    struct pool_noted_list list;
    size_t room;
};

static mrmr_err load_one(const struct pool_noted_entry *entry, const char *text, void *arg)
{
    struct loading *loading = arg;
    struct pool_noted_list *list = &loading->list;
    if (list->n == loading->room) {
        size_t room = loading->room ? 2 * loading->room : 16;
        struct pool_noted_entry *grown = reallocarray(list->entry, room, sizeof *grown);
        if (!grown)
            return mrmr_nomem();
        list->entry = grown;
        loading->room = room;
    }
    list->entry[list->n] = *entry;
    list->entry[list->n].text = strdup(text);
    if (!list->entry[list->n].text)
        return mrmr_nomem();
    list->n++;
    return MRMR_OK;
}

static int entry_compare(const void *a, const void *b)
{
    const struct pool_noted_entry *x = a, *y = b;
    if (x->time != y->time)
        return x->time < y->time ? -1 : 1;
    return strcmp(x->text, y->text);
}

static void list_tidy(struct pool_noted_list *list)
{
    size_t n = 0;
    if (list->n)
        qsort(list->entry, list->n, sizeof *list->entry, entry_compare);
    for (size_t i = 0; i < list->n; i++) {
        if (n && entry_compare(&list->entry[n - 1], &list->entry[i]) == 0)
            free(list->entry[i].text);
        else
            list->entry[n++] = list->entry[i];
    }
    list->n = n;
}

static mrmr_err load(
    struct pool *pool, const char *const names[], size_t n, struct pool_noted_list *ret_list)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    struct loading loading = {.room = 0};
    for (size_t i = 0; i < n; i++)
        MRMR_TRY(file_read(pool, names[i], &bytes));
    mrmr_err err = noted_lines_each(&bytes, load_one, &loading);
    if (err) {
        pool_noted_list_free(&loading.list);
        return err;
    }
    list_tidy(&loading.list);
    *ret_list = loading.list;
    return MRMR_OK;
}

/* Nothing fails because it cannot be read what was noted. */
static mrmr_err fails_nothing(mrmr_err err)
{
    if (!err || mrmr_ran_short(err))
        return err;
    mrmr_log_story(MRMR_LOG_WARN, "what mounts and readers noted");
    return MRMR_OK;
}

mrmr_err pool_noted_load(struct pool *pool, struct pool_noted_list *ret_list)
{
    *ret_list = (struct pool_noted_list){.n = 0};
    return fails_nothing(load(pool, (const char *const[]){NOTED_NAME, NOTED_CUT}, 2, ret_list));
}

void pool_noted_list_free(struct pool_noted_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->entry[i].text);
    free(list->entry);
    *list = (struct pool_noted_list){.n = 0};
}

/* --- taking in --- */

static mrmr_err take_stripe(struct meta *meta, const struct mrmr_uuid *uuid)
{
    int64_t id;
    mrmr_err err = meta_stripe_by_uuid(meta, uuid, &id);
    if (mrmr_class_of(err) == MRMR_CLASS_ABSENT) /* it is no more */
        return MRMR_OK;
    return err ? err : meta_stripe_scrubbed(meta, id, META_SCRUB_FIRST);
}

static mrmr_err take_event(struct pool *pool, const struct pool_noted_entry *entry)
{
    struct meta_event event = {.time = entry->time, .warning = entry->warning, .text = entry->text};
    if (pool_told_knows(pool, entry->time, entry->kind, entry->drive, entry->text))
        return MRMR_OK;
    snprintf(event.kind, sizeof event.kind, "%s", entry->kind);
    snprintf(event.drive, sizeof event.drive, "%s", entry->drive);
    return meta_event_add(pool->meta, &event);
}

struct taking {
    struct pool *pool;
    const struct pool_noted_list *list;
};

static mrmr_err take_all(struct meta *meta, void *arg)
{
    const struct taking *taking = arg;
    for (size_t i = 0; i < taking->list->n; i++) {
        const struct pool_noted_entry *entry = &taking->list->entry[i];
        MRMR_TRY(take_event(taking->pool, entry));
        if (entry->has_stripe)
            MRMR_TRY(take_stripe(meta, &entry->stripe));
    }
    return MRMR_OK;
}

static void took(struct pool *pool, const struct pool_noted_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        pool_told_add(pool, list->entry[i].time, list->entry[i].kind, list->entry[i].drive,
            list->entry[i].text);
}

static void take_tell(const struct pool_noted_list *list, const struct pool_job *job)
{
    char more[80];
    if (!job || !job->notice)
        return;
    for (size_t i = 0; i < list->n && i < TOLD_MOST; i++)
        job->notice(list->entry[i].warning, list->entry[i].text, job->arg);
    if (list->n <= TOLD_MOST)
        return;
    snprintf(more, sizeof more, "and %zu more; see: mrmr events", list->n - TOLD_MOST);
    job->notice(true, more, job->arg);
}

static mrmr_err cut_take(struct pool *pool, const struct pool_job *job)
{
    struct pool_noted_list list = {.n = 0};
    MRMR_TRY(load(pool, (const char *const[]){NOTED_CUT}, 1, &list));
    struct taking taking = {pool, &list};
    mrmr_err err = list.n ? meta_atomically(pool->meta, take_all, &taking) : MRMR_OK;
    if (!err) {
        took(pool, &list);
        take_tell(&list, job);
    }
    pool_noted_list_free(&list);
    if (!err && unlinkat(pool->dirfd, NOTED_CUT, 0) < 0 && errno != ENOENT)
        err = mrmr_fail_errno(errno, "remove", NOTED_CUT);
    return err;
}

static mrmr_err take(struct pool *pool, const struct pool_job *job)
{
    MRMR_TRY(cut_take(pool, job)); /* what was left when one was cut short */
    if (renameat(pool->dirfd, NOTED_NAME, pool->dirfd, NOTED_CUT) < 0)
        return errno == ENOENT ? MRMR_OK : mrmr_fail_errno(errno, "set aside", NOTED_NAME);
    return cut_take(pool, job);
}

mrmr_err pool_noted_take(struct pool *pool, const struct pool_job *job)
{
    return fails_nothing(take(pool, job));
}
