/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The catalog: what the pool knows about drives, files and stripes, in one SQLite database (WAL,
 * synchronous=FULL).
 *
 * The catalog never reads a drive and has no opinion: the pool decides, the catalog records, all or
 * nothing.
 *
 * Threads. One connection behind one mutex; every call takes it, so any thread may call anything. A
 * transaction (meta_begin … meta_commit) belongs to the process, not to a thread: calls of other
 * threads in between become part of it. Who begins is therefore the job's owner, and workers only
 * read or add to it. Callbacks run under the mutex: they must not call meta again unless a function
 * says they may.
 *
 * Errors. MRMR_ABSENT: no such row. MRMR_NEWER: the catalog was made by a newer program.
 * MRMR_READONLY, MRMR_SPACE: the file system's word. MRMR_CORRUPT: SQLite says the file is damaged,
 * or a row breaks the schema's bounds (hint: recover). MRMR_BUSY: another process holds it. After a
 * failed write inside a transaction the transaction is sticky-failed: every further write and the
 * commit return the same error until meta_rollback. A refusal (MRMR_ABSENT, MRMR_INVALID,
 * MRMR_EXISTS, MRMR_CHANGED, MRMR_BUSY …) has written nothing, and the transaction goes on.
 *
 * Crash argument. SQLite's: a transaction is in the catalog wholly or not at all, and when
 * meta_commit has returned it stays.
 *
 * Units: bytes, leaves of META_LEAF bytes, nanoseconds since 1970. Ids are positive and never
 * reused.
 */
#ifndef MRMR_META_META_H
#define MRMR_META_META_H

#include "base/bytes.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/uuid.h"

#define META_LEAF (UINT64_C(1) << 20)
#define META_ROWS_MAX 8
#define META_SLOTS_MAX 248
#define META_NAME_MAX 255

struct meta;

/* --- The catalog itself --- */

enum meta_open_flag { META_CREATE = 1, META_READONLY = 2 };

/* path is the database file. Migrates an older schema in one transaction. READONLY works beside a
 * writer. */
mrmr_err meta_open(const char *path, unsigned flags, struct meta **ret_meta);
void meta_close(struct meta *meta); /* rolls back an open transaction; NULL-safe */

/* Begin does not nest (MRMR_INTERNAL), with meta_atomically neither. checkpoint = commit and begin
 * again, for long batches. In none of the three is a callback running. */
mrmr_err meta_begin(struct meta *meta);
mrmr_err meta_commit(struct meta *meta);
mrmr_err meta_checkpoint(struct meta *meta);
void meta_rollback(struct meta *meta);
/* begin … commit around fn, rollback if it fails. fn may call meta. */
mrmr_err meta_atomically(
    struct meta *meta, mrmr_err (*fn)(struct meta *meta, void *arg), void *arg);

/* A consistent copy of the whole catalog into a new file (SQLite's online backup). MRMR_EXISTS;
 * MRMR_BUSY inside a transaction. */
mrmr_err meta_copy_to(struct meta *meta, const char *path);
/* PRAGMA integrity_check, the schema itself, foreign rows, and what no constraint can say;
 * MRMR_CORRUPT with the first finding. */
mrmr_err meta_check(struct meta *meta);

/* --- Settings: text by key --- */

mrmr_err meta_get(
    struct meta *meta, const char *key, struct mrmr_bytes *value);        /* appends; MRMR_ABSENT */
mrmr_err meta_set(struct meta *meta, const char *key, const char *value); /* NULL removes */
/* This one is in no copy: it names a program, and who can write to a drive must not say what is run. */
#define META_SETTING_LOCAL "on-event"
typedef mrmr_err (*meta_setting_fn)(const char *key, const char *value, void *arg);
mrmr_err meta_settings(struct meta *meta, meta_setting_fn fn, void *arg); /* sorted by key */

/* --- Drives --- */

enum meta_role {
    META_ROLE_DATA,
    META_ROLE_REMOVABLE,
    META_ROLE_PARITY,
    META_ROLE_CACHE,
    META_ROLE_READONLY
};

enum meta_drive_state {
    META_DRIVE_ACTIVE,
    META_DRIVE_REBUILDING, /* a fresh root stands in; nodes in meta_todo are not on it yet */
    META_DRIVE_RETIRED, /* gone for good: its uuid is never taken back; holds its slot until nothing
                           refers to it */
};

struct meta_session { /* I5: number and random token, changing at every attach and detach */
    uint64_t number;
    uint8_t token[16];
};

struct meta_drive {
    int64_t id;
    struct mrmr_uuid uuid;
    char name[64];
    char *uri; /* owned */
    char domain[128];
    enum meta_role role;
    enum meta_drive_state state;
    uint8_t slot;
    uint64_t reserve;   /* bytes that rows and new files leave free */
    uint64_t max_usage; /* bytes of ours (rows) and of the user's at most; 0 = no limit */
    struct meta_session session, intended; /* intended.number 0 = none */
    char boot[40];         /* the boot in which it was attached and not detached since; "" = cleanly
                              detached */
    char fs_id[80];        /* drv_info's, at the last attach */
    uint64_t total, avail; /* as last seen */
    bool present;          /* as last seen; views reckon margins with it */
    int64_t seen;          /* when it was last present */
    int64_t scanned;       /* when its last complete scan ended; 0 = never */
    int64_t root;          /* node of its root folder */
    char hold[160];        /* why protection of this drive is held as it was; "" = no hold */
    struct mrmr_uuid replaces; /* the drive whose slot it took over; zero = none */
};

void meta_drive_free(struct meta_drive *drive); /* frees what it owns, not the struct */
/* Adds it with its root node; fills id and root. The slot must be free: MRMR_EXISTS for a used
 * name, uuid or slot. */
mrmr_err meta_drive_add(struct meta *meta, struct meta_drive *drive);
mrmr_err meta_drive_store(
    struct meta *meta, const struct meta_drive *drive); /* by id, all columns */
/* All of them, by id; *ret_drives is one allocation per drive's uri and one array:
 * meta_drives_free. */
mrmr_err meta_drives(struct meta *meta, struct meta_drive **ret_drives, size_t *ret_n);
void meta_drives_free(struct meta_drive *drives, size_t n);
/* MRMR_BUSY while a node, block, row or intent refers to it. */
mrmr_err meta_drive_remove(struct meta *meta, int64_t id);
/* A slot that was never used if there is one, else one that nothing refers to; MRMR_SPACE. */
mrmr_err meta_slot_free(struct meta *meta, uint8_t *ret_slot);
/* Remember for ever that this uuid was replaced or removed. */
mrmr_err meta_uuid_retire(struct meta *meta, const struct mrmr_uuid *uuid, const char *name);
mrmr_err meta_uuid_is_retired(struct meta *meta, const struct mrmr_uuid *uuid, bool *ret_retired);

/* --- Nodes and names --- */

/* A node is what an inode is: hard links are several names of one node. Values as
 * drivers/driver.h's enum drv_type. */
enum meta_type { META_REG, META_DIR, META_SYMLINK, META_FIFO, META_SOCKET, META_CHAR, META_BLOCK };

struct meta_node {
    int64_t id;
    int64_t drive;
    enum meta_type type;
    uint32_t mode, uid, gid, nlink;
    uint64_t size, ino, rdev;
    int64_t mtime, ctime, btime;
    uint64_t version; /* 1, 2, …: of the content */
    int64_t
        sequence; /* the catalog's own order of changes (I9); set by add and store. Several that one look at
                       * the drives found have the same (meta_sequence_share) */
    bool recheck; /* moved without being read: scrub looks at it first */
};

mrmr_err meta_node_add(
    struct meta *meta, struct meta_node *node, int64_t parent, const char *name); /* fills id */
mrmr_err meta_node_store(
    struct meta *meta, const struct meta_node *node); /* by id, all columns but id; new sequence */
mrmr_err meta_node_get(struct meta *meta, int64_t id, struct meta_node *ret_node);
/* Of two files of one path: a was changed later, by the catalog's order; of what one look found, by their times. */
static inline bool meta_node_newer(const struct meta_node *a, const struct meta_node *b)
{
    return a->sequence != b->sequence ? a->sequence > b->sequence : a->mtime > b->mtime;
}
/* From now on all that is added or stored has one sequence, until the other call: for whoever looks at all drives at once; what
 * was changed between two looks was changed in an order that nobody saw. through: else the next look goes on with it. */
void meta_sequence_share(struct meta *meta);
mrmr_err meta_sequence_shared(struct meta *meta, bool through);
/* Only the time of its last change and its number of names, which say nothing of what it is: its place in the order of
 * changes stays. */
mrmr_err meta_node_retime(struct meta *meta, int64_t node, int64_t ctime, uint32_t nlink);
/* By the monotonic clock: no times that a node has were seen later, whoever stored them. */
int64_t meta_nodes_stored(struct meta *meta);
/* As store, of what got its name since the last look: it is newer than what else this one finds. */
mrmr_err meta_node_store_came(struct meta *meta, const struct meta_node *node);
/* The nodes of a drive with this inode number, at most `most`. */
mrmr_err meta_node_by_ino(struct meta *meta, int64_t drive, uint64_t ino,
    struct meta_node *ret_nodes, size_t most, size_t *ret_n);
/* Removes the node, which must have no names and no children, its exposed ranges, attributes and
 * target. Its extents become META_GONE if they were LIVE, MISSING or SUSPECT, and are left without
 * a node. */
mrmr_err meta_node_remove(struct meta *meta, int64_t id);

mrmr_err meta_name_add(
    struct meta *meta, int64_t parent, const char *name, int64_t node); /* MRMR_EXISTS */
mrmr_err meta_name_remove(struct meta *meta, int64_t parent, const char *name);
mrmr_err meta_name_move(
    struct meta *meta, int64_t parent, const char *name, int64_t to_parent, const char *to_name);
mrmr_err meta_lookup(
    struct meta *meta, int64_t parent, const char *name, struct meta_node *ret_node);
/* path below a node ("" = the node itself). */
mrmr_err meta_lookup_path(
    struct meta *meta, int64_t root, const char *path, struct meta_node *ret_node);
/* One path of a node, relative to its drive's root (of a hard link the first by name order),
 * appended. */
mrmr_err meta_path(struct meta *meta, int64_t node, struct mrmr_bytes *path);
/* Every name of a node: fn(parent, name). */
typedef mrmr_err (*meta_name_fn)(int64_t parent, const char *name, void *arg);
mrmr_err meta_names(struct meta *meta, int64_t node, meta_name_fn fn, void *arg);

struct meta_child {
    const char *name; /* inside the same allocation */
    struct meta_node node;
};
/* A folder's children sorted by name (memcmp order): one allocation to free(). */
mrmr_err meta_children(
    struct meta *meta, int64_t parent, struct meta_child **ret_children, size_t *ret_n);

/* Nodes of a drive with id > after, by id, at most `most`; *ret_n 0 at the end. Parents are added
 * before children, but a moved folder may come after what lies in it. */
mrmr_err meta_nodes_after(struct meta *meta, int64_t drive, int64_t after,
    struct meta_node *ret_nodes, size_t most, size_t *ret_n);

/* A node's extended attributes as one blob that the pool encodes (NULL or size 0 removes), and a
 * symlink's target. */
mrmr_err meta_attr_set(struct meta *meta, int64_t node, const void *blob, size_t size);
mrmr_err meta_attr_get(
    struct meta *meta, int64_t node, struct mrmr_bytes *blob); /* none: appends nothing */
mrmr_err meta_target_set(struct meta *meta, int64_t node, const char *target);
mrmr_err meta_target_get(struct meta *meta, int64_t node, struct mrmr_bytes *target);

/* --- Staged changes of a scan --- */

/* I5: nothing that vanished or changed takes effect before it is judged. */

enum meta_change_kind {
    META_CHANGE_VANISHED, /* this name is not there any more */
    META_CHANGE_CHANGED,  /* this node's size or mtime differs: `now` is what was seen */
    META_CHANGE_RECHECK,  /* only its ctime or inode differs: read and compare */
    META_CHANGE_APPEARED, /* a new name whose inode the catalog knows as `node`: a move or a hard
                             link */
    META_CHANGE_HELD, /* judged suspicious: waits for the user (shown by status; survives the next
                         scan) */
};

struct meta_change {
    int64_t id;
    int64_t drive;
    enum meta_change_kind kind;
    int64_t node;
    int64_t parent; /* with name: the folder on this drive */
    char name[META_NAME_MAX + 1];
    struct meta_node now; /* what the scan saw (id, drive, version, sequence unused) */
};
mrmr_err meta_change_add(struct meta *meta,
    struct meta_change *change); /* fills id; one of a kind per (node, parent, name): replaces */
/* Changes of a drive and kind with id > after, by id. */
mrmr_err meta_changes_after(struct meta *meta, int64_t drive, enum meta_change_kind kind,
    int64_t after, struct meta_change *ret_changes, size_t most, size_t *ret_n);
mrmr_err meta_change_remove(struct meta *meta, int64_t id);
mrmr_err meta_changes_clear(struct meta *meta, int64_t drive, enum meta_change_kind kind);
mrmr_err meta_changes_count(
    struct meta *meta, int64_t drive, enum meta_change_kind kind, uint64_t *ret_n);
/* How many regular files of a drive lie below (or are) nodes with a VANISHED change and no APPEARED
 * one; and how many CHANGED regular files that have extents. fn is called once for each top folder
 * of the drive ("" = files in the root itself) that has any, with that folder's own totals. A file
 * with several names counts once, at the first of them, and as vanished when all of them are. fn
 * may be NULL. */
struct meta_loss {
    uint64_t files, vanished, changed;
};
typedef mrmr_err (*meta_loss_fn)(const char *top, const struct meta_loss *loss, void *arg);
mrmr_err meta_losses(
    struct meta *meta, int64_t drive, struct meta_loss *ret_all, meta_loss_fn fn, void *arg);

/* --- Exposed ranges --- */

/* Whole leaves [first, first + leaves) of a regular node that no stripe covers; the last leaf of a
 * file may be short. Ranges of a node never overlap; add merges with neighbours. since: when it was
 * found. */
struct meta_exposed {
    int64_t drive, node;
    uint64_t first, leaves, bytes;
    int64_t since;
};
mrmr_err meta_expose(struct meta *meta, const struct meta_exposed *range);
/* Remove [first, first+leaves) from a node's ranges, splitting them where needed. */
mrmr_err meta_unexpose(struct meta *meta, int64_t node, uint64_t first, uint64_t leaves);
/* Ranges of a drive after (node, first), in that order: the order in which the drive was scanned.
 */
mrmr_err meta_exposed_after(struct meta *meta, int64_t drive, int64_t node, uint64_t first,
    struct meta_exposed *ret_ranges, size_t most, size_t *ret_n);
/* Those of them with oldest <= since <= newest. Costs a walk over all that follow. */
mrmr_err meta_exposed_aged(struct meta *meta, int64_t drive, int64_t oldest, int64_t newest,
    int64_t node, uint64_t first, struct meta_exposed *ret_ranges, size_t most, size_t *ret_n);
/* The least since >= from of a drive's ranges. Costs a walk over all of them. */
mrmr_err meta_exposed_oldest(
    struct meta *meta, int64_t drive, int64_t from, bool *ret_any, int64_t *ret_since);
mrmr_err meta_exposed_of(struct meta *meta, int64_t node, struct meta_exposed **ret_ranges,
    size_t *ret_n); /* free(); NULL if there are none */
struct meta_exposed_total {
    uint64_t bytes, files;
    int64_t oldest; /* since; 0 if there are none */
};
mrmr_err meta_exposed_total(
    struct meta *meta, int64_t drive, struct meta_exposed_total *ret_total); /* drive 0 = all */

/* --- Stripes --- */

enum meta_extent_state {
    META_LIVE,    /* wanted, and in place on its drive as far as anyone knows */
    META_MISSING, /* wanted, but its bytes are not there: rotten, or held after they vanished or
                     changed */
    META_STALE, /* not wanted any more, and its bytes can still be read (a prefix in place, a moved
                   file, retained) */
    META_GONE,  /* not wanted any more, and its bytes are gone: an erasure until the stripe is
                   encoded anew */
    META_SUSPECT, /* its file changed: to be compared leaf by leaf; an erasure until then */
};

/* A run of whole leaves of one node, at `place` in its drive's block. bytes ≤ leaves · META_LEAF;
 * only the last leaf may be short. */
struct meta_extent {
    int64_t id;                  /* 0 = new */
    int64_t stripe, drive, node; /* node 0: the file is gone from the catalog */
    uint64_t place, first, leaves, bytes;
    uint64_t version; /* of the node, when this was coded */
    enum meta_extent_state state;
    struct mrmr_digest *digests; /* leaves of them; inside the owner's allocation */
};

struct meta_block {
    int64_t drive;
    uint8_t slot;
    uint64_t length; /* bytes from the block's start to the end of its last extent */
    size_t extents;  /* its extents are stripe->extents[first_extent …], sorted by place */
    size_t first_extent;
};

enum meta_row_state {
    META_ROW_OK,
    META_ROW_DAMAGED,
    META_ROW_LOST /* its drive is retired, or the file is gone */
};

struct meta_row {
    uint8_t index;
    int64_t drive;
    enum meta_row_state state;
    uint64_t file_size; /* bytes of the parity file */
};

/* The whole image of a stripe: loaded, changed in memory, stored back. */
struct meta_stripe {
    int64_t id; /* 0 = new */
    struct mrmr_uuid uuid;
    uint64_t generation; /* 1, 2, … */
    uint64_t length;     /* of the longest block: the payload's length */
    int64_t made, scrubbed;
    size_t blocks, rows, extents;
    struct meta_block *block;   /* sorted by slot */
    struct meta_row *row;       /* sorted by index */
    struct meta_extent *extent; /* by block, then place */
    void *memory;               /* everything above; owned */
};
void meta_stripe_free(struct meta_stripe *stripe); /* frees memory, zeroes; NULL-safe members */
mrmr_err meta_stripe_load(struct meta *meta, int64_t id, struct meta_stripe *ret_stripe);
mrmr_err meta_stripe_by_uuid(struct meta *meta, const struct mrmr_uuid *uuid, int64_t *ret_id);

/* A range of a file that the stripe's new extents cover, as of the version that was read: the store
 * fails with MRMR_CHANGED, and writes nothing, if the node is gone, has another version, the range
 * is not exposed, or another claim has a leaf of it (I4). */
struct meta_claim {
    int64_t node;
    uint64_t version, first, leaves;
};
/* Replace the catalog's image of the stripe by this one (insert if id is 0, filling id): blocks,
 * rows, extents; and take the claims out of the exposed ranges. `expected_generation` is the
 * generation that the image was derived from (0 for a new stripe): MRMR_CHANGED if the catalog has
 * another. Extents get their ids anew. `stripe` may have been assembled by hand (memory NULL). */
mrmr_err meta_stripe_store(struct meta *meta, struct meta_stripe *stripe,
    uint64_t expected_generation, const struct meta_claim claims[], size_t nclaims);
mrmr_err meta_stripe_remove(struct meta *meta, int64_t id); /* with blocks, rows and extents */
/* META_SCRUB_FIRST: a reader found something wrong there, and nobody has looked after it yet. */
#define META_SCRUB_FIRST (-1)
mrmr_err meta_stripe_scrubbed(struct meta *meta, int64_t id, int64_t when);
mrmr_err meta_row_store(
    struct meta *meta, int64_t stripe, const struct meta_row *row); /* insert or replace by index */
mrmr_err meta_row_remove(struct meta *meta, int64_t stripe, uint8_t index);

/* Extents of a node by first leaf, in every state: one allocation to free(). */
mrmr_err meta_extents_of(
    struct meta *meta, int64_t node, struct meta_extent **ret_extents, size_t *ret_n);
/* Extents of a drive with id > after, by id, in every state, at most `most`: one allocation to
 * free(); *ret_n 0 at the end. */
mrmr_err meta_extents_after(struct meta *meta, int64_t drive, int64_t after,
    struct meta_extent **ret_extents, size_t most, size_t *ret_n);
/* STALE ones alone, of those that begin in [from, to). */
mrmr_err meta_extents_stale(struct meta *meta, int64_t node, uint64_t from, uint64_t to,
    struct meta_extent **ret_extents, size_t *ret_n);
/* The LIVE or MISSING extent that covers a leaf of a node; MRMR_ABSENT if it is exposed.
 * free(*ret_extent). */
mrmr_err meta_extent_at(
    struct meta *meta, int64_t node, uint64_t leaf, struct meta_extent **ret_extent);
/* All extents of a node with state `from` get `to`; for whole files that changed, vanished, or are
 * as they were after all. */
mrmr_err meta_extents_mark(
    struct meta *meta, int64_t node, enum meta_extent_state from, enum meta_extent_state to);
/* The verdict on one extent, leaf by leaf: runs of leaves with their new state, covering it
 * exactly; splits it where they differ. */
struct meta_verdict {
    uint64_t leaves;
    enum meta_extent_state state;
    bool apart; /* left without a node: what the node has there now is another thing */
};
mrmr_err meta_extent_judge(
    struct meta *meta, int64_t extent, const struct meta_verdict runs[], size_t n);

/* Nodes of a drive with a SUSPECT extent and id > after, by id. */
mrmr_err meta_suspects_after(struct meta *meta, int64_t drive, int64_t after, int64_t *ret_nodes,
    size_t most, size_t *ret_n);

/* What the planner and the jobs need to know about each stripe without its extents. */
struct meta_stripe_brief {
    int64_t id;
    struct mrmr_uuid uuid;
    uint64_t generation, length;
    int64_t scrubbed;
    uint32_t blocks, rows; /* members that follow */
    uint32_t dirty_blocks; /* blocks with an extent that is MISSING, GONE or SUSPECT */
    uint32_t unwanted;     /* extents that are STALE or GONE */
    uint32_t wanted;       /* extents that are LIVE or MISSING or SUSPECT */
    struct meta_brief_block {
        int64_t drive;
        uint64_t length;
        bool dirty;
    } block[META_SLOTS_MAX];
    struct meta_row row[META_ROWS_MAX];
};
/* Every stripe by id; fn may not call meta. The brief is valid during the call. */
typedef mrmr_err (*meta_brief_fn)(const struct meta_stripe_brief *brief, void *arg);
mrmr_err meta_stripes(struct meta *meta, meta_brief_fn fn, void *arg);
mrmr_err meta_stripe_brief_get(struct meta *meta, int64_t id, struct meta_stripe_brief *ret_brief);
/* Ids > after of stripes that need work: an extent that is not LIVE (SUSPECT excepted: compare
 * comes first), a row not OK, or a number of rows other than `rows`. */
mrmr_err meta_stripes_to_mend(
    struct meta *meta, int64_t after, unsigned rows, int64_t *ret_ids, size_t most, size_t *ret_n);
/* Ids of stripes scrubbed longest ago first, META_SCRUB_FIRST before all, then by id: those with (scrubbed, id) > the given pair
 * and scrubbed < before. */
mrmr_err meta_stripes_to_scrub(struct meta *meta, int64_t scrubbed, int64_t id, int64_t before,
    int64_t *ret_ids, size_t most, size_t *ret_n);
mrmr_err meta_stripes_of_drive(struct meta *meta, int64_t drive, int64_t after, int64_t *ret_ids,
    size_t most, size_t *ret_n); /* block or row on it */
/* extents and extent_bytes are in every state; unwanted_bytes is the STALE and GONE part of the
 * latter. */
struct meta_totals {
    uint64_t nodes, files, file_bytes, stripes, extents, extent_bytes, row_bytes, unwanted_bytes;
};
mrmr_err meta_totals(
    struct meta *meta, int64_t drive, struct meta_totals *ret_totals); /* drive 0 = all */
/* Bytes of the catalog itself, without its log: pages by their size, those that are free too. */
mrmr_err meta_size(struct meta *meta, uint64_t *ret_bytes);

/* --- Intents: parity files that are being made, or are to be dropped (I2) --- */

/* MAKE: written before the file is named; whatever file it names is not counted on until the commit
 * that removes the intent. DROP: written by the commit that superseded the file; removed when the
 * file is. One on an absent drive is an obsolete row. */
enum meta_intent_kind { META_INTENT_MAKE, META_INTENT_DROP };
struct meta_intent {
    int64_t id;
    enum meta_intent_kind kind;
    int64_t drive;
    char file[96]; /* path relative to the drive's .mrmr folder */
};
mrmr_err meta_intent_add(struct meta *meta, struct meta_intent *intent); /* fills id */
mrmr_err meta_intent_remove(struct meta *meta, int64_t id);
mrmr_err meta_intents_after(struct meta *meta, int64_t drive, int64_t after,
    struct meta_intent *ret_intents, size_t most, size_t *ret_n); /* drive 0 = all */
/* The last ones that were added for files in [from, before), in the order of bytes. */
mrmr_err meta_intents_between(struct meta *meta, const char *from, const char *before,
    struct meta_intent *ret_intents, size_t most, size_t *ret_n);

/* --- To do: nodes that a resumable job has still to handle, by job name ("rebuild") --- */
mrmr_err meta_todo_add_drive(struct meta *meta, const char *job, int64_t drive,
    uint64_t *ret_n); /* all nodes of a drive but its root */
mrmr_err meta_todo_add(struct meta *meta, const char *job, int64_t node);
mrmr_err meta_todo_done(struct meta *meta, const char *job, int64_t node);
/* In tree order: a folder before what lies in it is not promised; by node id > after. */
mrmr_err meta_todo_after(struct meta *meta, const char *job, int64_t after, int64_t *ret_nodes,
    size_t most, size_t *ret_n);
mrmr_err meta_todo_has(struct meta *meta, const char *job, int64_t node, bool *ret_has);
/* drive 0 = all */
mrmr_err meta_todo_totals(
    struct meta *meta, const char *job, int64_t drive, uint64_t *ret_nodes, uint64_t *ret_bytes);

/* --- Events --- */

struct meta_event {
    int64_t id;
    int64_t time;
    char kind[32];  /* "drive-added", "damage-found", "hold", … */
    bool warning;   /* needs a look */
    char drive[64]; /* its name; "" = none */
    char *text;     /* owned by whoever holds the struct; in fn valid during the call */
};
mrmr_err meta_event_add(struct meta *meta, const struct meta_event *event);
typedef mrmr_err (*meta_event_fn)(const struct meta_event *event, void *arg);
mrmr_err meta_events(struct meta *meta, int64_t after, size_t last, meta_event_fn fn,
    void *arg); /* the last n (0: all) with id > after, oldest first */
mrmr_err meta_events_trim(struct meta *meta, size_t keep);

/* --- Copies of the catalog as SQL text (I8) ---
 *
 * A base is the whole catalog, a log leads from one copy's state to the next one's; each is one
 * transaction, from "BEGIN;" to "COMMIT;", and `cat base log log … | sqlite3 catalog.sqlite` needs
 * nothing of ours. docs/FORMAT.md describes the text. Copies are numbered: sequence. */

struct meta_text; /* the text of a copy; belongs to one thread at a time */
typedef mrmr_err (*meta_text_fn)(const char *data, size_t size, void *arg);

/* From now on note what changes, so that a log can be made of it. Once, after meta_open, before any
 * other thread has the catalog. Without it meta_copy_* are MRMR_INTERNAL. Costs a few µs for each
 * changed row, and a few MiB.  */
mrmr_err meta_journal_start(struct meta *meta);

struct meta_copy_state {
    int64_t sequence; /* of the last copy; 0: there was none */
    bool whole;       /* every change since is known: a log can be made. Else a base is needed */
    bool changed; /* something that matters changed since. Events, and what a drive was last seen
                     with (session, space, presence, times), do not */
};
/* Both: MRMR_BUSY inside a transaction. */
mrmr_err meta_copy_state(struct meta *meta, struct meta_copy_state *ret_state);
/* The catalog as of now becomes the copy `sequence`: a log from the last copy to it (only if whole,
 * and only for a greater sequence than the last), and a base. Either may be NULL; with the last
 * copy's own sequence a base alone, if nothing changed since (else MRMR_CHANGED). Durable in the
 * catalog before it returns: copies that do not reach their drives end before this sequence. After
 * a failure the next copy is a base. Text and catalog are read later, by meta_text_read, whatever
 * is committed meanwhile; a base holds back the write-ahead log until it is freed. */
mrmr_err meta_copy_cut(
    struct meta *meta, int64_t sequence, struct meta_text **ret_log, struct meta_text **ret_base);
/* Pieces of any size, in order. No lock is held while fn runs. A text may be read again. */
mrmr_err meta_text_read(struct meta_text *text, meta_text_fn fn, void *arg);
void meta_text_free(struct meta_text *text); /* NULL-safe */

/* A catalog anew from such text, which may be hostile (I9): nothing but the statements that copies
 * are made of is taken, each parsed and bound anew, and the schema is our own. It comes into being
 * under a temporary name (path + "~", replaced if it is there). */
struct meta_restore;
mrmr_err meta_restore_create(const char *path, struct meta_restore **ret_restore);
/* One copy: begin, its lines without line ends, end. end keeps what the copy brought:
 * MRMR_TRUNCATED if its COMMIT is missing. undo takes back an unfinished copy; after a failure only
 * undo, or destroy, may follow. MRMR_FORMAT for what is no copy or does not fit, MRMR_NEWER. */
#define META_RESTORE_LINE (136u << 20) /* no line is longer: the longest value, in hex */
mrmr_err meta_restore_begin(struct meta_restore *restore, bool base);
mrmr_err meta_restore_line(struct meta_restore *restore, const char *line, size_t size);
mrmr_err meta_restore_end(struct meta_restore *restore);
void meta_restore_undo(struct meta_restore *restore);
/* Check it (meta_check) and give it its name, durably: MRMR_EXISTS. The next copy that is made of
 * it is a base. warning (may be NULL) goes into it as an event. */
mrmr_err meta_restore_finish(struct meta_restore *restore, const char *warning);
/* Between copies: what it says of a setting is not taken over. *ret_had: it said something. */
mrmr_err meta_restore_unset(struct meta_restore *restore, const char *key, bool *ret_had);
void meta_restore_destroy(
    struct meta_restore *restore); /* NULL-safe; without finish nothing stays */

#endif
