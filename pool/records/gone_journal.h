/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Inside of gone.c, gone_journal.c and gone_compact.c: the table of the records, and the journal that
 * it is read from. All with the lock of struct pool_gone held; what writes, with that of the journal, too.
 */
#ifndef MRMR_POOL_GONE_JOURNAL_H
#define MRMR_POOL_GONE_JOURNAL_H

#include "pool/records/gone.h"

#include <string.h>

#define GONE_NAME "gone"

struct gone_entry {
    struct gone_entry *next;    /* in its bucket, by drive and path: the latest first */
    struct gone_entry *next_id; /* likewise, by id */
    struct pool_gone_record record;
    uint32_t length; /* in the journal */
    bool dropped;    /* it is in no bucket any more */
    bool begun;      /* what it asks for may be on the drive */
    char path[];
};

struct pool_gone {
    int dirfd, lockfd; /* lockfd -1: nothing is changed */
    pthread_mutex_t applying;
    _Atomic size_t n; /* live, as it was when the journal was read whole */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    int fd;          /* of the journal that was read; -1: there was none */
    uint64_t at;     /* behind the last whole record of it */
    uint64_t seen;   /* its size when it was read */
    uint64_t base;   /* its size when it was read first, or was replaced */
    bool told;       /* that there is no room for more */
    uint64_t failed; /* its size when it could not be written anew; 0: it could */
    uint64_t stamp;  /* another one whenever there may be other records */
    uint64_t dead,
        maybe; /* bytes of it: marks, and what was dropped; SETs after which there are others */
    struct gone_entry **entry; /* in order */
    size_t entries, room;
    size_t live; /* of these: not dropped */
    struct gone_entry **bucket, **by_id;
    size_t buckets;
};

/* --- gone_journal.c --- */

/* The latest one of its bucket; there may be others in it. */
struct gone_entry *gone_first(const struct pool_gone *gone, int64_t drive, const char *path);
size_t gone_bucket(const struct pool_gone *gone, int64_t drive, const char *path);
struct gone_entry *gone_by_id(const struct pool_gone *gone, uint64_t id);
void gone_table_clear(struct pool_gone *gone);
void gone_table_free(struct pool_gone *gone);

mrmr_err gone_refresh(struct pool_gone *gone);
mrmr_err gone_record_append(const struct pool_gone_record *record, struct mrmr_bytes *bytes);
enum gone_mark { GONE_OVER, GONE_DROPPED, GONE_BEGUN };
mrmr_err gone_marks_append(
    enum gone_mark mark, const uint64_t ids[], size_t n, struct mrmr_bytes *bytes);
mrmr_err gone_full(void); /* MRMR_SPACE, with its story */
/* What marks say of the records that are written anew. */
mrmr_err gone_begun_append(const struct pool_gone *gone, struct mrmr_bytes *bytes);
/* Durable, and in the table, on return. MRMR_SPACE: it would be longer than `most` then. */
mrmr_err gone_append(struct pool_gone *gone, const struct mrmr_bytes *bytes, uint64_t most);
/* The journal has these records from now on. */
mrmr_err gone_replace(struct pool_gone *gone, const struct mrmr_bytes *bytes);

/* --- gone_compact.c --- */

/* It is worth while to write it anew, since enough of it says nothing. full: there is no room. */
bool gone_compact_pays(const struct pool_gone *gone, bool full);
/* Without what says nothing any more. */
mrmr_err gone_compact(struct pool_gone *gone);

/* A record of what lies at this path in the catalog. */
static inline bool gone_is_at(
    const struct gone_entry *entry, enum pool_gone_kind kind, int64_t drive, const char *path)
{
    return entry->record.kind == kind && entry->record.drive == drive &&
           strcmp(entry->path, path) == 0;
}

#endif
