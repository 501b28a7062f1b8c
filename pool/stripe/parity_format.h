/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The parity file, byte for byte; docs/FORMAT.md says the same in prose and is what others build
 * on.
 *
 *     payload    from byte 0, exactly as long as the stripe
 *     manifest   gzip members one after another; their text is one
 *     footer     POOL_FOOTER_SIZE bytes, the last of the file
 *
 * Versions. The last 16 bytes (version, footer size, magic) stay where they are for ever, and so
 * does the rule that the 32 bytes before them are the footer's own digest. A reader that finds a
 * whole footer of a version above its own answers MRMR_NEWER and leaves the file alone; within a
 * version every record and every field is known, and anything else is MRMR_FORMAT. Nothing is ever
 * added to a version: what an old reader would not understand gets a new one.
 *
 * Limits. A file that goes beyond one of them is refused before anything of that size is allocated,
 * and none is made.
 */
#ifndef MRMR_POOL_PARITY_FORMAT_H
#define MRMR_POOL_PARITY_FORMAT_H

#include "base/digest.h"
#include <assert.h>

#define POOL_PARITY_VERSION 1
#define POOL_PARITY_MAGIC "mrmr-row" /* 8 bytes, without the NUL */

/* Integers are little-endian. Digests of payload and manifest are those of mrmr_digest_tree over
 * leaves of 1 MiB; the footer's is the plain digest of its bytes with the field itself zero. */
struct pool_footer_disk {
    uint8_t payload_length[8]; /* a reader of another version does not look at these four … */
    uint8_t manifest_length[8];
    uint8_t payload_digest[32];
    uint8_t manifest_digest[32];
    uint8_t
        footer_digest[32]; /* … but at these four: 32 bytes before the tail, whatever the version */
    uint8_t version[4];
    uint8_t footer_size[4]; /* of the whole footer, this field and the magic included */
    uint8_t magic[8];
};

#define POOL_FOOTER_SIZE 128
#define POOL_FOOTER_SIZE_MAX 4096 /* of any version */
#define POOL_FOOTER_TAIL 16
#define POOL_FOOTER_SIZE_MIN (POOL_FOOTER_TAIL + MRMR_DIGEST_SIZE)
static_assert(sizeof(struct pool_footer_disk) == POOL_FOOTER_SIZE, "no padding");
static_assert(offsetof(struct pool_footer_disk, footer_digest) ==
                  POOL_FOOTER_SIZE - POOL_FOOTER_TAIL - MRMR_DIGEST_SIZE,
    "the digest stands before the tail");
static_assert(offsetof(struct pool_footer_disk, version) == POOL_FOOTER_SIZE - POOL_FOOTER_TAIL,
    "the tail is the last 16 bytes");
static_assert(sizeof POOL_PARITY_MAGIC - 1 == 8, "the magic has 8 bytes");

/* Of the payload; a stripe is never longer. */
#define POOL_PARITY_LENGTH_MAX (UINT64_C(1) << 32)

/* Of the manifest as it lies in the file, by the payload's length: 16 MiB and 16 bytes a payload
 * byte, 64 MiB at most. A leaf digest is not compressible and a file of 4 KiB costs about 80 bytes,
 * so real ones stay far below. */
#define POOL_MANIFEST_MAX (UINT64_C(64) << 20)
static inline uint64_t pool_manifest_limit(uint64_t payload_length)
{
    if (payload_length > POOL_MANIFEST_MAX)
        return POOL_MANIFEST_MAX;
    uint64_t limit = (UINT64_C(16) << 20) + 16 * payload_length;
    return limit < POOL_MANIFEST_MAX ? limit : POOL_MANIFEST_MAX;
}
/* Of its text: a bomb of more is not unpacked further. */
#define POOL_MANIFEST_TEXT_MAX (UINT64_C(256) << 20)
/* One line; the longest is that of a file with a path of POOL_MANIFEST_PATH_MAX bytes, all of them
 * encoded. */
#define POOL_MANIFEST_LINE_MAX 200000
#define POOL_MANIFEST_PATH_MAX 65535
/* Of one stripe: who packs stripes keeps to it. */
#define POOL_STRIPE_EXTENTS_MAX (1 << 18)
#define POOL_MANIFEST_SUPERSEDES_MAX 256
/* Of an original: keeps every sum of offsets within 63 bits. */
#define POOL_MANIFEST_FILE_MAX (UINT64_C(1) << 62)

#endif
