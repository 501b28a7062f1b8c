/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include "base/text.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct mrmr_story story;

static const struct {
    mrmr_err err;
    const char *name;
} err_names[] = {
    {MRMR_OK, "no error"},
    {MRMR_ABSENT, "not there"},
    {MRMR_NO_DRIVE, "no such drive"},
    {MRMR_NO_STRIPE, "no such stripe"},
    {MRMR_NO_ATTR, "no such attribute"},
    {MRMR_UNAVAILABLE, "not available"},
    {MRMR_IO, "input/output error"},
    {MRMR_OFFLINE, "drive is offline"},
    {MRMR_TIMEOUT, "timed out"},
    {MRMR_REFUSED, "the file system does not do that"},
    {MRMR_CORRUPT, "corrupt"},
    {MRMR_DIGEST, "bytes do not match their digest"},
    {MRMR_FORMAT, "malformed"},
    {MRMR_TRUNCATED, "truncated"},
    {MRMR_LOST, "lost: more is missing than the redundancy covers"},
    {MRMR_SPACE, "no space left"},
    {MRMR_TOO_LARGE, "too large for a file"},
    {MRMR_VALUE_TOO_LARGE, "too large for an extended attribute"},
    {MRMR_DENIED, "permission denied"},
    {MRMR_READONLY, "read-only"},
    {MRMR_CONFLICT, "conflict"},
    {MRMR_EXISTS, "exists already"},
    {MRMR_CHANGED, "changed while it was read"},
    {MRMR_DIVERGED, "drive has diverged from the catalog"},
    {MRMR_BUSY, "busy"},
    {MRMR_HELD, "held"},
    {MRMR_INVALID, "invalid"},
    {MRMR_NAME_TOO_LONG, "name too long"},
    {MRMR_NOT_DIR, "not a folder"},
    {MRMR_IS_DIR, "is a folder"},
    {MRMR_NOT_EMPTY, "folder is not empty"},
    {MRMR_LOOP, "symlink or path that leaves the drive"},
    {MRMR_UNSUPPORTED, "not supported"},
    {MRMR_CROSS_DEVICE, "crosses file systems"},
    {MRMR_NEWER, "made by a newer version"},
    {MRMR_CANCELLED, "interrupted"},
    {MRMR_NOMEM, "out of memory"},
    {MRMR_NO_DESCRIPTORS, "too many open files"},
    {MRMR_INTERNAL, "internal error"},
};

/* The first row of an errno or of a code wins, so both directions live in one table. */
static const struct {
    int posix;
    mrmr_err err;
} errno_map[] = {
    {ENOENT, MRMR_ABSENT},
    {ESTALE, MRMR_UNAVAILABLE},
    {EIO, MRMR_IO},
    {ENODEV, MRMR_OFFLINE},
    {ENXIO, MRMR_OFFLINE},
    {ESHUTDOWN, MRMR_OFFLINE},
    {ENOTCONN, MRMR_OFFLINE},
    {ENOMEDIUM, MRMR_OFFLINE},
    {ECONNRESET, MRMR_UNAVAILABLE},
    {ECONNREFUSED, MRMR_UNAVAILABLE},
    {EHOSTUNREACH, MRMR_UNAVAILABLE},
    {ENETUNREACH, MRMR_UNAVAILABLE},
    {EHOSTDOWN, MRMR_UNAVAILABLE},
    {ENETDOWN, MRMR_UNAVAILABLE},
    {ENETRESET, MRMR_UNAVAILABLE},
    {ECONNABORTED, MRMR_UNAVAILABLE},
    {EREMOTEIO, MRMR_IO},
    {ENOLINK, MRMR_IO}, /* how a drive's cable fails */
    {EBADMSG, MRMR_IO},
    {EUCLEAN, MRMR_IO},
    {ENODATA, MRMR_IO},      /* what Linux calls a medium that cannot be read; */
    {ENODATA, MRMR_NO_ATTR}, /* who removes an attribute knows better */
    {ETIMEDOUT, MRMR_TIMEOUT},
    {ENOSPC, MRMR_SPACE},
    {EDQUOT, MRMR_SPACE},
    {EFBIG, MRMR_TOO_LARGE},
    {E2BIG, MRMR_VALUE_TOO_LARGE},
    {EMLINK, MRMR_SPACE},
    {EACCES, MRMR_DENIED},
    {EPERM, MRMR_DENIED},
    {EROFS, MRMR_READONLY},
    {EEXIST, MRMR_EXISTS},
    {EBUSY, MRMR_BUSY},
    {ETXTBSY, MRMR_BUSY},
    {EAGAIN, MRMR_BUSY},
    {EINVAL, MRMR_INVALID},
    {ENAMETOOLONG, MRMR_NAME_TOO_LONG},
    {ENOTDIR, MRMR_NOT_DIR},
    {EISDIR, MRMR_IS_DIR},
    {ENOTEMPTY, MRMR_NOT_EMPTY},
    {ELOOP, MRMR_LOOP},
    {EXDEV, MRMR_CROSS_DEVICE},
    {ENOTSUP, MRMR_UNSUPPORTED},
    {ENOSYS, MRMR_UNSUPPORTED},
    {ENOTTY, MRMR_UNSUPPORTED},
    {EINTR, MRMR_CANCELLED},
    {ENOMEM, MRMR_NOMEM},
    {EMFILE, MRMR_NO_DESCRIPTORS},
    {ENFILE, MRMR_NO_DESCRIPTORS},
};

const char *mrmr_err_name(mrmr_err err)
{
    for (size_t i = 0; i < sizeof err_names / sizeof *err_names; i++)
        if (err_names[i].err == err)
            return err_names[i].name;
    return "unknown error";
}

mrmr_err mrmr_err_from_errno(int err)
{
    if (err == 0)
        return MRMR_OK;
    for (size_t i = 0; i < sizeof errno_map / sizeof *errno_map; i++)
        if (errno_map[i].posix == err)
            return errno_map[i].err;
    return MRMR_REFUSED;
}

int mrmr_err_to_errno(mrmr_err err)
{
    if (err == MRMR_OK)
        return 0;
    for (size_t i = 0; i < sizeof errno_map / sizeof *errno_map; i++)
        if (errno_map[i].err == err)
            return errno_map[i].posix;
    switch (mrmr_class_of(err)) {
    case MRMR_CLASS_ABSENT:
        return ENOENT;
    case MRMR_CLASS_DENIED:
        return EACCES;
    case MRMR_CLASS_CONFLICT:
        return EBUSY;
    case MRMR_CLASS_INVALID:
        return EINVAL;
    case MRMR_CLASS_UNSUPPORTED:
        return ENOTSUP;
    default:
        return EIO;
    }
}

/* Copy src into a field, cutting out its middle where it does not fit: the ends of a path tell
 * most. */
static void story_copy(char *dst, size_t size, const char *src)
{
    size_t n = strlen(src);
    if (n < size) {
        memcpy(dst, src, n + 1);
        return;
    }
    size_t head = (size - 4) / 2, tail = size - 4 - head;
    memcpy(dst, src, head);
    memcpy(dst + head, "...", 3);
    memcpy(dst + head + 3, src + n - tail, tail + 1);
}

static void story_fill(char *dst, size_t size, const char *src)
{
    if (src && !dst[0])
        story_copy(dst, size, src);
}

static void story_reset(mrmr_err err)
{
    memset(&story, 0, sizeof story);
    story.err = err;
}

void mrmr_story_start(mrmr_err err, const char *fmt, ...)
{
    char text[sizeof story.text] = "";
    if (fmt) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
    }
    story_reset(err ? err : MRMR_INTERNAL);
    memcpy(story.text, text, sizeof text);
}

void mrmr_story_start_errno(mrmr_err err, int foreign, const char *op, const char *path)
{
    story_reset(err);
    story.foreign = foreign;
    story_fill(story.op, sizeof story.op, op);
    story_fill(story.path, sizeof story.path, path);
    const char *words = strerrordesc_np(foreign);
    story_fill(story.text, sizeof story.text, words ? words : "unknown errno");
}

void mrmr_story_fill(mrmr_err err, enum mrmr_story_field field, const char *text)
{
    if (err == MRMR_OK)
        return;
    switch (field) {
    case MRMR_STORY_DRIVE:
        story_fill(story.drive, sizeof story.drive, text);
        break;
    case MRMR_STORY_PATH:
        story_fill(story.path, sizeof story.path, text);
        break;
    case MRMR_STORY_STRIPE:
        story_fill(story.stripe, sizeof story.stripe, text);
        break;
    case MRMR_STORY_OP:
        story_fill(story.op, sizeof story.op, text);
        break;
    }
}

void mrmr_story_hint(mrmr_err err, const char *fmt, ...)
{
    if (err == MRMR_OK || story.hint[0])
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(story.hint, sizeof story.hint, fmt, args);
    va_end(args);
}

const struct mrmr_story *mrmr_story_get(void)
{
    return &story;
}

void mrmr_story_save(struct mrmr_story *ret_story)
{
    *ret_story = story;
}

mrmr_err mrmr_story_restore(const struct mrmr_story *saved)
{
    story = *saved;
    return story.err;
}

/* Append to buf at *at, never past size; control characters become '?' so that a hostile name
 * cannot drive a terminal. */
static void story_put(char *buf, size_t size, size_t *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void story_put(char *buf, size_t size, size_t *at, const char *fmt, ...)
{
    if (*at + 1 >= size)
        return;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf + *at, size - *at, fmt, args);
    va_end(args);
    if (n < 0)
        return;
    size_t end = *at + (size_t)n < size ? *at + (size_t)n : size - 1;
    mrmr_text_one_line(buf + *at, end - *at);
    *at = end;
}

const char *mrmr_story_print(const struct mrmr_story *s, char *buf, size_t size)
{
    size_t at = 0;
    if (size)
        buf[0] = '\0';
    if (s->drive[0])
        story_put(buf, size, &at, "drive %s: ", s->drive);
    if (s->stripe[0])
        story_put(buf, size, &at, "stripe %s: ", s->stripe);
    if (s->op[0] && s->path[0])
        story_put(buf, size, &at, "%s '%s': ", s->op, s->path);
    else if (s->path[0])
        story_put(buf, size, &at, "'%s': ", s->path);
    else if (s->op[0])
        story_put(buf, size, &at, "%s: ", s->op);
    story_put(buf, size, &at, "%s", s->text[0] ? s->text : mrmr_err_name(s->err));
    if (s->hint[0])
        story_put(buf, size, &at, "; %s", s->hint);
    return buf;
}
