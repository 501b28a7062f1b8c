/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Several threads change bytes that count, of one file and of one drive, at the same time (I3): what they keep is kept side by side, each
 * leaf once, none writes before what he overwrites is durable, and names are led nowhere else meanwhile.
 */
#include "tests/support/pause.h"
#include "tests/unit/pool_tree_world.h"

#include "base/clock.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 4, PART = 100 };

static const int64_t second = 1000 * 1000 * 1000;

/* A thread that writes PART bytes into a file. */
struct writer {
    struct world *w;
    const char *path;
    uint64_t offset;
    struct pool_tree_file *file; /* NULL: he opens it himself */
    mrmr_err err;
    atomic_bool done;
    pthread_t thread;
};

static void *write_now(void *arg)
{
    struct writer *writer = arg;
    uint8_t buf[PART];
    struct pool_tree_file *file = writer->file ? writer->file : open_file(writer->w, writer->path);
    memset(buf, 'w', sizeof buf);
    writer->err = pool_tree_file_write(file, writer->offset, buf, sizeof buf);
    pool_tree_file_close(file);
    writer->done = true;
    return NULL;
}

static void go(struct writer *writer)
{
    assert_int_equal(pthread_create(&writer->thread, NULL, write_now, writer), 0);
}

static void start(struct writer *writer, struct world *w, const char *path, uint64_t offset)
{
    *writer = (struct writer){.w = w, .path = path, .offset = offset};
    go(writer);
}

static void *unlink_now(void *arg)
{
    struct writer *writer = arg;
    writer->err = pool_tree_unlink(writer->w->tree, NULL, POOL_ROOT, writer->path);
    writer->done = true;
    return NULL;
}

static bool until(const atomic_uint *n, unsigned is, int64_t ns)
{
    const int64_t end = mrmr_clock_monotonic() + ns;
    while (atomic_load(n) < is && mrmr_clock_monotonic() < end)
        pause_a_while();
    return atomic_load(n) >= is;
}

/* The bytes of f0, and of the other one, if there is any, are the threads'. */
static void finish(struct world *w, const char *other)
{
    rig_find(w->rig, "f0")->there = false;
    if (other)
        rig_find(w->rig, other)->there = false;
    end(w, "f0");
}

/* --- side by side --- */

static atomic_uint at_once, met;

static void meet(void *arg, enum drv_fault_op op, const char *path)
{
    (void)arg, (void)op, (void)path;
    atomic_fetch_add(&at_once, 1);
    if (until(&at_once, 2, 20 * second))
        atomic_fetch_add(&met, 1);
}

static void two_are_kept_at_once(const char *a, const char *b, uint64_t offset_b)
{
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_FILE_SYNC,
        .prefix = ".mrmr/retained",
        .action = DRV_FAULT_HOOK,
        .hook = meet};
    struct writer writer[2];
    struct world w;
    begin(&w, RIG_LOCAL, 501);
    at_once = met = 0;
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    start(&writer[0], &w, a, 0);
    start(&writer[1], &w, b, offset_b);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(writer[i].thread, NULL);
    assert_int_equal(writer[0].err, MRMR_OK);
    assert_int_equal(writer[1].err, MRMR_OK);
    rig_clear_faults(w.rig);
    assert_int_equal(met, 2);
    assert_int_equal(count_retained(w.rig, 0), 2);
    finish(&w, strcmp(a, b) ? b : NULL);
}

static void test_two_leaves_of_a_file(void **state)
{
    (void)state;
    two_are_kept_at_once("f0", "f0", 2 * RIG_MIB);
}

static void test_two_files_of_a_drive(void **state)
{
    (void)state;
    two_are_kept_at_once("f0", "other", 0);
}

/* --- each leaf once --- */

static atomic_uint begun;
static atomic_bool somebody;
static struct writer *others;

/* The bytes are not durable before this is over: nobody has written by then. */
static void nobody_is_through(void *arg, enum drv_fault_op op, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + second / 2;
    (void)arg, (void)op, (void)path;
    atomic_fetch_add(&begun, 1);
    while (mrmr_clock_monotonic() < end && atomic_load(&begun) < 2) {
        for (unsigned i = 0; i < MOST; i++)
            somebody = somebody || others[i].done;
        pause_a_while();
    }
}

static void test_one_leaf_and_many_threads(void **state)
{
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_FILE_SYNC,
        .prefix = ".mrmr/retained",
        .action = DRV_FAULT_HOOK,
        .hook = nobody_is_through};
    struct writer writer[MOST];
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 502);
    begun = 0;
    somebody = false;
    memset(writer, 0, sizeof writer);
    others = writer;
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    for (unsigned i = 0; i < MOST; i++)
        start(&writer[i], &w, "f0", RIG_MIB + i * 1000);
    for (unsigned i = 0; i < MOST; i++) {
        pthread_join(writer[i].thread, NULL);
        assert_int_equal(writer[i].err, MRMR_OK);
    }
    rig_clear_faults(w.rig);
    assert_int_equal(begun, 1);
    assert_false(somebody);
    assert_int_equal(count_retained(w.rig, 0), 1);
    finish(&w, NULL);
}

/* Who waited keeps it himself, and writes. */
static void test_the_one_who_keeps_it_fails(void **state)
{
    const struct drv_fault_rule fails = {
        .ops = DRV_FAULT_FILE_SYNC, .prefix = ".mrmr/retained", .times = 1, .err = MRMR_NOMEM};
    struct writer writer[MOST];
    struct world w;
    unsigned failed = 0;
    (void)state;
    begin(&w, RIG_LOCAL, 503);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &fails, NULL));
    for (unsigned i = 0; i < MOST; i++)
        start(&writer[i], &w, "f0", RIG_MIB + i * 1000);
    for (unsigned i = 0; i < MOST; i++) {
        pthread_join(writer[i].thread, NULL);
        failed += writer[i].err == MRMR_NOMEM;
        assert_true(writer[i].err == MRMR_OK || writer[i].err == MRMR_NOMEM);
    }
    rig_clear_faults(w.rig);
    assert_int_equal(failed, 1);
    assert_int_equal(count_retained(w.rig, 0), 1);
    finish(&w, NULL);
}

/* --- what counts is asked again --- */

static atomic_uint counted_fails; /* so often */

mrmr_err __real_pool_retained_counted(struct pool *pool, const struct pool_drive *drive,
    const char *path, uint64_t ino, struct pool_retained_leaf **ret_leaves, size_t *ret_n,
    bool *ret_known);
mrmr_err __wrap_pool_retained_counted(struct pool *pool, const struct pool_drive *drive,
    const char *path, uint64_t ino, struct pool_retained_leaf **ret_leaves, size_t *ret_n,
    bool *ret_known);
mrmr_err __wrap_pool_retained_counted(struct pool *pool, const struct pool_drive *drive,
    const char *path, uint64_t ino, struct pool_retained_leaf **ret_leaves, size_t *ret_n,
    bool *ret_known)
{
    if (counted_fails) {
        counted_fails--;
        return mrmr_fail(MRMR_NOMEM, NULL);
    }
    return __real_pool_retained_counted(pool, drive, path, ino, ret_leaves, ret_n, ret_known);
}

static struct writer *asks;
static mrmr_err removal_err;

/* A removal that fails has what counts asked again, and then nobody can tell it. */
static void forget_what_counts(void *arg, enum drv_fault_op op, const char *path)
{
    const struct drv_fault_rule none = {.ops = DRV_FAULT_SYMLINK, .err = MRMR_UNSUPPORTED};
    struct world *w = arg;
    struct writer removal = {.w = w, .path = "f0"};
    (void)op, (void)path;
    pthread_create(&removal.thread, NULL, unlink_now, &removal);
    pthread_join(removal.thread, NULL);
    removal_err = removal.err;
    counted_fails = 1;
    start(asks, w, "f0", 2 * RIG_MIB);
    pthread_join(asks->thread, NULL);
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &none, NULL));
}

/* One leaf after the other, where symlinks cannot be: the second one counts all the same. */
static void test_who_asks_fails_meanwhile(void **state)
{
    struct writer writer, other = {.done = false};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 507);
    asks = &other;
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_FILE_SYNC,
                                               .prefix = POOL_RETAINED,
                                               .times = 1,
                                               .action = DRV_FAULT_HOOK,
                                               .hook = forget_what_counts,
                                               .arg = &w},
        {.ops = DRV_FAULT_RENAME, .prefix = "f0", .err = MRMR_NOMEM}};
    for (unsigned i = 0; i < 2; i++)
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rules[i], NULL));
    start(&writer, &w, "f0", RIG_MIB - PART / 2);
    pthread_join(writer.thread, NULL);
    assert_int_equal(removal_err, MRMR_NOMEM);
    assert_int_equal(other.err, MRMR_NOMEM);
    assert_int_equal(writer.err, MRMR_OK);
    rig_clear_faults(w.rig);
    finish(&w, NULL);
}

/* --- hardly any room --- */

static struct writer *meanwhile;
static unsigned takes_all;

/* Who keeps something has taken what was left, and gives it back. */
static void has_all_room(void *arg, enum drv_fault_op op, const char *path)
{
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_CREATE, .prefix = POOL_RETAINED, .err = MRMR_SPACE};
    const int64_t end = mrmr_clock_monotonic() + second / 2;
    struct world *w = arg;
    (void)op, (void)path;
    rig_ok(drv_fault_add(w->rig->drive[0].fault, &full, &takes_all));
    start(meanwhile, w, "other", 0);
    while (!meanwhile->done && mrmr_clock_monotonic() < end)
        pause_a_while();
    drv_fault_remove(w->rig->drive[0].fault, takes_all);
}

/* There is room for what he keeps when the other is through, as it would be if he came after him. */
static void test_room_that_another_gives_back(void **state)
{
    struct writer first, writer = {.done = false};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 508);
    meanwhile = &writer;
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_FILE_SYNC,
                                               .prefix = POOL_RETAINED,
                                               .times = 1,
                                               .action = DRV_FAULT_HOOK,
                                               .hook = has_all_room,
                                               .arg = &w},
        {.ops = DRV_FAULT_FILE_SYNC, .prefix = POOL_RETAINED, .times = 1, .err = MRMR_SPACE}};
    for (unsigned i = 0; i < 2; i++)
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rules[i], NULL));
    start(&first, &w, "f0", RIG_MIB - PART / 2);
    pthread_join(first.thread, NULL);
    pthread_join(writer.thread, NULL);
    assert_int_equal(first.err, MRMR_OK);
    assert_int_equal(writer.err, MRMR_OK);
    assert_int_equal(drives_with(w.rig, "other"), 1);
    assert_true(rig_holds(w.rig, 0, "other"));
    rig_clear_faults(w.rig);
    finish(&w, "other");
}

/* --- the same bytes in two files --- */

/* On drive 0, as f0. */
static void add_twin(struct world *w)
{
    struct rig_file *twin, *file = rig_find(w->rig, "f0");
    struct drv_file *raw;
    uint8_t *buf = malloc(file->size);
    assert_non_null(buf);
    rig_expected(file, 0, buf, file->size);
    twin = rig_put(w->rig, 0, "twin", file->size);
    twin->seed = rig_find(w->rig, "f0")->seed;
    rig_ok(drv_file_open(w->rig->drive[0].raw, "twin", DRV_OPEN_WRITE, 0, &raw));
    rig_ok(drv_file_write(raw, 0, buf, twin->size));
    drv_file_close(raw);
    free(buf);
    close_tree(w);
    rig_protect_all(w->rig);
    open_tree(w);
}

/* A symlink of its first leaf that leads nowhere, as a cut leaves it. */
static void leads_nowhere(struct world *w)
{
    struct drv *raw = w->rig->drive[0].raw;
    struct meta_node node = rig_node(w->rig, "f0");
    struct pool_retained_leaf *leaf;
    char path[160], folder[32];
    bool known;
    size_t n;
    rig_ok(pool_retained_counted(
        w->rig->pool, rig_pool_drive(w->rig, 0), NULL, node.ino, &leaf, &n, &known));
    assert_true(n > 0);
    snprintf(folder, sizeof folder, POOL_RETAINED "/%02x", leaf->digest.bytes[0]);
    int at = snprintf(path, sizeof path, "%s/", folder);
    for (size_t i = 0; i < sizeof leaf->digest.bytes; i++)
        at += snprintf(path + at, sizeof path - (size_t)at, "%02x", leaf->digest.bytes[i]);
    free(leaf);
    rig_ok(drv_mkdirs(raw, folder, 0700));
    rig_ok(drv_symlink(raw, "../files/0123456789abcdef#0", path));
}

/* It was found to lead nowhere, and is led elsewhere next. */
static void write_meanwhile(void *arg, enum drv_fault_op op, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + second / 2;
    (void)op, (void)path;
    start(meanwhile, arg, "f0", 0);
    while (!meanwhile->done && mrmr_clock_monotonic() < end)
        pause_a_while();
}

/* The twin is being removed, symlinks of its leaves are led to where it will be, and then it fails; the same leaf of the other
 * file is kept, and overwritten, just then. */
static void test_no_symlink_is_led_over_a_leaf(void **state)
{
    struct writer writer = {.done = false}, removal = {.path = "twin"};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 504);
    add_twin(&w);
    leads_nowhere(&w);
    meanwhile = &writer;
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_SYMLINK,
                                               .part = "~",
                                               .times = 1,
                                               .action = DRV_FAULT_HOOK,
                                               .hook = write_meanwhile,
                                               .arg = &w},
        {.ops = DRV_FAULT_RENAME, .prefix = "twin", .err = MRMR_NOMEM}};
    for (unsigned i = 0; i < 2; i++)
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rules[i], NULL));
    removal.w = &w;
    unlink_now(&removal);
    assert_int_equal(removal.err, MRMR_NOMEM);
    pthread_join(writer.thread, NULL);
    assert_int_equal(writer.err, MRMR_OK);
    rig_clear_faults(w.rig);
    finish(&w, NULL);
}

static struct writer *removes;
static atomic_uint leads_elsewhere;

/* Several have a file, and none of them leads to it yet. */
static void remove_meanwhile(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    *removes = (struct writer){.w = arg, .path = "twin"};
    pthread_create(&removes->thread, NULL, unlink_now, removes);
    until(&leads_elsewhere, 1, 20 * second);
}

static void wait_meanwhile(void *arg, enum drv_fault_op op, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + second / 2;
    const struct writer *writer = arg;
    (void)op, (void)path;
    leads_elsewhere = 1;
    while (!writer->done && mrmr_clock_monotonic() < end)
        pause_a_while();
}

static void test_no_symlink_is_led_over_one_of_several(void **state)
{
    struct writer writer, removal;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 509);
    add_twin(&w);
    leads_nowhere(&w);
    removes = &removal;
    leads_elsewhere = 0;
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_DIR_SYNC,
                                               .prefix = POOL_RETAINED_FILES,
                                               .times = 1,
                                               .action = DRV_FAULT_HOOK,
                                               .hook = remove_meanwhile,
                                               .arg = &w},
        {.ops = DRV_FAULT_SYMLINK,
            .part = "~",
            .times = 1,
            .action = DRV_FAULT_HOOK,
            .hook = wait_meanwhile,
            .arg = &writer},
        {.ops = DRV_FAULT_RENAME, .prefix = "twin", .err = MRMR_NOMEM}};
    for (unsigned i = 0; i < 3; i++)
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rules[i], NULL));
    start(&writer, &w, "f0", RIG_MIB - PART / 2);
    pthread_join(writer.thread, NULL);
    pthread_join(removal.thread, NULL);
    assert_int_equal(leads_elsewhere, 1);
    assert_int_equal(removal.err, MRMR_NOMEM);
    assert_int_equal(writer.err, MRMR_OK);
    rig_clear_faults(w.rig);
    finish(&w, NULL);
}

static atomic_uint synced, synced_before_twin, synced_before_f0;

/* A leaf has its name, and that is not durable yet: who overwrites the same bytes elsewhere does not count on the one who is about to
 * make it so. */
static void write_the_twin(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    start(meanwhile, arg, "twin", 0);
    pthread_join(meanwhile->thread, NULL);
}

static void count_one(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    atomic_fetch_add((atomic_uint *)arg, 1);
}

static void see_synced(void *arg, enum drv_fault_op op, const char *path)
{
    (void)op, (void)path;
    *(atomic_uint *)arg = synced;
}

static void test_a_name_that_another_made(void **state)
{
    struct writer maker, writer = {.done = false};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 510);
    add_twin(&w);
    meanwhile = &writer;
    synced = synced_before_twin = synced_before_f0 = 0;
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_DIR_SYNC,
                                               .prefix = POOL_RETAINED "/",
                                               .times = 1,
                                               .hook = write_the_twin,
                                               .arg = &w},
        {.ops = DRV_FAULT_DIR_SYNC,
            .prefix = POOL_RETAINED "/",
            .late = true,
            .hook = count_one,
            .arg = &synced},
        {.ops = DRV_FAULT_FILE_WRITE,
            .prefix = "twin",
            .hook = see_synced,
            .arg = &synced_before_twin},
        {.ops = DRV_FAULT_FILE_WRITE,
            .prefix = "f0",
            .hook = see_synced,
            .arg = &synced_before_f0}};
    for (unsigned i = 0; i < 4; i++) {
        struct drv_fault_rule rule = rules[i];
        rule.action = DRV_FAULT_HOOK;
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rule, NULL));
    }
    start(&maker, &w, "f0", 0);
    pthread_join(maker.thread, NULL);
    assert_int_equal(maker.err, MRMR_OK);
    assert_int_equal(writer.err, MRMR_OK);
    assert_int_equal(synced_before_twin, 1);
    assert_int_equal(synced_before_f0, 2);
    rig_clear_faults(w.rig);
    finish(&w, "twin");
}

static bool was_through;

/* A folder was made, and is not durable yet. */
static void write_into_the_folder(void *arg, enum drv_fault_op op, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + second / 2;
    (void)op, (void)path;
    start(meanwhile, arg, "twin", 0);
    while (!meanwhile->done && mrmr_clock_monotonic() < end)
        pause_a_while();
    was_through = meanwhile->done;
}

static void test_a_folder_that_another_makes(void **state)
{
    struct writer maker, writer = {.done = false};
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 506);
    add_twin(&w);
    meanwhile = &writer;
    const struct drv_fault_rule hook = {.ops = DRV_FAULT_DIR_SYNC,
        .prefix = POOL_RETAINED,
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = write_into_the_folder,
        .arg = &w};
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &hook, NULL));
    start(&maker, &w, "f0", 0);
    pthread_join(maker.thread, NULL);
    pthread_join(writer.thread, NULL);
    assert_int_equal(maker.err, MRMR_OK);
    assert_int_equal(writer.err, MRMR_OK);
    assert_false(was_through);
    rig_clear_faults(w.rig);
    finish(&w, "twin");
}

/* It is kept where f0 is, too, or by itself. */
static void remove_the_twin(void *arg, enum drv_fault_op op, const char *path)
{
    const int64_t end = mrmr_clock_monotonic() + second / 2;
    (void)op, (void)path;
    *removes = (struct writer){.w = arg, .path = "twin"};
    pthread_create(&removes->thread, NULL, unlink_now, removes);
    while (!removes->done && mrmr_clock_monotonic() < end)
        pause_a_while();
}

/* f0 is about to be replaced, and is not; just then the other file that has its bytes is removed, on which another drive's counts. */
static void test_a_replacement_fails_meanwhile(void **state)
{
    struct writer removal;
    struct world w;
    (void)state;
    begin(&w, RIG_LOCAL, 511);
    rig_put(w.rig, 1, "pair", FILE_LEAVES * RIG_MIB - 100);
    add_twin(&w);
    removes = &removal;
    const struct drv_fault_rule rules[] = {{.ops = DRV_FAULT_RENAME,
                                               .prefix = "other",
                                               .times = 1,
                                               .action = DRV_FAULT_HOOK,
                                               .hook = remove_the_twin,
                                               .arg = &w},
        {.ops = DRV_FAULT_RENAME, .prefix = "other", .err = MRMR_NOMEM}};
    for (unsigned i = 0; i < 2; i++)
        rig_ok(drv_fault_add(w.rig->drive[0].fault, &rules[i], NULL));
    assert_int_equal(
        pool_tree_rename(w.tree, NULL, POOL_ROOT, "other", POOL_ROOT, "f0", 0), MRMR_NOMEM);
    pthread_join(removal.thread, NULL);
    assert_int_equal(removal.err, MRMR_OK);
    rig_clear_faults(w.rig);
    rig_find(w.rig, "twin")->there = false;
    end(&w, "twin");
}

/* --- the power --- */

static void tap_cut(struct rig *rig, struct rig_drive *drive)
{
    const struct drv_fault_rule rule = {.err = MRMR_OFFLINE};
    (void)drive;
    for (unsigned d = 0; d < rig->n; d++)
        drv_fault_add(rig->drive[d].fault, &rule, NULL);
}

enum { NEVER = 1000 };

/* One writes into the file that is being removed, whose bytes are another's, too; and two over the border of two leaves. True: the change was through before. */
static bool power_goes_at(uint64_t n, bool late, uint64_t seed)
{
    static const struct {
        const char *path;
        uint64_t offset;
    } parts[MOST] = {{"f0", 0}, {"f0", 2 * RIG_MIB - PART / 2}, {"other", RIG_MIB - PART / 2},
        {"twin", 2 * RIG_MIB + 5}};
    struct writer writer[MOST], removal = {.path = "twin"};
    struct world w;
    bool through = true;
    begin(&w, RIG_MEM_CUT, 505);
    add_twin(&w);
    rig_find(w.rig, "twin")->there = rig_find(w.rig, "other")->there = false;
    rig_sync_drives(w.rig);
    removal.w = &w;
    for (unsigned i = 0; i < MOST; i++)
        writer[i] = (struct writer){.w = &w,
            .path = parts[i].path,
            .offset = parts[i].offset,
            .file = open_file(&w, parts[i].path)};
    rig_tap(w.rig, RIG_CUTS, n, late, tap_cut);
    assert_int_equal(pthread_create(&removal.thread, NULL, unlink_now, &removal), 0);
    for (unsigned i = 0; i < MOST; i++)
        go(&writer[i]);
    for (unsigned i = 0; i < MOST; i++) {
        pthread_join(writer[i].thread, NULL);
        through = through && !writer[i].err;
    }
    pthread_join(removal.thread, NULL);
    through = through && !removal.err && w.rig->tap_left <= n;
    close_tree(&w);
    rig_close(w.rig);
    rig_clear_faults(w.rig);
    rig_power_cut(w.rig, seed);
    rig_open(w.rig);
    reads_without(w.rig, 1, 2, "f0", 0);
    reads_without(w.rig, 3, 4, "f0", 0);
    rig_destroy(w.rig);
    return through;
}

/* Between, and when all is through: then nothing may be missing of which others know that it was kept. */
static void test_power_cuts(void **state)
{
    const uint64_t seed = rig_seed("savers_power_cuts"), step = rig_all() ? 1 : 20;
    const unsigned rounds = rig_all() ? 50 : 8;
    uint64_t cuts = 0;
    (void)state;
    for (int late = 0; late < 2; late++) {
        uint64_t n = rig_hash(seed + (uint64_t)late) % step;
        while (!power_goes_at(n, late, rig_hash(seed + cuts++)))
            assert_true((n += step) < NEVER);
        assert_true(n > 20); /* it was cut, and often */
    }
    for (unsigned i = 0; i < rounds; i++)
        assert_true(power_goes_at(NEVER, false, rig_hash(seed + cuts++)));
    printf("%llu cuts with several writers\n", (unsigned long long)cuts);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_leaves_of_a_file),
        cmocka_unit_test(test_two_files_of_a_drive),
        cmocka_unit_test(test_one_leaf_and_many_threads),
        cmocka_unit_test(test_the_one_who_keeps_it_fails),
        cmocka_unit_test(test_who_asks_fails_meanwhile),
        cmocka_unit_test(test_room_that_another_gives_back),
        cmocka_unit_test(test_no_symlink_is_led_over_a_leaf),
        cmocka_unit_test(test_no_symlink_is_led_over_one_of_several),
        cmocka_unit_test(test_a_name_that_another_made),
        cmocka_unit_test(test_a_folder_that_another_makes),
        cmocka_unit_test(test_a_replacement_fails_meanwhile),
        cmocka_unit_test(test_power_cuts),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_savers", tests, NULL, NULL);
}
