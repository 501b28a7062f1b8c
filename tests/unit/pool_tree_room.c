/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A change for which there is no room is tried again when a release gave some; who was short of more than that does not
 * keep others from asking.
 */
#include "pool/records/short.h"
#include "tests/unit/pool_tree_world.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void no_room(
    struct world *w, unsigned drive, uint32_t ops, const char *prefix, uint64_t times)
{
    const struct drv_fault_rule rule = {
        .ops = ops, .prefix = prefix, .times = times, .err = MRMR_SPACE};
    rig_ok(drv_fault_add(w->rig->drive[drive].fault, &rule, NULL));
}

static mrmr_err set_new(struct world *w, uint64_t node)
{
    return pool_tree_set_xattr(w->tree, NULL, node, "user.new", "value", 5, POOL_XATTR_CREATE);
}

/* Nothing is retained any more, for the release that gave the room has ended; the first drive has the attribute by then. */
static void test_once_more(void **state)
{
    (void)state;
    struct world w;
    begin(&w, RIG_LOCAL, 501);
    for (unsigned d = 0; d < 2; d++)
        rig_ok(drv_mkdir(w.rig->drive[d].raw, "folder", 0700));
    close_tree(&w);
    open_tree(&w);
    const uint64_t node = look(&w, POOL_ROOT, "folder").node;
    no_room(&w, 1, DRV_FAULT_XATTR_SET, "folder", 1);
    assert_int_equal(set_new(&w, node), MRMR_SPACE); /* there was no release */
    rig_clear_faults(w.rig);
    rig_ok(drv_xattr_set(w.rig->drive[0].raw, "folder", "user.new", NULL, 0)); /* as before */
    pool_short_step(w.pool->dirfd, POOL_SHORT_TURN);
    no_room(&w, 1, DRV_FAULT_XATTR_SET, "folder", 1);
    rig_ok(set_new(&w, node));
    rig_clear_faults(w.rig);
    assert_int_equal(set_new(&w, node), MRMR_EXISTS);
    pool_tree_forget(w.tree, node, 1);
    close_tree(&w);
    rig_destroy(w.rig);
}

/* --- a daemon --- */

struct daemon {
    int dirfd, lock;
    bool gives;
    int64_t seen; /* the file `short`, before anybody asked */
    atomic_bool stop;
    atomic_uint asked;
    pthread_t thread;
};

static int64_t touched(int dirfd)
{
    struct stat st;
    return fstatat(dirfd, "short", &st, 0) ? 0
                                           : st.st_mtim.tv_sec * MRMR_NS_PER_S + st.st_mtim.tv_nsec;
}

static void *serve(void *arg)
{
    struct daemon *d = arg;
    int64_t seen = d->seen;
    while (!atomic_load(&d->stop)) {
        const struct timespec moment = {.tv_nsec = 2000000};
        nanosleep(&moment, NULL);
        if (touched(d->dirfd) == seen)
            continue;
        seen = touched(d->dirfd);
        atomic_fetch_add(&d->asked, 1);
        pool_short_step(d->dirfd, POOL_SHORT_BEGAN);
        if (d->gives)
            pool_short_step(d->dirfd, POOL_SHORT_TURN);
        pool_short_step(d->dirfd, POOL_SHORT_ENDED);
    }
    return NULL;
}

static void daemon_start(struct daemon *d, int dirfd, bool gives)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *d = (struct daemon){.dirfd = dirfd, .gives = gives, .seen = touched(dirfd)};
    d->lock = openat(dirfd, "daemon", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(d->lock >= 0);
    assert_int_equal(fcntl(d->lock, F_OFD_SETLK, &lock), 0);
    assert_int_equal(pthread_create(&d->thread, NULL, serve, d), 0);
}

static void daemon_stop(struct daemon *d)
{
    atomic_store(&d->stop, true);
    pthread_join(d->thread, NULL);
    close(d->lock);
}

/* What was asked for first was more than there was to give; what comes next may not be. */
static void test_who_asked_for_more(void **state)
{
    (void)state;
    for (unsigned gives = 0; gives < 2; gives++) {
        struct world w;
        struct daemon d;
        begin(&w, RIG_LOCAL, 502);
        rig_ok(pool_tree_unlink(w.tree, NULL, POOL_ROOT, "f0")); /* something is retained */
        rig_find(w.rig, "f0")->there = false;
        rig_ok(drv_mkdir(w.rig->drive[0].raw, "folder", 0700));
        close_tree(&w);
        open_tree(&w);
        const uint64_t node = look(&w, POOL_ROOT, "folder").node;
        no_room(&w, 0, DRV_FAULT_XATTR_SET, "folder", 0);
        daemon_start(&d, w.pool->dirfd, gives);
        assert_int_equal(set_new(&w, node), MRMR_SPACE);
        assert_int_equal(atomic_load(&d.asked), 1);
        assert_int_equal(set_new(&w, node), MRMR_SPACE);
        assert_int_equal(atomic_load(&d.asked), gives ? 2 : 1);
        daemon_stop(&d);
        rig_clear_faults(w.rig);
        pool_tree_forget(w.tree, node, 1);
        close_tree(&w);
        rig_destroy(w.rig);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once_more),
        cmocka_unit_test(test_who_asked_for_more),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_tree_room", tests, NULL, NULL);
}
