/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The journal without what says nothing any more: marks and what was dropped, and attributes of a
 * folder for which a later record has other values.
 *
 * Attributes are set in the order in which they were asked for (later_set.c), so of two records that
 * set the same ones the earlier one need not be there, if the later one takes over what it says of the
 * values that were there before: by these it is judged whether somebody changed the folder since. A
 * record that sets a mode or an owner stays if an extended attribute was set between the two: that may
 * have needed it.
 *
 * Crash argument. An earlier record's values may be on the drive before it is over, and a later one that
 * had taken its place would take them, after a cut, for what somebody set there since. So whoever sets
 * attributes marks their records as begun first, which is durable before anything is set, and reads them
 * once more after that (pool_gone_begin): what was made one with a later record before that has gone, and is
 * not set; what has the mark stays as it is, and the later one with the values that it had, until
 * it is over, through however many cuts. By the replace of the journal (gone.h) either both of two
 * records are there or the one that says what both said, and with those that have begun their marks.
 */
#include "pool/records/gone_format.h"
#include "pool/records/gone_journal.h"
#include "pool/records/later.h"

#include <string.h>

/* How many later records of a bucket are looked at for each. */
enum { LATER_MOST = 64, WORTH_LEAST = 32 << 10 };

static uint64_t more(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* However often it is asked for, no more is written than twice what was added: either half of the journal is
 * dead, which it is not after that, or it has doubled since. One that could not be written anew, as in a
 * pool's folder that is full, is tried again when it has grown as much once more. */
bool gone_compact_pays(const struct pool_gone *gone, bool full)
{
    const uint64_t worth = more(WORTH_LEAST, gone->seen / 2);
    if (gone->failed &&
        gone->seen < gone->failed + more(WORTH_LEAST, gone->failed / (full ? 8 : 1)))
        return false;
    if (!gone->live)
        return gone->dead > 0;
    if (full)
        return gone->dead + gone->maybe > 0 && gone->seen > gone->base + gone->base / 8;
    return gone->dead > worth || (gone->dead + gone->maybe > worth && gone->seen >= 2 * gone->base);
}

/* --- attributes that were asked for again --- */

struct kept { /* of a bucket: the earliest first */
    struct kept *next;
    struct gone_entry *entry;
};

struct taken { /* what a record was before it took another one over */
    struct gone_entry *entry;
    struct pool_later_fixed fixed;
};

struct compacting {
    struct pool_gone *gone;
    struct taken *taken; /* one a record at most */
    size_t ntaken;
    struct kept **bucket; /* as many as the table has */
    struct kept *room;    /* one a record */
    size_t used;
    bool *drop; /* by entry */
};

static bool is_same(const struct pool_gone_record *a, const struct pool_gone_record *b)
{
    return a->drive == b->drive && a->type == b->type && a->ino == b->ino && a->btime == b->btime &&
           a->over == b->over && strcmp(a->path, b->path) == 0;
}

static bool says_all(const struct pool_later_set *later, const struct pool_later_set *set)
{
    return !(set->fixed.what & ~later->fixed.what) &&
           (set->fixed.xattr == POOL_LATER_NONE ||
               (later->fixed.xattr != POOL_LATER_NONE && strcmp(later->name, set->name) == 0));
}

/* What was there before the earlier one was there before the later one, too. */
static void take_over(
    struct compacting *c, struct gone_entry *later, const struct pool_later_set *set)
{
    struct pool_later_fixed fixed;
    memcpy(&fixed, later->record.extra, sizeof fixed);
    c->taken[c->ntaken++] = (struct taken){later, fixed};
    if (set->fixed.what & DRV_ATTR_MODE)
        fixed.was.mode = set->fixed.was.mode;
    if (set->fixed.what & DRV_ATTR_UID)
        fixed.was.uid = set->fixed.was.uid;
    if (set->fixed.what & DRV_ATTR_GID)
        fixed.was.gid = set->fixed.was.gid;
    if (set->fixed.what & DRV_ATTR_MTIME)
        fixed.was.mtime = set->fixed.was.mtime;
    if (set->fixed.xattr != POOL_LATER_NONE)
        memcpy(fixed.xattr_was, set->fixed.xattr_was, sizeof fixed.xattr_was);
    memcpy(later->path + strlen(later->path) + 1, &fixed, sizeof fixed);
}

/* The journal is as it was. */
static void give_back(struct compacting *c)
{
    while (c->ntaken > 0) {
        const struct taken *taken = &c->taken[--c->ntaken];
        memcpy(taken->entry->path + strlen(taken->entry->path) + 1, &taken->fixed,
            sizeof taken->fixed);
    }
}

/* A later record says all that this one says. */
static bool is_said_later(struct compacting *c, const struct kept *at, struct gone_entry *entry,
    const struct pool_later_set *set)
{
    const bool of_xattr = set->fixed.what == 0;
    for (unsigned i = 0; at && i < LATER_MOST; i++, at = at->next) {
        struct pool_later_set later;
        if (!is_same(&at->entry->record, &entry->record) ||
            !pool_later_set(&at->entry->record, &later))
            continue;
        if (says_all(&later, set)) {
            take_over(c, at->entry, set);
            return true;
        }
        if (later.fixed.xattr != POOL_LATER_NONE && !of_xattr)
            return false;
    }
    return false;
}

static void look_at(struct compacting *c, size_t i)
{
    struct gone_entry *entry = c->gone->entry[i];
    struct pool_later_set set;
    if (entry->dropped || !pool_later_set(&entry->record, &set))
        return;
    struct kept **bucket = &c->bucket[gone_bucket(c->gone, entry->record.drive, entry->path)];
    const bool begun = entry->begun && !entry->record.over;
    c->drop[i] = !begun && is_said_later(c, *bucket, entry, &set);
    if (c->drop[i])
        return;
    struct kept *kept = &c->room[c->used++];
    *kept = (struct kept){*bucket, entry};
    *bucket = kept;
}

/* --- writing it --- */

static mrmr_err compact(struct compacting *c)
{
    mrmr_autobytes struct mrmr_bytes bytes = MRMR_BYTES_INIT;
    struct pool_gone *gone = c->gone;
    for (size_t i = gone->entries; i-- > 0;)
        look_at(c, i);
    for (size_t i = 0; i < gone->entries; i++)
        if (!gone->entry[i]->dropped && !c->drop[i])
            MRMR_TRY(gone_record_append(&gone->entry[i]->record, &bytes));
    MRMR_TRY(gone_begun_append(gone, &bytes));
    return gone_replace(gone, &bytes);
}

mrmr_err gone_compact(struct pool_gone *gone)
{
    struct compacting c = {.gone = gone,
        .bucket = calloc(gone->buckets + 1, sizeof(struct kept *)),
        .room = calloc(gone->entries + 1, sizeof *c.room),
        .taken = calloc(gone->entries + 1, sizeof *c.taken),
        .drop = calloc(gone->entries + 1, sizeof *c.drop)};
    mrmr_err err = c.bucket && c.room && c.taken && c.drop ? compact(&c) : mrmr_nomem();
    if (err) {
        give_back(&c);
        gone->failed = gone->seen;
    }
    free(c.bucket);
    free(c.room);
    free(c.taken);
    free(c.drop);
    return err;
}
