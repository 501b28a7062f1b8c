/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Events of those who do not own the pool: a mount, `mrmr cat`. Only the owner writes the catalog, so they note them
 * in a file of the pool's folder (noted_format.h), where `events` and `status` see them at once. The next sync or scrub
 * takes them into the catalog's events, and tells of them.
 *
 * A note may be of a stripe in which something was found wrong (rot.h). Whoever takes it in marks that stripe: it is the first that scrub
 * looks at (META_SCRUB_FIRST), and status tells of it until one has.
 *
 * Rate. A process notes the same thing once: of a stripe, once a drive and kind until it was scrubbed; else, once a text. What the
 * file has already is not added by another process either. So reading a rotten file again and again is
 * one event, and a removal that is tried every minute another one. (A process remembers the last
 * some thousand.)
 *
 * Bound. The file takes 1 MiB, some 3,000 notes; beyond that, and where it cannot be written, as in a folder that is full, a note
 * is lost, with a line in the log, as where the file cannot be read; it is tried anew when the same is found again, a minute
 * later at the earliest. Nothing fails by that, and nobody waits but for the folder's file system.
 *
 * Crash argument. (1) A note is one append. A cut leaves it, none of it, or a part, which is no line.
 * One that tells of what will not be found again is synced, and so is the folder, before whoever tells goes on; what was found
 * by reading is found again. (2) The owner renames `noted` to `noted.cut`, if none was left; a cut leaves either name. Who opened
 * the file before and writes to it after sees that its name is another one's by then, and notes it once
 * more. (3) The owner reads `noted.cut` and adds what is in it to the catalog in one transaction. Before its commit
 * nothing has changed. (4) It removes `noted.cut`. A cut between commit and this has the next one take the same
 * notes in once more: an event that is told twice says nothing wrong. The other order would lose them.
 *
 * Who reads without being the owner reads `noted`, then `noted.cut`, then the catalog: a note that
 * moves on is seen, and one that is seen twice is shown once.
 *
 * The file is believed for what people are told, and for which stripes are read first, and for nothing
 * else.
 *
 * Threads: any; the table of what was noted has a lock, under which nothing is read or written.
 * Errors: the pool's folder's, and the catalog's.
 */
#ifndef MRMR_POOL_NOTED_H
#define MRMR_POOL_NOTED_H

#include "pool/engine.h"

struct pool_note {
    int64_t time;
    bool warning;
    const char *kind;
    const char *drive; /* its name; "": none */
    const char *text;
    const struct mrmr_uuid *stripe; /* NULL: none */
    int64_t scrubbed;               /* the stripe, last */
};

mrmr_err pool_noted_create(struct pool *pool);
void pool_noted_destroy(struct pool *pool);

/* This process has noted it already; time, warning and text of one of a stripe do not matter. */
bool pool_noted_knows(struct pool *pool, const struct pool_note *note);
/* durable: it will not be found again. This thread's story stays. */
void pool_noted_add(struct pool *pool, const struct pool_note *note, bool durable);

struct pool_noted_list {
    struct pool_noted_entry {
        int64_t time;
        bool warning, has_stripe;
        char kind[32], drive[64];
        struct mrmr_uuid stripe;
        char *text;
    } * entry; /* by time, each once */
    size_t n;
};
/* What no owner has taken in yet. */
mrmr_err pool_noted_load(struct pool *pool, struct pool_noted_list *ret_list);
void pool_noted_list_free(struct pool_noted_list *list);
/* Into the catalog, and to the job's owner. POOL_OWN, and not inside a transaction. */
mrmr_err pool_noted_take(struct pool *pool, const struct pool_job *job);

/* --- noted_line.c, for noted.c --- */

/* False: none of the lines is of the same thing. It costs a look through the bytes. */
mrmr_err noted_may_have(
    const struct mrmr_bytes *bytes, const struct pool_note *note, bool *ret_may);
/* Appends the line, with the line ends before and after it. */
mrmr_err noted_line_make(const struct pool_note *note, struct mrmr_bytes *line);
/* Calls fn with each line that is right; entry->text is not set. The bytes are used up. */
typedef mrmr_err (*noted_line_fn)(
    const struct pool_noted_entry *entry, const char *text, void *arg);
mrmr_err noted_lines_each(struct mrmr_bytes *bytes, noted_line_fn fn, void *arg);

#endif
