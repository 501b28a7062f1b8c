/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is removed while its drive is away: it does not show any more, it goes from the drive when that
 * is back, by whoever sees it first, and nobody else's protection goes with it (I3); what is another
 * version by then stays. Whatever happens to the journal, and whenever the process dies.
 */
#include "pool/gone.h"
#include "pool/gone_format.h"
#include "pool/tree.h"
#include "tests/support/kept.h"

#include "base/durable.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { DRIVES = 5, FILE_LEAVES = 3, MANY = 30 };

struct world {
    struct rig *rig;   /* its pool owns */
    struct pool *pool; /* and this one looks */
    struct pool_tree *tree;
};

static mrmr_err try_open_tree(struct world *w)
{
    char dir[300];
    snprintf(dir, sizeof dir, "%s/pool", w->rig->dir);
    MRMR_TRY(pool_open(dir, POOL_LOOK, "test", &w->pool));
    return pool_tree_open(w->pool, NULL, &w->tree);
}

static void open_tree(struct world *w)
{
    rig_ok(try_open_tree(w));
}

static void close_tree(struct world *w)
{
    pool_tree_close(w->tree);
    pool_close(w->pool);
    w->tree = NULL;
    w->pool = NULL;
}

/* Drive 0 is away when it is left. */
static void begin(struct world *w, uint64_t seed)
{
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_LOCAL, .drives = DRIVES, .seed = seed})};
    for (unsigned d = 0; d < DRIVES; d++) {
        char path[32];
        snprintf(path, sizeof path, "f%u", d);
        rig_put(w->rig, d, path, FILE_LEAVES * RIG_MIB - 100);
    }
    rig_put(w->rig, 0, "other", RIG_MIB + 5000); /* so that the drive is never empty */
    rig_put(w->rig, 0, "folder/in/one", 1000);
    rig_put(w->rig, 0, "folder/two", 0);
    rig_put(w->rig, 1, "folder/three", 10);
    rig_protect_all(w->rig);
    rig_take_away(w->rig, 0);
    open_tree(w);
}

static void destroy(struct world *w)
{
    if (w->tree)
        close_tree(w);
    rig_destroy(w->rig);
}

/* --- what users do --- */

/* Held. */
static mrmr_err look(struct world *w, const char *path, struct pool_attr *ret_attr)
{
    mrmr_autofree char *copy = strdup(path);
    uint64_t at = POOL_ROOT;
    char *rest = copy;
    for (char *name; (name = strsep(&rest, "/"));) {
        int64_t keep;
        mrmr_err err = pool_tree_lookup(w->tree, at, name, ret_attr, &keep);
        if (at != POOL_ROOT)
            pool_tree_forget(w->tree, at, 1);
        if (err)
            return err;
        at = ret_attr->node;
    }
    return MRMR_OK;
}

static mrmr_err is_there(struct world *w, const char *path)
{
    struct pool_attr attr;
    mrmr_err err = look(w, path, &attr);
    if (!err)
        pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

/* The folder of a path, held until the tree is closed; and the name in it. */
static uint64_t folder_of(struct world *w, const char *path, const char **ret_name)
{
    mrmr_autofree char *copy = strdup(path);
    char *slash = strrchr(copy, '/');
    struct pool_attr attr = {.node = POOL_ROOT};
    *ret_name = slash ? path + (slash - copy) + 1 : path;
    if (slash) {
        *slash = '\0';
        rig_ok(look(w, copy, &attr));
    }
    return attr.node;
}

static mrmr_err unlink_at(struct world *w, const char *path)
{
    const char *name;
    uint64_t folder = folder_of(w, path, &name);
    return pool_tree_unlink(w->tree, NULL, folder, name);
}

/* And the rig does not expect it any more. */
static void removes(struct world *w, const char *path)
{
    rig_ok(unlink_at(w, path));
    rig_find(w->rig, path)->there = false;
}

static mrmr_err rmdir_at(struct world *w, const char *path)
{
    const char *name;
    uint64_t folder = folder_of(w, path, &name);
    return pool_tree_rmdir(w->tree, NULL, folder, name);
}

static bool list_finds(const struct pool_dir_entry *entry, void *arg)
{
    const char **wanted = arg;
    if (strcmp(entry->name, *wanted) == 0)
        *wanted = NULL;
    return *wanted;
}

static bool is_listed(struct world *w, const char *path)
{
    const char *name;
    uint64_t folder = folder_of(w, path, &name);
    rig_ok(pool_tree_list(w->tree, folder, 0, false, list_finds, &name));
    return !name;
}

static void make_anew(struct world *w, const char *name, const char *text)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    rig_ok(pool_tree_create(w->tree, NULL, POOL_ROOT, name, 0600, &attr, &file));
    rig_ok(pool_tree_file_write(file, 0, text, strlen(text)));
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
}

static bool has_text(struct world *w, const char *name, const char *text)
{
    struct pool_attr attr;
    struct pool_tree_file *file;
    char got[64];
    size_t n;
    bool same;
    int64_t keep;
    rig_ok(pool_tree_lookup(w->tree, POOL_ROOT, name, &attr, &keep));
    rig_ok(pool_tree_file_open(w->tree, attr.node, false, &file, &same));
    rig_ok(pool_tree_file_read(file, 0, got, sizeof got, &n));
    pool_tree_file_close(file);
    pool_tree_forget(w->tree, attr.node, 1);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

static mrmr_err count_listed(const struct pool_entry *entry, void *arg)
{
    (void)entry;
    (*(unsigned *)arg)++;
    return MRMR_OK;
}

static unsigned count_ls(struct world *w, const char *path)
{
    unsigned n = 0;
    rig_ok(pool_ls(w->rig->pool, path, count_listed, &n));
    return n;
}

/* --- what drives do --- */

/* Under the tree. Whenever the name is asked for meanwhile it is not there. */
static void comes_back(struct world *w, const char *removed)
{
    int64_t end = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    rig_bring_back(w->rig, 0);
    while (!tree_live(&w->tree->drive[0])) {
        assert_true(mrmr_clock_monotonic() < end);
        if (removed)
            assert_int_equal(is_there(w, removed), MRMR_ABSENT);
        sched_yield();
    }
    if (removed)
        assert_int_equal(is_there(w, removed), MRMR_ABSENT);
}

static void goes_away(struct world *w)
{
    rig_take_away(w->rig, 0);
    is_there(w, "other"); /* it is noticed */
}

static size_t records(struct world *w, bool over)
{
    struct pool_gone *gone;
    struct pool_gone_list list;
    rig_ok(pool_gone_open(w->rig->pool->dirfd, false, &gone));
    rig_ok(pool_gone_list(gone, 0, over, &list));
    size_t n = list.n;
    pool_gone_list_free(&list);
    pool_gone_close(gone);
    return n;
}

/* --- files --- */

static void test_unlinked(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 301);
    unsigned entries = count_ls(&w, "");
    rig_ok(is_there(&w, "f0"));
    removes(&w, "f0");
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(is_listed(&w, "f0"));
    assert_int_equal(unlink_at(&w, "f0"), MRMR_ABSENT);
    assert_int_equal(count_ls(&w, ""), entries - 1); /* by the catalog */
    assert_int_equal(pool_where(w.rig->pool, "f0", count_listed, &entries), MRMR_ABSENT);
    close_tree(&w); /* it is remembered */
    open_tree(&w);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(is_listed(&w, "f0"));
    rig_ok(is_there(&w, "other"));
    assert_true(rig_holds(w.rig, 0, "f0"));
    comes_back(&w, "f0");
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_false(is_listed(&w, "f0"));
    rig_ok(is_there(&w, "other"));
    assert_int_equal(records(&w, false), 0);
    goes_away(&w); /* the catalog has it still */
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    no_new_rows(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_int_equal(records(&w, true), 0);
    nobody_suffers(w.rig, "f0");
}

/* Nobody looks until the owner syncs. */
static void test_unlinked_then_sync(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 302);
    removes(&w, "f0");
    close_tree(&w);
    rig_sync(w.rig); /* the drive is not there: nothing is forgotten */
    assert_int_equal(records(&w, false), 1);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    no_new_rows(w.rig);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_false(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    nobody_suffers(w.rig, "f0");
}

/* By the first who opens a tree. */
static void test_unlinked_then_mount(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 303);
    removes(&w, "f0");
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    open_tree(&w);
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* Somebody changed it on the drive while that was not ours. */
static void test_another_version(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 304);
    rig_ok(unlink_at(&w, "f0"));
    rig_edit(w.rig, "f0", 100, 5000);
    comes_back(&w, NULL);
    assert_true(rig_holds(w.rig, 0, "f0"));
    rig_ok(is_there(&w, "f0"));
    assert_int_equal(records(&w, false), 0);
    close_tree(&w);
    rig_protect_all(w.rig);
    assert_int_equal(records(&w, true), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

static mrmr_err count_conflicts(const struct pool_event *event, void *arg)
{
    *(unsigned *)arg += strcmp(event->kind, "conflict") == 0;
    return MRMR_OK;
}

/* The same, with the name given to another file meanwhile; the owner tells of it. */
static void test_made_anew_and_another_version(void **state)
{
    struct world w;
    unsigned conflicts = 0;
    (void)state;
    begin(&w, 305);
    rig_ok(unlink_at(&w, "f0"));
    make_anew(&w, "f0", "new");
    rig_edit(w.rig, "f0", 100, 5000);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_sync(w.rig);
    rig_ok(pool_events(w.rig->pool, 0, 1000, count_conflicts, &conflicts));
    assert_int_equal(conflicts, 1);
    assert_true(rig_holds(w.rig, 0, "f0"));
    rig_check_originals(w.rig);
    destroy(&w);
}

static void test_made_anew(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 306);
    removes(&w, "f0");
    make_anew(&w, "f0", "new");
    assert_true(has_text(&w, "f0", "new"));
    comes_back(&w, NULL);
    assert_true(has_text(&w, "f0", "new"));
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_ok(unlink_at(&w, "f0"));
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

static void test_renamed_over(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 307);
    make_anew(&w, "new", "new");
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", POOL_ROOT, "f0", 0));
    rig_find(w.rig, "f0")->there = false;
    assert_true(has_text(&w, "f0", "new"));
    assert_int_equal(records(&w, false), 1);
    comes_back(&w, "new");
    assert_true(has_text(&w, "f0", "new"));
    assert_false(rig_holds(w.rig, 0, "f0"));
    rig_ok(unlink_at(&w, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* An older copy, which did not show, does not show in the place of the one that was renamed. */
static void test_hidden_copies(void **state)
{
    struct world w;
    struct drv_file *raw;
    (void)state;
    begin(&w, 308);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_put(w.rig, 0, "twice", 100)->there = false;
    rig_sync(w.rig);
    rig_ok(
        drv_file_open(w.rig->drive[2].raw, "twice", DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0600, &raw));
    rig_ok(drv_file_write(raw, 0, "newer", 5));
    drv_file_close(raw);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    assert_true(has_text(&w, "twice", "newer"));
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "twice", POOL_ROOT, "moved", 0));
    assert_int_equal(is_there(&w, "twice"), MRMR_ABSENT);
    comes_back(&w, "twice");
    assert_false(rig_holds(w.rig, 0, "twice"));
    assert_true(has_text(&w, "moved", "newer"));
    destroy(&w);
}

/* One of two names of a file. */
static void test_one_of_two_names(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 309);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_ok(drv_link(w.rig->drive[0].raw, "f0", "link"));
    rig_reopen(w.rig);
    rig_sync(w.rig);
    rig_take_away(w.rig, 0);
    open_tree(&w);
    rig_ok(unlink_at(&w, "link"));
    rig_ok(is_there(&w, "f0"));
    comes_back(&w, "link");
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_false(rig_holds(w.rig, 0, "link"));
    assert_int_equal(count_retained(w.rig, 0), 0); /* it is where it was */
    close_tree(&w);
    rig_sync(w.rig);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

/* --- folders --- */

static void test_folders(void **state)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, 310);
    assert_int_equal(rmdir_at(&w, "folder"), MRMR_NOT_EMPTY);
    assert_int_equal(rmdir_at(&w, "folder/in"), MRMR_NOT_EMPTY);
    removes(&w, "folder/in/one");
    rig_ok(rmdir_at(&w, "folder/in"));
    assert_int_equal(is_there(&w, "folder/in"), MRMR_ABSENT);
    assert_int_equal(rmdir_at(&w, "folder"), MRMR_NOT_EMPTY);
    removes(&w, "folder/two");
    removes(&w, "folder/three");
    rig_ok(rmdir_at(&w, "folder"));
    assert_int_equal(is_there(&w, "folder"), MRMR_ABSENT);
    assert_false(is_listed(&w, "folder"));
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "folder", &folder, &attr)); /* anew */
    assert_int_equal(rmdir_at(&w, "folder/in"), MRMR_ABSENT);
    comes_back(&w, "folder/in");
    rig_ok(is_there(&w, "folder"));
    assert_false(rig_holds(w.rig, 0, "folder"));
    pool_tree_forget(w.tree, attr.node, 1);
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_int_equal(records(&w, false) + records(&w, true), 0);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

/* Something new lies in it on the drive. */
static void test_folder_is_not_empty(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 311);
    removes(&w, "folder/in/one");
    rig_ok(rmdir_at(&w, "folder/in"));
    rig_put(w.rig, 0, "folder/in/late", 100);
    comes_back(&w, NULL);
    int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (is_there(&w, "folder/in/late")) /* its folders are read anew in a moment */
        assert_true(mrmr_clock_monotonic() < until);
    assert_int_equal(is_there(&w, "folder/in/one"), MRMR_ABSENT);
    assert_false(rig_holds(w.rig, 0, "folder/in/one"));
    rig_check_originals(w.rig);
    destroy(&w);
}

/* An empty folder of a drive that is away, replaced by another one. */
static void test_folder_renamed_over(void **state)
{
    const struct pool_new folder = {.kind = POOL_DIR, .mode = 0755};
    struct pool_attr attr;
    struct world w;
    (void)state;
    begin(&w, 312);
    removes(&w, "folder/in/one");
    rig_ok(pool_tree_make(w.tree, NULL, POOL_ROOT, "new", &folder, &attr));
    const char *name;
    uint64_t to = folder_of(&w, "folder/in", &name);
    rig_ok(pool_tree_rename(w.tree, NULL, POOL_ROOT, "new", to, name, 0));
    comes_back(&w, "new");
    rig_ok(is_there(&w, "folder/in"));
    assert_false(rig_holds(w.rig, 0, "folder/in"));
    pool_tree_forget(w.tree, attr.node, 1);
    destroy(&w);
}

/* Most of a drive's files, with their folder: the user's word, and no hold. */
static void remove_many(uint64_t seed, bool away)
{
    struct world w;
    char path[40];
    begin(&w, seed);
    close_tree(&w);
    rig_bring_back(w.rig, 0);
    rig_reopen(w.rig);
    rig_ok(pool_set(w.rig->pool, "hold-percent", "30"));
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many/%u", i);
        rig_put(w.rig, 0, path, 5000 + i);
    }
    rig_protect_all(w.rig);
    if (away)
        rig_take_away(w.rig, 0);
    open_tree(&w);
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "many/%u", i);
        removes(&w, path);
    }
    rig_ok(rmdir_at(&w, "many"));
    if (away)
        comes_back(&w, "many");
    assert_false(rig_holds(w.rig, 0, "many"));
    close_tree(&w);
    rig_sync(w.rig);
    assert_int_equal(w.rig->report.held, 0);
    assert_string_equal(rig_pool_drive(w.rig, 0)->meta.hold, "");
    rig_protect_all(w.rig);
    rig_check(w.rig);
    rig_verify(w.rig, true);
    destroy(&w);
}

static void test_many(void **state)
{
    (void)state;
    remove_many(313, true);
}

static void test_many_present(void **state)
{
    (void)state;
    remove_many(319, false);
}

/* --- what fails --- */

/* It cannot be taken from the drive: it does not show all the same, and goes next time. */
static void test_applying_fails(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 314);
    removes(&w, "f0");
    const struct drv_fault_rule full = {
        .ops = DRV_FAULT_CHANGES, .prefix = ".mrmr/retained", .err = MRMR_SPACE};
    rig_bring_back(w.rig, 0);
    rig_ok(drv_fault_add(w.rig->drive[0].fault, &full, NULL));
    int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (!tree_live(&w.tree->drive[0]))
        assert_true(mrmr_clock_monotonic() < until);
    assert_true(rig_holds(w.rig, 0, "f0"));
    assert_int_equal(is_there(&w, "f0"), MRMR_ABSENT);
    assert_false(is_listed(&w, "f0"));
    assert_int_equal(records(&w, false), 1);
    close_tree(&w);
    rig_clear_faults(w.rig);
    open_tree(&w);
    assert_false(rig_holds(w.rig, 0, "f0"));
    close_tree(&w);
    nobody_suffers(w.rig, "f0");
}

/* --- the journal --- */

static int scratch(struct world *w)
{
    char dir[300];
    snprintf(dir, sizeof dir, "%s/scratch", w->rig->dir);
    mkdir(dir, 0700);
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    return fd;
}

static struct meta_node some_node(unsigned i)
{
    return (struct meta_node){
        .drive = 1, .type = META_REG, .size = i, .ino = 100 + i, .mtime = -5, .btime = i};
}

static unsigned known(int dirfd, unsigned n)
{
    struct pool_gone *gone;
    unsigned has = 0;
    rig_ok(pool_gone_open(dirfd, false, &gone));
    for (unsigned i = 0; i < n; i++) {
        struct meta_node node = some_node(i);
        char path[32];
        snprintf(path, sizeof path, "a/path/%u", i);
        has += pool_gone_has(gone, path, &node);
        node.mtime++;
        assert_false(pool_gone_has(gone, path, &node));
    }
    pool_gone_close(gone);
    return has;
}

static void add(int dirfd, unsigned from, unsigned to)
{
    struct pool_gone *gone;
    rig_ok(pool_gone_open(dirfd, true, &gone));
    for (unsigned i = from; i < to; i++) {
        struct meta_node node = some_node(i);
        char path[32];
        snprintf(path, sizeof path, "a/path/%u", i);
        rig_ok(pool_gone_add(gone, path, &node));
        assert_true(pool_gone_has(gone, path, &node));
    }
    pool_gone_close(gone);
}

/* Cut anywhere, or wrong in any byte: what is whole is known, and what comes after is, too. */
static void test_journal(void **state)
{
    enum { FEW = 3 };
    mrmr_autobytes struct mrmr_bytes whole = MRMR_BYTES_INIT;
    struct world w = {
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = 315})};
    (void)state;
    int dirfd = scratch(&w);
    add(dirfd, 0, FEW);
    add(dirfd, 0, FEW); /* once is enough */
    rig_ok(mrmr_durable_read(dirfd, "gone", 1 << 20, &whole));
    size_t each = whole.size / FEW;
    assert_int_equal(each, sizeof(struct gone_header) + strlen("a/path/0"));
    for (size_t size = 0; size <= whole.size; size++) {
        rig_ok(mrmr_durable_replace(dirfd, "gone", whole.data, size, 0600));
        assert_int_equal(known(dirfd, FEW), size / each);
        if (size % 5)
            continue;
        add(dirfd, FEW, FEW + 1);
        assert_int_equal(known(dirfd, FEW + 1), size / each + 1);
    }
    for (size_t at = 0; at < whole.size; at++) {
        whole.data[at] ^= 0x40;
        rig_ok(mrmr_durable_replace(dirfd, "gone", whole.data, whole.size, 0600));
        assert_int_equal(known(dirfd, FEW), FEW - 1);
        whole.data[at] ^= 0x40;
    }
    close(dirfd);
    rig_destroy(w.rig);
}

/* Any garbage, also such that begins like a record, or names what must not be named. */
static void test_garbage(void **state)
{
    enum { SIZE = 5000 };
    uint64_t garbage[SIZE / 8];
    struct world w = {
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = 316})};
    (void)state;
    int dirfd = scratch(&w);
    for (unsigned round = 0; round < 200; round++) {
        for (size_t i = 0; i < SIZE / 8; i++)
            garbage[i] = rig_random(w.rig, 4)   ? rig_random(w.rig, UINT64_MAX)
                         : rig_random(w.rig, 2) ? GONE_MAGIC
                                                : rig_random(w.rig, 200);
        rig_ok(mrmr_durable_replace(dirfd, "gone", garbage, SIZE - rig_random(w.rig, 9), 0600));
        assert_int_equal(known(dirfd, 1), 0);
        add(dirfd, 0, 1);
        assert_int_equal(known(dirfd, 1), 1);
    }
    struct pool_gone *gone;
    const struct meta_node node = some_node(0);
    rig_ok(pool_gone_open(dirfd, true, &gone));
    assert_int_not_equal(pool_gone_add(gone, "../up", &node), MRMR_OK);
    assert_int_not_equal(pool_gone_add(gone, "", &node), MRMR_OK);
    pool_gone_close(gone);
    close(dirfd);
    rig_destroy(w.rig);
}

/* Two handles, as of two processes: each sees what the other does. */
static void test_two_handles(void **state)
{
    struct world w = {
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = 317})};
    struct pool_gone *a, *b;
    struct pool_gone_list list;
    (void)state;
    int dirfd = scratch(&w);
    rig_ok(pool_gone_open(dirfd, true, &a));
    rig_ok(pool_gone_open(dirfd, true, &b));
    for (unsigned i = 0; i < 200; i++) {
        const struct meta_node node = some_node(i);
        rig_ok(pool_gone_add(i % 2 ? a : b, "x", &node));
    }
    rig_ok(pool_gone_refresh(a));
    rig_ok(pool_gone_list(a, 1, false, &list));
    assert_int_equal(list.n, 200);
    uint64_t ids[200];
    for (unsigned i = 0; i < 200; i++) {
        ids[i] = list.record[i].id;
        assert_int_equal(list.record[i].size, i);
    }
    pool_gone_list_free(&list);
    rig_ok(pool_gone_settle(a, ids, 150, false));
    rig_ok(pool_gone_refresh(b));
    rig_ok(pool_gone_list(b, 0, true, &list));
    assert_int_equal(list.n, 150);
    for (unsigned i = 0; i < 150; i++)
        ids[i] = list.record[i].id;
    pool_gone_list_free(&list);
    rig_ok(pool_gone_settle(b, ids, 150, true));
    rig_ok(pool_gone_refresh(a));
    rig_ok(pool_gone_list(a, 0, true, &list));
    assert_int_equal(list.n, 0);
    pool_gone_list_free(&list);
    rig_ok(pool_gone_list(a, 2, false, &list));
    assert_int_equal(list.n, 0);
    pool_gone_list_free(&list);
    pool_gone_close(a);
    pool_gone_close(b);
    close(dirfd);
    rig_destroy(w.rig);
}

/* --- the process dies --- */

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

/* Whoever opens the tree applies. True: it died before it had. */
static bool apply_and_die(struct world *w, uint64_t n, bool late)
{
    rig_tap(w->rig, RIG_CUTS, n, late, tap_die);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        _exit(try_open_tree(w) ? 1 : 0);
    int status;
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_tap(w->rig, 0, 0, false, NULL);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* Three names are removed, the drive is back, and nobody has looked. */
static void begin_removed(struct world *w)
{
    begin(w, 318);
    removes(w, "f0");
    removes(w, "folder/in/one");
    rig_ok(rmdir_at(w, "folder/in"));
    close_tree(w);
    rig_bring_back(w->rig, 0);
}

static void is_applied(struct world *w)
{
    open_tree(w);
    assert_int_equal(is_there(w, "f0"), MRMR_ABSENT);
    assert_int_equal(is_there(w, "folder/in"), MRMR_ABSENT);
    assert_false(rig_holds(w->rig, 0, "f0"));
    assert_false(rig_holds(w->rig, 0, "folder/in"));
    assert_int_equal(records(w, false), 0);
    close_tree(w);
}

static void killed_at(uint64_t n, bool late)
{
    struct world w;
    begin_removed(&w);
    rig_close(w.rig);
    assert_true(apply_and_die(&w, n, late));
    rig_open(w.rig);
    assert_int_equal(records(&w, false), 3);
    is_applied(&w);
    nobody_suffers(w.rig, "f0");
}

/* At calls that change a drive; after the last one all is done, and every record waits still. */
static void test_killed(void **state)
{
    struct world w;
    (void)state;
    begin_removed(&w);
    uint64_t calls = rig_calls(w.rig, RIG_CUTS);
    is_applied(&w);
    calls = rig_calls(w.rig, RIG_CUTS) - calls;
    destroy(&w);
    assert_true(calls > 10);
    uint64_t stride = rig_rounds(1) > 1 ? 1 : calls / 4;
    for (uint64_t n = 1; n < calls; n += stride)
        killed_at(n, n % 2);
    killed_at(calls - 1, true);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unlinked),
        cmocka_unit_test(test_unlinked_then_sync),
        cmocka_unit_test(test_unlinked_then_mount),
        cmocka_unit_test(test_another_version),
        cmocka_unit_test(test_made_anew_and_another_version),
        cmocka_unit_test(test_made_anew),
        cmocka_unit_test(test_renamed_over),
        cmocka_unit_test(test_hidden_copies),
        cmocka_unit_test(test_one_of_two_names),
        cmocka_unit_test(test_folders),
        cmocka_unit_test(test_folder_is_not_empty),
        cmocka_unit_test(test_folder_renamed_over),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_many_present),
        cmocka_unit_test(test_applying_fails),
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_two_handles),
        cmocka_unit_test(test_killed),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone", tests, NULL, NULL);
}
