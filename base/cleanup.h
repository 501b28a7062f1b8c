/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Scoped cleanup. A local that owns something carries a cleanup attribute; ownership leaves by
 * mrmr_steal().
 *
 *     mrmr_autofree char *path = NULL;
 *     ...
 *     *ret_path = mrmr_steal(path);
 *
 * MRMR_DEFINE_AUTO(struct foo, foo_destroy) makes an inline `foo_destroy_auto` for
 * `__attribute__((cleanup(foo_destroy_auto))) struct foo *x = NULL;`, written
 * MRMR_AUTO(foo_destroy). The destroy function must accept NULL.
 */
#ifndef MRMR_BASE_CLEANUP_H
#define MRMR_BASE_CLEANUP_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void mrmr_free_auto(void *p)
{
    free(*(void **)p);
}
#define mrmr_autofree __attribute__((cleanup(mrmr_free_auto)))

static inline void mrmr_close_auto(const int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    errno = saved;
}
#define mrmr_autoclose __attribute__((cleanup(mrmr_close_auto)))

/* A mutex held to the end of the scope: mrmr_locked(&x->lock); */
static inline pthread_mutex_t *mrmr_lock_take(pthread_mutex_t *m)
{
    pthread_mutex_lock(m);
    return m;
}
static inline void mrmr_unlock_auto(pthread_mutex_t **m)
{
    pthread_mutex_unlock(*m);
}
#define MRMR_PASTE_(a, b) a##b
#define MRMR_PASTE(a, b) MRMR_PASTE_(a, b)
#define mrmr_locked(m)                                                                             \
    __attribute__((cleanup(mrmr_unlock_auto), unused)) pthread_mutex_t *MRMR_PASTE(                \
        mrmr_guard_, __LINE__) = mrmr_lock_take(m)

#define MRMR_DEFINE_AUTO(type, destroy)                                                            \
    static inline void destroy##_auto(type **p)                                                    \
    {                                                                                              \
        destroy(*p);                                                                               \
    }                                                                                              \
    struct mrmr_swallow_semicolon
#define MRMR_AUTO(destroy) __attribute__((cleanup(destroy##_auto)))

#define mrmr_steal(p)                                                                              \
    ({                                                                                             \
        __typeof__(p) mrmr_stolen_ = (p);                                                          \
        (p) = NULL;                                                                                \
        mrmr_stolen_;                                                                              \
    })

static inline int mrmr_steal_fd(int *fd)
{
    int got = *fd;
    *fd = -1;
    return got;
}

/* `MRMR_TRY(step());` returns the step's error from the enclosing function. */
#define MRMR_TRY(expr)                                                                             \
    do {                                                                                           \
        mrmr_err mrmr_try_ = (expr);                                                               \
        if (mrmr_try_)                                                                             \
            return mrmr_try_;                                                                      \
    } while (0)

#endif
