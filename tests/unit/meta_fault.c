/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The N-th allocation of SQLite fails, and the N-th write, sync or truncation of its files, once
 * and for good; N goes up until a run is clean. Whatever happens, nothing crashes, the error says
 * what it was, a transaction is in the catalog wholly or not at all, what was reported as committed
 * is there, and the catalog checks out.
 */
#include "meta_support.h"

#include <errno.h>

/* --- Faults --- */

static struct {
    long left;    /* calls until one fails; 0: none */
    bool forever; /* and all after it */
    bool fired;
} alloc_fault, io_fault;

static bool fires(__typeof__(&alloc_fault) fault)
{
    if (fault->fired)
        return fault->forever;
    if (fault->left && --fault->left == 0)
        return fault->fired = true;
    return false;
}

static sqlite3_mem_methods mem_inner;
static void *mem_malloc(int size)
{
    return fires(&alloc_fault) ? NULL : mem_inner.xMalloc(size);
}
static void *mem_realloc(void *p, int size)
{
    return fires(&alloc_fault) ? NULL : mem_inner.xRealloc(p, size);
}

/* A VFS whose files are the system's, but for the calls that fail. */
struct faulty {
    sqlite3_file base;
    sqlite3_file *inner;
};
static sqlite3_vfs *vfs_inner;
static sqlite3_vfs vfs_faulty;
static int io_error; /* what the failing call returns */

#define INNER(f) (((struct faulty *)(f))->inner)
static int f_close(sqlite3_file *f)
{
    int rc = INNER(f)->pMethods->xClose(INNER(f));
    sqlite3_free(INNER(f));
    return rc;
}
static int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return INNER(f)->pMethods->xRead(INNER(f), p, n, at);
}
static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (fires(&io_fault)) {
        INNER(f)->pMethods->xWrite(INNER(f), p, n / 2, at); /* torn */
        return io_error;
    }
    return INNER(f)->pMethods->xWrite(INNER(f), p, n, at);
}
static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fires(&io_fault) ? SQLITE_IOERR_TRUNCATE : INNER(f)->pMethods->xTruncate(INNER(f), size);
}
static int syncs;
static int f_sync(sqlite3_file *f, int flags)
{
    syncs++;
    return fires(&io_fault) ? SQLITE_IOERR_FSYNC : INNER(f)->pMethods->xSync(INNER(f), flags);
}
static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return INNER(f)->pMethods->xFileSize(INNER(f), size);
}
static int f_lock(sqlite3_file *f, int level)
{
    return INNER(f)->pMethods->xLock(INNER(f), level);
}
static int f_unlock(sqlite3_file *f, int level)
{
    return INNER(f)->pMethods->xUnlock(INNER(f), level);
}
static int f_reserved(sqlite3_file *f, int *out)
{
    return INNER(f)->pMethods->xCheckReservedLock(INNER(f), out);
}
static int f_control(sqlite3_file *f, int op, void *arg)
{
    return INNER(f)->pMethods->xFileControl(INNER(f), op, arg);
}
static int f_sector(sqlite3_file *f)
{
    return INNER(f)->pMethods->xSectorSize(INNER(f));
}
static int f_device(sqlite3_file *f)
{
    return INNER(f)->pMethods->xDeviceCharacteristics(INNER(f));
}
static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **pp)
{
    return INNER(f)->pMethods->xShmMap(INNER(f), page, size, extend, pp);
}
static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return INNER(f)->pMethods->xShmLock(INNER(f), offset, n, flags);
}
static void f_shm_barrier(sqlite3_file *f)
{
    INNER(f)->pMethods->xShmBarrier(INNER(f));
}
static int f_shm_unmap(sqlite3_file *f, int delete_it)
{
    return INNER(f)->pMethods->xShmUnmap(INNER(f), delete_it);
}

static const sqlite3_io_methods faulty_methods = {
    .iVersion = 2,
    .xClose = f_close,
    .xRead = f_read,
    .xWrite = f_write,
    .xTruncate = f_truncate,
    .xSync = f_sync,
    .xFileSize = f_size,
    .xLock = f_lock,
    .xUnlock = f_unlock,
    .xCheckReservedLock = f_reserved,
    .xFileControl = f_control,
    .xSectorSize = f_sector,
    .xDeviceCharacteristics = f_device,
    .xShmMap = f_shm_map,
    .xShmLock = f_shm_lock,
    .xShmBarrier = f_shm_barrier,
    .xShmUnmap = f_shm_unmap,
};

static int f_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)vfs;
    f->pMethods = NULL;
    sqlite3_file *inner = sqlite3_malloc(vfs_inner->szOsFile);
    if (!inner)
        return SQLITE_NOMEM;
    memset(inner, 0, (size_t)vfs_inner->szOsFile);
    int rc = vfs_inner->xOpen(vfs_inner, name, inner, flags, out);
    if (rc) {
        if (inner->pMethods)
            inner->pMethods->xClose(inner);
        sqlite3_free(inner);
        return rc;
    }
    ((struct faulty *)f)->inner = inner;
    f->pMethods = &faulty_methods;
    return SQLITE_OK;
}

static int install(void **state)
{
    (void)state;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &mem_inner))
        return -1;
    sqlite3_mem_methods mem = mem_inner;
    mem.xMalloc = mem_malloc;
    mem.xRealloc = mem_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &mem) || sqlite3_initialize())
        return -1;
    vfs_inner = sqlite3_vfs_find(NULL);
    vfs_faulty = *vfs_inner;
    vfs_faulty.zName = "faulty";
    vfs_faulty.szOsFile = sizeof(struct faulty);
    vfs_faulty.xOpen = f_open;
    return sqlite3_vfs_register(&vfs_faulty, 1);
}

static void quiet(void)
{
    memset(&alloc_fault, 0, sizeof alloc_fault);
    memset(&io_fault, 0, sizeof io_fault);
}

/* --- The story: a catalog with two drives and a file, then two transactions, then reading --- */

struct tale {
    struct meta_drive d[2];
    struct meta_node file;
};

static struct tale tale_start(struct world *w)
{
    struct tale t;
    t.d[0] = make_drive(w, "one");
    t.d[1] = make_drive(w, "two");
    t.file = make_node(w, &t.d[0], t.d[0].root, "file", META_REG, 40 * META_LEAF);
    make_exposed(w, &t.file);
    meta_close(w->meta); /* the log is written back: the baseline */
    w->meta = NULL;
    return t;
}

/* One atomic step: many nodes, a stripe that claims the file, a setting. */
static mrmr_err tale_step(struct meta *meta, const struct tale *t)
{
    for (int i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%d", i);
        struct meta_node node = {.drive = t->d[0].id, .version = 1};
        mrmr_err err = meta_node_add(meta, &node, t->d[0].root, name);
        if (err)
            return err;
    }
    static struct mrmr_digest digests[40];
    struct meta_extent extent = {.drive = t->d[0].id,
        .node = t->file.id,
        .leaves = 40,
        .bytes = 40 * META_LEAF,
        .version = 1,
        .digests = digests};
    struct meta_block block = {t->d[0].id, t->d[0].slot, extent.bytes, 1, 0};
    struct meta_row row = {0, t->d[1].id, META_ROW_OK, extent.bytes};
    struct meta_stripe s = {.generation = 1,
        .length = extent.bytes,
        .blocks = 1,
        .rows = 1,
        .extents = 1,
        .block = &block,
        .row = &row,
        .extent = &extent};
    struct meta_claim claim = {t->file.id, 1, 0, 40};
    mrmr_err err = mrmr_uuid_make(&s.uuid);
    if (!err)
        err = meta_stripe_store(meta, &s, 0, &claim, 1);
    return err ? err : meta_set(meta, "step", "done");
}

static mrmr_err on_setting(const char *key, const char *value, void *arg)
{
    (void)key;
    (void)value;
    (void)arg;
    return MRMR_OK;
}

static mrmr_err tale_read(struct meta *meta, const struct tale *t)
{
    struct meta_child *children;
    struct meta_loss loss;
    struct mrmr_bytes path = MRMR_BYTES_INIT;
    size_t n;
    mrmr_err err = meta_children(meta, t->d[0].root, &children, &n);
    if (!err)
        free(children);
    if (!err)
        err = meta_path(meta, t->file.id, &path);
    if (!err)
        err = meta_losses(meta, t->d[0].id, &loss, NULL, NULL);
    if (!err)
        err = meta_settings(meta, on_setting, NULL);
    mrmr_bytes_free(&path);
    return err;
}

/* *ret_committed: the commit said so. */
static mrmr_err tale_run(struct world *w, const struct tale *t, bool *ret_committed)
{
    *ret_committed = false;
    mrmr_err err = meta_open(w->path, 0, &w->meta);
    if (err)
        return err;
    err = meta_begin(w->meta);
    if (!err) {
        err = tale_step(w->meta, t);
        if (err) { /* sticky: whatever comes now fails the same way */
            mrmr_err again = meta_set(w->meta, "step", "again");
            assert_int_equal(again, err);
            assert_int_equal(meta_commit(w->meta), err);
        } else {
            err = meta_commit(w->meta);
            *ret_committed = !err;
        }
        if (err)
            meta_rollback(w->meta);
    }
    if (!err)
        err = tale_read(w->meta, t);
    meta_close(w->meta);
    w->meta = NULL;
    return err;
}

static void tale_inspect(struct world *w, bool committed)
{
    struct mrmr_bytes step = MRMR_BYTES_INIT;
    struct meta_totals totals;
    struct meta_exposed_total exposed;
    assert_ok(meta_open(w->path, 0, &w->meta));
    assert_ok(meta_check(w->meta));
    bool done = meta_get(w->meta, "step", &step) == MRMR_OK;
    assert_ok(meta_totals(w->meta, 0, &totals));
    assert_ok(meta_exposed_total(w->meta, 0, &exposed));
    assert_true(done || !committed);
    assert_int_equal(totals.files, done ? 61 : 1);
    assert_int_equal(totals.stripes, done ? 1 : 0);
    assert_int_equal(exposed.bytes, done ? 0 : 40 * META_LEAF);
    mrmr_bytes_free(&step);
    meta_close(w->meta);
    w->meta = NULL;
}

static void tale_reset(struct world *w, const char *good)
{
    static const char *const beside[] = {"-wal", "-shm"};
    char path[sizeof w->path + 8];
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s%s", w->path, beside[i]);
        assert_true(!unlink(path) || errno == ENOENT);
    }
    copy_file(good, w->path);
}

/* N goes up by one at first, and in growing strides later, so that thousands of calls are sampled
 * in seconds. */
static void each_fault(
    struct world *w, __typeof__(&alloc_fault) fault, bool forever, bool (*allowed)(mrmr_err err))
{
    struct tale t = tale_start(w);
    char good[128];
    int runs = 0, failed = 0;
    snprintf(good, sizeof good, "%s/good", w->dir);
    copy_file(w->path, good);
    for (long n = 1;; n += 1 + n / 60) {
        bool committed;
        tale_reset(w, good);
        quiet();
        fault->left = n;
        fault->forever = forever;
        mrmr_err err = tale_run(w, &t, &committed);
        bool fired = fault->fired;
        quiet();
        if (err && !allowed(err))
            fail_msg(
                "call %ld failed, and the error is %s (%s)", n, mrmr_err_name(err), story_text());
        tale_inspect(w, committed);
        runs++;
        failed += err != MRMR_OK;
        if (!fired) {
            assert_ok(err);
            break;
        }
    }
    print_message("%d runs, %d of them failed\n", runs, failed);
    assert_true(failed > 10);
}

static bool is_nomem(mrmr_err err)
{
    return err == MRMR_NOMEM;
}
static bool is_io(mrmr_err err)
{
    return err == MRMR_IO;
}
static bool is_space(mrmr_err err)
{
    return err == MRMR_SPACE || err == MRMR_IO; /* a sync or truncation does not say "full" */
}

/* Each commit is synced before it returns, and nothing else is. */
static void commit_is_synced(void **state)
{
    struct world *w = *state;
    assert_ok(meta_set(w->meta, "a", "0"));
    for (int i = 0; i < 3; i++) {
        const char value[] = {(char)('1' + i), '\0'};
        assert_ok(meta_begin(w->meta));
        assert_ok(meta_set(w->meta, "a", value));
        syncs = 0;
        assert_ok(meta_commit(w->meta));
        assert_int_equal(syncs, 1);
    }
}

static void alloc_once(void **state)
{
    each_fault(*state, &alloc_fault, false, is_nomem);
}
static void alloc_for_good(void **state)
{
    each_fault(*state, &alloc_fault, true, is_nomem);
}
static void io_once(void **state)
{
    io_error = SQLITE_IOERR_WRITE;
    each_fault(*state, &io_fault, false, is_io);
}
static void io_for_good(void **state)
{
    io_error = SQLITE_IOERR_WRITE;
    each_fault(*state, &io_fault, true, is_io);
}
static void full_for_good(void **state)
{
    io_error = SQLITE_FULL;
    each_fault(*state, &io_fault, true, is_space);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(commit_is_synced),
        TEST(alloc_once),
        TEST(alloc_for_good),
        TEST(io_once),
        TEST(io_for_good),
        TEST(full_for_good),
    };
    return cmocka_run_group_tests(tests, install, NULL);
}
