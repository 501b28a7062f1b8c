/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the files of the engine share: the pool's own state, and the calls between its modules. Not
 * for anyone outside pool/.
 *
 * Lock order: job, then pins, then drive; the catalog's own mutex is innermost. No drive I/O and no
 * callback under any of them.
 */
#ifndef MRMR_POOL_ENGINE_H
#define MRMR_POOL_ENGINE_H

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "drivers/driver.h"
#include "meta/meta.h"
#include "pool/pool.h"

#define POOL_DOT ".mrmr"                   /* the folder on a drive that is ours */
#define POOL_CATALOG_NAME "catalog.sqlite" /* in the pool's folder */
#define POOL_ON_EVENT                                                                              \
    META_SETTING_LOCAL /* in no copy of the catalog, and not taken over from one that has it */

/* --- drive.c: identity, sessions, space --- */

struct pool_drive {
    /* Set when the pool opens, changed by the owner of the pool between jobs only; but attach and
     * detach write the session, boot, fs_id and what was last seen of meta, and still_ours takes
     * presence down (why is set before). */
    struct meta_drive meta;
    _Atomic enum pool_presence presence;
    struct mrmr_story why; /* if not present */
    bool hung;             /* because a change hangs on it: hung.h */
    bool failing;          /* because it answered errors again and again: failing.h */
    unsigned errors_told;  /* drv_error_seconds of drv when that was last looked at; likewise */
    struct mrmr_uuid mark; /* if DETACHED: detached.h */
    bool mark_gone;        /* likewise: it was not there */
    struct drv *drv; /* NULL if the root could not be opened; open also when FOREIGN or DIVERGED */
    struct drv_info info;

    /* Held over attach, detach and slack changes, I/O included; taken before any other lock, and by
     * nobody else. */
    pthread_mutex_t gate;

    pthread_mutex_t lock;
    /* Guarded by lock. */
    bool attached; /* the session was changed for writing by this process */
    uint64_t errors;

    /* Who reads this drive for a new stripe, one after another (stripe.c). Guarded by
     * pool.turns_lock. */
    uint64_t turns_issued, turns_served;

    struct pool_drive *next_left;
    bool drv_shared; /* of those: drv is that of the one that took its place */
};

struct pool {
    char *dir;
    int dirfd, lockfd;
    int mountfd; /* of a mount whose tree was closed: it has its lock until all drives are let go of */
    enum pool_access access;
    struct mrmr_uuid uuid;
    struct meta *meta;

    struct pool_drive *_Atomic *drives; /* by catalog id, ascending */
    /* Changed by the owner between jobs; under the live tree it may grow at any time: whoever counts
     * on the number holds the gate for reading. There one drive may also get another in its place,
     * which is what the catalog has by now; the one before stays what it was, to the end. */
    _Atomic size_t ndrives;
    pthread_rwlock_t drives_gate;
    struct pool_drive *left; /* those, by next_left; guarded by the gate */

    struct pool_writers *writers; /* of the owner: writers.h */
    struct pool_moved *moved;     /* what was renamed since the last scan: moved.h */
    struct pool_noted *noted;     /* events that were noted: noted.h */
    struct pool_told *told;       /* those that are no news: told.h */

    struct pool_stripes *stripes; /* view.c: views of stripes */
    struct pool_buffers *buffers;

    pthread_mutex_t turns_lock;
    pthread_cond_t turns_moved; /* with turns_lock: the drives' turns, below */
};

/* By catalog id; NULL if there is none. */
struct pool_drive *pool_drive_by_id(struct pool *pool, int64_t id);
/* Its place in pool->drives; pool->ndrives if there is none. While no drive is added. */
size_t pool_drive_index(const struct pool *pool, int64_t id);
/* The first place of a drive of the same domain as the one in this place. */
size_t pool_drive_domain(const struct pool *pool, size_t drive);
struct pool_drive *pool_drive_by_name(struct pool *pool, const char *name);
/* Readable now: PRESENT (or DIVERGED: what is read is verified). */
static inline bool pool_drive_readable(const struct pool_drive *d)
{
    return d && d->drv && (d->presence == POOL_PRESENT || d->presence == POOL_DIVERGED);
}
/* Counts as there when it is reckoned what may still be lost: a DIVERGED drive's files may be
 * others than the catalog's. */
static inline bool pool_drive_present(const struct pool_drive *d)
{
    return d && d->drv && d->presence == POOL_PRESENT;
}
/* May be written: PRESENT, and its driver can. */
static inline bool pool_drive_writable(const struct pool_drive *d)
{
    return d && d->drv && d->presence == POOL_PRESENT && (d->info.caps & DRV_CAP_WRITABLE);
}

static inline void pool_drives_unlock(pthread_rwlock_t *const *gate)
{
    pthread_rwlock_unlock(*gate);
}
/* To the end of the block there are as many drives as now. May nest. */
#define pool_drives_still(pool)                                                                    \
    __attribute__((cleanup(pool_drives_unlock))) pthread_rwlock_t *const pool_still =              \
        &(pool)->drives_gate;                                                                      \
    pthread_rwlock_rdlock(pool_still)

/* Open all drives' roots and judge their presence (pool_open does). */
mrmr_err pool_drives_load(struct pool *pool);
void pool_drives_unload(struct pool *pool);
/* A new session for a drive that is about to be written (I5: intent in the catalog, then the drive,
 * then the catalog). Once per process; cheap when done already. Never inside a catalog transaction:
 * the intent must be durable before the drive is written (refused: MRMR_INTERNAL). */
mrmr_err pool_drive_attach(struct pool *pool, struct pool_drive *drive);
mrmr_err pool_drive_detach(struct pool *pool, struct pool_drive *drive);
/* Read the session on the drive again: MRMR_DIVERGED (and the drive's presence with it) if somebody
 * else has attached it. Before every commit. */
mrmr_err pool_drive_still_ours(struct pool *pool, struct pool_drive *drive);
/* Bytes that rows may still take: free space less reserve (and, where there is one, what the
 * catalog's copies may take) and slack, within max_usage; 0 if it may not hold rows. */
mrmr_err pool_drive_room(struct pool *pool, struct pool_drive *drive, uint64_t *ret_bytes);
/* The slack for two rows that every drive keeps (I3), as an allocated file. give makes it available
 * to the generation change that needs it; keep restores it where there is room. */
mrmr_err pool_drive_slack_keep(struct pool *pool, struct pool_drive *drive);
mrmr_err pool_drive_slack_give(struct pool *pool, struct pool_drive *drive);
/* The slack's own blocks for a row of this many bytes, which nobody else can take meanwhile: `has` says whether they would do;
 * then whoever makes the row renames POOL_SLACK (pool_row_create), and puts a file that is not needed any more, as the row that it
 * replaces, in its place. */
#define POOL_SLACK POOL_DOT "/slack"
bool pool_drive_slack_has(struct pool_drive *drive, uint64_t bytes);
mrmr_err pool_drive_slack_put(struct pool_drive *drive, const char *path);

/* The block size for new stripes: set block-size, or by the smallest drive: a 256th of it as a
 * power of two, 1 MiB to 32 MiB. */
mrmr_err pool_block_size(struct pool *pool, uint64_t *ret_bytes);
/* Bytes that the buffers of a job may take: set memory. */
mrmr_err pool_memory(struct pool *pool, uint64_t *ret_bytes);

/* Retired, and none of its files is known to be nowhere else: it is kept only for what refers to its
 * slot, and nobody is told of it. */
mrmr_err pool_drive_is_over(struct pool *pool, const struct pool_drive *drive, bool *ret_over);

/* An event in the catalog, or noted for it where the pool is another's (noted.h), and a notice to the job's
 * owner. */
void pool_tell(struct pool *pool, const struct pool_job *job, bool warning, const char *kind,
    const struct pool_drive *drive, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* The same with this thread's story as its text, after "what: ". */
void pool_tell_story(struct pool *pool, const struct pool_job *job, bool warning, const char *kind,
    const struct pool_drive *drive, const char *what);

static inline mrmr_err pool_job_poll(const struct pool_job *job)
{
    return job && mrmr_cancelled(job->cancel) ? mrmr_fail(MRMR_CANCELLED, NULL) : MRMR_OK;
}

/* --- manifest.c, row.c: parity files (docs/FORMAT.md) --- */

/* A stripe of this length gets at most so many extents, so that the manifest of each row (about 80
 * bytes an extent) stays small beside its payload. */
static inline size_t pool_extents_most(uint64_t length)
{
    return length / 2048 < 1024 ? 1024 : length / 2048;
}
/* No row file of a stripe of this length is larger. */
static inline uint64_t pool_row_bound(uint64_t length)
{
    return length + length / 16 + (128 << 10);
}

/* The path of a row's file below the drive's root: .mrmr/parity/3f/<32 hex>-g<generation>.<index>.
 */
#define POOL_ROW_PATH 96
void pool_row_path(
    const struct mrmr_uuid *stripe, uint64_t generation, unsigned index, char path[POOL_ROW_PATH]);

/* What an intent's file, "parity/3f/<32 hex>-g<generation>.<index>", names; false: no row. */
bool pool_row_file_parse(
    const char *file, struct mrmr_uuid *ret_stripe, uint64_t *ret_generation, unsigned *ret_index);

/* The part of a manifest that all rows of a generation share, built once from the image and the
 * catalog (paths, sizes, attributes as hints), and gzip'd. supersedes: the generations (of which
 * stripes) that this one replaces. */
struct pool_superseded {
    struct mrmr_uuid stripe;
    uint64_t generation;
};
mrmr_err pool_manifest_build(struct pool *pool, const struct meta_stripe *stripe,
    const struct pool_superseded supersedes[], size_t nsupersedes, struct mrmr_bytes *ret_body);

/* Writing: payload bytes in order, then finish, which adds manifest and footer, syncs, names the
 * file without replacing and syncs the folder. Between create and finish the bytes lie under a
 * temporary name that is derived from the final one (…~), so an intent for the file covers both. If
 * the final name exists already (left by a crash before the commit), it is replaced: nothing counts
 * on an uncommitted file. */
struct pool_row_writer;
mrmr_err pool_row_create(struct drv *drv, const struct mrmr_uuid *stripe, uint64_t generation,
    unsigned index, struct pool_row_writer **ret_writer);
/* room: a file whose blocks it takes, if it is there, and gives back if it is discarded before it has its name; NULL: none. The
 * string must outlive the writer. */
mrmr_err pool_row_create_in(struct drv *drv, const struct mrmr_uuid *stripe, uint64_t generation,
    unsigned index, const char *room, struct pool_row_writer **ret_writer);
mrmr_err pool_row_append(struct pool_row_writer *writer, const void *data,
    size_t size); /* sizes multiple of META_LEAF but the last */
mrmr_err pool_row_finish(struct pool_row_writer *writer, unsigned rows,
    const struct mrmr_bytes *body, uint64_t *ret_file_size);
void pool_row_discard(
    struct pool_row_writer *writer); /* NULL-safe; removes the temporary file, if that can be done;
                                        what has the final name is the caller's */
/* Remove a row's file, and its temp; absent is fine. Not synced. */
mrmr_err pool_row_remove(struct drv *drv, const char *path);

/* Reading. open checks footer and manifest against their digests and bounds (I9), and that the file
 * is this stripe, generation and row: MRMR_ABSENT, UNAVAILABLE, or CORRUPT. */
struct pool_row_reader;
mrmr_err pool_row_open(struct drv *drv, const struct mrmr_uuid *stripe, uint64_t generation,
    unsigned index, uint64_t length, struct pool_row_reader **ret_reader);
/* Raw bytes of the payload, not checked. */
mrmr_err pool_row_read(struct pool_row_reader *reader, uint64_t offset, void *buf, size_t size);
/* Payload leaves [first, first + n), fewer at the end, checked: MRMR_DIGEST. */
mrmr_err pool_row_read_leaves(
    struct pool_row_reader *reader, uint64_t first, size_t n, void *buf, size_t *ret_size);
const struct mrmr_digest *pool_row_digests(
    const struct pool_row_reader *reader);           /* of the payload's leaves */
void pool_row_close(struct pool_row_reader *reader); /* NULL-safe */

/* --- attrs.c: extended attributes as one blob --- */

mrmr_err pool_attrs_read(struct drv *drv, const char *path,
    struct mrmr_bytes *blob); /* appends; nothing if there are none or the drive has none */
mrmr_err pool_attrs_each(const void *blob, size_t size, drv_xattr_fn fn, void *arg);
/* Appends a blob that has this value of the name, too, or (NULL) does not have the name. */
mrmr_err pool_attrs_with(const void *blob, size_t size, const char *name, const void *value,
    size_t value_size, struct mrmr_bytes *ret_blob);
mrmr_err pool_attrs_write(struct drv *drv, const char *path, const void *blob,
    size_t size); /* best effort on foreign namespaces; says so */

/* --- scan.c, compare.c --- */

/* I4's "unchanged": size, mtime, and where the drive calls them stable ctime, inode and birth time.
 */
enum pool_same { POOL_SAME, POOL_RECHECK /* ctime or inode alone */, POOL_DIFFERENT };
enum pool_same pool_stat_same(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat);
/* It is the node's file, changed since the catalog looked at it: whoever changes it from now on does not give it the times that the catalog
 * has, either. */
bool pool_stat_later(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat);
/* A regular file as it is found, which the catalog may have. */
struct pool_found_file {
    uint64_t ino, size; /* ino 0: not known */
    int64_t mtime, ctime;
    uint32_t nlink;
};
/* What is claimed of the catalog's node may be claimed of it. By inode, too: another file may have been given its name, with its size
 * and its time. Of what has several names the other two come besides. */
bool pool_node_claims(const struct meta_node *node, const struct pool_found_file *found);
/* It has one name, or nothing has happened to its names since before the last scan of its drive that came to its end: then those that lie
 * outside of the tree, as in what is left out, are no matter. scanned: when that began; 0: never. A walk that goes on, or was cut, has
 * brought a new file into the catalog as it is, with the first of its names; the others come with the judgement. */
bool pool_node_keeps_names(const struct drv_info *info, const struct meta_node *node,
    const struct pool_found_file *found, int64_t scanned);
/* Each of its names would show it if the drive were away: at these paths, each with its NUL, the catalog would show the node then; one that
 * is there twice counts once. A name
 * that no scan has seen need not be one more than the catalog has: another may have gone since. */
bool pool_node_has_names(struct drv *drv, const struct meta_node *node,
    const struct pool_found_file *found, const struct mrmr_bytes *paths);
void pool_node_from_stat(
    struct meta_node *node, const struct drv_stat *stat); /* all but id, drive, version, sequence */
/* A change at this moment (real time) or later gives it another time than it has. False also where another machine's clock stamps
 * (no DRV_CAP_OUR_CLOCK), for that may go any way, and of a time to come, which a clock that was set back may come to once more. */
bool pool_tick_over(const struct drv_info *info, const struct drv_stat *stat, int64_t now);
/* Returns when no change of the file can hide any more behind the times that it has in `stat` (I4): after two grains of its drive at most.
 * seen: monotonic; when it was seen to have them, at the latest, by whomever. That counts where another machine stamps, whatever its
 * clock says, and of times to come; elsewhere the times themselves do. Not guaranteed: a drive that sets times more coarsely than its
 * time_grain; a file without a stable ctime whose mtime somebody sets back; our own clock set to where it was once more after this. */
void pool_tick_wait(const struct drv_info *info, const struct drv_stat *stat, int64_t seen);
mrmr_err pool_compare(
    struct pool *pool, const struct pool_job *job, struct pool_sync_report *report);

/* --- path.c: where a node's file is --- */

/* meta_path with the last folder remembered: consecutive nodes mostly share it. */
struct pool_paths {
    int64_t parent;
    struct mrmr_bytes folder, path;
};
mrmr_err pool_paths_get(
    struct pool *pool, struct pool_paths *paths, int64_t node, const char **ret_path);
void pool_paths_free(struct pool_paths *paths);

/* --- image.c: stripe images in memory --- */

/* Size in bytes of leaf i (0 …) of an extent; every leaf but a file's last is META_LEAF, so leaf i
 * lies at place + i·META_LEAF. */
static inline uint32_t pool_leaf_size(const struct meta_extent *extent, uint64_t i)
{
    uint64_t rest = extent->bytes - i * META_LEAF;
    return (uint32_t)(rest < META_LEAF ? rest : META_LEAF);
}
static inline bool pool_extent_wanted(const struct meta_extent *extent)
{
    return extent->state == META_LIVE || extent->state == META_MISSING ||
           extent->state == META_SUSPECT;
}
struct meta_block *pool_image_block(const struct meta_stripe *stripe, int64_t drive);
struct meta_row *pool_image_row(const struct meta_stripe *stripe, unsigned index);

/* An image put together piece by piece; finish lays it out in one allocation, with blocks by slot
 * and extents by place. */
struct pool_image {
    struct meta_stripe head; /* uuid, generation, length, …; its arrays are not used */
    struct meta_block block[META_SLOTS_MAX];
    struct meta_row row[META_ROWS_MAX];
    struct meta_extent *extent;
    size_t room;
};
void pool_image_init(struct pool_image *image);
/* Rows and wanted extents of a stripe; with `pool`, also STALE ones that still stand in for leaves
 * that are exposed (a moved file, an append). */
mrmr_err pool_image_start_from(
    struct pool *pool, struct pool_image *image, const struct meta_stripe *stripe);
/* A STALE extent that must not be taken out yet: a leaf of it is exposed, and this is the only
 * protection that its old bytes have. */
mrmr_err pool_extent_still_counts(
    struct pool *pool, const struct meta_extent *extent, bool *ret_counts);
mrmr_err pool_image_add_extent(struct pool_image *image,
    const struct meta_extent *extent); /* its digests are copied at finish, or zeroed if NULL */
mrmr_err pool_image_add_row(struct pool_image *image, unsigned index, int64_t drive);
/* The slot of each block comes from `pool`. compact: places are assigned anew, without gaps. */
mrmr_err pool_image_finish(
    struct pool *pool, struct pool_image *image, bool compact, struct meta_stripe *ret_stripe);
void pool_image_free(struct pool_image *image);

/* Rows that are intact on readable drives, and blocks that are absent or dirty: margin = rows −
 * blocks (may be negative). */
int pool_image_margin(struct pool *pool, const struct meta_stripe *stripe);

/* --- view.c --- */

/* A stripe's image, its generation pinned, with the rows that were opened so far. Views are shared
 * and cached; the image of one never changes. Any thread. */
struct pool_view;
mrmr_err pool_view_get(struct pool *pool, int64_t stripe, struct pool_view **ret_view);
void pool_view_put(struct pool *pool, struct pool_view *view); /* NULL-safe */
const struct meta_stripe *pool_view_image(const struct pool_view *view);
/* Rows of this generation must not be dropped now: somebody reads them (I2, I7). */
bool pool_view_pinned(struct pool *pool, const struct mrmr_uuid *stripe, uint64_t generation);
/* After a commit: the next get loads anew. */
void pool_views_forget(struct pool *pool, int64_t stripe);
mrmr_err pool_stripes_create(struct pool *pool);
void pool_stripes_destroy(struct pool *pool);

/* --- original.c: a node's file, wherever it is by now --- */

/* A node's original, to be read, at the catalog's path, where it was renamed to since, or at another
 * of its names; nothing is known of its content. ABSENT, OFFLINE. */
mrmr_err pool_node_open(struct pool *pool, int64_t node, struct drv_file **ret_file);
/* Each node that the catalog has with this inode is found by pool_node_open without this name of it, at its
 * path `but`: another one that the catalog has leads to it now. False also where nobody can tell. */
mrmr_err pool_inode_found_but(struct pool *pool, const struct pool_drive *drive, uint64_t ino,
    const char *but, bool *ret_found);
/* What is there is the node's file, as far as can be told without reading it: by its inode, else by
 * size and time. */
bool pool_node_is(
    const struct drv_info *info, const struct meta_node *node, const struct drv_stat *stat);
/* The verified bytes of leaf i of an extent, whose file was renamed since the last scan, or may have
 * been: of all files that may be it. Where pool_node_open gave none, or other bytes. MRMR_ABSENT:
 * there is no such file, or none with these bytes. */
mrmr_err pool_node_leaf_moved(
    struct pool *pool, const struct meta_extent *extent, uint64_t i, void *buf);

/* --- reconstruct.c --- */

enum pool_leaf_how { POOL_LEAF_ANY, POOL_LEAF_DIRECT, POOL_LEAF_DECODE };
/* The verified bytes of leaf i of an extent of the view's image: from the original (its node's
 * file), from where they are retained, or by decoding. buf has room for META_LEAF; *ret_decoded (may
 * be NULL) tells whether it was that. DIRECT: from the original alone, or, of an extent that is not
 * wanted any more, retained. MRMR_LOST if too much is missing. Any thread. */
mrmr_err pool_leaf_read(struct pool *pool, struct pool_view *view, const struct meta_extent *extent,
    uint64_t i, enum pool_leaf_how how, void *buf, bool *ret_decoded);
/* The same for an extent that the catalog gave: MRMR_CHANGED (or NO_STRIPE) if its stripe has a
 * newer generation by now; look it up again. */
mrmr_err pool_extent_leaf_read(struct pool *pool, const struct meta_extent *extent, uint64_t leaf,
    enum pool_leaf_how how, void *buf, bool *ret_decoded);
/* The extent is not wanted any more, and holds the very bytes of this leaf of the node's current
 * version, if that is exposed. */
bool pool_stand_in_fits(
    const struct meta_node *node, const struct meta_extent *extent, uint64_t leaf);
/* Extents of a node that are not wanted any more but hold the very bytes of a leaf of its current
 * version (its file moved to another drive and is exposed there): those, decoded where needed.
 * MRMR_ABSENT if there is none. */
mrmr_err pool_leaf_stand_in(
    struct pool *pool, const struct meta_node *node, uint64_t leaf, void *buf, size_t *ret_size);
/* The node's bytes are not in place any more: stand-ins for what is exposed are what is left of it
 * and become MISSING, no longer exposed; other STALE extents GONE. Inside the caller's transaction.
 */
mrmr_err pool_stale_settle(struct pool *pool, const struct meta_node *node);
/* The node's bytes are in place and what is exposed of it found no new stripe: its stand-ins of the
 * same drive are LIVE again. Inside the caller's transaction. */
mrmr_err pool_stale_return(struct pool *pool, const struct meta_node *node);
/* That for every stripe that still has such stand-ins. */
mrmr_err pool_mend_return(struct pool *pool);
/* Retired drives to which nothing refers any more leave the pool, and their slots are free. The
 * pool's drives are loaded anew. */
mrmr_err pool_let_go_retired(struct pool *pool, const struct pool_job *job);
/* Payload leaves [first, first + n) of one row (fewer at its end), verified (MRMR_DIGEST …), of the
 * view's generation. */
mrmr_err pool_view_row_leaves(struct pool *pool, struct pool_view *view, unsigned index,
    uint64_t first, size_t n, void *buf, size_t *ret_size);

/* --- repair.c: a rotten file replaced by its right content (I1) --- */

#define POOL_QUARANTINE POOL_DOT "/quarantine"
/* Replace a regular file, which must still be as the catalog knows it, by a verified copy; what was
 * there goes to the quarantine. A user who saves at that moment wins: MRMR_CHANGED, and the file is
 * the user's. bring_back: the file was changed and the user wants the protected version in its
 * place. */
mrmr_err pool_repair_node(
    struct pool *pool, const struct pool_job *job, int64_t node, bool bring_back);
/* Finish or undo replacements that a crash interrupted, on all drives that are present. */
mrmr_err pool_repairs_settle(struct pool *pool);

/* --- stripe.c: one generation to the next --- */

/* A change of one stripe: `next` is the image it shall have. Extents of next with a zero id are
 * new: their bytes are read, digested and claimed; their node must match the catalog's version when
 * read and when committed (I4). Extents that are in `old` and not in next are taken out. */
enum pool_change_mode {
    POOL_CHANGE_DATA,  /* rows from all of next's data, verified or reconstructed */
    POOL_CHANGE_DELTA, /* rows from old's rows and the bytes that come and go */
};
struct pool_change {
    enum pool_change_mode mode;
    struct meta_stripe old;   /* id 0: there was none */
    struct meta_stripe other; /* merge: the second stripe, taken up by next; id 0: no merge */
    struct meta_stripe next;
    bool rows_only;   /* same generation: only rows of next that are not META_ROW_OK in old are made
                         (add a row, make a lost one again) */
    int64_t unstable; /* set on MRMR_CHANGED: the node that changed while it was read; 0 if it was
                         something else */
    /* It was leaves of a file that is written to, or cut, all the time: the rest of it may be claimed. */
    bool overwritten;
};
/* Runs it to the commit and drops what it replaced. Any thread; several changes of distinct stripes
 * may run side by side. */
mrmr_err pool_change_run(struct pool *pool, const struct pool_job *job, struct pool_change *change);
void pool_change_free(struct pool_change *change);

/* A row that was found damaged or gone is not counted on any more, and told of. MRMR_CHANGED: there
 * is a newer generation. The caller forgets the stripe's views. */
mrmr_err pool_row_mark(struct pool *pool, const struct pool_job *job,
    const struct meta_stripe *image, const struct meta_row *row, enum meta_row_state state);

/* Finish or undo what intents in the catalog say (start-up, and after drives came back). */
mrmr_err pool_intents_settle(struct pool *pool);

/* --- mend.c, protect.c --- */

/* accept_losses: leaves that nothing can give back, with every drive of their stripe present, are
 * given up (the user's word). */
mrmr_err pool_mend(struct pool *pool, const struct pool_job *job, bool accept_losses,
    struct pool_sync_report *report);

/* Before a drive takes the place of another one (`to`): where a stripe has something on that one, and a row on the drive,
 * the row is made on a third one, and dropped from the drive by the same commit, so nothing survives
 * fewer losses meanwhile; also one beyond the redundancy, on which something may depend. A stripe for which that cannot be is told of, and stays as it is: the catalog says whether there is
 * any. Blocks are left where they are. ret_cause: why the first of them does; "": none was told of. */
enum { POOL_MEND_CAUSE = 512 };
mrmr_err pool_mend_leave(struct pool *pool, const struct pool_job *job, int64_t drive, int64_t to,
    struct pool_sync_report *report, char ret_cause[POOL_MEND_CAUSE]);
/* A part of a release (release.c): what nobody wants and is retained on a drive that can be written is
 * taken out of its stripes, in the order of their ids, and nothing else is done to them. What cannot be now is logged, and waits:
 * a row of it is on a drive that is away, and there is room for one nowhere else; too much of it
 * cannot be read; or its bytes do not lie where a delta can get them, and a changed file in it waits to be compared. */
struct pool_mend_turn {
    int64_t until; /* monotonic: it ends with the stripe at which that has come; 0: with the last */
    int64_t at;    /* the last stripe that was looked at */
    bool all;      /* it was the last */
    uint64_t waits;              /* stripes that wait; added to */
    char cause[POOL_MEND_CAUSE]; /* why the first of them does */
};
mrmr_err pool_mend_release(struct pool *pool, const struct pool_job *job,
    struct pool_mend_turn *turn, struct pool_sync_report *report);
/* sync --release, whole. */
mrmr_err pool_release(
    struct pool *pool, const struct pool_job *job, struct pool_sync_report *ret_report);

/* Every drive of the stripe is ours and answers, now: what cannot be read of it is lost, and not
 * merely away. One may have gone since the pool was opened. */
bool pool_stripe_answers(struct pool *pool, const struct meta_stripe *stripe);

/* Mend, protect, and mend what protecting made superfluous: everything that follows a scan or a
 * rebuild. Accepted are losses, as in pool_mend. options: NULL as in pool_sync. */
mrmr_err pool_mend_and_protect(struct pool *pool, const struct pool_job *job,
    const struct pool_sync_options *options, struct pool_sync_report *report);

/* --- copy.c: a whole file again, from verified bytes --- */

/* Where temporary files of rebuild lie on a drive: what an interrupted one left is cleared away when
 * the pool is opened. Both may attach the drive. */
#define POOL_WORK POOL_DOT "/work"
mrmr_err pool_work_begin(struct pool *pool, struct pool_drive *drive); /* the folder, empty */
mrmr_err pool_work_clear(struct pool *pool, struct pool_drive *drive);
/* Leaves of a file that nothing gives now. */
struct pool_missing {
    struct pool_missing_run {
        uint64_t first, leaves;
        bool
            older; /* they are in the copy, as they were protected: nobody knows if they were written to since */
    } * run; /* in order, none next to another */
    size_t n, room;
    uint64_t got; /* leaves that are in the copy */
    bool
        undecoded; /* too much of a stripe cannot be read now, which may be otherwise another time */
};
const struct pool_missing_run *pool_missing_at(
    const struct pool_missing *missing, uint64_t leaf); /* NULL: none */
void pool_missing_free(struct pool_missing *missing);   /* NULL-safe members, zeroes */
/* Make the node's content and attributes anew at `path` (which must not exist) on the drive, every
 * byte verified: from the original where it is right, reconstructed where not. Regular files,
 * symlinks, FIFOs, sockets, devices. Not synced. Leaves that are exposed are read from the original
 * as they are: if it is away or unreadable the copy fails, MRMR_LOST. On failure nothing is left at
 * path. missing: NULL; or what cannot be read is left out, as a hole, and said there. */
mrmr_err pool_copy_make(struct pool *pool, const struct pool_job *job, const struct meta_node *node,
    struct pool_drive *drive, const char *path, struct pool_missing *missing);
/* Mode, owner, times and extended attributes of a node onto a path, as far as the drive and this
 * user can. */
mrmr_err pool_copy_attrs(
    struct pool *pool, const struct meta_node *node, struct pool_drive *drive, const char *path);
/* The same with these in the place of the catalog's extended attributes. */
mrmr_err pool_copy_attrs_and(const struct meta_node *node, const struct mrmr_bytes *attrs,
    struct pool_drive *drive, const char *path);
/* Owner, attributes, mode and times as what is at a path of another drive has them, as far as this user and drive can. */
mrmr_err pool_copy_attrs_of(
    struct drv *from, const char *from_path, struct drv *to, const char *to_path);

/* --- catalog_copy.c, catalog_restore.c: copies of the catalog on the drives (I8) --- */

/* A rebuild's name in the catalog's list of what is to do. */
#define POOL_REBUILD_JOB "rebuild"
/* Whether a rebuild onto the drive has gone through all that waits, and left some of it. */
mrmr_err pool_rebuild_was_tried(struct pool *pool, const struct pool_drive *drive, bool *ret_tried);

enum pool_copies {
    POOL_COPIES_ATTACHED, /* the pool closes: on drives that it wrote to, if anything changed */
    POOL_COPIES_ALL,      /* a job ends: on every drive that can be written */
    POOL_COPIES_VERIFIED, /* a scrub ends: the same, and what is there is read first */
};
/* Bring the copies on the drives up to now. Cheap when all is up to date: one listing of a small
 * folder a drive, and nothing is written. Outside of transactions (MRMR_BUSY). A drive that fails
 * gets a notice and keeps its older copies; what is returned is trouble with the catalog itself.
 * ret_damaged (may be NULL): copies found damaged, and replaced where that could be done. */
mrmr_err pool_catalog_copy(
    struct pool *pool, const struct pool_job *job, enum pool_copies copies, uint64_t *ret_damaged);
/* The catalog anew from the newest complete copies on one drive, into a pool's folder that has none
 * (MRMR_EXISTS). Copies that are damaged are left out with all that came after them, which the log
 * and an event in the catalog tell. MRMR_ABSENT: the drive has no copy; CORRUPT: none of use.
 * Sessions are those of the copy: the drives have gone on since, and opening the pool finds them
 * diverged until recover has taken them in. */
mrmr_err pool_catalog_restore(const char *pool_dir, const char *drive_uri);

#endif
