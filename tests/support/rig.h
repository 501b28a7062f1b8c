/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool over a handful of drives, the files that its user keeps there, and the question that every
 * test of the engine ends with: is everything that is claimed as protected read back byte for byte,
 * whichever drives are taken away?
 *
 * Drives lie in memory or in folders, each behind a fault decorator of its own (fault://), through
 * which the pool sees it; the user's hand goes past it, straight to the drive. The content of every
 * file is a function of its seed and the offset, so that what it must be is known without keeping
 * it.
 *
 * A failed expectation fails the running cmocka test. One thread at a time. Units: bytes.
 */
#ifndef MRMR_TESTS_SUPPORT_RIG_H
#define MRMR_TESTS_SUPPORT_RIG_H

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "pool/engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define RIG_DRIVES_MAX 10
#define RIG_PATCHES_MAX 6
#define RIG_LEAF META_LEAF
#define RIG_MIB (UINT64_C(1) << 20)

enum rig_kind {
    RIG_MEM,
    RIG_MEM_CUT, /* in memory, and a power cut can be simulated */
    RIG_LOCAL,   /* folders: survive the process */
};

/* What the user has put on a drive. */
struct rig_file {
    bool there;
    unsigned drive;
    char path[128];
    uint64_t size;
    uint64_t seed;
    uint64_t hole_begin, hole_end; /* zeros */
    struct rig_patch {
        uint64_t offset, size, seed;
    } patch[RIG_PATCHES_MAX]; /* the later one wins */
    unsigned patches;
};

struct rig_drive {
    char name[16];
    char inner[300];         /* URI behind the decorator */
    struct drv_fault *tap;   /* counts; every call passes here first, */
    struct drv_fault *fault; /* and may fail here */
    struct rig *rig;
    struct drv *raw; /* the user's hand */
    unsigned away;   /* id of the rule that takes it away; 0: it is there */
};

/* How many losses each leaf of a file survived when it was looked at. */
struct rig_promise {
    int8_t *survives; /* NULL: nothing is promised */
    size_t leaves;
};

struct rig {
    enum rig_kind kind;
    unsigned n;
    uint64_t size; /* of each drive in memory */
    char dir[200]; /* <dir>/pool is the pool's; folders <dir>/d0 … */
    char tag[40];  /* of the names in memory */
    struct rig_drive drive[RIG_DRIVES_MAX];
    uint32_t tap_ops;
    uint64_t tap_left; /* calls of these ops until the tap */
    bool tap_late;
    void (*tap)(struct rig *rig, struct rig_drive *drive);
    struct pool *pool;
    struct rig_file *file;
    size_t files, files_room;
    uint64_t seed, rng;
    struct pool_sync_report report; /* of the last sync */
    struct rig_promise *promise;    /* by file */
    size_t promises;
    bool rotten; /* rig_rot was used: claims are looked at byte by byte */
};

/* What a rig is to be; zero fields take what stands behind them. */
struct rig_spec {
    enum rig_kind kind;
    unsigned drives;     /* 5 */
    unsigned redundancy; /* 2 */
    uint64_t size;       /* of a drive in memory: 256 MiB */
    uint64_t block;      /* 2 MiB */
    uint64_t seed;       /* 1 */
};
struct rig *rig_create(const struct rig_spec *spec); /* open, empty */
void rig_destroy(struct rig *rig);
/* One drive more; its index. */
unsigned rig_add_drive(struct rig *rig);

/* $MRMR_SEED, else a new one from the clock; printed. $MRMR_ROUNDS, else what is given. */
uint64_t rig_seed(const char *what);
unsigned rig_rounds(unsigned normally);
/* All of many like cases, of which other runs take some: $MRMR_ALL is set (tools/test --long), or
 * $MRMR_ROUNDS is above 1. */
bool rig_all(void);

void rig_open(struct rig *rig);
mrmr_err rig_try_open(struct rig *rig);
void rig_close(struct rig *rig);
void rig_reopen(struct rig *rig);
uint64_t rig_random(struct rig *rig, uint64_t below);
uint64_t rig_hash(uint64_t x); /* one number from another, as if at random */

#define rig_ok(err) rig_expect_ok((err), __FILE__, __LINE__)
void rig_expect_ok(mrmr_err err, const char *file, int line);

/* --- The user's hand --- */

struct rig_file *rig_find(struct rig *rig, const char *path);
/* A new file, or another one in its place; parents are made. */
struct rig_file *rig_put(struct rig *rig, unsigned drive, const char *path, uint64_t size);
/* All zeros but [0, a) and [b, size). */
struct rig_file *rig_put_sparse(
    struct rig *rig, unsigned drive, const char *path, uint64_t size, uint64_t a, uint64_t b);
void rig_append(struct rig *rig, const char *path, uint64_t bytes);
void rig_edit(struct rig *rig, const char *path, uint64_t offset, uint64_t size);
void rig_truncate(struct rig *rig, const char *path, uint64_t size);
void rig_unlink(struct rig *rig, const char *path);
void rig_rename(struct rig *rig, const char *from, const char *to);
void rig_set_mtime(struct rig *rig, const char *path, int64_t mtime);
int64_t rig_mtime(struct rig *rig, const char *path);
/* `n` files on each drive from..to-1, most of them small, up to `most` bytes. */
void rig_fill(struct rig *rig, unsigned from, unsigned to, unsigned n, uint64_t most);
/* A file of `size` bytes on each of the first `n` drives, f0, f1, …; protected. */
void rig_one_each(struct rig *rig, unsigned n, uint64_t size);
/* One random change of the user's: a new file, an append, an edit, a rename or a deletion. */
void rig_stir(struct rig *rig);
/* One byte rots, with no trace in size or times. */
void rig_rot(struct rig *rig, unsigned drive, const char *path, uint64_t offset);

/* What [offset, offset + size) of the file must be. */
void rig_expected(const struct rig_file *file, uint64_t offset, void *buf, uint64_t size);
/* The drives hold every file as the user left it. */
void rig_check_originals(struct rig *rig);
/* The same of one path on one drive: false if it is not there or other bytes. */
bool rig_original_is_right(struct rig *rig, unsigned drive, const struct rig_file *file);

/* --- Stripes --- */

/* The stripe that holds a leaf of a file; the caller frees it. */
struct meta_stripe rig_stripe_of(struct rig *rig, const char *path, uint64_t leaf);
unsigned rig_row_drive(const struct meta_stripe *image, unsigned index);
/* Whether something lies at the path on the drive itself. */
bool rig_holds(struct rig *rig, unsigned drive, const char *path);

/* --- Jobs --- */

struct pool_job rig_job(struct rig *rig);
void rig_sync(struct rig *rig); /* report in rig->report */
/* Sync until nothing is exposed. */
void rig_protect_all(struct rig *rig);
struct pool_scrub_report rig_scrub(struct rig *rig, bool repair);

/* --- Drives going and coming --- */

/* Every call fails with MRMR_OFFLINE. The pool may be open. */
void rig_take_away(struct rig *rig, unsigned drive);
void rig_bring_back(struct rig *rig, unsigned drive);
bool rig_present(const struct rig *rig, unsigned drive);
/* The power goes: what was not synced is kept, dropped or torn, as the seed says (RIG_MEM_CUT). The
 * pool must be closed. */
void rig_power_cut(struct rig *rig, uint64_t seed);
/* The user's hand syncs all that it wrote. */
void rig_sync_drives(struct rig *rig);
/* Calls of these ops so far, of all drives together. */
uint64_t rig_calls(struct rig *rig, uint32_t ops);
/* What changes a drive but for the plain writing of bytes: where the cut points of every crash
 * argument are. */
#define RIG_CUTS (DRV_FAULT_CHANGES & ~DRV_FAULT_FILE_WRITE)
/* Before the call number `n` (0: the next) of these ops goes through, or after it was carried out,
 * `tap` is called, on the thread that makes it. */
void rig_tap(struct rig *rig, uint32_t ops, uint64_t n, bool late,
    void (*tap)(struct rig *rig, struct rig_drive *drive));
void rig_untap(struct rig *rig);
/* Reads of what begins with this path on a drive, from now until rig_clear_faults: counted, and
 * asked for by what the first one returns. */
unsigned rig_count_reads(struct rig *rig, unsigned drive, const char *path);
uint64_t rig_reads(struct rig *rig, unsigned drive, unsigned counter);
/* No tap and no rule is left but those that keep drives away. */
void rig_clear_faults(struct rig *rig);
struct pool_drive *rig_pool_drive(struct rig *rig, unsigned drive);

/* --- The answer --- */

/* pool_check finds nothing. */
void rig_check(struct rig *rig);
/* How many findings there are; the first in `first` (512 bytes; may be NULL). */
size_t rig_findings(struct rig *rig, bool deep, char *first);
/* With every choice of r drives away at once, and unless `all` of fewer, every byte of their files
 * that is claimed as protected is right. Claimed is what the margin of its stripe covers; files that
 * were edited since the last scan, and rot, count as erasures where their bytes are not what was
 * coded. all: every file must be claimed wholly. Files are looked for on whichever drive the catalog
 * has them. The bytes are read with a third of the choices, drawn anew each time, or with all of
 * them (rig_all). Returns how many bytes are claimed. */
uint64_t rig_verify(struct rig *rig, bool all);
/* The same with one given set of drives, as bits. */
uint64_t rig_verify_without(struct rig *rig, unsigned away, bool all);
/* Files of all drives through POOL_READ_DECODE: nothing but reconstruction. */
uint64_t rig_verify_decoded(struct rig *rig);
/* I2: remember how many losses each leaf of each file survives now, whichever drives they are (up
 * to the redundancy; files that were edited since the last scan are left out). Later: each survives
 * as many, less `spent` (for what was changed on the drives since), or what the redundancy asks by
 * then. Both reckon by the catalog and what lies on the drives, and read no parity: rig_verify
 * does. Returns how many leaves must survive a loss. */
void rig_promise(struct rig *rig);
uint64_t rig_promise_check(struct rig *rig, unsigned spent);
void rig_promise_free(struct rig *rig);

/* A file's extents as letters, one a leaf: Live, Missing, sTale as T, Gone, Suspect. Static. */
/* For whoever looks at a failure. */
void rig_print_stripes(struct rig *rig);
const char *rig_states(struct rig *rig, const char *path);
struct meta_node rig_node(struct rig *rig, const char *path);
struct meta_totals rig_totals(struct rig *rig);

#endif
