/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The file `noted` in the pool's folder, and `noted.cut`, which it becomes: text, a line for each note.
 *
 *     CHECK TIME WARNING KIND DRIVE STRIPE TEXT
 *
 *     3f0c…    1764425102000000000 ! damage-found red 0b8e…2c51 %27f1%27%20on%20drive%20red…
 *
 * The fields are percent-encoded (base/text.h), with one space between two. CHECK: the first 8 bytes of
 * BLAKE2b-256 of what follows the space after it, in hex. TIME: ns since 1970. WARNING: `!`, else `-`.
 * STRIPE: its uuid. `%` stands for a field that is empty.
 *
 * Each line has a line end before it, too: one that was torn spoils none but itself. Who reads leaves
 * out lines that are empty, and those that are not right.
 */
#ifndef MRMR_POOL_NOTED_FORMAT_H
#define MRMR_POOL_NOTED_FORMAT_H

#define NOTED_NAME "noted"
#define NOTED_CUT "noted.cut"
#define NOTED_NONE "%"

enum {
    NOTED_CHECK = 8,        /* bytes */
    NOTED_TEXT_MOST = 1536, /* of a text, before it is encoded; longer ones are cut */
    NOTED_MOST = 1 << 20,   /* bytes of the file beyond which nothing is added */
    NOTED_READ_MOST = 2 * NOTED_MOST
};

#endif
