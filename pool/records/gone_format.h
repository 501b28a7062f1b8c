/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The file `gone` in the pool's folder (gone.h): records, one after another, each at a multiple of
 * 8 bytes and of a length that is one. It never leaves its machine: numbers are as this machine has
 * them. A reader takes what has the magic, a length that fits and the right digest, and looks on from
 * 8 bytes further where it finds anything else: a torn record, or rot, hides no other.
 *
 * A format that changes takes another magic, or another kind of the second one: an old reader skips its
 * records, and shows names that were removed until their drives are back. To one that skips marks what
 * they are about waits still: whoever applies it again finds nothing there, as after a cut.
 */
#ifndef MRMR_POOL_GONE_FORMAT_H
#define MRMR_POOL_GONE_FORMAT_H

#include "base/digest.h"
#include <assert.h>

#define GONE_MAGIC UINT64_C(0x31656e6f67726d01)       /* "\1mrgone1" */
#define GONE_LATER_MAGIC UINT64_C(0x32656e6f67726d01) /* "\1mrgone2" */

enum { GONE_PATH_MOST = 4096, GONE_EXTRA_MOST = 1 << 18, GONE_MOST = 256 << 20 };
/* Of the file; names and attributes are added no further than this. */
enum { GONE_LATER_MOST = GONE_MOST / 4 };

struct gone_header {
    uint64_t magic;
    uint8_t digest[MRMR_DIGEST_SIZE]; /* of the rest of the record */
    uint32_t length;                  /* of the record, with all that it has and up to 7 zeros */
    uint32_t path_size;               /* without a NUL */
    uint64_t id;                      /* random */
    int64_t drive;                    /* in the catalog */
    uint64_t size, ino;               /* the version that was removed, as the catalog had it */
    int64_t mtime,
        btime;     /* mtime of a mark: when it was made; and so of what is no removal, and over */
    uint32_t type; /* enum meta_type */
    uint32_t over; /* 1: it has been applied */
};
static_assert(sizeof(struct gone_header) == 104, "a record's header");

/* Kinds of records that say something of records before them: without a path, and followed by ids.
 * Begun: what they ask for may be on the drive. */
enum { GONE_MARK_OVER = 16, GONE_MARK_DROPPED = 17, GONE_MARK_BEGUN = 18 };

/* Between a record's header and its path, if it has the second magic. A removal has the first one if
 * the change time of what was removed is not known, or says nothing. */
struct gone_later {
    uint32_t kind;       /* enum pool_gone_kind, or a mark's */
    uint32_t extra_size; /* bytes after the path; of a removal: struct gone_removed; of what may
                            come late: struct gone_late */
};
static_assert(sizeof(struct gone_later) == 8, "what a later record has more");

struct gone_removed {
    int64_t ctime;
    uint64_t version; /* of the content, in the catalog */
};
static_assert(sizeof(struct gone_removed) == 16, "what a removal has after its path");

struct gone_late {
    uint32_t what; /* enum pool_gone_late */
    uint32_t zero;
    int64_t ctime; /* of a copy; 0: not known */
};
static_assert(
    sizeof(struct gone_late) == 16, "what a record of what comes late has after its path");

#endif
