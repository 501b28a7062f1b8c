/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A pool of a few drives, in memory or in a temp folder, with a real catalog, put together by hand:
 * for the tests of scan and compare. Files are protected by writing a stripe into the catalog, with
 * true digests and no rows' bytes: nobody here decodes.
 */
#ifndef MRMR_TESTS_POOL_SCAN_WORLD_H
#define MRMR_TESTS_POOL_SCAN_WORLD_H

#include "drivers/fault.h"
#include "drivers/mem.h"
#include "pool/engine.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LEAF META_LEAF

struct scan_world {
    bool local;
    char dir[64];
    struct pool pool;
    struct pool_drive *_Atomic *drive;
    struct drv_fault **fault; /* one a drive */
    size_t n;
    struct pool_sync_report report;
    struct mrmr_cancel cancel;
    size_t notices;
    char last[1600]; /* the last notice */
};

/* Of cmocka: two drives; *state is scan_world_mem or scan_world_local before. */
int scan_world_setup(void **state);
int scan_world_teardown(void **state);
/* A test on drives in memory, and on folders. */
extern char scan_world_mem[], scan_world_local[];
#define BOTH(f)                                                                                    \
    {#f ", in memory", f, scan_world_setup, scan_world_teardown, scan_world_mem},                  \
    {                                                                                              \
#f ", in a folder", f, scan_world_setup, scan_world_teardown, scan_world_local             \
    }
struct scan_world *scan_world_create(bool local, size_t drives);
void scan_world_destroy(struct scan_world *w);

void assert_ok(mrmr_err err);

/* Scan, or scan and compare; the report in w->report. */
mrmr_err scan_world_try(struct scan_world *w, bool accept);
void scan_world_scan(struct scan_world *w);
void scan_world_compare(struct scan_world *w);
void scan_world_sync(struct scan_world *w);
void scan_world_accept(struct scan_world *w); /* with comparing */

/* On the first drive. Content is made from the seed, byte by byte. */
struct drv *scan_world_drv(struct scan_world *w);
void scan_world_file(struct scan_world *w, const char *path, uint64_t size, uint64_t seed);
void scan_world_write(
    struct scan_world *w, const char *path, uint64_t offset, uint64_t size, uint64_t seed);
void scan_world_truncate(struct scan_world *w, const char *path, uint64_t size);
void scan_world_mkdir(struct scan_world *w, const char *path);
void scan_world_rename(struct scan_world *w, const char *from, const char *to);
void scan_world_unlink(struct scan_world *w, const char *path);
void scan_world_rmdir(struct scan_world *w, const char *path);
void scan_world_mtime(struct scan_world *w, const char *path, int64_t mtime);
int64_t scan_world_get_mtime(struct scan_world *w, const char *path);

/* What the catalog says. */
bool scan_world_knows(struct scan_world *w, const char *path, struct meta_node *ret_node);
struct meta_node scan_world_node(struct scan_world *w, const char *path);
uint64_t scan_world_exposed(struct scan_world *w, const char *path);
/* The states of a node's extents, a letter a leaf in their order: Live, Missing, sTale as T, Gone,
 * Suspect. */
const char *scan_world_states(struct scan_world *w, int64_t node);
#define assert_states(w, node, wanted) assert_string_equal(scan_world_states((w), (node)), (wanted))
uint64_t scan_world_held(struct scan_world *w);
size_t scan_world_events(struct scan_world *w, const char *kind);

/* All exposed leaves of a file into a stripe of its own. */
void scan_world_protect(struct scan_world *w, const char *path);
/* The catalog's tree is the drive's: names, types, sizes, times, links, targets; and each leaf with
 * data is exposed, or live with the right digest, or, of held files, missing. */
void scan_world_check(struct scan_world *w);

#endif
