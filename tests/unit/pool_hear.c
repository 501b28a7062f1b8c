/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is changed on drives is heard of, also where a folder cannot be read for a moment: what is known of it, and below it, is kept meanwhile,
 * and it is tried again. A process that is root's reads every folder, but for the threads here that have put that right down.
 */
#include <stddef.h>
#include <stdint.h>

#include "tests/support/pause.h"
#include "tests/support/rights.h"
#include "tests/support/skip.h"
#include "tests/unit/pool_drive_world.h"

#include "pool/pool.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>

struct ear {
    struct world *w;
    pthread_t thread;
    int until;
    atomic_uint heard;
    mrmr_err err;
    bool hangs;
};

static void on_change(void *arg)
{
    atomic_fetch_add(&((struct ear *)arg)->heard, 1);
}

static void *hear(void *arg)
{
    struct ear *ear = arg;
    ear->err = pool_hear(ear->w->pool, ear->until, on_change, ear, &ear->hangs);
    return NULL;
}

static bool more_within(struct ear *ear, unsigned than, int64_t ns)
{
    const int64_t until = mrmr_clock_monotonic() + ns;
    while (atomic_load(&ear->heard) <= than && mrmr_clock_monotonic() < until)
        pause_a_while();
    return atomic_load(&ear->heard) > than;
}

/* For longer than a word is kept back. */
static unsigned quiet(struct ear *ear)
{
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    unsigned heard = atomic_load(&ear->heard);
    while (more_within(ear, heard, MRMR_NS_PER_S * 6 / 10)) {
        assert_true(mrmr_clock_monotonic() < until);
        heard = atomic_load(&ear->heard);
    }
    return heard;
}

static void expect_heard(struct ear *ear, const char *file)
{
    const unsigned before = quiet(ear);
    world_write(world_path(ear->w, file), "new");
    if (!more_within(ear, before, 20 * MRMR_NS_PER_S))
        fail_msg("not heard of: %s", file);
}

static void rights_to_read(bool up)
{
    assert_true(right_put(CAP_DAC_OVERRIDE, up) && right_put(CAP_DAC_READ_SEARCH, up));
}

/* What it may read is what is not forbidden to its owner. */
static void ear_begin(struct ear *ear, struct world *w)
{
    *ear = (struct ear){.w = w, .until = eventfd(0, EFD_CLOEXEC)};
    assert_true(ear->until >= 0);
    rights_to_read(false);
    assert_int_equal(pthread_create(&ear->thread, NULL, hear, ear), 0);
    rights_to_read(true);
    assert_true(more_within(ear, 0, 60 * MRMR_NS_PER_S)); /* one of the drives is there */
    expect_heard(ear, "red/a/b/first");                   /* this one */
}

static void ear_end(struct ear *ear)
{
    assert_int_equal(eventfd_write(ear->until, 1), 0);
    assert_int_equal(pthread_join(ear->thread, NULL), 0);
    close(ear->until);
    assert_ok(ear->err);
    assert_false(ear->hangs);
}

static struct world *drive_with_folders(void **state)
{
    struct world *w = *state;
    world_add(w, "red");
    world_add(w, "green");
    world_mkdir(world_path(w, "red/a"));
    world_mkdir(world_path(w, "red/a/b"));
    world_mkdir(world_path(w, "red/m"));
    return w;
}

static void test_changes(void **state)
{
    struct world *w = drive_with_folders(state);
    struct ear ear;
    ear_begin(&ear, w);
    expect_heard(&ear, "red/a/b/new");
    expect_heard(&ear, "green/new");
    const unsigned before = quiet(&ear);
    world_mkdir(world_path(w, "green/folder"));
    assert_true(more_within(&ear, before, 20 * MRMR_NS_PER_S));
    expect_heard(&ear, "green/folder/new");
    ear_end(&ear);
}

/* All is looked through, while a folder cannot be read: that and what is below it are followed as before. */
static void test_kept(void **state)
{
    struct world *w = *state;
    struct ear ear;
    if (!may_administer()) {
        skip_for("only root mounts");
        return;
    }
    drive_with_folders(state);
    ear_begin(&ear, w);
    assert_int_equal(chmod(world_path(w, "red/a"), 0), 0);
    const unsigned before = quiet(&ear);
    assert_int_equal(mount("none", world_path(w, "red/m"), "tmpfs", 0, NULL), 0);
    const bool heard = more_within(&ear, before, 20 * MRMR_NS_PER_S);
    quiet(&ear);
    assert_int_equal(umount2(world_path(w, "red/m"), MNT_DETACH), 0);
    assert_true(heard);
    expect_heard(&ear, "red/a/b/new");
    ear_end(&ear);
}

/* A folder that is another one now, and cannot be read, is tried again. */
static void test_tried_again(void **state)
{
    struct world *w = drive_with_folders(state);
    struct ear ear;
    ear_begin(&ear, w);
    assert_int_equal(chmod(world_path(w, "red/a"), 0), 0);
    assert_int_equal(rename(world_path(w, "red/a"), world_path(w, "red/c")), 0);
    quiet(&ear);
    assert_int_equal(chmod(world_path(w, "red/c"), 0755), 0);
    const int64_t until = mrmr_clock_monotonic() + 60 * MRMR_NS_PER_S;
    for (unsigned i = 0, before;; i++) {
        char name[32];
        assert_true(mrmr_clock_monotonic() < until);
        snprintf(name, sizeof name, "red/c/b/%u", i);
        before = quiet(&ear);
        world_write(world_path(w, name), "new");
        if (more_within(&ear, before, MRMR_NS_PER_S))
            break;
    }
    expect_heard(&ear, "red/c/b/new");
    ear_end(&ear);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_changes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_kept, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_tried_again, world_setup, world_teardown),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
