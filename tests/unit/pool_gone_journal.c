/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The journal of what was removed while its drive was away: whatever happens to it, and whenever the
 * process dies that applies it.
 */
#include "pool/records/gone_format.h"
#include "pool/records/later.h"
#include "tests/unit/pool_gone_world.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

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

/* --- what is asked of folders, in the same journal --- */

static bool is_right(const struct pool_gone_record *record, unsigned at)
{
    struct pool_later_rename rename;
    struct pool_later_set set;
    switch (at) {
    case 0:
        return record->kind == POOL_GONE_REMOVED && !pool_later_rename(record, &rename) &&
               !pool_later_set(record, &set);
    case 1:
        return pool_later_rename(record, &rename) && !pool_later_set(record, &set) &&
               strcmp(rename.from, "a/b") == 0 && strcmp(rename.to, "c") == 0;
    default:
        return pool_later_set(record, &set) && set.fixed.now.mode == 0751 &&
               strcmp(set.name, "user.x") == 0 && set.size == 3 &&
               memcmp(set.value, "v\0w", 3) == 0;
    }
}

/* As bits: which of the three are there, whole. */
static unsigned which(int dirfd)
{
    struct pool_gone *gone;
    struct pool_gone_list list;
    unsigned found = 0;
    rig_ok(pool_gone_open(dirfd, false, &gone));
    rig_ok(pool_gone_list(gone, 0, false, &list));
    for (size_t i = 0; i < list.n; i++)
        for (unsigned at = 0; at < 3; at++)
            found |= is_right(&list.record[i], at) ? 1U << at : 0;
    pool_gone_list_free(&list);
    pool_gone_close(gone);
    return found;
}

static void add_three(struct pool_gone *gone, uint64_t *ret_other)
{
    const struct meta_node node = {.drive = 1, .type = META_DIR, .ino = 7, .btime = 9};
    struct pool_later_fixed fixed = {
        .what = DRV_ATTR_MODE, .xattr = POOL_LATER_XATTR_SET, .now = {.mode = 0751}};
    char extra[sizeof fixed + 10];
    uint64_t id;
    memcpy(extra, &fixed, sizeof fixed);
    memcpy(extra + sizeof fixed, "user.x\0v\0w", 10);
    rig_ok(pool_gone_add(gone, "some", &node));
    rig_ok(pool_later_add_rename(gone, "a/b", &node, "a/b", "c", &id));
    rig_ok(pool_gone_add_later(gone, POOL_GONE_SET, "", &node, extra, sizeof extra, &id));
    /* Whole, and not to be believed. */
    rig_ok(pool_gone_add_later(gone, POOL_GONE_RENAMED, "x", &node, "a/b\0../c", 9, ret_other));
    rig_ok(pool_gone_add_later(gone, POOL_GONE_RENAMED, "x", &node, "a/b\0c", 5, ret_other));
    rig_ok(pool_gone_add_later(gone, POOL_GONE_SET, "x", &node, extra, sizeof fixed, ret_other));
    rig_ok(pool_gone_add_later(gone, POOL_GONE_SET, "x", &node, extra, 5, ret_other));
}

static void test_later_records(void **state)
{
    mrmr_autobytes struct mrmr_bytes whole = MRMR_BYTES_INIT;
    struct world w = {
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = 319})};
    struct pool_gone *gone;
    uint64_t other;
    (void)state;
    int dirfd = scratch(&w);
    rig_ok(pool_gone_open(dirfd, true, &gone));
    add_three(gone, &other);
    rig_ok(pool_gone_settle(gone, &other, 1, true)); /* all others are written anew */
    pool_gone_close(gone);
    assert_int_equal(which(dirfd), 7);
    rig_ok(mrmr_durable_read(dirfd, "gone", 1 << 20, &whole));
    unsigned counts[8] = {0};
    for (size_t at = 0; at < whole.size; at++) {
        whole.data[at] ^= 0x40;
        rig_ok(mrmr_durable_replace(dirfd, "gone", whole.data, whole.size, 0600));
        counts[which(dirfd)]++;
        whole.data[at] ^= 0x40;
    }
    assert_int_equal(counts[6] + counts[5] + counts[3] + counts[7], whole.size);
    assert_true(counts[6] > 100 && counts[5] > 100 && counts[3] > 200);
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
                         : rig_random(w.rig, 3) ? GONE_MAGIC
                         : rig_random(w.rig, 2) ? GONE_LATER_MAGIC
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
    begin_away(w, 318);
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

/* False: it was through before. */
static bool killed_at(uint64_t n, bool late)
{
    struct world w;
    begin_removed(&w);
    rig_close(w.rig);
    const bool died = apply_and_die(&w, n, late);
    rig_open(w.rig);
    assert_int_equal(records(&w, false), died ? 3 : 0);
    is_applied(&w);
    nobody_suffers(w.rig, "f0");
    return died;
}

/* At calls that change a drive; after the last one all is done, and every record waits still. How many there are is up to the
 * moment. One that fails, as a folder that is there, has no after. */
static void test_killed(void **state)
{
    const uint64_t stride = rig_all() ? 1 : 3;
    uint64_t n = 1;
    (void)state;
    while ((n % 2 && killed_at(n, true)) || killed_at(n, false))
        n += stride;
    assert_true(n > 10);
    while (!killed_at(--n, true))
        assert_true(n > 10);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journal),
        cmocka_unit_test(test_later_records),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_two_handles),
        cmocka_unit_test(test_killed),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_journal", tests, NULL, NULL);
}
