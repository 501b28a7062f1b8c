/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Errors: a code with a class, and the story that travels with it.
 *
 * A function that can fail returns an mrmr_err: MRMR_OK (0) or a named code. Every code has one
 * class, and the class alone decides what a caller does next: an absent file is not a drive that
 * does not answer, and neither is a block whose bytes are wrong.
 *
 * The story (drive, path, stripe, operation, errno, words) is kept per thread, like errno, and
 * belongs to the last failure of this thread. mrmr_fail() starts a new story; the mrmr_err_*()
 * setters add to it on the way up and never overwrite what a deeper layer, which knew better, has
 * set. A worker thread hands its story to its owner with mrmr_story_save() and
 * mrmr_story_restore().
 *
 * A layer returns an error or logs it, never both. Nothing here allocates, so every function is
 * safe after an allocation failed.
 */
#ifndef MRMR_BASE_ERR_H
#define MRMR_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mrmr_class {
    MRMR_CLASS_OK,
    MRMR_CLASS_ABSENT,      /* the thing is not there, and we are sure of it */
    MRMR_CLASS_UNAVAILABLE, /* the drive or server did not answer: nothing is known about the thing
                             */
    MRMR_CLASS_CORRUPT,     /* it is there and it is wrong */
    MRMR_CLASS_SPACE,       /* no room, quota, or too many of something, on a drive */
    MRMR_CLASS_DENIED,      /* permissions, a read-only file system */
    MRMR_CLASS_CONFLICT,    /* it exists already, changed underneath, is busy or diverged */
    MRMR_CLASS_INVALID,     /* the caller's or the user's input makes no sense */
    MRMR_CLASS_UNSUPPORTED, /* this drive, server or build cannot do it */
    MRMR_CLASS_CANCELLED,   /* the user interrupted it */
    MRMR_CLASS_MEMORY, /* this process or machine has no more memory, or descriptors: no drive's doing */
    MRMR_CLASS_INTERNAL, /* a broken invariant of ours */
};

/* The codes. The high byte is the class, so that the class can never disagree with the code. */
typedef enum mrmr_err {
    MRMR_OK = 0,

    MRMR_ABSENT = MRMR_CLASS_ABSENT << 8,
    MRMR_NO_DRIVE,  /* the drive is not known, or its root is not there */
    MRMR_NO_STRIPE, /* the catalog knows no such stripe (any more) */
    MRMR_NO_ATTR,   /* the file is there, and has no such extended attribute */

    MRMR_UNAVAILABLE = MRMR_CLASS_UNAVAILABLE << 8,
    MRMR_IO,      /* EIO and its kin: the medium failed */
    MRMR_OFFLINE, /* the drive is away or was taken out of service */
    MRMR_TIMEOUT,
    MRMR_REFUSED, /* an errno without a code here (a key that is not there, a name that the file system does not take): this one thing
                     cannot be had, and that says nothing of the medium */

    MRMR_CORRUPT = MRMR_CLASS_CORRUPT << 8,
    MRMR_DIGEST,    /* bytes do not match their recorded digest */
    MRMR_FORMAT,    /* a file of ours does not parse or breaks its bounds */
    MRMR_TRUNCATED, /* shorter than it must be */
    MRMR_LOST,      /* more erasures than rows: these bytes cannot be recovered */

    MRMR_SPACE = MRMR_CLASS_SPACE << 8,
    MRMR_TOO_LARGE,       /* EFBIG: no file may be that large there, whatever room there is */
    MRMR_VALUE_TOO_LARGE, /* E2BIG: nor an extended attribute */

    MRMR_DENIED = MRMR_CLASS_DENIED << 8,
    MRMR_READONLY,

    MRMR_CONFLICT = MRMR_CLASS_CONFLICT << 8,
    MRMR_EXISTS,
    MRMR_CHANGED,  /* it changed while we looked at it */
    MRMR_DIVERGED, /* a drive's session is neither the recorded nor the intended one (I5) */
    MRMR_BUSY,     /* another process owns the pool, or somebody holds the thing */
    MRMR_HELD,     /* a hold stops this until the user says yes (I5) */

    MRMR_INVALID = MRMR_CLASS_INVALID << 8,
    MRMR_NAME_TOO_LONG,
    MRMR_NOT_DIR,
    MRMR_IS_DIR,
    MRMR_NOT_EMPTY,
    MRMR_LOOP, /* a symlink where none may be, or a path that leaves its root */

    MRMR_UNSUPPORTED = MRMR_CLASS_UNSUPPORTED << 8,
    MRMR_CROSS_DEVICE,
    MRMR_NEWER, /* made by a newer version of this program */

    MRMR_CANCELLED = MRMR_CLASS_CANCELLED << 8,
    MRMR_NOMEM = MRMR_CLASS_MEMORY << 8,
    MRMR_NO_DESCRIPTORS, /* more files are open than may be: EMFILE, ENFILE */
    MRMR_INTERNAL = MRMR_CLASS_INTERNAL << 8,
} mrmr_err;

static inline enum mrmr_class mrmr_class_of(mrmr_err err)
{
    return (enum mrmr_class)(err >> 8);
}

/* Nothing is known by it of what was asked for: it is asked again when there is more of it. */
static inline bool mrmr_ran_short(mrmr_err err)
{
    return mrmr_class_of(err) == MRMR_CLASS_MEMORY;
}

/* It is of the one thing that was asked for: the drive answers, and others may be had of it. */
static inline bool mrmr_of_one_thing(mrmr_err err)
{
    return err == MRMR_IO || err == MRMR_REFUSED;
}

/* The code's name in words, e.g. "no space left"; static storage. */
const char *mrmr_err_name(mrmr_err err);

/* The code nearest to an errno value; 0 gives MRMR_OK, the unknown MRMR_REFUSED. */
mrmr_err mrmr_err_from_errno(int err);

/* The errno nearest to a code, for fuse/. */
int mrmr_err_to_errno(mrmr_err err);

struct mrmr_story {
    mrmr_err err;
    int foreign; /* errno, or a library's own code; 0 if there is none */
    char drive[64];
    char stripe[40];
    char op[32];     /* what was being done: "read", "make row" */
    char path[1024]; /* relative to the drive; cut in the middle if longer */
    char text[512];  /* the cause in words */
    char hint[256];  /* the next step in words */
};

/* Start a new story for this thread and return err, which is not MRMR_OK (that would become
 * MRMR_INTERNAL). fmt may be NULL. A macro, so that compilers see that the result is never 0. */
#define mrmr_fail(err, ...)                                                                        \
    ({                                                                                             \
        mrmr_err mrmr_failed_ = (err);                                                             \
        mrmr_story_start(mrmr_failed_, __VA_ARGS__);                                               \
        mrmr_failed_ ? mrmr_failed_ : MRMR_INTERNAL;                                               \
    })

/* The same from the errno of a system call that just failed. */
static inline mrmr_err mrmr_fail_errno(int err, const char *op, const char *path);

/* Out of memory; `return mrmr_nomem();` */
static inline mrmr_err mrmr_nomem(void);

/* Add to this thread's story where it has a gap; each returns err so that it can end a return
 * statement. With MRMR_OK they do nothing. */
static inline mrmr_err mrmr_err_drive(mrmr_err err, const char *drive);
static inline mrmr_err mrmr_err_path(mrmr_err err, const char *path);
static inline mrmr_err mrmr_err_stripe(mrmr_err err, const char *stripe);
static inline mrmr_err mrmr_err_op(mrmr_err err, const char *op);
#define mrmr_err_hint(err, ...)                                                                    \
    ({                                                                                             \
        mrmr_err mrmr_hinted_ = (err);                                                             \
        mrmr_story_hint(mrmr_hinted_, __VA_ARGS__);                                                \
        mrmr_hinted_;                                                                              \
    })

/* This thread's story; valid until its next failure. */
const struct mrmr_story *mrmr_story_get(void);
void mrmr_story_save(struct mrmr_story *ret_story);
mrmr_err mrmr_story_restore(const struct mrmr_story *story);

/* One or two lines for a person: thing, cause, next step; control characters in names are escaped.
 * Returns buf. */
const char *mrmr_story_print(const struct mrmr_story *story, char *buf, size_t size);

/* --- What the inline functions and macros above are made of; call those. --- */

enum mrmr_story_field {
    MRMR_STORY_DRIVE,
    MRMR_STORY_PATH,
    MRMR_STORY_STRIPE,
    MRMR_STORY_OP,
};
void mrmr_story_start(mrmr_err err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void mrmr_story_start_errno(mrmr_err err, int foreign, const char *op, const char *path);
void mrmr_story_fill(mrmr_err err, enum mrmr_story_field field, const char *text);
void mrmr_story_hint(mrmr_err err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline mrmr_err mrmr_fail_errno(int err, const char *op, const char *path)
{
    mrmr_err code = mrmr_err_from_errno(err);
    code = code ? code : MRMR_IO;
    mrmr_story_start_errno(code, err, op, path);
    return code;
}

static inline mrmr_err mrmr_nomem(void)
{
    return mrmr_fail(MRMR_NOMEM, NULL);
}

static inline mrmr_err mrmr_err_drive(mrmr_err err, const char *drive)
{
    mrmr_story_fill(err, MRMR_STORY_DRIVE, drive);
    return err;
}

static inline mrmr_err mrmr_err_path(mrmr_err err, const char *path)
{
    mrmr_story_fill(err, MRMR_STORY_PATH, path);
    return err;
}

static inline mrmr_err mrmr_err_stripe(mrmr_err err, const char *stripe)
{
    mrmr_story_fill(err, MRMR_STORY_STRIPE, stripe);
    return err;
}

static inline mrmr_err mrmr_err_op(mrmr_err err, const char *op)
{
    mrmr_story_fill(err, MRMR_STORY_OP, op);
    return err;
}

#endif
