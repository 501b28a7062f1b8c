/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mrmr_err mrmr_bytes_reserve(struct mrmr_bytes *b, size_t more)
{
    if (more >= SIZE_MAX / 2 - b->size)
        return mrmr_nomem();
    size_t need = b->size + more + 1;
    if (need <= b->room)
        return MRMR_OK;
    size_t room = b->room ? b->room : 64;
    while (room < need)
        room *= 2;
    char *data = realloc(b->data, room);
    if (!data)
        return mrmr_nomem();
    b->data = data;
    b->room = room;
    b->data[b->size] = '\0';
    return MRMR_OK;
}

mrmr_err mrmr_bytes_add(struct mrmr_bytes *b, const void *data, size_t size)
{
    mrmr_err err = mrmr_bytes_reserve(b, size);
    if (err)
        return err;
    if (size)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = '\0';
    return MRMR_OK;
}

mrmr_err mrmr_bytes_str(struct mrmr_bytes *b, const char *s)
{
    return mrmr_bytes_add(b, s, strlen(s));
}

mrmr_err mrmr_bytes_fmt(struct mrmr_bytes *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    mrmr_err err =
        n < 0 ? mrmr_fail(MRMR_INTERNAL, "bad format") : mrmr_bytes_reserve(b, (size_t)n);
    if (!err) {
        vsnprintf(b->data + b->size, (size_t)n + 1, fmt, again);
        b->size += (size_t)n;
    }
    va_end(again);
    return err;
}

void mrmr_bytes_clear(struct mrmr_bytes *b)
{
    b->size = 0;
    if (b->data)
        b->data[0] = '\0';
}

void mrmr_bytes_free(struct mrmr_bytes *b)
{
    free(b->data);
    *b = (struct mrmr_bytes)MRMR_BYTES_INIT;
}
