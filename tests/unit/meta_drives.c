/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Settings, and drives.
 */
#include "meta_support.h"

/* --- Settings --- */

static mrmr_err list_setting(const char *key, const char *value, void *arg)
{
    return mrmr_bytes_fmt(arg, "%s=%s;", key, value);
}

static void settings(void **state)
{
    struct world *w = *state;
    struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_err(meta_get(w->meta, "redundancy", &b), MRMR_ABSENT);
    assert_ok(meta_set(w->meta, "redundancy", "2"));
    assert_ok(meta_set(w->meta, "exclude", "*.tmp\n\xff"));
    assert_ok(meta_set(w->meta, "redundancy", "3"));
    world_reopen(w);
    assert_ok(mrmr_bytes_str(&b, "r "));
    assert_ok(meta_get(w->meta, "redundancy", &b));
    assert_string_equal(b.data, "r 3"); /* appended */
    mrmr_bytes_clear(&b);
    assert_ok(meta_settings(w->meta, list_setting, &b));
    assert_string_equal(b.data, "exclude=*.tmp\n\xff;redundancy=3;");
    assert_ok(meta_set(w->meta, "exclude", NULL));
    assert_ok(meta_set(w->meta, "never", NULL));
    assert_err(meta_get(w->meta, "exclude", &b), MRMR_ABSENT);
    mrmr_bytes_free(&b);
}

/* --- Drives --- */

/* Each field other than nothing. */
static struct meta_drive some_drive(char *uri)
{
    struct meta_drive d = {.name = "one",
        .uri = uri,
        .domain = "shelf",
        .role = META_ROLE_PARITY,
        .state = META_DRIVE_REBUILDING,
        .slot = 247,
        .reserve = 1,
        .max_usage = INT64_MAX,
        .session = {9, {1, 2, 3}},
        .intended = {10, {4, 0, 5}},
        .boot = "boot",
        .fs_id = "fs",
        .total = 100,
        .avail = 50,
        .present = true,
        .seen = -5,
        .scanned = 6,
        .hold = "because"};
    assert_ok(mrmr_uuid_make(&d.uuid));
    assert_ok(mrmr_uuid_make(&d.replaces));
    return d;
}

static void assert_session(const struct meta_session *got, const struct meta_session *want)
{
    assert_int_equal(got->number, want->number);
    assert_memory_equal(got->token, want->token, sizeof got->token);
}

static void assert_drive(const struct meta_drive *got, const struct meta_drive *want)
{
    assert_string_equal(got->uri, want->uri);
    assert_int_equal(got->id, want->id);
    assert_int_equal(got->root, want->root);
    assert_true(mrmr_uuid_equal(&got->uuid, &want->uuid));
    assert_true(mrmr_uuid_equal(&got->replaces, &want->replaces));
    assert_string_equal(got->name, want->name);
    assert_string_equal(got->domain, want->domain);
    assert_int_equal(got->role, want->role);
    assert_int_equal(got->state, want->state);
    assert_int_equal(got->slot, want->slot);
    assert_int_equal(got->reserve, want->reserve);
    assert_int_equal(got->max_usage, want->max_usage);
    assert_session(&got->session, &want->session);
    assert_session(&got->intended, &want->intended);
    assert_string_equal(got->boot, want->boot);
    assert_string_equal(got->fs_id, want->fs_id);
    assert_int_equal(got->total, want->total);
    assert_int_equal(got->avail, want->avail);
    assert_int_equal(got->present, want->present);
    assert_int_equal(got->seen, want->seen);
    assert_int_equal(got->scanned, want->scanned);
    assert_string_equal(got->hold, want->hold);
}

static void drives_round_trip(void **state)
{
    struct world *w = *state;
    char uri[] = "/mnt/\xfe disk";
    struct meta_drive d = some_drive(uri), *got;
    struct meta_node root;
    size_t n;
    assert_ok(meta_drive_add(w->meta, &d));
    assert_true(d.id > 0 && d.root > 0);
    world_reopen(w);
    assert_ok(meta_drives(w->meta, &got, &n));
    assert_int_equal(n, 1);
    assert_drive(got, &d);
    meta_drives_free(got, n);
    assert_ok(meta_node_get(w->meta, d.root, &root));
    assert_int_equal(root.type, META_DIR);
    assert_int_equal(root.drive, d.id);
}

static void drives_are_stored(void **state)
{
    struct world *w = *state;
    char uri[] = "/mnt/disk";
    struct meta_drive d = some_drive(uri), *got;
    size_t n;
    assert_ok(meta_drive_add(w->meta, &d));
    strcpy(d.name, "two");
    d.slot = 3;
    d.present = false;
    assert_ok(meta_drive_store(w->meta, &d));
    assert_ok(meta_drives(w->meta, &got, &n));
    assert_int_equal(n, 1);
    assert_drive(got, &d);
    got->id = 77;
    assert_err(meta_drive_store(w->meta, got), MRMR_ABSENT);
    meta_drives_free(got, n);
}

static void drives_refused(void **state)
{
    struct world *w = *state;
    struct meta_drive one = make_drive(w, "one"), two = one;
    int64_t id = one.id;
    assert_err(meta_drive_add(w->meta, &two), MRMR_EXISTS);
    assert_int_equal(two.id, id); /* untouched */
    assert_ok(mrmr_uuid_make(&two.uuid));
    assert_err(meta_drive_add(w->meta, &two), MRMR_EXISTS); /* its name and slot */
    strcpy(two.name, "two");
    assert_err(meta_drive_add(w->meta, &two), MRMR_EXISTS); /* its slot */
    two.slot = META_SLOTS_MAX;
    assert_err(meta_drive_add(w->meta, &two), MRMR_INVALID);
    two.slot = 1;
    assert_ok(meta_drive_add(w->meta, &two));
    two.slot = one.slot;
    assert_err(meta_drive_store(w->meta, &two), MRMR_EXISTS);
    assert_int_equal(world_int(w, "SELECT count(*) FROM drive"), 2);
    assert_int_equal(world_int(w, "SELECT count(*) FROM node"), 2);
}

static void drives_removed(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_node file = make_node(w, &d[0], d[0].root, "f", META_REG, 100);
    struct meta_intent intent = {.drive = d[0].id, .kind = META_INTENT_DROP, .file = "parity/x"};
    assert_err(meta_drive_remove(w->meta, 99), MRMR_ABSENT);
    assert_err(meta_drive_remove(w->meta, d[0].id), MRMR_BUSY);
    make_exposed(w, &file);
    int64_t stripe = make_stripe(w, d, &file, 1, &d[1], 1);
    assert_ok(meta_name_remove(w->meta, d[0].root, "f"));
    assert_ok(meta_node_remove(w->meta, file.id));
    assert_err(meta_drive_remove(w->meta, d[0].id), MRMR_BUSY);
    assert_told("blocks");
    assert_err(meta_drive_remove(w->meta, d[1].id), MRMR_BUSY);
    assert_told("rows");
    assert_ok(meta_stripe_remove(w->meta, stripe));
    assert_ok(meta_intent_add(w->meta, &intent));
    assert_err(meta_drive_remove(w->meta, d[0].id), MRMR_BUSY);
    assert_ok(meta_intent_remove(w->meta, intent.id));
    assert_ok(meta_drive_remove(w->meta, d[0].id));
    assert_ok(meta_drive_remove(w->meta, d[1].id));
    assert_int_equal(world_int(w, "SELECT count(*) FROM node"), 0);
    assert_ok(meta_check(w->meta));
    struct meta_drive next = make_drive(w, "three");
    assert_true(next.id > d[1].id && next.root > file.id); /* ids never come again */
}

/* Never-used slots first; then one that nobody has. */
static void slots(void **state)
{
    struct world *w = *state;
    uint8_t slot = 99;
    struct meta_drive first = make_drive(w, "first");
    assert_int_equal(first.slot, 0);
    assert_ok(meta_drive_remove(w->meta, first.id));
    for (int i = 1; i < META_SLOTS_MAX; i++) {
        char name[32];
        snprintf(name, sizeof name, "d%d", i);
        assert_int_equal(make_drive(w, name).slot, i);
    }
    assert_ok(meta_slot_free(w->meta, &slot));
    assert_int_equal(slot, 0);
    make_drive(w, "last");
    assert_err(meta_slot_free(w->meta, &slot), MRMR_SPACE);
    assert_int_equal(slot, 0);
}

static void retired(void **state)
{
    struct world *w = *state;
    struct mrmr_uuid a, b;
    bool is = true;
    assert_ok(mrmr_uuid_make(&a));
    assert_ok(mrmr_uuid_make(&b));
    assert_ok(meta_uuid_retire(w->meta, &a, "old"));
    assert_ok(meta_uuid_retire(w->meta, &a, "again"));
    world_reopen(w);
    assert_ok(meta_uuid_is_retired(w->meta, &b, &is));
    assert_false(is);
    assert_ok(meta_uuid_is_retired(w->meta, &a, &is));
    assert_true(is);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings),
        TEST(drives_round_trip),
        TEST(drives_are_stored),
        TEST(drives_refused),
        TEST(drives_removed),
        TEST(slots),
        TEST(retired),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
