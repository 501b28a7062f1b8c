/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Status, ls and where over a catalog that is filled by hand: margins, what is degraded, damaged,
 * lost, and the merged tree.
 */
#include "tests/unit/pool_drive_world.h"

#include "drivers/mem.h"
#include "tests/support/skip.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MIB = 1 << 20 };

static struct pool_drive *drive(struct world *w, const char *name)
{
    return pool_drive_by_name(w->pool, name);
}

static int64_t add_node(struct world *w, const char *name, int64_t parent, const char *entry,
    enum meta_type type, uint64_t size)
{
    struct meta_node node = {.drive = drive(w, name)->meta.id,
        .type = type,
        .mode = 0644,
        .nlink = 1,
        .size = size,
        .version = 1};
    assert_ok(meta_node_add(w->pool->meta, &node, parent, entry));
    return node.id;
}

static void expose(struct world *w, const char *name, int64_t node, uint64_t first, uint64_t leaves,
    uint64_t bytes)
{
    struct meta_exposed range = {.drive = drive(w, name)->meta.id,
        .node = node,
        .first = first,
        .leaves = leaves,
        .bytes = bytes,
        .since = 1000};
    assert_ok(meta_expose(w->pool->meta, &range));
}

struct member {
    const char *drive;
    int64_t node;
    uint64_t bytes, place;
};

/* A stripe of one extent a block, rows on the drives named in rows[]. */
static int64_t add_stripe(
    struct world *w, const struct member members[], size_t n, const char *const rows[])
{
    static struct mrmr_digest digests[64];
    struct meta_block block[8] = {0};
    struct meta_row row[8] = {0};
    struct meta_extent extent[8] = {0};
    struct meta_stripe stripe = {.generation = 1,
        .blocks = n,
        .extents = n,
        .made = 1,
        .block = block,
        .row = row,
        .extent = extent};
    assert_ok(mrmr_uuid_make(&stripe.uuid));
    for (size_t i = 0; i < n; i++) {
        const struct pool_drive *d = drive(w, members[i].drive);
        uint64_t end = members[i].place + members[i].bytes;
        block[i] = (struct meta_block){.drive = d->meta.id,
            .slot = d->meta.slot,
            .length = end,
            .extents = 1,
            .first_extent = i};
        extent[i] = (struct meta_extent){.drive = d->meta.id,
            .node = members[i].node,
            .place = members[i].place,
            .bytes = members[i].bytes,
            .leaves = (members[i].bytes + MIB - 1) / MIB,
            .version = 1,
            .state = META_LIVE,
            .digests = digests};
        stripe.length = end > stripe.length ? end : stripe.length;
    }
    for (; rows[stripe.rows]; stripe.rows++)
        row[stripe.rows] = (struct meta_row){.index = (uint8_t)stripe.rows,
            .drive = drive(w, rows[stripe.rows])->meta.id,
            .state = META_ROW_OK,
            .file_size = stripe.length + 100};
    assert_ok(meta_stripe_store(w->pool->meta, &stripe, 0, NULL, 0));
    return stripe.id;
}

static void mark(
    struct world *w, int64_t node, enum meta_extent_state from, enum meta_extent_state to)
{
    assert_ok(meta_extents_mark(w->pool->meta, node, from, to));
}

static struct pool_status status_of(struct world *w)
{
    struct pool_status status;
    assert_ok(pool_status(w->pool, &status));
    return status;
}

static void away(struct world *w, const char *name)
{
    assert_ok(drv_mem_unplug(name, true));
    world_close(w);
    world_open(w);
    assert_int_equal(drive(w, name)->presence, POOL_AWAY);
}

struct fixture {
    int64_t one, two; /* files of 2 MiB on a and 1.5 MiB on b, in one stripe with rows on c and d */
    int64_t stripe;
};

static struct fixture fill(struct world *w)
{
    struct fixture f;
    const char *const names[] = {"a", "b", "c", "d"};
    char uri[40];
    for (size_t i = 0; i < 4; i++) {
        snprintf(uri, sizeof uri, "mem://%s?size=256M", names[i]);
        assert_ok(world_try_add(w, uri));
    }
    assert_ok(pool_set_redundancy(w->pool, 2));
    assert_ok(pool_set(w->pool, "block-size", "1M"));
    f.one = add_node(w, "a", drive(w, "a")->meta.root, "one", META_REG, 2 * MIB);
    f.two = add_node(w, "b", drive(w, "b")->meta.root, "two", META_REG, 3 * MIB / 2);
    f.stripe =
        add_stripe(w, (struct member[]){{"a", f.one, 2 * MIB, 0}, {"b", f.two, 3 * MIB / 2, 0}}, 2,
            (const char *const[]){"c", "d", NULL});
    return f;
}

static void test_exposed_too_long(void **state)
{
    struct world *w = *state;
    char text[512];
    fill(w);
    const int64_t day = 24 * 3600 * MRMR_NS_PER_S, now = mrmr_clock_real();
    struct pool_status s = status_of(w);
    assert_ok(pool_exposed_alarm(w->pool, &s)); /* nothing is */
    s.exposed_oldest = now - day + 60 * MRMR_NS_PER_S;
    assert_ok(pool_exposed_alarm(w->pool, &s));
    s.exposed_oldest = now + day; /* the clock was wrong */
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", NULL), 0);
    s.exposed_oldest = now - day - 60 * MRMR_NS_PER_S;
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", text), 1);
    assert_non_null(strstr(text, "mrmr status"));
    s.exposed_oldest -= day; /* no news today */
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", NULL), 1);
    assert_ok(pool_set(w->pool, "exposed-alarm", "0"));
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_ok(pool_set(w->pool, "exposed-alarm", "1h"));
    assert_ok(pool_exposed_alarm(w->pool, &s)); /* another question */
    assert_int_equal(world_events(w, "exposed-long", NULL), 2);
}

/* No scan has found it. */
static void test_touched_too_long(void **state)
{
    struct world *w = *state;
    char text[512];
    fill(w);
    const int64_t hour = 3600 * MRMR_NS_PER_S, now = mrmr_clock_real();
    struct pool_status s = status_of(w);
    s.touched_oldest = now - 23 * hour;
    assert_ok(pool_exposed_alarm(w->pool, &s));
    s.touched_oldest = now + 48 * hour; /* the clock was wrong */
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", NULL), 0);
    s.touched_oldest = now - 25 * hour;
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", text), 1);
    assert_non_null(strstr(text, "through a mount more than 1 d"));
    assert_non_null(strstr(text, "or is on a drive that is held"));
    s.touched_oldest -= hour; /* no news today */
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", NULL), 1);
    assert_ok(pool_set(w->pool, "exposed-alarm", "0"));
    s.exposed_oldest = s.touched_oldest;
    assert_ok(pool_exposed_alarm(w->pool, &s));
    assert_int_equal(world_events(w, "exposed-long", NULL), 1);
}

static void test_margins(void **state)
{
    struct world *w = *state;
    struct fixture f = fill(w);
    int64_t three = add_node(w, "c", drive(w, "c")->meta.root, "three", META_REG, 100);
    expose(w, "c", three, 0, 1, 100);
    struct pool_status s = status_of(w);
    assert_int_equal(s.redundancy, 2);
    assert_int_equal(s.drives, 4);
    assert_int_equal(s.drives_present, 4);
    assert_int_equal(s.files, 3);
    assert_int_equal(s.file_bytes, 2 * MIB + 3 * MIB / 2 + 100);
    assert_int_equal(s.exposed_files, 1);
    assert_int_equal(s.exposed_bytes, 100);
    assert_int_equal(s.exposed_oldest, 1000);
    assert_int_equal(s.row_bytes, 2 * (2 * MIB + 100));
    assert_int_equal(s.stripes, 1);
    assert_int_equal(s.margin[2], 1);
    assert_int_equal(
        s.degraded_bytes + s.damaged_bytes + s.lost_stripes + s.conflicts + s.domain_unsafe, 0);

    away(w, "a");
    s = status_of(w);
    assert_int_equal(s.drives_present, 3);
    assert_int_equal(s.margin[1], 1);
    assert_int_equal(s.margin[2], 0);
    assert_int_equal(s.degraded_bytes, 2 * MIB);
    assert_int_equal(s.lost_stripes, 0);
    away(w, "c");
    s = status_of(w);
    assert_int_equal(s.margin[0], 1);
    assert_int_equal(s.degraded_bytes, 2 * MIB);
    away(w, "b");
    s = status_of(w);
    assert_int_equal(s.margin[0] + s.margin[1] + s.margin[2], 0);
    assert_int_equal(s.lost_stripes, 1);
    assert_int_equal(s.degraded_bytes, 0);
    (void)f;
}

static void test_dirt(void **state)
{
    struct world *w = *state;
    struct fixture f = fill(w);
    mark(w, f.one, META_LIVE, META_MISSING);
    struct pool_status s = status_of(w);
    assert_int_equal(s.margin[1], 1);
    assert_int_equal(s.damaged_bytes, 2 * MIB);
    assert_int_equal(s.degraded_bytes, 2 * MIB);
    mark(w, f.one, META_MISSING, META_SUSPECT);
    s = status_of(w);
    assert_int_equal(s.margin[1], 1);
    assert_int_equal(s.damaged_bytes + s.degraded_bytes, 0);
    /* Nobody wants the bytes that are gone: nothing is lost, but nothing else may go. */
    mark(w, f.one, META_SUSPECT, META_GONE);
    away(w, "c");
    away(w, "d");
    s = status_of(w);
    assert_int_equal(s.lost_stripes, 0);
    assert_int_equal(s.margin[0], 1);
    away(w, "b");
    s = status_of(w);
    assert_int_equal(s.lost_stripes, 1);
    /* With nothing wanted in it a stripe is neither safe nor unsafe. */
    mark(w, f.two, META_LIVE, META_GONE);
    s = status_of(w);
    assert_int_equal(s.lost_stripes + s.margin[0] + s.margin[1] + s.margin[2], 0);
    assert_int_equal(s.stripes, 1);
}

/* Only what lies in the same range of the stripe is in the way of a file's bytes. */
static void test_ranges(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_ok(pool_set_redundancy(w->pool, 1));
    int64_t low = add_node(w, "a", drive(w, "a")->meta.root, "low", META_REG, MIB);
    int64_t high = add_node(w, "b", drive(w, "b")->meta.root, "high", META_REG, MIB);
    add_stripe(w, (struct member[]){{"a", low, MIB, 0}, {"b", high, MIB, MIB}}, 2,
        (const char *const[]){"c", NULL});
    struct pool_status before = status_of(w);
    mark(w, low, META_LIVE, META_MISSING);
    mark(w, high, META_LIVE, META_MISSING);
    struct pool_status s = status_of(w);
    assert_int_equal(s.lost_stripes, 0);
    assert_int_equal(s.degraded_bytes, before.degraded_bytes + 2 * MIB);
    assert_int_equal(s.margin[0], before.margin[0] + 1);
}

static void test_domains(void **state)
{
    struct world *w = *state;
    fill(w);
    assert_ok(pool_set(w->pool, "drive.a.domain", "shelf"));
    assert_ok(pool_set(w->pool, "drive.b.domain", "shelf"));
    assert_int_equal(status_of(w).domain_unsafe, 0);
    assert_ok(pool_set(w->pool, "drive.d.domain", "shelf"));
    assert_int_equal(status_of(w).domain_unsafe, 1);
}

static void test_storable(void **state)
{
    struct world *w = *state;
    struct pool_status s;
    assert_int_equal(status_of(w).storable_bytes, 0); /* no drives */
    fill(w);
    struct drv_space space;
    uint64_t slack = 2 * pool_row_bound(MIB), least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < w->pool->ndrives; i++) {
        assert_ok(drv_space(w->pool->drives[i]->drv, &space));
        least = space.avail < least ? space.avail : least;
        most = space.avail > most ? space.avail : most;
    }
    /* Four equal drives with next to nothing on them: two of them full of data. */
    s = status_of(w);
    assert_true(s.storable_bytes <= 2 * (most - slack) + 4 * MIB);
    assert_true(s.storable_bytes >= 2 * (least - slack) - 32 * MIB);
    uint64_t with_two = s.storable_bytes;
    assert_ok(pool_set_redundancy(w->pool, 1));
    s = status_of(w);
    assert_true(s.storable_bytes > with_two);
    assert_ok(pool_set(w->pool, "drive.a.reserve", "1T"));
    assert_true(status_of(w).storable_bytes < s.storable_bytes);
}

/* Two folders on one disk do not have its free space twice. */
static void test_shared_disk(void **state)
{
    struct world *w = *state;
    struct drv_space space;
    struct pool_drive *x = world_add(w, "x");
    world_add(w, "y");
    world_add(w, "z");
    assert_ok(drv_space(x->drv, &space));
    if (space.avail < 1 << 30)
        skip_for("there is less than 1 GiB free for temporary files");
    uint64_t storable = status_of(w).storable_bytes;
    assert_true(storable < space.avail); /* two thirds of it, not twice as much */
    assert_true(storable > space.avail / 2);
}

static void test_conflicts(void **state)
{
    struct world *w = *state;
    fill(w);
    int64_t root_a = drive(w, "a")->meta.root, root_b = drive(w, "b")->meta.root,
            root_c = drive(w, "c")->meta.root;
    add_node(w, "a", root_a, "same", META_REG, 0);
    add_node(w, "b", root_b, "same", META_REG, 0);
    add_node(w, "c", root_c, "same", META_REG, 0); /* one path: one conflict */
    int64_t dir_a = add_node(w, "a", root_a, "dir", META_DIR, 0),
            dir_b = add_node(w, "b", root_b, "dir", META_DIR, 0);
    assert_int_equal(status_of(w).conflicts, 1);
    int64_t sub_a = add_node(w, "a", dir_a, "sub", META_DIR, 0),
            sub_b = add_node(w, "b", dir_b, "sub", META_DIR, 0);
    add_node(w, "a", sub_a, "f", META_REG, 0);
    add_node(w, "b", sub_b, "g", META_REG, 0);
    assert_int_equal(status_of(w).conflicts, 1);
    add_node(w, "b", sub_b, "f", META_SYMLINK, 0);
    assert_int_equal(status_of(w).conflicts, 2);
    add_node(w, "c", root_c, "dir", META_REG, 0); /* a file where others have a folder */
    assert_int_equal(status_of(w).conflicts, 3);
}

static void test_held(void **state)
{
    struct world *w = *state;
    struct fixture f = fill(w);
    struct meta_change change = {.drive = drive(w, "a")->meta.id,
        .kind = META_CHANGE_HELD,
        .node = f.one,
        .parent = drive(w, "a")->meta.root,
        .name = "one"};
    assert_ok(meta_change_add(w->pool->meta, &change));
    snprintf(drive(w, "b")->meta.hold, sizeof drive(w, "b")->meta.hold, "many files vanished");
    struct pool_status s = status_of(w);
    assert_int_equal(s.held_files, 1);
    assert_int_equal(s.held_drives, 1);
    mrmr_autofree struct pool_drive_view *views = NULL;
    size_t n;
    assert_ok(pool_drives(w->pool, &views, &n));
    assert_string_equal(views[1].hold, "many files vanished");
    assert_int_equal(views[0].protected_bytes, 2 * MIB);
    assert_int_equal(views[2].row_bytes, 2 * MIB + 100);
    mrmr_autofree struct pool_drive_view *known = NULL;
    assert_ok(pool_drives_known(w->pool, &known, &n));
    assert_string_equal(known[1].hold, "many files vanished");
    assert_int_equal(known[0].protected_bytes, 0); /* nothing is counted */
    assert_int_equal(known[2].row_bytes, 0);
}

/* --- ls and where --- */

static mrmr_err entry_print(const struct pool_entry *e, void *arg)
{
    return mrmr_bytes_fmt(arg, "%s@%s %c %" PRIu64 " exposed=%" PRIu64 " survives=%d%s%s\n",
        e->name, e->drive, "fdlo"[e->type], e -> size, e -> exposed_bytes, e -> survives,
        e -> present ? "" : " away", e->degraded ? " degraded" : "");
}

static void assert_listed(struct world *w,
    mrmr_err (*list)(struct pool *, const char *, pool_entry_fn, void *), const char *path,
    const char *wanted)
{
    mrmr_autobytes struct mrmr_bytes got = MRMR_BYTES_INIT;
    assert_ok(list(w->pool, path, entry_print, &got));
    assert_string_equal(got.data ? got.data : "", wanted);
}

static void test_ls(void **state)
{
    struct world *w = *state;
    struct fixture f = fill(w);
    int64_t dir_a = add_node(w, "a", drive(w, "a")->meta.root, "dir", META_DIR, 0);
    int64_t dir_b = add_node(w, "b", drive(w, "b")->meta.root, "dir", META_DIR, 0);
    int64_t old = add_node(w, "a", dir_a, "f", META_REG, 5);
    int64_t new = add_node(w, "b", dir_b, "f", META_REG, 7);
    add_node(w, "b", dir_b, "empty", META_REG, 0);
    add_node(w, "a", dir_a, "z\n\xff", META_SYMLINK, 3);
    expose(w, "a", old, 0, 1, 5);
    expose(w, "b", new, 0, 1, 7);

    assert_listed(w, pool_ls, "",
        "dir@b d 0 exposed=0 survives=2\none@a f 2097152 exposed=0 survives=2\ntwo@b f 1572864 "
        "exposed=0 survives=2\n");
    assert_listed(w, pool_ls, "/dir//",
        "empty@b f 0 exposed=0 survives=2\nf@b f 7 exposed=7 survives=0\nf@a f 5 exposed=5 "
        "survives=0\nz\n\xff@a l 3 exposed=0 survives=2\n");
    assert_listed(w, pool_where, "./dir/f",
        "dir/f@b f 7 exposed=7 survives=0\ndir/f@a f 5 exposed=5 survives=0\n");
    assert_listed(
        w, pool_where, "dir", "dir@b d 0 exposed=0 survives=2\ndir@a d 0 exposed=0 survives=2\n");
    mrmr_autobytes struct mrmr_bytes got = MRMR_BYTES_INIT;
    assert_int_equal(pool_ls(w->pool, "one", entry_print, &got), MRMR_NOT_DIR);
    assert_int_equal(pool_ls(w->pool, "none", entry_print, &got), MRMR_ABSENT);
    assert_int_equal(pool_ls(w->pool, "one/x", entry_print, &got), MRMR_ABSENT);
    expect_failure(
        pool_where(w->pool, "dir/none", entry_print, &got), MRMR_ABSENT, "dir/none", "mrmr ls");
    assert_int_equal(pool_where(w->pool, "dir/../one", entry_print, &got), MRMR_INVALID);
    char longname[400];
    memset(longname, 'x', sizeof longname - 1);
    longname[sizeof longname - 1] = '\0';
    assert_int_equal(pool_where(w->pool, longname, entry_print, &got), MRMR_NAME_TOO_LONG);
    assert_int_equal(got.size, 0);
    (void)f;
}

static void test_survives(void **state)
{
    struct world *w = *state;
    struct fixture f = fill(w);
    mark(w, f.two, META_LIVE,
        META_SUSPECT); /* an edit: its bytes are there, and count as an erasure for others */
    assert_listed(w, pool_where, "one", "one@a f 2097152 exposed=0 survives=1\n");
    assert_listed(w, pool_where, "two", "two@b f 1572864 exposed=0 survives=1\n");
    mark(w, f.two, META_SUSPECT, META_MISSING);
    assert_listed(w, pool_where, "two", "two@b f 1572864 exposed=0 survives=1 degraded\n");
    mark(w, f.two, META_MISSING, META_LIVE);
    away(w, "a");
    assert_listed(w, pool_where, "one", "one@a f 2097152 exposed=0 survives=1 away degraded\n");
    away(w, "c");
    assert_listed(w, pool_where, "one", "one@a f 2097152 exposed=0 survives=0 away degraded\n");
    away(w, "d");
    assert_listed(w, pool_where, "one", "one@a f 2097152 exposed=0 survives=-1 away degraded\n");
    /* Its own drive is there, so it can be read; and no further loss is survived. */
    assert_listed(w, pool_where, "two", "two@b f 1572864 exposed=0 survives=0\n");
    expose(w, "a", f.one, 5, 1, 10);
    assert_listed(w, pool_where, "one", "one@a f 2097152 exposed=10 survives=-1 away degraded\n");
}

static int teardown(void **state)
{
    int result = world_teardown(state);
    drv_mem_reset_all();
    return result;
}

int main(void)
{
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, teardown)
    const struct CMUnitTest tests[] = {
        WORLD_TEST(test_exposed_too_long),
        WORLD_TEST(test_touched_too_long),
        WORLD_TEST(test_margins),
        WORLD_TEST(test_dirt),
        WORLD_TEST(test_ranges),
        WORLD_TEST(test_domains),
        WORLD_TEST(test_storable),
        WORLD_TEST(test_shared_disk),
        WORLD_TEST(test_conflicts),
        WORLD_TEST(test_held),
        WORLD_TEST(test_ls),
        WORLD_TEST(test_survives),
    };
    return cmocka_run_group_tests_name("pool_status", tests, NULL, NULL);
}
