/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_tree_bring_world.h"

#include "pool/change/tree_bring.h"
#include "pool/change/tree_change.h"
#include "pool/tree/tree_node.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

_Atomic bool nothing_recorded, nothing_removed, nothing_read, nothing_late;
void (*_Atomic before_removed)(void);

mrmr_err __wrap_tree_gone_late(struct pool_tree *tree, size_t drive, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat);
mrmr_err __real_tree_gone_late(struct pool_tree *tree, size_t drive, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat);
mrmr_err __wrap_tree_gone_late(struct pool_tree *tree, size_t drive, enum pool_gone_late what,
    const char *path, const struct drv_stat *stat)
{
    return nothing_recorded || nothing_late ? mrmr_fail_errno(ENOSPC, "write", "gone")
                                            : __real_tree_gone_late(tree, drive, what, path, stat);
}

mrmr_err __wrap_tree_gone_add(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node);
mrmr_err __real_tree_gone_add(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node);
mrmr_err __wrap_tree_gone_add(
    struct pool_tree *tree, size_t drive, const char *path, const struct meta_node *node)
{
    void (*before)(void) = atomic_exchange(&before_removed, NULL);
    if (before)
        before();
    return nothing_recorded || nothing_removed ? mrmr_fail_errno(ENOSPC, "write", "gone")
                                               : __real_tree_gone_add(tree, drive, path, node);
}

mrmr_err __wrap_tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours);
mrmr_err __real_tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours);
mrmr_err __wrap_tree_pair_read(struct pool_tree *tree, const char *name, struct mrmr_bytes *text,
    struct tree_pair *ret_pair, bool *ret_ours)
{
    return nothing_read ? mrmr_fail_errno(EIO, "read", name)
                        : __real_tree_pair_read(tree, name, text, ret_pair, ret_ours);
}

static void tap_die(struct rig *rig, struct rig_drive *drive)
{
    (void)rig, (void)drive;
    kill(getpid(), SIGKILL);
}

/* False: it was over before. */
bool dies(struct world *w, uint64_t n, bool late, void (*what)(struct world *w))
{
    int status;
    rig_tap(w->rig, RIG_CUTS, n, late, tap_die);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        what(w);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    rig_untap(w->rig);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

/* A mode leaves size and time as they are. */
mrmr_err sets_mode(struct world *w, const char *name, unsigned mode)
{
    struct pool_attr attr;
    const struct pool_attr set = {.mode = mode};
    MRMR_TRY(look_at(w, name, &attr));
    mrmr_err err = pool_tree_set(w->tree, NULL, attr.node, NULL, POOL_SET_MODE, &set, &attr);
    pool_tree_forget(w->tree, attr.node, 1);
    return err;
}

unsigned mode_of(struct world *w, const char *name)
{
    struct pool_attr attr;
    rig_ok(look_at(w, name, &attr));
    pool_tree_forget(w->tree, attr.node, 1);
    return attr.mode & 0777;
}

/* Bytes that it has already; its drive does not take them, so it goes to another one. */
static void writes_the_same(struct world *w, const char *name)
{
    uint8_t bytes[4];
    drive_is_full(w->rig, 0);
    struct pool_tree_file *file = open_file(w, name);
    rig_expected(rig_find(w->rig, name), 10, bytes, sizeof bytes);
    pool_tree_file_write(file, 10, bytes, sizeof bytes);
    pool_tree_file_close(file);
}

void opens_and_changes(struct world *w)
{
    open_tree(w);
    if (rig_present(w->rig, 0))
        writes_the_same(w, "f0");
    else
        sets_mode(w, "f0", 0640);
}

/* The one drive that has it; DRIVES: none has. */
unsigned drive_of(struct world *w, const char *name)
{
    unsigned on = DRIVES;
    for (unsigned d = 0; d < DRIVES; d++)
        if (rig_holds(w->rig, d, name))
            on = d;
    return on;
}

/* It is on this one alone, which is not the first, and nothing waits. */
void is_on(struct world *w, const char *name, unsigned drive)
{
    assert_int_equal(drives_with(w->rig, name), 1);
    assert_int_equal(drive_of(w, name), drive);
    assert_int_equal(records(w, false), 0);
    rig_find(w->rig, name)->drive = drive;
}

unsigned elsewhere(struct world *w, const char *name)
{
    for (unsigned d = 1; d < DRIVES; d++)
        if (rig_holds(w->rig, d, name))
            return d;
    return 0;
}

/* In place, and its time is set back, as keepers of containers do. */
void edits(struct rig *rig, unsigned drive, const char *path)
{
    struct drv *drv = rig->drive[drive].raw;
    struct drv_stat stat;
    struct drv_file *file;
    rig_ok(drv_stat(drv, path, &stat));
    rig_ok(drv_file_open(drv, path, DRV_OPEN_WRITE, 0, &file));
    rig_ok(drv_file_write(file, 100, "EDIT", 4));
    drv_file_close(file);
    rig_ok(drv_set_attr(drv, path, DRV_ATTR_MTIME, &stat));
}

void has_edit(struct rig *rig, unsigned drive, const char *path)
{
    struct drv_file *file;
    char got[4];
    rig_ok(drv_file_open(rig->drive[drive].raw, path, DRV_OPEN_READ, 0, &file));
    rig_ok(drv_file_read_exact(file, 100, got, sizeof got));
    drv_file_close(file);
    assert_memory_equal(got, "EDIT", 4);
}

static void drive_goes(void *arg, enum drv_fault_op op, const char *path)
{
    struct rig_drive *drive = arg;
    const struct drv_fault_rule off = {.err = MRMR_OFFLINE};
    (void)op, (void)path;
    rig_ok(drv_fault_add(drive->fault, &off, NULL));
}

void goes_when_taken(struct world *w, unsigned drive)
{
    const struct drv_fault_rule off = {.ops = DRV_FAULT_SYMLINK,
        .prefix = ".mrmr/retained",
        .times = 1,
        .action = DRV_FAULT_HOOK,
        .hook = drive_goes,
        .arg = &w->rig->drive[drive]};
    rig_ok(drv_fault_add(w->rig->drive[drive].fault, &off, NULL));
}

unsigned is_cut_when_named(struct world *w)
{
    close_tree(w);
    rig_close(w->rig);
    for (uint64_t n = 0; !elsewhere(w, "f0"); n++)
        assert_true(dies(w, n, true, opens_and_changes));
    return elsewhere(w, "f0");
}

void is_over(struct world *w)
{
    char from[700], to[700];
    const char *dir = w->rig->pool->dir;
    const size_t prefix = strlen(TREE_BRING_RECORD);
    unsigned n = 0;
    DIR *entries = opendir(dir);
    assert_non_null(entries);
    for (const struct dirent *e; (e = readdir(entries)) != NULL;)
        if (strncmp(e->d_name, TREE_BRING_RECORD, prefix) == 0) {
            snprintf(from, sizeof from, "%s/%s", dir, e->d_name);
            snprintf(to, sizeof to, "%s/" TREE_BRING_OVER "%s", dir, e->d_name + prefix);
            n++;
        }
    closedir(entries);
    assert_int_equal(n, 1);
    assert_int_equal(rename(from, to), 0);
}

void waits(struct world *w, unsigned drive)
{
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (!w->tree->drive[drive].told_waits) {
        assert_true(mrmr_clock_monotonic() < until);
        moment();
    }
    assert_false(tree_live(&w->tree->drive[drive]));
}

unsigned begin_cut(struct world *w, uint64_t seed)
{
    begin_away(w, seed);
    return is_cut_when_named(w);
}

unsigned begin_unrecorded(struct world *w, uint64_t seed)
{
    const unsigned on = begin_cut(w, seed);
    rig_bring_back(w->rig, 0);
    rig_take_away(w->rig, on);
    rig_open(w->rig);
    nothing_recorded = true;
    open_tree(w);
    nothing_recorded = false;
    assert_true(tree_live(&w->tree->drive[0]));
    assert_int_equal(records(w, false), 0);
    assert_int_equal(count_named(w, TREE_BRING_LATE), 1);
    return on;
}

void fails(struct rig *rig, unsigned drive, uint32_t ops, mrmr_err err)
{
    const struct drv_fault_rule rule = {.ops = ops, .prefix = "f0", .err = err};
    rig_ok(drv_fault_add(rig->drive[drive].fault, &rule, NULL));
}

void leaves(struct world *w, unsigned drive)
{
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    rig_take_away(w->rig, drive);
    while (tree_live(&w->tree->drive[drive])) {
        char path[32];
        snprintf(path, sizeof path, "f%u", drive);
        assert_true(mrmr_clock_monotonic() < until);
        is_there(w, path);
        is_there(w, "f0");
        moment();
    }
}

void returns(struct world *w, unsigned drive)
{
    rig_bring_back(w->rig, drive);
    wait_live(w, drive);
}

void nothing_waits(struct world *w)
{
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    while (records(w, false)) {
        assert_true(mrmr_clock_monotonic() < until);
        moment();
    }
}

void ends(struct world *w)
{
    close_tree(w);
    rig_reopen(w->rig);
    end_after(w);
}

unsigned count_named(struct world *w, const char *prefix)
{
    unsigned n = 0;
    DIR *dir = opendir(w->rig->pool->dir);
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return n;
}
