/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Following events: each is told once, as it comes. What is new is read into memory first and told after that, so that
 * whoever is slow to take it holds up nobody: a read of the catalog that does not end keeps its log from being emptied.
 *
 * What was noted (noted.h) is told at once, without an id, and is known again when it is taken into the catalog and has
 * one: by its time, kind and text. What was told so is remembered for as long as it is among the notes.
 */
#include "pool/events/noted.h"
#include "pool/events/noted_format.h"
#include "pool/events/told.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

struct follow_note {
    uint64_t key;
    bool there; /* as of this look */
};

struct pool_follow {
    struct pool *pool;
    struct stat catalog; /* its file */
    int fd;              /* inotify; -1: it cannot be had */
    bool begun;
    size_t last; /* of the first look */
    int64_t id;  /* of the last event that was told */
    struct follow_note *note;
    size_t notes, room;
};

struct follow_list {
    struct pool_event *event; /* each with its strings behind it, in one piece of memory */
    void **piece;
    size_t n, room;
};

/* --- notes --- */

static mrmr_err note_key(const struct pool_event *event, uint64_t *ret_key)
{
    mrmr_autobytes struct mrmr_bytes what = MRMR_BYTES_INIT;
    MRMR_TRY(mrmr_bytes_fmt(&what, "%" PRId64 "\n%s\n%s", event->time, event->kind, event->text));
    struct mrmr_digest digest = mrmr_digest_of(what.data, what.size);
    memcpy(ret_key, digest.bytes, sizeof *ret_key);
    return MRMR_OK;
}

static struct follow_note *note_find(struct pool_follow *follow, uint64_t key)
{
    for (size_t i = 0; i < follow->notes; i++)
        if (follow->note[i].key == key)
            return &follow->note[i];
    return NULL;
}

static mrmr_err note_room(struct pool_follow *follow)
{
    if (follow->notes < follow->room)
        return MRMR_OK;
    size_t room = follow->room ? 2 * follow->room : 16;
    struct follow_note *grown = reallocarray(follow->note, room, sizeof *grown);
    if (!grown)
        return mrmr_nomem();
    follow->note = grown;
    follow->room = room;
    return MRMR_OK;
}

/* Those that are not among the notes any more. */
static void notes_forget(struct pool_follow *follow)
{
    size_t n = 0;
    for (size_t i = 0; i < follow->notes; i++)
        if (follow->note[i].there)
            follow->note[n++] = follow->note[i];
    follow->notes = n;
}

/* --- what is new --- */

static void list_free(struct follow_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->piece[i]);
    free(list->piece);
    free(list->event);
}

static mrmr_err list_grow(struct follow_list *list)
{
    if (list->n < list->room)
        return MRMR_OK;
    size_t room = list->room ? 2 * list->room : 16;
    struct pool_event *event = reallocarray(list->event, room, sizeof *event);
    list->event = event ? event : list->event;
    void **piece = reallocarray(list->piece, room, sizeof *piece);
    list->piece = piece ? piece : list->piece;
    if (!event || !piece)
        return mrmr_nomem();
    list->room = room;
    return MRMR_OK;
}

static const char *put(char **at, const char *text)
{
    char *start = *at;
    *at = stpcpy(start, text) + 1;
    return start;
}

static mrmr_err list_add(const struct pool_event *event, void *arg)
{
    struct follow_list *list = arg;
    MRMR_TRY(list_grow(list));
    char *at = malloc(strlen(event->kind) + strlen(event->drive) + strlen(event->text) + 3);
    if (!at)
        return mrmr_nomem();
    list->piece[list->n] = at;
    struct pool_event copy = *event;
    copy.kind = put(&at, event->kind);
    copy.drive = put(&at, event->drive);
    copy.text = put(&at, event->text);
    list->event[list->n++] = copy;
    return MRMR_OK;
}

/* fn NULL: it counts as told. */
static mrmr_err tell_one(
    struct pool_follow *follow, const struct pool_event *event, pool_event_fn fn, void *arg)
{
    uint64_t key;
    MRMR_TRY(note_key(event, &key));
    struct follow_note *note = note_find(follow, key);
    if (!event->id)
        MRMR_TRY(note_room(follow)); /* before it is told */
    if (!event->id && !note &&
        pool_told_knows(follow->pool, event->time, event->kind, event->drive, event->text))
        return MRMR_OK; /* whoever takes it in leaves it out, too; else it is told of then */
    if (!note && fn)
        MRMR_TRY(fn(event, arg));
    pool_told_add(follow->pool, event->time, event->kind, event->drive, event->text);
    if (event->id)
        follow->id = event->id;
    else if (note)
        note->there = true;
    else
        follow->note[follow->notes++] = (struct follow_note){key, true};
    return MRMR_OK;
}

static mrmr_err tell_all(
    struct pool_follow *follow, const struct follow_list *list, pool_event_fn fn, void *arg)
{
    const size_t skip = follow->begun || list->n <= follow->last ? 0 : list->n - follow->last;
    for (size_t i = 0; i < follow->notes; i++)
        follow->note[i].there = false;
    for (size_t i = 0; i < skip; i++)
        MRMR_TRY(tell_one(follow, &list->event[i], NULL, NULL));
    follow->begun = true;
    for (size_t i = skip; i < list->n; i++)
        MRMR_TRY(tell_one(follow, &list->event[i], fn, arg));
    notes_forget(follow);
    return MRMR_OK;
}

/* --- the files --- */

/* It was restored, or put there by hand: its ids are others. */
static mrmr_err catalog_check(const struct pool_follow *follow)
{
    struct stat st;
    const struct pool *pool = follow->pool;
    if (fstatat(pool->dirfd, POOL_CATALOG_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        st.st_ino == follow->catalog.st_ino && st.st_dev == follow->catalog.st_dev)
        return MRMR_OK;
    mrmr_fail(MRMR_CHANGED, "the catalog in %s was replaced, or removed", pool->dir);
    return mrmr_err_hint(MRMR_CHANGED, "begin anew");
}

/* What it is told of by name may be there by now; once more does no harm. */
static void watch(const struct pool_follow *follow)
{
    static const char *const names[] = {POOL_CATALOG_NAME, POOL_CATALOG_NAME "-wal", NOTED_NAME};
    for (size_t i = 0; follow->fd >= 0 && i < sizeof names / sizeof *names; i++) {
        mrmr_autobytes struct mrmr_bytes path = MRMR_BYTES_INIT;
        if (!mrmr_bytes_fmt(&path, "%s/%s", follow->pool->dir, names[i]))
            (void)inotify_add_watch(follow->fd, path.data, IN_MODIFY | IN_DONT_FOLLOW);
    }
}

static void watch_begin(struct pool_follow *follow)
{
    follow->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (follow->fd >= 0 && inotify_add_watch(follow->fd, follow->pool->dir,
                               IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0) {
        close(follow->fd);
        follow->fd = -1;
    }
    if (follow->fd < 0)
        mrmr_log(MRMR_LOG_INFO, "%s cannot be watched (%s): it is looked at now and then",
            follow->pool->dir, strerror(errno));
}

static void watch_drain(const struct pool_follow *follow)
{
    char buf[4096];
    while (follow->fd >= 0 && read(follow->fd, buf, sizeof buf) > 0)
        ;
}

/* --- the interface --- */

mrmr_err pool_follow_create(
    struct pool *pool, int64_t after, size_t last, struct pool_follow **ret_follow)
{
    struct pool_follow *follow = calloc(1, sizeof *follow);
    if (!follow)
        return mrmr_nomem();
    follow->pool = pool;
    follow->id = after;
    follow->last = last;
    if (fstatat(pool->dirfd, POOL_CATALOG_NAME, &follow->catalog, AT_SYMLINK_NOFOLLOW) < 0) {
        free(follow);
        return mrmr_fail_errno(errno, "look at", POOL_CATALOG_NAME);
    }
    watch_begin(follow);
    *ret_follow = follow;
    return MRMR_OK;
}

void pool_follow_destroy(struct pool_follow *follow)
{
    if (!follow)
        return;
    if (follow->fd >= 0)
        close(follow->fd);
    free(follow->note);
    free(follow);
}

int pool_follow_fd(const struct pool_follow *follow)
{
    return follow->fd;
}

int64_t pool_follow_id(const struct pool_follow *follow)
{
    return follow->id;
}

mrmr_err pool_follow_look(struct pool_follow *follow, pool_event_fn fn, void *arg)
{
    struct follow_list list = {.n = 0};
    watch_drain(follow); /* first: what comes from here on wakes again */
    watch(follow);
    MRMR_TRY(catalog_check(follow));
    mrmr_err err = pool_events(follow->pool, follow->id, 0, list_add, &list);
    if (!err)
        err = tell_all(follow, &list, fn, arg);
    list_free(&list);
    return err;
}
