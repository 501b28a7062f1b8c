/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The live tree over drives in memory, which tell of no changes: what it shows is what lies on the
 * drives, byte for byte, whichever calls fail and whichever drives go, also under open files; and
 * whatever was held is let go of.
 */
#include "tests/support/pause.h"
#include "tests/support/rig.h"

#include "base/cleanup.h"
#include "pool/tree/tree.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { BUFFER = 1 << 18 };

struct world {
    struct rig *rig;
    struct pool_tree *tree;
    atomic_uint names, nodes; /* told of */
};

static void on_name(uint64_t folder, const char *name, void *arg)
{
    assert_true(folder && name[0]);
    atomic_fetch_add(&((struct world *)arg)->names, 1);
}

static void on_node(uint64_t node, bool bytes, void *arg)
{
    (void)bytes;
    assert_true(node);
    atomic_fetch_add(&((struct world *)arg)->nodes, 1);
}

static mrmr_err try_open_tree(struct world *w)
{
    const struct pool_tree_events events = {on_name, on_node, w};
    char dir[300];
    snprintf(dir, sizeof dir, "%s/pool", w->rig->dir);
    if (w->rig->pool)
        rig_close(w->rig);
    MRMR_TRY(pool_open(dir, POOL_LOOK, "test", &w->rig->pool));
    return pool_tree_open(w->rig->pool, &events, &w->tree);
}

static void open_tree(struct world *w)
{
    rig_ok(try_open_tree(w));
}

static void close_tree(struct world *w)
{
    pool_tree_close(w->tree);
    w->tree = NULL;
    rig_close(w->rig);
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->rig = rig_create(&(struct rig_spec){.drives = 5, .redundancy = 2});
    rig_fill(w->rig, 0, 5, 4, 3 * RIG_MIB / 2);
    rig_put(w->rig, 0, "shared/zero", 2 * RIG_MIB + 17);
    rig_put(w->rig, 1, "shared/one", 1);
    rig_put(w->rig, 2, "shared/deep/two", 0);
    rig_put_sparse(w->rig, 3, "shared/sparse", 5 * RIG_MIB, RIG_MIB, 4 * RIG_MIB);
    rig_protect_all(w->rig);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    if (w->tree)
        close_tree(w);
    rig_destroy(w->rig);
    free(w);
    return 0;
}

/* --- looking --- */

/* The node of a path, held. */
static mrmr_err find(struct world *w, const char *path, struct pool_attr *ret_attr)
{
    mrmr_autofree char *copy = strdup(path), *left = copy;
    uint64_t at = POOL_ROOT;
    int64_t keep;
    char *rest = left;
    left = NULL;
    for (char *name; (name = strsep(&rest, "/"));) {
        mrmr_err err = pool_tree_lookup(w->tree, at, name, ret_attr, &keep);
        if (at != POOL_ROOT)
            pool_tree_forget(w->tree, at, 1);
        if (err)
            return err;
        at = ret_attr->node;
    }
    return MRMR_OK;
}

static mrmr_err read_all(struct pool_tree_file *file, const struct rig_file *want)
{
    mrmr_autofree uint8_t *buf = malloc(BUFFER), *expected = malloc(BUFFER);
    for (uint64_t at = 0;; at += BUFFER) {
        size_t got = 0, size = want->size > at ? want->size - at : 0;
        size = size < BUFFER ? size : BUFFER;
        MRMR_TRY(pool_tree_file_read(file, at, buf, BUFFER, &got));
        assert_int_equal(got, size);
        rig_expected(want, at, expected, got);
        assert_memory_equal(buf, expected, got);
        if (got < BUFFER)
            return MRMR_OK;
    }
}

static mrmr_err try_file(struct world *w, const struct rig_file *want)
{
    struct pool_attr attr;
    struct pool_tree_file *file = NULL;
    bool same;
    MRMR_TRY(find(w, want->path, &attr));
    assert_int_equal(attr.kind, POOL_REG);
    assert_int_equal(attr.size, want->size);
    mrmr_err err = pool_tree_file_open(w->tree, attr.node, false, &file, &same);
    if (!err)
        err = read_all(file, want);
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

static void check_files(struct world *w)
{
    for (size_t i = 0; i < w->rig->files; i++)
        if (w->rig->file[i].there)
            rig_ok(try_file(w, &w->rig->file[i]));
}

struct walk {
    struct world *w;
    char path[256];
    size_t files;
    struct folder {
        struct folder *next;
        uint64_t node;
        char path[256];
    } * folders;
};

static bool walk_entry(const struct pool_dir_entry *entry, void *arg)
{
    struct walk *walk = arg;
    char path[512];
    snprintf(path, sizeof path, "%s%s%s", walk->path, walk->path[0] ? "/" : "", entry->name);
    assert_non_null(entry->attr);
    assert_int_equal(entry->attr->node, entry->node);
    if (entry->kind == POOL_DIR) {
        struct folder *folder = calloc(1, sizeof *folder);
        folder->node = entry->node;
        snprintf(folder->path, sizeof folder->path, "%.255s", path);
        folder->next = walk->folders;
        walk->folders = folder;
        return true;
    }
    const struct rig_file *file = rig_find(walk->w->rig, path);
    assert_non_null(file);
    assert_int_equal(entry->attr->size, file->size);
    walk->files++;
    pool_tree_forget(walk->w->tree, entry->node, 1);
    return true;
}

/* Only the root is left; the tree's own thread may be looking at something still. */
static void check_let_go(struct world *w)
{
    int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    for (bool idle = false; !idle; pause_a_while()) {
        mrmr_locked(&w->tree->lock);
        idle = w->tree->n == 1 && w->tree->root->refs == 0;
        assert_true(mrmr_clock_monotonic() < end);
    }
}

/* Every file once, and nothing else; all that was held is let go of. */
static void check_lists(struct world *w)
{
    struct walk walk = {.w = w};
    size_t there = 0;
    rig_ok(pool_tree_list(w->tree, POOL_ROOT, 0, true, walk_entry, &walk));
    for (struct folder *folder; (folder = walk.folders);) {
        walk.folders = folder->next;
        strcpy(walk.path, folder->path);
        rig_ok(pool_tree_list(w->tree, folder->node, 0, true, walk_entry, &walk));
        pool_tree_forget(w->tree, folder->node, 1);
        free(folder);
    }
    for (size_t i = 0; i < w->rig->files; i++)
        there += w->rig->file[i].there;
    assert_int_equal(walk.files, there);
    check_let_go(w);
}

/* --- tests --- */

static void test_shows_what_is_there(void **state)
{
    struct world *w = *state;
    struct pool_attr attr;
    open_tree(w);
    check_lists(w);
    check_files(w);
    assert_int_equal(find(w, ".mrmr", &attr), MRMR_ABSENT);
    assert_int_equal(find(w, "shared/none", &attr), MRMR_ABSENT);
    assert_int_equal(find(w, "shared/one/x", &attr), MRMR_NOT_DIR);
    check_let_go(w);
}

/* A list that is read in pieces, from any place on, is the whole list. */
static bool one_entry(const struct pool_dir_entry *entry, void *arg)
{
    struct pool_dir_entry *got = arg;
    if (got->name)
        return false;
    *got = *entry;
    got->name = strdup(entry->name);
    return true;
}

static void test_lists_in_pieces(void **state)
{
    struct world *w = *state;
    struct pool_attr shared;
    unsigned n = 0;
    open_tree(w);
    rig_ok(find(w, "shared", &shared));
    for (uint64_t place = 0, next;; place = next, n++) {
        struct pool_dir_entry got = {.name = NULL};
        rig_ok(pool_tree_list(w->tree, shared.node, place, false, one_entry, &got));
        if (!got.name)
            break;
        assert_true(got.next > place);
        next = got.next;
        free((char *)got.name);
    }
    assert_int_equal(n, 4);
    pool_tree_forget(w->tree, shared.node, 1);
}

/* Any r drives away from the start: the same tree, the same bytes. */
static void test_drives_away(void **state)
{
    struct world *w = *state;
    for (unsigned a = 0; a < 5; a++)
        for (unsigned b = a + 1; b < 5; b++) {
            rig_close(w->rig);
            rig_take_away(w->rig, a);
            rig_take_away(w->rig, b);
            open_tree(w);
            check_lists(w);
            check_files(w);
            close_tree(w);
            rig_bring_back(w->rig, a);
            rig_bring_back(w->rig, b);
            rig_open(w->rig);
        }
}

/* More than the redundancy: what cannot be read is an error, never other bytes. */
static void test_too_many_away(void **state)
{
    struct world *w = *state;
    unsigned lost = 0;
    rig_close(w->rig);
    for (unsigned i = 0; i < 4; i++)
        rig_take_away(w->rig, i);
    open_tree(w);
    check_lists(w);
    for (size_t i = 0; i < w->rig->files; i++)
        lost += try_file(w, &w->rig->file[i]) != MRMR_OK;
    assert_true(lost > 0);
}

/* Drives go under open files, and come back: the files stay what they are. */
static void test_drives_go_and_come(void **state)
{
    struct world *w = *state;
    struct pool_tree_file *file[2] = {NULL, NULL};
    struct pool_attr attr[2];
    bool same;
    const struct rig_file *want[2] = {
        rig_find(w->rig, "shared/zero"), rig_find(w->rig, "shared/sparse")};
    open_tree(w);
    for (unsigned i = 0; i < 2; i++) {
        rig_ok(find(w, want[i]->path, &attr[i]));
        rig_ok(pool_tree_file_open(w->tree, attr[i].node, false, &file[i], &same));
    }
    for (unsigned round = 0; round < 2; round++) {
        rig_take_away(w->rig, want[0]->drive);
        rig_take_away(w->rig, want[1]->drive);
        for (unsigned i = 0; i < 2; i++)
            rig_ok(read_all(file[i], want[i]));
        check_files(w);
        rig_bring_back(w->rig, want[0]->drive);
        rig_bring_back(w->rig, want[1]->drive);
        int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
        for (size_t i = 0; i < w->tree->ndrives; i++)
            while (!tree_live(&w->tree->drive[i])) {
                assert_true(mrmr_clock_monotonic() < end);
                pause_a_while();
            }
        for (unsigned i = 0; i < 2; i++)
            rig_ok(read_all(file[i], want[i]));
        check_files(w);
    }
    assert_true(w->names + w->nodes > 0);
    for (unsigned i = 0; i < 2; i++) {
        pool_tree_file_close(file[i]);
        pool_tree_forget(w->tree, attr[i].node, 1);
    }
}

/* Any one call on any drive fails once, in one of several ways: nobody notices. Normally fewer of the later
 * ones. */
static void fail_each_call(struct world *w, unsigned drive, mrmr_err err)
{
    const uint64_t part = rig_all() ? 8 : rig_rounds(3);
    for (uint64_t n = 0;; n += 1 + n / part) {
        unsigned id;
        const struct drv_fault_rule rule = {
            .ops = DRV_FAULT_LOOKS, .after = n, .times = 1, .err = err};
        open_tree(w);
        rig_ok(drv_fault_add(w->rig->drive[drive].fault, &rule, &id));
        check_lists(w);
        check_files(w);
        bool hit = drv_fault_hits(w->rig->drive[drive].fault, id) > 0;
        drv_fault_remove(w->rig->drive[drive].fault, id);
        close_tree(w);
        if (!hit)
            return;
    }
}

/* Of either drive, and with either error; each with each only where all is gone through. */
static void test_failing_calls(void **state)
{
    static const mrmr_err errs[2] = {MRMR_IO, MRMR_OFFLINE};
    struct world *w = *state;
    const uint64_t drawn = rig_seed("failing_calls") % 2;
    for (unsigned of = 0; of < 2; of++)
        for (unsigned with = 0; with < 2; with++)
            if (rig_all() || (of + drawn) % 2 == with)
                fail_each_call(w, of * 3, errs[with]);
}

/* Changes on a drive that tells nothing of them show after remote-ttl, and are not looked for before. */
static void test_changes_show(void **state)
{
    struct world *w = *state;
    struct pool_attr attr, held;
    rig_ok(pool_set(w->rig->pool, "remote-ttl", "2"));
    open_tree(w);
    int64_t begin = mrmr_clock_monotonic(), end = begin + 60 * MRMR_NS_PER_S;
    check_lists(w);
    rig_ok(find(w, "shared/zero", &held)); /* and what it lies in */
    rig_put(w->rig, 4, "shared/new", 12345);
    rig_unlink(w->rig, "shared/one");
    rig_edit(w->rig, "shared/zero", 100, 5000);
    while (find(w, "shared/new", &attr)) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    assert_true(mrmr_clock_monotonic() - begin >= 2 * MRMR_NS_PER_S);
    assert_true(attr.keep <= 2 * MRMR_NS_PER_S);
    pool_tree_forget(w->tree, attr.node, 1);
    while (find(w, "shared/one", &attr) == MRMR_OK) {
        pool_tree_forget(w->tree, attr.node, 1);
        assert_true(mrmr_clock_monotonic() < end);
    }
    rig_ok(try_file(w, rig_find(w->rig, "shared/zero")));
    rig_ok(try_file(w, rig_find(w->rig, "shared/new")));
    pool_tree_forget(w->tree, held.node, 1);
}

static uint64_t lists_so_far(const struct world *w)
{
    uint64_t n = 0;
    for (unsigned d = 0; d < 5; d++)
        n += drv_fault_calls(w->rig->drive[d].fault, DRV_FAULT_LIST);
    return n;
}

/* Looks again and again until the maps' time was over once more; how many lists that took. */
static uint64_t lists_in_a_while(struct world *w)
{
    const uint64_t before = lists_so_far(w);
    const int64_t end = mrmr_clock_monotonic() + MRMR_NS_PER_S + MRMR_NS_PER_S / 4;
    struct pool_attr attr;
    while (mrmr_clock_monotonic() < end) {
        rig_ok(find(w, "shared/zero", &attr));
        pool_tree_forget(w->tree, attr.node, 1);
        pause_a_while();
    }
    return lists_so_far(w) - before;
}

/* A folder whose own times are what they were is not read again; one that changed is, and shows it. */
static void test_folder_times(void **state)
{
    struct world *w = *state;
    struct pool_attr attr, held;
    int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    rig_ok(pool_set(w->rig->pool, "remote-ttl", "1"));
    open_tree(w);
    rig_ok(find(w, "shared/zero", &held));
    while (lists_in_a_while(w) > 0) /* until the times were old when the lists were made */
        assert_true(mrmr_clock_monotonic() < end);
    unsigned told = atomic_load(&w->names);
    rig_put(w->rig, 3, "shared/new", 12345); /* a drive that has the folder already */
    rig_unlink(w->rig, "shared/one");
    assert_true(lists_in_a_while(w) > 0);
    rig_ok(find(w, "shared/new", &attr));
    pool_tree_forget(w->tree, attr.node, 1);
    assert_int_equal(find(w, "shared/one", &attr), MRMR_ABSENT);
    /* Who was shown the folder is told of both, though a request found them. */
    while (atomic_load(&w->names) < told + 2) {
        assert_true(mrmr_clock_monotonic() < end);
        pause_a_while();
    }
    pool_tree_forget(w->tree, held.node, 1);
    check_lists(w);
}

struct reader {
    struct world *w;
    struct pool_tree_file *file;
    const struct rig_file *want;
    uint64_t seed;
};

static void *read_anywhere(void *arg)
{
    struct reader *reader = arg;
    uint8_t buf[70000], expected[70000];
    for (unsigned i = 0; i < 150; i++) {
        reader->seed = rig_hash(reader->seed);
        uint64_t at = reader->seed % (reader->want->size + 1000);
        size_t got, want = at < reader->want->size ? reader->want->size - at : 0;
        want = want < sizeof buf ? want : sizeof buf;
        assert_int_equal(pool_tree_file_read(reader->file, at, buf, sizeof buf, &got), MRMR_OK);
        assert_int_equal(got, want);
        rig_expected(reader->want, at, expected, got);
        assert_memory_equal(buf, expected, got);
    }
    return NULL;
}

/* Several threads read one file by reconstruction, here and there. */
static void test_many_readers(void **state)
{
    enum { READERS = 6 };
    struct world *w = *state;
    struct reader reader[READERS];
    pthread_t thread[READERS];
    struct pool_attr attr;
    bool same;
    struct pool_tree_file *file = NULL;
    const struct rig_file *want = rig_find(w->rig, "shared/zero");
    rig_close(w->rig);
    rig_take_away(w->rig, want->drive);
    open_tree(w);
    rig_ok(find(w, want->path, &attr));
    rig_ok(pool_tree_file_open(w->tree, attr.node, false, &file, &same));
    for (unsigned i = 0; i < READERS; i++) {
        reader[i] = (struct reader){w, file, want, i + 1};
        assert_int_equal(pthread_create(&thread[i], NULL, read_anywhere, &reader[i]), 0);
    }
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(thread[i], NULL);
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shows_what_is_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lists_in_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drives_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_too_many_away, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drives_go_and_come, setup, teardown),
        cmocka_unit_test_setup_teardown(test_failing_calls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_changes_show, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder_times, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_readers, setup, teardown),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
