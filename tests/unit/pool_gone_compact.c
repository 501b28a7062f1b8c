/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The journal of what was asked of drives that are away: how long it becomes, how often it is written, and
 * that nothing is lost by that. Bytes and files are counted, not time.
 */
#include "pool/records/gone_format.h"
#include "pool/records/gone_journal.h"
#include "pool/records/later.h"
#include "tests/support/rig.h"

#include "base/cleanup.h"
#include "base/durable.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
    struct rig *rig;
    int dirfd;
    struct pool_gone *gone;
};

static void begin(struct world *w, uint64_t seed)
{
    char dir[300];
    *w = (struct world){
        .rig = rig_create(&(struct rig_spec){.kind = RIG_MEM, .drives = 3, .seed = seed})};
    snprintf(dir, sizeof dir, "%s/scratch", w->rig->dir);
    mkdir(dir, 0700);
    w->dirfd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(w->dirfd >= 0);
    rig_ok(pool_gone_open(w->dirfd, true, &w->gone));
}

static void end(struct world *w)
{
    pool_gone_close(w->gone);
    close(w->dirfd);
    rig_destroy(w->rig);
}

static uint64_t journal_size(struct world *w)
{
    struct stat st;
    return fstatat(w->dirfd, "gone", &st, 0) == 0 ? (uint64_t)st.st_size : 0;
}

static size_t count(struct world *w, bool over)
{
    struct pool_gone_list list;
    rig_ok(pool_gone_list(w->gone, 0, over, &list));
    size_t n = list.n;
    pool_gone_list_free(&list);
    return n;
}

/* Another process sees the same. */
static void opened_anew(struct world *w)
{
    pool_gone_close(w->gone);
    rig_ok(pool_gone_open(w->dirfd, true, &w->gone));
}

/* --- settling --- */

enum { RENAMES = 1500 };

static void renames_wait(struct world *w, uint64_t ids[], unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        const struct meta_node node = {.drive = 1, .type = META_DIR, .ino = 100 + i};
        char from[32], to[32];
        snprintf(from, sizeof from, "from/here %u", i);
        snprintf(to, sizeof to, "to/there %u", i);
        rig_ok(pool_later_add_rename(w->gone, from, &node, from, to, &ids[i]));
    }
}

/* Files that the journal has been, each of which is held, so that no number is used again. */
struct files {
    int fd[RENAMES + 1];
    ino_t ino;
    unsigned n;
};

static void look_at_file(struct world *w, struct files *files)
{
    struct stat st;
    int fd = openat(w->dirfd, "gone", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    if (files->n && st.st_ino == files->ino) {
        close(fd);
        return;
    }
    files->ino = st.st_ino;
    files->fd[files->n++] = fd;
}

/* As a drive's renames become over, one after another, and go with the next scan. */
static void test_settling_one_by_one(void **state)
{
    struct world w;
    struct files files = {.n = 0};
    uint64_t ids[RENAMES];
    (void)state;
    begin(&w, 700);
    renames_wait(&w, ids, RENAMES);
    const uint64_t size = journal_size(&w);
    uint64_t written = 0, was = size;
    for (unsigned i = 0; i < 2 * RENAMES; i++) {
        look_at_file(&w, &files);
        rig_ok(pool_gone_settle(w.gone, &(uint64_t){ids[i % RENAMES]}, 1, i >= RENAMES));
        const uint64_t now = journal_size(&w);
        written += now > was ? now - was : now;
        was = now;
        if (i % 300 == 299)
            opened_anew(&w);
        if (i < RENAMES) {
            assert_int_equal(count(&w, true), i + 1);
            assert_int_equal(count(&w, false), RENAMES - i - 1);
        }
    }
    print_message("%u renames in %llu bytes: %llu more were written, and %u files\n", RENAMES,
        (unsigned long long)size, (unsigned long long)written, files.n);
    assert_int_equal(count(&w, true) + count(&w, false), 0);
    assert_int_equal(journal_size(&w), 0);
    assert_true(written < 4 * size);
    assert_in_range(files.n, 1, 12);
    while (files.n > 0)
        close(files.fd[--files.n]);
    end(&w);
}

/* A mark that is torn, or wrong in any byte, says nothing: what it was about waits still. */
static void test_marks_are_whole_or_nothing(void **state)
{
    enum { FEW = 4 };
    mrmr_autobytes struct mrmr_bytes whole = MRMR_BYTES_INIT;
    struct world w;
    uint64_t ids[FEW];
    (void)state;
    begin(&w, 701);
    renames_wait(&w, ids, FEW);
    const size_t before = journal_size(&w);
    rig_ok(pool_gone_settle(w.gone, ids, 2, false));
    rig_ok(mrmr_durable_read(w.dirfd, "gone", 1 << 20, &whole));
    assert_true(whole.size > before);
    for (size_t size = before; size <= whole.size; size++) {
        rig_ok(mrmr_durable_replace(w.dirfd, "gone", whole.data, size, 0600));
        opened_anew(&w);
        assert_int_equal(count(&w, true), size < whole.size ? 0 : 2);
        assert_int_equal(count(&w, false), size < whole.size ? FEW : FEW - 2);
    }
    for (size_t at = before; at < whole.size; at++) {
        whole.data[at] ^= 0x40;
        rig_ok(mrmr_durable_replace(w.dirfd, "gone", whole.data, whole.size, 0600));
        rig_ok(pool_gone_refresh(w.gone));
        assert_int_equal(count(&w, true), 0);
        whole.data[at] ^= 0x40;
    }
    end(&w);
}

/* --- attributes, again and again --- */

static const char *const xattrs[] = {NULL, "user.a", "user.b", "system.posix_acl_access"};
enum { FOLDERS = 3, XATTRS = sizeof xattrs / sizeof *xattrs };

struct
    model { /* of a folder: what was asked for last; and what the records that are left come to */
    struct pool_later_values now;
    uint8_t xattr[XATTRS];
};

/* Of the values before and after. */
static void set_asked(struct world *w, struct model *model, unsigned folder, bool over)
{
    const struct meta_node node = {.drive = 1, .type = META_DIR, .ino = 7 + folder};
    struct pool_later_fixed fixed = {.asked = 5, .was = model->now};
    mrmr_autobytes struct mrmr_bytes extra = MRMR_BYTES_INIT;
    char path[16];
    uint64_t id;
    unsigned x = (unsigned)rig_random(w->rig, XATTRS);
    const uint8_t value = (uint8_t)rig_random(w->rig, 200);
    if (!x)
        fixed.what = 1U << rig_random(w->rig, 5);
    if (fixed.what & DRV_ATTR_MODE)
        model->now.mode = (uint32_t)rig_random(w->rig, 07777);
    if (fixed.what & DRV_ATTR_UID)
        model->now.uid = (uint32_t)rig_random(w->rig, 1000);
    if (fixed.what & DRV_ATTR_GID)
        model->now.gid = (uint32_t)rig_random(w->rig, 1000);
    if (fixed.what & DRV_ATTR_ATIME)
        model->now.atime = (int64_t)rig_random(w->rig, 1000);
    if (fixed.what & DRV_ATTR_MTIME)
        model->now.mtime = (int64_t)rig_random(w->rig, 1000);
    fixed.now = model->now;
    if (x) {
        fixed.xattr = POOL_LATER_XATTR_SET;
        fixed.xattr_was[0] = model->xattr[x];
        model->xattr[x] = value;
    }
    rig_ok(mrmr_bytes_add(&extra, &fixed, sizeof fixed));
    if (x)
        rig_ok(mrmr_bytes_add(&extra, xattrs[x], strlen(xattrs[x]) + 1));
    if (x)
        rig_ok(mrmr_bytes_add(&extra, &value, 1));
    snprintf(path, sizeof path, "folder %u", folder);
    rig_ok(pool_gone_add_later(w->gone, POOL_GONE_SET, path, &node, extra.data, extra.size, &id));
    if (over)
        rig_ok(pool_gone_settle(w->gone, &id, 1, false));
}

/* In order; each says of the values before it what the ones before it come to. */
static void replay(struct model *model, const struct pool_gone_record *record)
{
    struct pool_later_set set;
    unsigned x = 0;
    assert_true(pool_later_set(record, &set));
    const struct pool_later_values *now = &set.fixed.now, *was = &set.fixed.was;
#define REPLAY(bit, field)                                                                         \
    if (set.fixed.what & (bit)) {                                                                  \
        assert_int_equal(was->field, model->now.field);                                            \
        model->now.field = now->field;                                                             \
    }
    REPLAY(DRV_ATTR_MODE, mode)
    REPLAY(DRV_ATTR_UID, uid)
    REPLAY(DRV_ATTR_GID, gid)
    REPLAY(DRV_ATTR_MTIME, mtime)
    if (set.fixed.what & DRV_ATTR_ATIME)
        model->now.atime = now->atime;
    if (set.fixed.xattr == POOL_LATER_NONE)
        return;
    while (x < XATTRS && (!xattrs[x] || strcmp(xattrs[x], set.name) != 0))
        x++;
    assert_true(x < XATTRS);
    assert_int_equal(set.fixed.xattr_was[0], model->xattr[x]);
    model->xattr[x] = *(const uint8_t *)set.value;
}

static void they_come_to(struct world *w, const struct model model[FOLDERS])
{
    struct model left[FOLDERS];
    memset(left, 0, sizeof left);
    for (unsigned over = 2; over-- > 0;) {
        struct pool_gone_list list;
        rig_ok(pool_gone_list(w->gone, 1, over, &list));
        for (size_t i = 0; i < list.n; i++)
            replay(&left[list.record[i].ino - 7], &list.record[i]);
        pool_gone_list_free(&list);
    }
    for (unsigned f = 0; f < FOLDERS; f++) {
        assert_memory_equal(&left[f].now, &model[f].now, sizeof left[f].now);
        assert_memory_equal(left[f].xattr, model[f].xattr, sizeof left[f].xattr);
    }
}

/* The first ones are over, as what a drive had before it went away once more. */
static void test_set_again_and_again(void **state)
{
    enum { SETS = 3000, OVER = 20 };
    const uint64_t seeds[] = {702, 703};
    (void)state;
    for (size_t s = 0; s < sizeof seeds / sizeof *seeds; s++) {
        struct model model[FOLDERS];
        struct world w;
        uint64_t most = 0;
        memset(model, 0, sizeof model);
        begin(&w, seeds[s]);
        for (unsigned i = 0; i < SETS; i++) {
            const unsigned folder = (unsigned)rig_random(w.rig, FOLDERS);
            set_asked(&w, &model[folder], folder, i < OVER);
            most = journal_size(&w) > most ? journal_size(&w) : most;
            if (i % 500 == 499)
                they_come_to(&w, model);
        }
        opened_anew(&w);
        they_come_to(&w, model);
        print_message("%u times: %llu bytes at most\n", SETS, (unsigned long long)most);
        assert_true(most < 64 << 10);
        end(&w);
    }
}

/* chmod, in a loop: nothing is refused since the journal is full, and the rest of it stays as it is. */
static void test_one_mode_again_and_again(void **state)
{
    enum { SETS = 2000 };
    const struct meta_node node = {.drive = 1, .type = META_DIR, .ino = 7};
    struct world w;
    struct pool_gone_list list;
    uint64_t ids[3], id;
    (void)state;
    begin(&w, 704);
    renames_wait(&w, ids, 3);
    for (unsigned i = 0; i < SETS; i++) {
        const struct pool_later_fixed fixed = {.what = DRV_ATTR_MODE,
            .now = {.mode = 0700 + i % 64},
            .was = {.mode = i ? 0700 + (i - 1) % 64 : 0123}};
        rig_ok(pool_gone_add_later(w.gone, POOL_GONE_SET, "f", &node, &fixed, sizeof fixed, &id));
        assert_true(journal_size(&w) < 40 << 10);
    }
    rig_ok(pool_gone_list(w.gone, 1, false, &list));
    struct pool_later_set set;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(list.record[i].id, ids[i]);
    assert_true(pool_later_set(&list.record[3], &set));
    assert_int_equal(set.fixed.was.mode, 0123);
    assert_true(pool_later_set(&list.record[list.n - 1], &set));
    assert_int_equal(set.fixed.now.mode, 0700 + (SETS - 1) % 64);
    assert_int_equal(list.record[list.n - 1].id, id);
    pool_gone_list_free(&list);
    end(&w);
}

/* --- when it cannot be written anew, or read --- */

static struct meta_node removed_node(unsigned i)
{
    return (struct meta_node){.drive = 1, .type = META_REG, .size = i, .ino = 1000 + i};
}

static void removes(struct world *w, unsigned i)
{
    const struct meta_node node = removed_node(i);
    char path[32];
    snprintf(path, sizeof path, "removed %u", i);
    rig_ok(pool_gone_add(w->gone, path, &node));
}

static bool is_removed(struct world *w, unsigned i)
{
    const struct meta_node node = removed_node(i);
    char path[32];
    snprintf(path, sizeof path, "removed %u", i);
    return pool_gone_has(w->gone, path, &node);
}

static void modes_are_asked(struct world *w, unsigned n)
{
    const struct meta_node node = {.drive = 1, .type = META_DIR, .ino = 7};
    uint64_t id;
    for (unsigned i = 0; i < n; i++) {
        const struct pool_later_fixed fixed = {
            .what = DRV_ATTR_MODE, .now = {.mode = i + 1}, .was = {.mode = i}};
        rig_ok(pool_gone_add_later(w->gone, POOL_GONE_SET, "f", &node, &fixed, sizeof fixed, &id));
    }
}

/* In order, each after the one before. */
static void modes_are_in_order(struct world *w, unsigned n)
{
    struct pool_gone_list list;
    struct pool_later_set set;
    unsigned mode = 0;
    rig_ok(pool_gone_list(w->gone, 1, false, &list));
    for (size_t i = 0; i < list.n; i++) {
        if (!pool_later_set(&list.record[i], &set))
            continue;
        assert_int_equal(set.fixed.was.mode, mode);
        mode = set.fixed.now.mode;
    }
    assert_int_equal(mode, n);
    pool_gone_list_free(&list);
}

/* As if the folder was full: each removal is added, and hardly one of them tries the whole. */
static void test_written_anew_in_vain(void **state)
{
    enum { SETS = 400, REMOVALS = 200 };
    struct world w;
    unsigned tries = 0;
    (void)state;
    begin(&w, 705);
    assert_int_equal(mkdirat(w.dirfd, ".gone.new", 0700), 0); /* the name that it is written at */
    modes_are_asked(&w, SETS);
    modes_are_in_order(&w, SETS);
    for (unsigned i = 0; i < REMOVALS; i++) {
        tries += gone_compact_pays(w.gone, false);
        removes(&w, i);
    }
    print_message("%u removals, %u times\n", REMOVALS, tries);
    assert_in_range(tries, 0, 2);
    modes_are_in_order(&w, SETS);
    for (unsigned i = 0; i < REMOVALS; i++)
        assert_true(is_removed(&w, i));
    const uint64_t size = journal_size(&w);
    assert_int_equal(unlinkat(w.dirfd, ".gone.new", AT_REMOVEDIR), 0);
    for (unsigned i = REMOVALS; journal_size(&w) >= size;
         i++) { /* later it is, once there is room */
        assert_in_range(i, 0, 20 * REMOVALS);
        removes(&w, i);
    }
    modes_are_in_order(&w, SETS);
    end(&w);
}

/* What cannot be read hides nothing of what was read before. */
static void test_read_in_vain(void **state)
{
    struct world w;
    (void)state;
    begin(&w, 706);
    removes(&w, 0);
    assert_int_equal(renameat(w.dirfd, "gone", w.dirfd, "aside"), 0);
    assert_int_equal(mkdirat(w.dirfd, "gone", 0700), 0);
    assert_int_equal(pool_gone_refresh(w.gone), MRMR_FORMAT);
    assert_true(is_removed(&w, 0));
    assert_true(pool_gone_any(w.gone));
    assert_int_equal(unlinkat(w.dirfd, "gone", AT_REMOVEDIR), 0);
    assert_int_equal(renameat(w.dirfd, "aside", w.dirfd, "gone"), 0);
    removes(&w, 1);
    opened_anew(&w);
    assert_true(is_removed(&w, 0) && is_removed(&w, 1));
    end(&w);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settling_one_by_one),
        cmocka_unit_test(test_marks_are_whole_or_nothing),
        cmocka_unit_test(test_set_again_and_again),
        cmocka_unit_test(test_one_mode_again_and_again),
        cmocka_unit_test(test_written_anew_in_vain),
        cmocka_unit_test(test_read_in_vain),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_gone_compact", tests, NULL, NULL);
}
