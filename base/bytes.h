/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A growable byte buffer. Zero-initialise it (or MRMR_BYTES_INIT); one thread at a time.
 * data is NUL-terminated one byte past size, so text in it is a C string. A failed append leaves it
 * unchanged.
 */
#ifndef MRMR_BASE_BYTES_H
#define MRMR_BASE_BYTES_H

#include "base/err.h"

struct mrmr_bytes {
    char *data;
    size_t size;
    size_t room;
};
#define MRMR_BYTES_INIT                                                                            \
    {                                                                                              \
        NULL, 0, 0                                                                                 \
    }

mrmr_err mrmr_bytes_reserve(struct mrmr_bytes *b, size_t more);
mrmr_err mrmr_bytes_add(struct mrmr_bytes *b, const void *data, size_t size);
mrmr_err mrmr_bytes_str(struct mrmr_bytes *b, const char *s);
mrmr_err mrmr_bytes_fmt(struct mrmr_bytes *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void mrmr_bytes_clear(struct mrmr_bytes *b); /* keeps the memory */
void mrmr_bytes_free(struct mrmr_bytes *b);  /* gives it back; reusable afterwards */

static inline void mrmr_bytes_auto(struct mrmr_bytes *b)
{
    mrmr_bytes_free(b);
}
#define mrmr_autobytes __attribute__((cleanup(mrmr_bytes_auto)))

#endif
