/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/support/rig.h"

#include "base/cleanup.h"
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* --- Errors, seeds --- */

void rig_expect_ok(mrmr_err err, const char *file, int line)
{
    char text[2048];
    if (err)
        fail_msg("%s:%d: %s: %s", file, line, mrmr_err_name(err),
            mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

uint64_t rig_seed(const char *what)
{
    const char *given = getenv("MRMR_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0)
                          : (uint64_t)mrmr_clock_real() / 1000 % UINT64_C(1000000007);
    printf("%s: MRMR_SEED=%" PRIu64 "\n", what, seed);
    fflush(stdout);
    return seed ? seed : 1;
}

unsigned rig_rounds(unsigned normally)
{
    const char *given = getenv("MRMR_ROUNDS");
    return given ? (unsigned)strtoul(given, NULL, 0) : normally;
}

bool rig_all(void)
{
    return getenv("MRMR_ALL") || rig_rounds(1) > 1;
}

uint64_t rig_hash(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t rig_random(struct rig *rig, uint64_t below)
{
    rig->rng = rig_hash(rig->rng);
    return below ? rig->rng % below : rig->rng;
}

/* --- Making and opening --- */

static void rig_run(const char *const argv[])
{
    pid_t pid;
    int status;
    /* No fork: nothing that the test has in memory is copied, page by page, for a program that goes. */
    assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static const char *rig_pool_dir(const struct rig *rig)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/pool", rig->dir);
    return path;
}

static void rig_make_medium(struct rig *rig, unsigned i)
{
    struct rig_drive *drive = &rig->drive[i];
    char uri[sizeof drive->inner];
    snprintf(drive->name, sizeof drive->name, "d%u", i);
    if (rig->kind == RIG_LOCAL)
        snprintf(uri, sizeof uri, "%s/d%u", rig->dir, i);
    else
        snprintf(uri, sizeof uri, "mem://%s-d%u?size=%" PRIu64 "%s", rig->tag, i, rig->size,
            rig->kind == RIG_MEM_CUT ? "&cut=1" : "");
    memcpy(drive->inner, uri, sizeof uri);
    if (rig->kind == RIG_LOCAL)
        assert_int_equal(mkdir(uri, 0755), 0);
    rig_ok(drv_open(drive->inner, &drive->raw));
}

/* Drives are called by threads of theirs, too, one of which may still be in a call that was given up
 * when the test sets the next tap. */
typedef void rig_tap_fn(struct rig *rig, struct rig_drive *drive);
static pthread_mutex_t tap_lock = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local rig_tap_fn *tap_due; /* once the call is through */

/* The tap, if this call is the one; late: if it is due afterwards. */
static rig_tap_fn *tap_take(struct rig *rig, enum drv_fault_op op, bool *late)
{
    mrmr_locked(&tap_lock);
    if (!rig->tap || !(op & rig->tap_ops) || rig->tap_left-- != 0)
        return NULL;
    *late = rig->tap_late;
    return rig->tap;
}

static void rig_count(void *arg, enum drv_fault_op op, const char *path)
{
    (void)path;
    struct rig_drive *drive = arg;
    bool late;
    rig_tap_fn *tap = tap_take(drive->rig, op, &late);
    tap_due = tap && late ? tap : NULL;
    if (tap && !late)
        tap(drive->rig, drive);
}

static void rig_count_late(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    struct rig_drive *drive = arg;
    rig_tap_fn *tap = tap_due;
    tap_due = NULL;
    if (tap)
        tap(drive->rig, drive);
}

void rig_tap(struct rig *rig, uint32_t ops, uint64_t n, bool late, rig_tap_fn *tap)
{
    mrmr_locked(&tap_lock);
    rig->tap_ops = ops;
    rig->tap_left = n;
    rig->tap_late = late;
    rig->tap = tap;
}

void rig_untap(struct rig *rig)
{
    rig_tap(rig, 0, 0, false, NULL);
}

uint64_t rig_calls(struct rig *rig, uint32_t ops)
{
    uint64_t calls = 0;
    for (unsigned i = 0; i < rig->n; i++)
        calls += drv_fault_calls(rig->drive[i].tap, ops);
    return calls;
}

unsigned rig_add_drive(struct rig *rig)
{
    unsigned i = rig->n++;
    struct rig_drive *drive = &rig->drive[i];
    char name[80], uri[96];
    assert_true(i < RIG_DRIVES_MAX);
    rig_make_medium(rig, i);
    drive->rig = rig;
    rig_ok(drv_fault_create(&drive->fault));
    rig_ok(drv_fault_create(&drive->tap));
    snprintf(name, sizeof name, "%s-d%u", rig->tag, i);
    rig_ok(drv_fault_serve(drive->fault, name, drive->inner));
    snprintf(uri, sizeof uri, "fault://%s", name);
    snprintf(name, sizeof name, "%s-tap-d%u", rig->tag, i);
    rig_ok(drv_fault_serve(drive->tap, name, uri));
    snprintf(uri, sizeof uri, "fault://%s", name);
    struct drv_fault_rule count = {.action = DRV_FAULT_HOOK, .hook = rig_count, .arg = drive};
    rig_ok(drv_fault_add(drive->tap, &count, NULL));
    count.hook = rig_count_late;
    count.late = true;
    rig_ok(drv_fault_add(drive->tap, &count, NULL));
    struct pool_drive_spec spec = {.uri = uri, .name = drive->name};
    rig_ok(pool_drive_add(rig->pool, &spec));
    return i;
}

struct rig *rig_create(const struct rig_spec *spec)
{
    static unsigned count;
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    rig->kind = spec->kind;
    rig->seed = rig->rng = spec->seed ? spec->seed : 1;
    rig->size = spec->size ? spec->size : 256 * RIG_MIB;
    const char *temp = getenv("TMPDIR");
    struct stat st;
    if (!temp)
        temp = stat("/dev/shm", &st) == 0 && S_ISDIR(st.st_mode) ? "/dev/shm" : "/tmp";
    snprintf(rig->dir, sizeof rig->dir, "%s/mrmr-rig-XXXXXX", temp);
    assert_non_null(mkdtemp(rig->dir));
    snprintf(rig->tag, sizeof rig->tag, "rig%d-%u", (int)getpid(), ++count);
    rig_ok(pool_create(rig_pool_dir(rig)));
    rig_open(rig);
    for (unsigned i = 0; i < (spec->drives ? spec->drives : 5); i++)
        rig_add_drive(rig);
    char value[32];
    snprintf(value, sizeof value, "%" PRIu64, spec->block ? spec->block : 2 * RIG_MIB);
    rig_ok(pool_set(rig->pool, "block-size", value));
    /* Small pools change by large parts: holds have tests of their own. */
    rig_ok(pool_set(rig->pool, "hold-percent", "100"));
    rig_ok(pool_set_redundancy(rig->pool, spec->redundancy ? spec->redundancy : 2));
    return rig;
}

mrmr_err rig_try_open(struct rig *rig)
{
    assert_null(rig->pool);
    return pool_open(rig_pool_dir(rig), POOL_OWN, "test", &rig->pool);
}

void rig_open(struct rig *rig)
{
    rig_ok(rig_try_open(rig));
}

void rig_close(struct rig *rig)
{
    pool_close(rig->pool);
    rig->pool = NULL;
}

void rig_reopen(struct rig *rig)
{
    rig_close(rig);
    rig_open(rig);
}

static void rig_name_in_memory(const struct rig *rig, unsigned i, char name[64])
{
    snprintf(name, 64, "%s-%s", rig->tag, rig->drive[i].name);
}

void rig_destroy(struct rig *rig)
{
    if (!rig)
        return;
    for (unsigned i = 0; i < rig->n; i++)
        drv_fault_clear(rig->drive[i].fault);
    rig_untap(rig);
    rig_close(rig);
    for (unsigned i = 0; i < rig->n; i++) {
        char name[64];
        drv_close(rig->drive[i].raw);
        drv_fault_destroy(rig->drive[i].tap);
        drv_fault_destroy(rig->drive[i].fault);
        rig_name_in_memory(rig, i, name);
        if (rig->kind != RIG_LOCAL)
            drv_mem_reset(name);
    }
    rig_run((const char *const[]){"rm", "-rf", "--", rig->dir, NULL});
    rig_promise_free(rig);
    free(rig->file);
    free(rig);
}

/* --- Content --- */

static void fill_seeded(uint64_t seed, uint64_t offset, uint8_t *buf, uint64_t size)
{
    for (uint64_t i = 0; i < size;) {
        uint64_t at = offset + i, word = rig_hash(seed ^ (at / 8 * UINT64_C(0x2545f4914f6cdd1d)));
        unsigned from = (unsigned)(at % 8), n = 8 - from;
        if (!from && size - i >= 8) { /* nearly all of them */
            memcpy(buf + i, &word, 8);
            i += 8;
            continue;
        }
        if (n > size - i)
            n = (unsigned)(size - i);
        memcpy(buf + i, (uint8_t *)&word + from, n);
        i += n;
    }
}

void rig_expected(const struct rig_file *file, uint64_t offset, void *out, uint64_t size)
{
    uint8_t *buf = out;
    fill_seeded(file->seed, offset, buf, size);
    for (unsigned p = 0; p < file->patches; p++) {
        const struct rig_patch *patch = &file->patch[p];
        uint64_t a = patch->offset > offset ? patch->offset : offset;
        uint64_t b = patch->offset + patch->size;
        if (b > offset + size)
            b = offset + size;
        if (a < b)
            fill_seeded(patch->seed, a, buf + (a - offset), b - a);
    }
    uint64_t a = file->hole_begin > offset ? file->hole_begin : offset;
    uint64_t b = file->hole_end < offset + size ? file->hole_end : offset + size;
    if (a < b)
        memset(buf + (a - offset), 0, b - a);
}

/* --- The user's hand --- */

struct rig_file *rig_find(struct rig *rig, const char *path)
{
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].there && strcmp(rig->file[i].path, path) == 0)
            return &rig->file[i];
    return NULL;
}

static struct rig_file *rig_must_find(struct rig *rig, const char *path)
{
    struct rig_file *file = rig_find(rig, path);
    if (!file)
        fail_msg("the test knows no file %s", path);
    return file;
}

static void rig_write(struct rig *rig, const struct rig_file *file, uint64_t a, uint64_t b)
{
    struct drv_file *f = NULL;
    static uint8_t buf[RIG_LEAF];
    rig_ok(drv_file_open(rig->drive[file->drive].raw, file->path, DRV_OPEN_WRITE, 0, &f));
    while (a < b) {
        if (a >= file->hole_begin && a < file->hole_end) {
            a = file->hole_end;
            continue;
        }
        uint64_t end = a < file->hole_begin && file->hole_begin < b ? file->hole_begin : b;
        uint64_t n = end - a < sizeof buf ? end - a : sizeof buf;
        rig_expected(file, a, buf, n);
        rig_ok(drv_file_write(f, a, buf, n));
        a += n;
    }
    drv_file_close(f);
}

static void rig_make(struct rig *rig, const struct rig_file *file)
{
    struct drv *raw = rig->drive[file->drive].raw;
    char folder[sizeof file->path];
    struct drv_file *f = NULL;
    snprintf(folder, sizeof folder, "%s", file->path);
    char *slash = strrchr(folder, '/');
    if (slash) {
        *slash = '\0';
        rig_ok(drv_mkdirs(raw, folder, 0755));
    }
    mrmr_err err = drv_unlink(raw, file->path);
    assert_true(!err || err == MRMR_ABSENT);
    rig_ok(drv_file_open(raw, file->path, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0644, &f));
    rig_ok(drv_file_truncate(f, file->size));
    drv_file_close(f);
    rig_write(rig, file, 0, file->size);
}

static struct rig_file *rig_new_file(struct rig *rig, unsigned drive, const char *path)
{
    char name[sizeof rig->file->path]; /* path may be the very file's */
    snprintf(name, sizeof name, "%s", path);
    struct rig_file *file = rig_find(rig, name);
    if (!file) {
        if (rig->files == rig->files_room) {
            rig->files_room = rig->files_room ? 2 * rig->files_room : 256;
            rig->file = realloc(rig->file, rig->files_room * sizeof *rig->file);
            assert_non_null(rig->file);
        }
        file = &rig->file[rig->files++];
    }
    *file = (struct rig_file){.there = true, .drive = drive, .seed = rig_random(rig, 0)};
    memcpy(file->path, name, sizeof name);
    return file;
}

struct rig_file *rig_put(struct rig *rig, unsigned drive, const char *path, uint64_t size)
{
    struct rig_file *file = rig_new_file(rig, drive, path);
    file->size = size;
    rig_make(rig, file);
    return file;
}

struct rig_file *rig_put_sparse(
    struct rig *rig, unsigned drive, const char *path, uint64_t size, uint64_t a, uint64_t b)
{
    struct rig_file *file = rig_new_file(rig, drive, path);
    file->size = size;
    file->hole_begin = a;
    file->hole_end = b;
    rig_make(rig, file);
    return file;
}

void rig_append(struct rig *rig, const char *path, uint64_t bytes)
{
    struct rig_file *file = rig_must_find(rig, path);
    uint64_t from = file->size;
    file->size += bytes;
    rig_write(rig, file, from, file->size);
}

void rig_edit(struct rig *rig, const char *path, uint64_t offset, uint64_t size)
{
    struct rig_file *file = rig_must_find(rig, path);
    assert_true(offset + size <= file->size);
    if (file->patches == RIG_PATCHES_MAX) { /* one more would be forgotten: all of it anew */
        rig_put(rig, file->drive, path, file->size);
        return;
    }
    file->patch[file->patches++] = (struct rig_patch){offset, size, rig_random(rig, 0)};
    rig_write(rig, file, offset, offset + size);
}

void rig_truncate(struct rig *rig, const char *path, uint64_t size)
{
    struct rig_file *file = rig_must_find(rig, path);
    struct drv_file *f = NULL;
    assert_true(size <= file->size);
    file->size = size;
    rig_ok(drv_file_open(rig->drive[file->drive].raw, path, DRV_OPEN_WRITE, 0, &f));
    rig_ok(drv_file_truncate(f, size));
    drv_file_close(f);
}

void rig_unlink(struct rig *rig, const char *path)
{
    struct rig_file *file = rig_must_find(rig, path);
    rig_ok(drv_unlink(rig->drive[file->drive].raw, path));
    file->there = false;
}

void rig_rename(struct rig *rig, const char *from, const char *to)
{
    struct rig_file *file = rig_must_find(rig, from);
    rig_ok(drv_rename(rig->drive[file->drive].raw, from, to, DRV_RENAME_NOREPLACE));
    snprintf(file->path, sizeof file->path, "%s", to);
}

void rig_set_mtime(struct rig *rig, const char *path, int64_t mtime)
{
    struct drv_stat stat = {.mtime = mtime};
    const struct rig_file *file = rig_must_find(rig, path);
    rig_ok(drv_set_attr(rig->drive[file->drive].raw, path, DRV_ATTR_MTIME, &stat));
}

int64_t rig_mtime(struct rig *rig, const char *path)
{
    struct drv_stat stat;
    rig_ok(drv_stat(rig->drive[rig_must_find(rig, path)->drive].raw, path, &stat));
    return stat.mtime;
}

static uint64_t rig_random_size(struct rig *rig, uint64_t most)
{
    uint64_t shape = rig_random(rig, 10);
    if (shape == 0)
        return 0;
    if (shape < 6)
        return 1 + rig_random(rig, most / 16 + 1);
    return 1 + rig_random(rig, most);
}

void rig_fill(struct rig *rig, unsigned from, unsigned to, unsigned n, uint64_t most)
{
    for (unsigned d = from; d < to; d++)
        for (unsigned i = 0; i < n; i++) {
            char path[64];
            snprintf(path, sizeof path, "t%u/s%u/f%zu", d, i % 3, rig->files);
            rig_put(rig, d, path, rig_random_size(rig, most));
        }
}

void rig_one_each(struct rig *rig, unsigned n, uint64_t size)
{
    for (unsigned d = 0; d < n; d++) {
        char path[16];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(rig, d, path, size);
    }
    rig_protect_all(rig);
}

static struct rig_file *rig_random_file(struct rig *rig)
{
    for (unsigned tries = 0; tries < 100 && rig->files; tries++) {
        struct rig_file *file = &rig->file[rig_random(rig, rig->files)];
        if (file->there)
            return file;
    }
    return NULL;
}

void rig_stir(struct rig *rig)
{
    struct rig_file *file = rig_random_file(rig);
    char path[sizeof file->path];
    uint64_t kind = file ? rig_random(rig, 6) : 0;
    unsigned drive = (unsigned)rig_random(rig, rig->n);
    snprintf(path, sizeof path, "n/new%zu", rig->files);
    if (kind == 0)
        rig_put(rig, drive, path, rig_random_size(rig, 2 * RIG_MIB));
    else if (kind == 1)
        rig_append(rig, file->path, 1 + rig_random(rig, RIG_MIB));
    else if (kind == 2 && file->size)
        rig_edit(rig, file->path, rig_random(rig, file->size), 1);
    else if (kind == 3)
        rig_put(rig, file->drive, file->path, rig_random_size(rig, RIG_MIB));
    else if (kind == 4)
        rig_unlink(rig, file->path);
    else {
        snprintf(path, sizeof path, "moved-%" PRIu64, rig_random(rig, UINT64_C(1) << 60));
        rig_rename(rig, file->path, path);
    }
}

void rig_rot(struct rig *rig, unsigned drive, const char *path, uint64_t offset)
{
    char name[64];
    rig->rotten = true;
    if (rig->kind != RIG_LOCAL) {
        rig_name_in_memory(rig, drive, name);
        rig_ok(drv_mem_rot(name, path, offset, 0x41));
        return;
    }
    struct drv_stat stat;
    struct drv_file *f = NULL;
    uint8_t byte;
    rig_ok(drv_stat(rig->drive[drive].raw, path, &stat));
    rig_ok(drv_file_open(rig->drive[drive].raw, path, DRV_OPEN_READ | DRV_OPEN_WRITE, 0, &f));
    rig_ok(drv_file_read_exact(f, offset, &byte, 1));
    byte ^= 0x41;
    rig_ok(drv_file_write(f, offset, &byte, 1));
    drv_file_close(f);
    rig_ok(drv_set_attr(rig->drive[drive].raw, path, DRV_ATTR_MTIME, &stat));
    /* Writing left another ctime, which real rot does not: the catalog takes it for the one it saw.
     */
    struct meta_node node;
    if (meta_lookup_path(rig->pool->meta, rig_pool_drive(rig, drive)->meta.root, path, &node))
        return;
    rig_ok(drv_stat(rig->drive[drive].raw, path, &stat));
    node.ctime = stat.ctime;
    rig_ok(meta_node_store(rig->pool->meta, &node));
}

/* --- Originals --- */

bool rig_original_is_right(struct rig *rig, unsigned drive, const struct rig_file *file)
{
    static uint8_t got[RIG_LEAF], wanted[RIG_LEAF];
    struct drv *raw = rig->drive[drive].raw;
    struct drv_stat stat;
    struct drv_file *f = NULL;
    if (drv_stat(raw, file->path, &stat) || stat.type != DRV_REG || stat.size != file->size)
        return false;
    rig_ok(drv_file_open(raw, file->path, DRV_OPEN_READ, 0, &f));
    bool right = true;
    for (uint64_t at = 0; right && at < file->size; at += RIG_LEAF) {
        uint64_t n = file->size - at < RIG_LEAF ? file->size - at : RIG_LEAF;
        rig_expected(file, at, wanted, n);
        right = !drv_file_read_exact(f, at, got, n) && memcmp(got, wanted, n) == 0;
    }
    drv_file_close(f);
    return right;
}

void rig_check_originals(struct rig *rig)
{
    for (size_t i = 0; i < rig->files; i++)
        if (rig->file[i].there && !rig_original_is_right(rig, rig->file[i].drive, &rig->file[i]))
            fail_msg(
                "drive d%u: %s is not as its user left it", rig->file[i].drive, rig->file[i].path);
}

/* --- Jobs --- */

static void rig_notice(bool warning, const char *text, void *arg)
{
    (void)arg;
    if (warning && getenv("MRMR_VERBOSE"))
        printf("  notice: %s\n", text);
}

struct pool_job rig_job(struct rig *rig)
{
    return (struct pool_job){.notice = rig_notice, .arg = rig};
}

void rig_sync(struct rig *rig)
{
    struct pool_job job = rig_job(rig);
    rig_ok(pool_sync(rig->pool, &job, NULL, &rig->report));
}

void rig_protect_all(struct rig *rig)
{
    for (unsigned i = 0; i < 4; i++) {
        rig_sync(rig);
        if (!rig->report.exposed_bytes)
            return;
    }
    fail_msg("%" PRIu64 " bytes stay exposed", rig->report.exposed_bytes);
}

struct pool_scrub_report rig_scrub(struct rig *rig, bool repair)
{
    struct pool_job job = rig_job(rig);
    struct pool_scrub_options options = {.repair = repair};
    struct pool_scrub_report report;
    rig_ok(pool_scrub(rig->pool, &job, &options, &report));
    return report;
}

/* --- Drives going and coming --- */

void rig_take_away(struct rig *rig, unsigned drive)
{
    struct drv_fault_rule rule = {.action = DRV_FAULT_ERROR, .err = MRMR_OFFLINE};
    assert_int_equal(rig->drive[drive].away, 0);
    rig_ok(drv_fault_add(rig->drive[drive].fault, &rule, &rig->drive[drive].away));
}

void rig_bring_back(struct rig *rig, unsigned drive)
{
    assert_int_not_equal(rig->drive[drive].away, 0);
    drv_fault_remove(rig->drive[drive].fault, rig->drive[drive].away);
    rig->drive[drive].away = 0;
}

bool rig_present(const struct rig *rig, unsigned drive)
{
    return !rig->drive[drive].away;
}

void rig_power_cut(struct rig *rig, uint64_t seed)
{
    assert_null(rig->pool);
    for (unsigned i = 0; i < rig->n; i++) {
        char name[64];
        drv_close(rig->drive[i].raw);
        rig->drive[i].raw = NULL;
        rig_name_in_memory(rig, i, name);
        rig_ok(drv_mem_power_cut(name, rig_hash(seed + i)));
        rig_ok(drv_open(rig->drive[i].inner, &rig->drive[i].raw));
    }
}

void rig_sync_drives(struct rig *rig)
{
    for (unsigned i = 0; i < rig->n; i++)
        rig_ok(drv_sync_all(rig->drive[i].raw));
}

unsigned rig_count_reads(struct rig *rig, unsigned drive, const char *path)
{
    unsigned counter;
    struct drv_fault_rule rule = {
        .ops = DRV_FAULT_FILE_READ, .prefix = path, .action = DRV_FAULT_DELAY};
    rig_ok(drv_fault_add(rig->drive[drive].fault, &rule, &counter));
    return counter;
}

uint64_t rig_reads(struct rig *rig, unsigned drive, unsigned counter)
{
    return drv_fault_hits(rig->drive[drive].fault, counter);
}

void rig_clear_faults(struct rig *rig)
{
    rig_untap(rig);
    for (unsigned i = 0; i < rig->n; i++) {
        bool away = rig->drive[i].away != 0;
        drv_fault_clear(rig->drive[i].fault);
        rig->drive[i].away = 0;
        if (away)
            rig_take_away(rig, i);
    }
}

struct pool_drive *rig_pool_drive(struct rig *rig, unsigned drive)
{
    return pool_drive_by_name(rig->pool, rig->drive[drive].name);
}
