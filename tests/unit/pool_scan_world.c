/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool_scan_world.h"

#include "pool/events/told.h"
#include "pool/records/moved.h"
#include "pool/writers.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- The world --- */

void assert_ok(mrmr_err err)
{
    char text[2048];
    if (err)
        fail_msg(
            "%s: %s", mrmr_err_name(err), mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

static void world_notice(bool warning, const char *text, void *arg)
{
    struct scan_world *w = arg;
    (void)warning;
    w->notices++;
    snprintf(w->last, sizeof w->last, "%s", text);
}

static void world_add_drive(struct scan_world *w, size_t i)
{
    struct pool_drive *drive = calloc(1, sizeof *drive);
    char uri[128], inner[128];
    assert_non_null(drive);
    snprintf(drive->meta.name, sizeof drive->meta.name, "d%zu", i + 1);
    if (w->local)
        snprintf(inner, sizeof inner, "%s/%s", w->dir, drive->meta.name);
    else
        snprintf(inner, sizeof inner, "mem://%s", drive->meta.name);
    if (w->local)
        assert_int_equal(mkdir(inner, 0700), 0);
    else
        drv_mem_reset(drive->meta.name);
    struct drv *drv;
    assert_ok(drv_open(inner, &drv));
    assert_ok(drv_fault_create(&w->fault[i]));
    assert_ok(drv_fault_wrap(drv, w->fault[i], &drive->drv));
    assert_ok(drv_info(drive->drv, &drive->info));
    drive->meta.uri = strdup((snprintf(uri, sizeof uri, "fault://%zu", i), uri));
    drive->meta.slot = (uint8_t)i;
    drive->meta.present = true;
    assert_ok(mrmr_uuid_make(&drive->meta.uuid));
    assert_ok(meta_drive_add(w->pool.meta, &drive->meta));
    drive->presence = POOL_PRESENT;
    pthread_mutex_init(&drive->lock, NULL);
    pthread_mutex_init(&drive->gate, NULL);
    w->drive[i] = drive;
}

struct scan_world *scan_world_create(bool local, size_t drives)
{
    struct scan_world *w = calloc(1, sizeof *w);
    char path[128];
    assert_non_null(w);
    const char *tmp = getenv("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%.40s/mrmr-scan-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(w->dir));
    w->local = local;
    w->n = drives;
    w->drive = calloc(drives, sizeof *w->drive);
    w->fault = calloc(drives, sizeof(struct drv_fault *));
    snprintf(path, sizeof path, "%s/catalog", w->dir);
    assert_ok(meta_open(path, META_CREATE, &w->pool.meta));
    w->pool.access = POOL_OWN;
    w->pool.dirfd = open(w->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(w->pool.dirfd >= 0);
    assert_ok(pool_writers_open(w->pool.dirfd, &w->pool.writers));
    assert_ok(pool_moved_create(&w->pool));
    assert_ok(pool_told_create(&w->pool));
    w->pool.drives = w->drive;
    w->pool.ndrives = drives;
    for (size_t i = 0; i < drives; i++)
        world_add_drive(w, i);
    return w;
}

void scan_world_destroy(struct scan_world *w)
{
    for (size_t i = 0; i < w->n; i++) {
        drv_close(w->drive[i]->drv);
        drv_fault_destroy(w->fault[i]);
        if (!w->local)
            drv_mem_reset(w->drive[i]->meta.name);
        free(w->drive[i]->meta.uri);
        pthread_mutex_destroy(&w->drive[i]->lock);
        pthread_mutex_destroy(&w->drive[i]->gate);
        free(w->drive[i]);
    }
    pool_writers_close(w->pool.writers);
    pool_moved_destroy(&w->pool);
    pool_told_destroy(&w->pool);
    close(w->pool.dirfd);
    meta_close(w->pool.meta);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", w->dir);
    if (system(command))
        print_message("%s stays\n", w->dir);
    free(w->drive);
    free(w->fault);
    free(w);
}

char scan_world_mem[] = "mem", scan_world_local[] = "local";

int scan_world_setup(void **state)
{
    *state = scan_world_create(*state == scan_world_local, 2);
    return 0;
}

int scan_world_teardown(void **state)
{
    scan_world_destroy(*state);
    return 0;
}

/* --- Jobs --- */

static struct pool_job world_job(struct scan_world *w)
{
    return (struct pool_job){.cancel = &w->cancel, .notice = world_notice, .arg = w};
}

mrmr_err scan_world_try(struct scan_world *w, bool accept)
{
    const struct pool_job job = world_job(w);
    return pool_scan(&w->pool, &job, accept, &w->report);
}

void scan_world_scan(struct scan_world *w)
{
    assert_ok(scan_world_try(w, false));
}

void scan_world_compare(struct scan_world *w)
{
    const struct pool_job job = world_job(w);
    assert_ok(pool_compare(&w->pool, &job, &w->report));
}

void scan_world_sync(struct scan_world *w)
{
    scan_world_scan(w);
    scan_world_compare(w);
}

void scan_world_accept(struct scan_world *w)
{
    assert_ok(scan_world_try(w, true));
    scan_world_compare(w);
}

/* --- The drive --- */

struct drv *scan_world_drv(struct scan_world *w)
{
    return w->drive[0]->drv;
}

void scan_world_write(
    struct scan_world *w, const char *path, uint64_t offset, uint64_t size, uint64_t seed)
{
    struct drv_file *file;
    uint8_t *data = malloc(size + 1);
    for (uint64_t i = 0; i < size; i++)
        data[i] = (uint8_t)((seed * 131 + offset + i + ((offset + i) >> 8) * 7) % 251 + 1);
    assert_ok(drv_file_open(scan_world_drv(w), path, DRV_OPEN_WRITE, 0, &file));
    assert_ok(drv_file_write(file, offset, data, size));
    drv_file_close(file);
    free(data);
}

void scan_world_file(struct scan_world *w, const char *path, uint64_t size, uint64_t seed)
{
    struct drv_file *file;
    assert_ok(
        drv_file_open(scan_world_drv(w), path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0640, &file));
    drv_file_close(file);
    if (size)
        scan_world_write(w, path, 0, size, seed);
}

void scan_world_truncate(struct scan_world *w, const char *path, uint64_t size)
{
    struct drv_file *file;
    assert_ok(drv_file_open(scan_world_drv(w), path, DRV_OPEN_WRITE, 0, &file));
    assert_ok(drv_file_truncate(file, size));
    drv_file_close(file);
}

void scan_world_mkdir(struct scan_world *w, const char *path)
{
    assert_ok(drv_mkdirs(scan_world_drv(w), path, 0750));
}

void scan_world_rename(struct scan_world *w, const char *from, const char *to)
{
    assert_ok(drv_rename(scan_world_drv(w), from, to, DRV_RENAME_REPLACE));
}

void scan_world_unlink(struct scan_world *w, const char *path)
{
    assert_ok(drv_unlink(scan_world_drv(w), path));
}

void scan_world_rmdir(struct scan_world *w, const char *path)
{
    assert_ok(drv_rmdir(scan_world_drv(w), path));
}

void scan_world_mtime(struct scan_world *w, const char *path, int64_t mtime)
{
    const struct drv_stat attr = {.mtime = mtime};
    assert_ok(drv_set_attr(scan_world_drv(w), path, DRV_ATTR_MTIME, &attr));
}

int64_t scan_world_get_mtime(struct scan_world *w, const char *path)
{
    struct drv_stat stat;
    assert_ok(drv_stat(scan_world_drv(w), path, &stat));
    return stat.mtime;
}

/* --- The catalog --- */

bool scan_world_knows(struct scan_world *w, const char *path, struct meta_node *ret_node)
{
    mrmr_err err = meta_lookup_path(w->pool.meta, w->drive[0]->meta.root, path, ret_node);
    if (mrmr_class_of(err) != MRMR_CLASS_ABSENT)
        assert_ok(err);
    return !err;
}

struct meta_node scan_world_node(struct scan_world *w, const char *path)
{
    struct meta_node node;
    if (!scan_world_knows(w, path, &node))
        fail_msg("the catalog does not know '%s'", path);
    return node;
}

uint64_t scan_world_exposed(struct scan_world *w, const char *path)
{
    struct meta_exposed *ranges;
    size_t n;
    uint64_t bytes = 0;
    assert_ok(meta_exposed_of(w->pool.meta, scan_world_node(w, path).id, &ranges, &n));
    for (size_t i = 0; i < n; i++)
        bytes += ranges[i].bytes;
    free(ranges);
    return bytes;
}

const char *scan_world_states(struct scan_world *w, int64_t node)
{
    static char text[256];
    struct meta_extent *extents;
    size_t n, at = 0;
    assert_ok(meta_extents_of(w->pool.meta, node, &extents, &n));
    for (size_t i = 0; i < n; i++)
        for (uint64_t k = 0; k < extents[i].leaves && at < sizeof text - 1; k++)
            text[at++] = "LMTGS"[extents[i].state];
    text[at] = '\0';
    free(extents);
    return text;
}

uint64_t scan_world_held(struct scan_world *w)
{
    uint64_t n;
    assert_ok(meta_changes_count(w->pool.meta, w->drive[0]->meta.id, META_CHANGE_HELD, &n));
    return n;
}

struct world_count {
    const char *kind;
    size_t n;
};

static mrmr_err world_count_event(const struct meta_event *event, void *arg)
{
    struct world_count *count = arg;
    count->n += strcmp(event->kind, count->kind) == 0;
    return MRMR_OK;
}

size_t scan_world_events(struct scan_world *w, const char *kind)
{
    struct world_count count = {kind, 0};
    assert_ok(meta_events(w->pool.meta, 0, 1 << 20, world_count_event, &count));
    return count.n;
}

static void world_digest(
    struct drv_file *file, uint64_t leaf, uint64_t size, struct mrmr_digest *ret)
{
    uint8_t *buf = malloc(LEAF);
    assert_ok(drv_file_read_exact(file, leaf * LEAF, buf, size));
    *ret = mrmr_digest_of(buf, size);
    free(buf);
}

static void world_protect_range(
    struct scan_world *w, struct drv_file *file, uint64_t version, const struct meta_exposed *range)
{
    struct mrmr_digest *digests = calloc(range->leaves, sizeof *digests);
    for (uint64_t i = 0; i < range->leaves; i++) {
        uint64_t left = range->bytes - i * LEAF;
        world_digest(file, range->first + i, left < LEAF ? left : LEAF, &digests[i]);
    }
    struct meta_extent extent = {.drive = range->drive,
        .node = range->node,
        .first = range->first,
        .leaves = range->leaves,
        .bytes = range->bytes,
        .version = version,
        .digests = digests};
    struct meta_block block = {
        .drive = range->drive, .slot = 0, .length = range->bytes, .extents = 1};
    struct meta_row row = {.drive = w->drive[1]->meta.id, .file_size = range->bytes};
    struct meta_stripe stripe = {.generation = 1,
        .length = range->bytes,
        .made = mrmr_clock_real(),
        .blocks = 1,
        .rows = 1,
        .extents = 1,
        .block = &block,
        .row = &row,
        .extent = &extent};
    const struct meta_claim claim = {range->node, version, range->first, range->leaves};
    assert_ok(mrmr_uuid_make(&stripe.uuid));
    assert_ok(meta_stripe_store(w->pool.meta, &stripe, 0, &claim, 1));
    free(digests);
}

void scan_world_protect(struct scan_world *w, const char *path)
{
    struct meta_node node = scan_world_node(w, path);
    struct meta_exposed *ranges;
    struct drv_file *file;
    struct drv_stat stat;
    size_t n;
    assert_ok(drv_stat(scan_world_drv(w), path, &stat));
    if (pool_stat_same(&w->drive[0]->info, &node, &stat) != POOL_SAME)
        return; /* held: what is there is not what the catalog has */
    assert_ok(meta_exposed_of(w->pool.meta, node.id, &ranges, &n));
    assert_ok(drv_file_open(scan_world_drv(w), path, DRV_OPEN_READ, 0, &file));
    for (size_t i = 0; i < n; i++)
        world_protect_range(w, file, node.version, &ranges[i]);
    drv_file_close(file);
    free(ranges);
}

/* --- Catalog against drive --- */

static bool world_is_held(struct scan_world *w, int64_t node)
{
    struct meta_change held[64];
    size_t n;
    int64_t after = 0;
    for (;;) {
        assert_ok(meta_changes_after(
            w->pool.meta, w->drive[0]->meta.id, META_CHANGE_HELD, after, held, 64, &n));
        if (!n)
            return false;
        for (size_t i = 0; i < n; i++)
            if (held[i].node == node)
                return true;
        after = held[n - 1].id;
    }
}

static bool world_leaf_has_data(struct drv_file *file, uint64_t leaf, uint64_t size)
{
    uint64_t start, end;
    assert_ok(drv_file_next_data(file, leaf * LEAF, &start, &end));
    return start < (leaf + 1) * LEAF && start < size;
}

static void world_check_leaf(const char *path, struct drv_file *file, const struct meta_node *node,
    uint64_t leaf, const struct meta_extent *extents, size_t nextents,
    const struct meta_exposed *ranges, size_t nranges)
{
    unsigned live = 0, exposed = 0, missing = 0;
    uint64_t size = node->size, bytes = size - leaf * LEAF < LEAF ? size - leaf * LEAF : LEAF;
    for (size_t i = 0; i < nextents; i++) {
        const struct meta_extent *e = &extents[i];
        if (leaf < e->first || leaf >= e->first + e->leaves)
            continue;
        missing += e->state == META_MISSING;
        if (e->state != META_LIVE)
            continue;
        struct mrmr_digest digest;
        live++;
        assert_int_equal(pool_leaf_size(e, leaf - e->first), bytes);
        world_digest(file, leaf, bytes, &digest);
        /* An edit that kept size and mtime, and a rename: only reading could tell, and scrub will. */
        if (!mrmr_digest_equal(&digest, &e->digests[leaf - e->first]) && !node->recheck)
            fail_msg("'%s' leaf %d counts as live, but its bytes are others", path, (int)leaf);
    }
    for (size_t i = 0; i < nranges; i++)
        exposed += leaf >= ranges[i].first && leaf < ranges[i].first + ranges[i].leaves;
    if (live + exposed > 1)
        fail_msg("'%s' leaf %d is %u times live and %u exposed", path, (int)leaf, live, exposed);
    if (!live && !exposed && !missing && world_leaf_has_data(file, leaf, size))
        fail_msg("'%s' leaf %d is neither live nor exposed", path, (int)leaf);
}

static void world_check_content(
    struct scan_world *w, const char *path, const struct meta_node *node)
{
    struct meta_extent *extents;
    struct meta_exposed *ranges;
    size_t nextents, nranges;
    struct drv_file *file;
    assert_ok(meta_extents_of(w->pool.meta, node->id, &extents, &nextents));
    assert_ok(meta_exposed_of(w->pool.meta, node->id, &ranges, &nranges));
    assert_ok(drv_file_open(scan_world_drv(w), path, DRV_OPEN_READ, 0, &file));
    for (size_t i = 0; i < nextents; i++)
        assert_int_not_equal(extents[i].state, META_SUSPECT);
    for (uint64_t leaf = 0; leaf * LEAF < node->size; leaf++)
        world_check_leaf(path, file, node, leaf, extents, nextents, ranges, nranges);
    if (nranges) {
        const struct meta_exposed *last = &ranges[nranges - 1];
        assert_true(last->first * LEAF + last->bytes <= node->size);
    }
    drv_file_close(file);
    free(extents);
    free(ranges);
}

static bool world_holds_below(struct scan_world *w, const struct meta_node *node)
{
    struct meta_child *children;
    size_t n;
    bool held = world_is_held(w, node->id);
    if (node->type != META_DIR)
        return held;
    assert_ok(meta_children(w->pool.meta, node->id, &children, &n));
    for (size_t i = 0; i < n; i++)
        held = held || world_holds_below(w, &children[i].node);
    free(children);
    return held;
}

/* Not on the drive, and known because of what is held. */
static bool world_is_kept(struct scan_world *w, const char *folder, const struct meta_child *child)
{
    struct drv_stat stat;
    char *path = malloc(strlen(folder) + strlen(child->name) + 2);
    sprintf(path, "%s%s%s", folder, *folder ? "/" : "", child->name);
    bool there = drv_stat(scan_world_drv(w), path, &stat) == MRMR_OK;
    free(path);
    return !there && world_holds_below(w, &child->node);
}

struct world_listing {
    struct scan_world *w;
    const char *path;
    int64_t node;
    size_t n;
};

static void world_check_folder(struct scan_world *w, const char *path, int64_t node);

static void world_check_target(struct scan_world *w, const char *path, int64_t node)
{
    struct mrmr_bytes there = MRMR_BYTES_INIT, known = MRMR_BYTES_INIT;
    assert_ok(drv_readlink(scan_world_drv(w), path, &there));
    assert_ok(meta_target_get(w->pool.meta, node, &known));
    assert_int_equal(there.size, known.size);
    assert_memory_equal(there.data, known.data, there.size);
    mrmr_bytes_free(&there);
    mrmr_bytes_free(&known);
}

static mrmr_err world_check_entry(
    const char *name, const struct drv_stat *stat, mrmr_err err, void *arg)
{
    struct world_listing *listing = arg;
    struct scan_world *w = listing->w;
    struct meta_node node;
    assert_ok(err);
    if (!*listing->path && !strcmp(name, "lost+found"))
        return MRMR_OK;
    char *path = malloc(strlen(listing->path) + strlen(name) + 2);
    sprintf(path, "%s%s%s", listing->path, *listing->path ? "/" : "", name);
    if (meta_lookup(w->pool.meta, listing->node, name, &node))
        fail_msg("the catalog does not know '%s'", path);
    listing->n++;
    if ((int)node.type != (int)stat->type && world_holds_below(w, &node)) {
        free(path); /* what is there waits until the held one is given up */
        return MRMR_OK;
    }
    if ((int)node.type != (int)stat->type)
        fail_msg("'%s' has type %d, the catalog says %d", path, (int)stat->type, (int)node.type);
    if (stat->type == DRV_DIR && node.ino != stat->ino && scan_world_held(w)) {
        free(path); /* the one that was here went to a held one's name, and waits for it */
        return MRMR_OK;
    }
    bool held = world_is_held(w, node.id);
    if (!held && pool_stat_same(&w->drive[0]->info, &node, stat) != POOL_SAME)
        fail_msg("'%s' is not as the catalog has it", path);
    if (!held) {
        assert_int_equal(node.mode, stat->mode);
        assert_int_equal(node.ino, stat->ino);
    }
    if (stat->type == DRV_DIR)
        world_check_folder(w, path, node.id);
    else if (stat->type == DRV_SYMLINK)
        world_check_target(w, path, node.id);
    else if (stat->type == DRV_REG && !held)
        world_check_content(w, path, &node);
    free(path);
    return MRMR_OK;
}

static void world_check_folder(struct scan_world *w, const char *path, int64_t node)
{
    struct world_listing listing = {.w = w, .path = path, .node = node};
    struct meta_child *children;
    size_t n, kept = 0;
    assert_ok(drv_list(scan_world_drv(w), path, world_check_entry, &listing));
    assert_ok(meta_children(w->pool.meta, node, &children, &n));
    for (size_t i = 0; n > listing.n && i < n; i++)
        kept += world_is_kept(w, path, &children[i]);
    free(children);
    if (n != listing.n + kept)
        fail_msg("'%s' has %zu entries, the catalog knows %zu", path, listing.n, n);
}

void scan_world_check(struct scan_world *w)
{
    world_check_folder(w, "", w->drive[0]->meta.root);
    /* No node without a name, and no name twice: as many nodes as names lead to. */
    for (int kind = META_CHANGE_VANISHED; kind <= META_CHANGE_APPEARED; kind++) {
        uint64_t n;
        assert_ok(meta_changes_count(
            w->pool.meta, w->drive[0]->meta.id, (enum meta_change_kind)kind, &n));
        assert_int_equal(n, 0);
    }
    struct meta_node nodes[64];
    size_t n;
    int64_t after = 0;
    for (;;) {
        assert_ok(meta_nodes_after(w->pool.meta, w->drive[0]->meta.id, after, nodes, 64, &n));
        if (!n)
            break;
        for (size_t i = 0; i < n; i++) {
            struct mrmr_bytes path = MRMR_BYTES_INIT;
            assert_ok(meta_path(w->pool.meta, nodes[i].id, &path));
            assert_true(path.size || nodes[i].id == w->drive[0]->meta.root);
            mrmr_bytes_free(&path);
        }
        after = nodes[n - 1].id;
    }
}
