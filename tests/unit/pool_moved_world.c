/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_moved_world.h"

#include "pool/stripe/leaf_cache.h"
#include "pool/tree/tree.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void mount_open(struct mount *m)
{
    char path[256];
    snprintf(path, sizeof path, "%s/pool", m->rig->dir);
    rig_ok(pool_open(path, POOL_LOOK, "test", &m->pool));
    rig_ok(pool_writers_open(m->pool->dirfd, &m->writers));
}

static void mount_close(struct mount *m)
{
    pool_writers_close(m->writers);
    pool_close(m->pool);
}

/* The catalog and the drives agree. */
void mount_note(struct mount *m)
{
    for (size_t i = 0; i < m->rig->files; i++)
        snprintf(m->was[i], sizeof m->was[i], "%s", m->rig->file[i].path);
}

/* Files of a bit less than two leaves on each drive, and a folder with small ones on drive 0. */
struct mount *begin_with(uint64_t seed, unsigned small)
{
    struct mount *m = calloc(1, sizeof *m);
    char path[32];
    assert_non_null(m);
    m->rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = seed});
    for (unsigned d = 0; d < DRIVES; d++)
        for (unsigned i = 0; i < 2; i++) {
            snprintf(path, sizeof path, "f%u%c", d, "ab"[i]);
            rig_put(m->rig, d, path, 2 * RIG_MIB - 100);
        }
    for (unsigned i = 0; i < small; i++) {
        snprintf(path, sizeof path, "in/%u", i);
        rig_put(m->rig, 0, path, 3000 + i);
    }
    rig_put(m->rig, 0, "in/deep/er", 5000);
    rig_protect_all(m->rig);
    mount_note(m);
    mount_open(m);
    return m;
}

struct mount *begin(uint64_t seed)
{
    return begin_with(seed, FEW);
}

void end(struct mount *m)
{
    mount_close(m);
    rig_destroy(m->rig);
    free(m);
}

void record(struct mount *m, const char *from, const char *to, enum pool_moved_kind kind)
{
    int fd;
    rig_ok(pool_moved_open(m->pool->dirfd, &fd));
    rig_ok(pool_moved_add(fd, rig_pool_drive(m->rig, 0)->meta.id, from, to, kind, true));
    close(fd);
}

/* What of the rig's files lies at or below `from` is at `to`. */
void rig_moved(struct rig *rig, const char *from, const char *to)
{
    size_t n = strlen(from);
    for (size_t i = 0; i < rig->files; i++) {
        struct rig_file *file = &rig->file[i];
        char rest[128];
        if (!file->there || file->drive || strncmp(file->path, from, n) != 0 ||
            (file->path[n] && file->path[n] != '/'))
            continue;
        snprintf(rest, sizeof rest, "%s", file->path + n);
        snprintf(file->path, sizeof file->path, "%.60s%.60s", to, rest);
    }
}

void move(struct mount *m, const char *from, const char *to)
{
    uint64_t epoch;
    rig_ok(pool_writers_enter(m->writers, &epoch));
    record(m, from, to, POOL_MOVED_RENAME);
    rig_ok(drv_rename(m->rig->drive[0].raw, from, to, DRV_RENAME_REPLACE));
    rig_moved(m->rig, from, to);
    pool_writers_leave(m->writers);
}

void exchange(struct mount *m, const char *a, const char *b)
{
    uint64_t epoch;
    rig_ok(pool_writers_enter(m->writers, &epoch));
    record(m, a, b, POOL_MOVED_EXCHANGE);
    rig_ok(drv_rename(m->rig->drive[0].raw, a, b, DRV_RENAME_EXCHANGE));
    rig_moved(m->rig, a, "exchanging");
    rig_moved(m->rig, b, a);
    rig_moved(m->rig, "exchanging", b);
    pool_writers_leave(m->writers);
}

/* --- what is asked --- */

void reads(struct mount *m, struct pool *pool, unsigned flags)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    for (size_t i = 0; i < m->rig->files; i++) {
        const struct rig_file *file = &m->rig->file[i];
        struct pool_file *f = NULL;
        if (!file->there)
            continue;
        struct meta_node node;
        rig_ok(meta_lookup_path(pool->meta,
            rig_pool_drive(m->rig, m->rig->file[i].drive)->meta.root, m->was[i], &node));
        rig_ok(pool_file_open_node(pool, &node, flags, &f));
        for (uint64_t at = 0; at < file->size; at += RIG_LEAF) {
            size_t n;
            if (pool_file_read(f, at, got, RIG_LEAF, &n))
                fail_msg("%s, now %s, at %" PRIu64 ": %s", m->was[i], file->path, at,
                    mrmr_err_name(mrmr_story_get()->err));
            rig_expected(file, at, wanted, n);
            assert_memory_equal(got, wanted, n);
        }
        pool_file_close(f);
    }
}

/* With choices of two other drives away (all of them where rig_all says so, else every third,
 * another one each time), by the owner or by the mount. */
void reads_all(struct mount *m)
{
    static unsigned turn;
    const bool all = rig_all();
    unsigned choice = turn++;
    for (unsigned a = 1; a < DRIVES; a++)
        for (unsigned b = a + 1; b < DRIVES; b++) {
            if (!all && choice++ % 3)
                continue;
            rig_take_away(m->rig, a);
            rig_take_away(m->rig, b);
            if ((a + b) % 2)
                reads(m, m->rig->pool, POOL_READ_VERIFY);
            else
                reads(m, m->pool, 0);
            rig_bring_back(m->rig, a);
            rig_bring_back(m->rig, b);
        }
}

uint64_t moved_size(struct mount *m)
{
    struct stat st = {.st_size = 0};
    assert_true(!fstatat(m->pool->dirfd, MOVED_NAME, &st, 0) || errno == ENOENT);
    return (uint64_t)st.st_size;
}

/* Before a scan, after it while nothing can be encoded, and afterwards. */
void renames_harm_nobody(struct mount *m)
{
    reads_all(m);
    rig_check(m->rig);
    no_new_rows(m->rig);
    rig_sync(m->rig);
    assert_int_equal(m->rig->report.held, 0);
    assert_int_equal(m->rig->report.vanished, 0);
    assert_int_equal(moved_size(m), 0);
    mount_note(m);
    reads_all(m);
    rig_clear_faults(m->rig);
    rig_protect_all(m->rig);
    rig_check(m->rig);
    rig_verify(m->rig, true);
    end(m);
}

/* Nothing of it is let go of, or held. */
void all_is_live(struct mount *m, size_t i)
{
    struct meta_extent *extents;
    struct meta_node node;
    size_t n;
    int64_t root = rig_pool_drive(m->rig, m->rig->file[i].drive)->meta.root;
    rig_ok(meta_lookup_path(m->rig->pool->meta, root, m->was[i], &node));
    rig_ok(meta_extents_of(m->rig->pool->meta, node.id, &extents, &n));
    assert_true(n > 0);
    for (size_t e = 0; e < n; e++)
        if (extents[e].state != META_LIVE)
            fail_msg("%s: state %d", m->was[i], extents[e].state);
    free(extents);
}
