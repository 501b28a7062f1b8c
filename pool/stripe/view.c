/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Views: a stripe's image with its generation pinned and its rows open. A handful that nobody holds
 * is kept for the next reader, most recently used first; a held one pins its generation, so the
 * rows it decodes from are not dropped under it.
 */
#include "pool/stripe/view.h"

#include "pool/stripe/buffers.h"
#include <string.h>

enum { VIEWS_KEPT = 16 };

struct pool_stripes {
    pthread_mutex_t lock;
    /* Guarded by lock. */
    struct pool_view *views; /* most recently used first */
    uint64_t forgotten; /* how often a view was forgotten: tells a load that raced with a commit */
};

mrmr_err pool_stripes_create(struct pool *pool)
{
    MRMR_TRY(pool_buffers_create(&pool->buffers));
    struct pool_stripes *stripes = calloc(1, sizeof *stripes);
    if (!stripes) {
        pool_buffers_destroy(pool->buffers);
        pool->buffers = NULL;
        return mrmr_nomem();
    }
    pthread_mutex_init(&stripes->lock, NULL);
    pthread_mutex_init(&pool->turns_lock, NULL);
    pthread_rwlock_init(&pool->drives_gate, NULL);
    pthread_cond_init(&pool->turns_moved, NULL);
    pool->stripes = stripes;
    return MRMR_OK;
}

static void view_destroy(struct pool_view *view)
{
    for (unsigned i = 0; i < META_ROWS_MAX; i++)
        pool_row_close(view->row[i]);
    meta_stripe_free(&view->image);
    pthread_mutex_destroy(&view->lock);
    free(view);
}

void pool_stripes_destroy(struct pool *pool)
{
    struct pool_stripes *stripes = pool->stripes;
    if (!stripes)
        return;
    for (struct pool_view *view = stripes->views, *next; view; view = next) {
        next = view->next;
        view_destroy(view);
    }
    pool_buffers_destroy(pool->buffers);
    pool->buffers = NULL;
    pthread_mutex_destroy(&stripes->lock);
    pthread_rwlock_destroy(&pool->drives_gate);
    pthread_mutex_destroy(&pool->turns_lock);
    pthread_cond_destroy(&pool->turns_moved);
    free(stripes);
    pool->stripes = NULL;
}

/* Take the view out of the list. */
static void views_unlink_locked(struct pool_stripes *stripes, struct pool_view *view)
{
    struct pool_view **at = &stripes->views;
    while (*at != view)
        at = &(*at)->next;
    *at = view->next;
}

static void views_push_locked(struct pool_stripes *stripes, struct pool_view *view)
{
    view->next = stripes->views;
    stripes->views = view;
}

static struct pool_view *views_find_locked(struct pool_stripes *stripes, int64_t stripe)
{
    for (struct pool_view *view = stripes->views; view; view = view->next)
        if (view->image.id == stripe && !view->stale)
            return view;
    return NULL;
}

/* Drop what nobody holds: stale views at once, others beyond the number kept. Returns a list for
 * the caller to destroy outside the lock. */
static struct pool_view *views_trim_locked(struct pool_stripes *stripes)
{
    struct pool_view *gone = NULL;
    size_t idle = 0;
    for (struct pool_view **at = &stripes->views; *at;) {
        struct pool_view *view = *at;
        if (view->holders == 0 && (view->stale || ++idle > VIEWS_KEPT)) {
            *at = view->next;
            view->next = gone;
            gone = view;
        } else {
            at = &view->next;
        }
    }
    return gone;
}

static void views_destroy_list(struct pool_view *view)
{
    while (view) {
        struct pool_view *next = view->next;
        view_destroy(view);
        view = next;
    }
}

/* The view that is there, held; NULL if there is none. *ret_forgotten tells a later push what it
 * raced with. */
static struct pool_view *views_take(
    struct pool_stripes *stripes, int64_t stripe, uint64_t *ret_forgotten)
{
    mrmr_locked(&stripes->lock);
    *ret_forgotten = stripes->forgotten;
    struct pool_view *view = views_find_locked(stripes, stripe);
    if (view) {
        view->holders++;
        views_unlink_locked(stripes, view);
        views_push_locked(stripes, view);
    }
    return view;
}

static mrmr_err view_load(struct pool *pool, int64_t stripe, struct pool_view **ret_view)
{
    struct pool_view *view = calloc(1, sizeof *view);
    if (!view)
        return mrmr_nomem();
    pthread_mutex_init(&view->lock, NULL);
    view->holders = 1;
    mrmr_err err = meta_stripe_load(pool->meta, stripe, &view->image);
    if (!err) {
        *ret_view = view;
        return MRMR_OK;
    }
    view_destroy(view);
    return mrmr_class_of(err) == MRMR_CLASS_ABSENT ? mrmr_fail(MRMR_NO_STRIPE, NULL) : err;
}

/* False if something was committed since: the image may be old, and what it needs dropped already.
 */
static bool views_put_in(struct pool_stripes *stripes, struct pool_view *view, uint64_t forgotten)
{
    mrmr_locked(&stripes->lock);
    if (stripes->forgotten != forgotten)
        return false;
    views_push_locked(stripes, view);
    return true;
}

mrmr_err pool_view_get(struct pool *pool, int64_t stripe, struct pool_view **ret_view)
{
    for (;;) {
        uint64_t forgotten;
        struct pool_view *view = views_take(pool->stripes, stripe, &forgotten);
        if (!view) {
            MRMR_TRY(view_load(pool, stripe, &view));
            /* Two readers may both have loaded it: each holds its own, both pin the generation. */
            if (!views_put_in(pool->stripes, view, forgotten)) {
                view_destroy(view);
                continue;
            }
        }
        *ret_view = view;
        return MRMR_OK;
    }
}

void pool_view_put(struct pool *pool, struct pool_view *view)
{
    if (!view)
        return;
    struct pool_view *gone;
    {
        mrmr_locked(&pool->stripes->lock);
        view->holders--;
        gone = views_trim_locked(pool->stripes);
    }
    views_destroy_list(gone);
}

const struct meta_stripe *pool_view_image(const struct pool_view *view)
{
    return &view->image;
}

bool pool_view_pinned(struct pool *pool, const struct mrmr_uuid *stripe, uint64_t generation)
{
    mrmr_locked(&pool->stripes->lock);
    for (struct pool_view *view = pool->stripes->views; view; view = view->next)
        if (view->holders && view->image.generation == generation &&
            mrmr_uuid_equal(&view->image.uuid, stripe))
            return true;
    return false;
}

void pool_views_forget(struct pool *pool, int64_t stripe)
{
    struct pool_view *gone;
    {
        mrmr_locked(&pool->stripes->lock);
        pool->stripes->forgotten++;
        for (struct pool_view *view = pool->stripes->views; view; view = view->next)
            if (stripe == 0 || view->image.id == stripe)
                view->stale = true;
        gone = views_trim_locked(pool->stripes);
    }
    views_destroy_list(gone);
}

mrmr_err pool_view_row(
    struct pool *pool, struct pool_view *view, unsigned index, struct pool_row_reader **ret_reader)
{
    {
        mrmr_locked(&view->lock);
        if (view->row[index]) {
            *ret_reader = view->row[index];
            return MRMR_OK;
        }
    }
    const struct meta_row *row = pool_image_row(&view->image, index);
    if (!row)
        return mrmr_fail(MRMR_ABSENT, "row %u is not there", index);
    struct pool_drive *drive = pool_drive_by_id(pool, row->drive);
    if (!pool_drive_readable(drive))
        return mrmr_fail(MRMR_OFFLINE, "the drive of row %u is away", index);
    struct pool_row_reader *reader = NULL;
    mrmr_err err = pool_row_open(
        drive->drv, &view->image.uuid, view->image.generation, index, view->image.length, &reader);
    if (err)
        return mrmr_err_drive(err, drive->meta.name);
    struct pool_row_reader *spare = NULL;
    {
        mrmr_locked(&view->lock);
        if (view->row[index])
            spare = reader;
        else
            view->row[index] = reader;
        *ret_reader = view->row[index];
    }
    pool_row_close(spare);
    return MRMR_OK;
}

mrmr_err pool_view_row_leaves(struct pool *pool, struct pool_view *view, unsigned index,
    uint64_t first, size_t n, void *buf, size_t *ret_size)
{
    struct pool_row_reader *reader;
    MRMR_TRY(pool_view_row(pool, view, index, &reader));
    return pool_row_read_leaves(reader, first, n, buf, ret_size);
}
