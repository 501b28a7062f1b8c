/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A catalog that somebody else has written (I9): values out of bounds are MRMR_CORRUPT where they
 * are read, and no file, however it is broken, makes anything crash or run for ever.
 */
#include "meta_support.h"

#include <fcntl.h>
#include <sys/stat.h>

struct fixture {
    struct meta_drive d[3];
    struct meta_node dir, file, link;
    int64_t stripe;
    struct mrmr_uuid uuid;
};

static struct fixture fixture(struct world *w)
{
    struct fixture fx;
    char text[] = "something happened";
    fx.d[0] = make_drive(w, "one");
    fx.d[1] = make_drive(w, "two");
    fx.d[2] = make_drive(w, "three");
    fx.dir = make_node(w, &fx.d[0], fx.d[0].root, "dir", META_DIR, 0);
    fx.file = make_node(w, &fx.d[0], fx.dir.id, "file", META_REG, 3 * META_LEAF - 5);
    fx.link = make_node(w, &fx.d[0], fx.dir.id, "link", META_SYMLINK, 0);
    make_exposed(w, &fx.file);
    fx.stripe = make_stripe(w, fx.d, &fx.file, 1, &fx.d[1], 2);
    make_exposed(w, &fx.file);
    assert_ok(meta_attr_set(w->meta, fx.file.id, "attr", 4));
    assert_ok(meta_target_set(w->meta, fx.link.id, "target"));
    assert_ok(meta_set(w->meta, "redundancy", "2"));
    struct meta_change c = {
        .drive = fx.d[0].id, .node = fx.file.id, .parent = fx.dir.id, .name = "file"};
    assert_ok(meta_change_add(w->meta, &c));
    struct meta_intent i = {.drive = fx.d[0].id, .file = "parity/3f/row"};
    assert_ok(meta_intent_add(w->meta, &i));
    assert_ok(meta_todo_add(w->meta, "job", fx.file.id));
    struct meta_event e = {.kind = "kind", .drive = "one", .text = text};
    assert_ok(meta_event_add(w->meta, &e));
    struct meta_stripe s;
    assert_ok(meta_stripe_load(w->meta, fx.stripe, &s));
    fx.uuid = s.uuid;
    meta_stripe_free(&s);
    return fx;
}

/* --- Every function that reads --- */

/* Each gives the worst class of error it met: CORRUPT is fine, a wrong answer is not looked for. */

static mrmr_err on_setting(const char *key, const char *value, void *arg)
{
    (void)arg;
    return strlen(key) + strlen(value) == SIZE_MAX ? MRMR_INTERNAL : MRMR_OK;
}
static mrmr_err on_name(int64_t parent, const char *name, void *arg)
{
    (void)arg;
    return parent < 1 || !name[0] ? MRMR_INTERNAL : MRMR_OK;
}
static mrmr_err on_brief(const struct meta_stripe_brief *brief, void *arg)
{
    (void)arg;
    for (uint32_t i = 0; i < brief->blocks; i++)
        if (brief->block[i].length > brief->length)
            return MRMR_INTERNAL;
    return brief->rows > META_ROWS_MAX ? MRMR_INTERNAL : MRMR_OK;
}
static mrmr_err on_event(const struct meta_event *event, void *arg)
{
    (void)arg;
    return strlen(event->text) == SIZE_MAX ? MRMR_INTERNAL : MRMR_OK;
}
static mrmr_err on_loss(const char *top, const struct meta_loss *loss, void *arg)
{
    (void)top;
    (void)arg;
    return loss->files == UINT64_MAX ? MRMR_INTERNAL : MRMR_OK;
}

enum reader {
    READ_SETTING,
    READ_SETTINGS,
    READ_DRIVES,
    READ_SLOT,
    READ_NODE,
    READ_INO,
    READ_LOOKUP,
    READ_LOOKUP_PATH,
    READ_PATH,
    READ_NAMES,
    READ_CHILDREN,
    READ_NODES,
    READ_ATTR,
    READ_TARGET,
    READ_CHANGES,
    READ_LOSSES,
    READ_EXPOSED,
    READ_EXPOSED_AGED,
    READ_EXPOSED_OF,
    READ_EXPOSED_TOTAL,
    READ_STRIPE,
    READ_UUID,
    READ_EXTENTS,
    READ_EXTENT_AT,
    READ_SUSPECTS,
    READ_STRIPES,
    READ_BRIEF,
    READ_MEND,
    READ_SCRUB,
    READ_OF_DRIVE,
    READ_TOTALS,
    READ_INTENTS,
    READ_TODO,
    READ_TODO_TOTALS,
    READ_EVENTS,
    READERS
};

static mrmr_err read_tree(struct meta *meta, const struct fixture *fx, enum reader reader)
{
    struct mrmr_bytes b = MRMR_BYTES_INIT;
    struct meta_node nodes[4];
    struct meta_drive *drives;
    struct meta_child *children;
    mrmr_err err = MRMR_OK;
    uint8_t slot;
    size_t n;
    switch (reader) {
    case READ_SETTING:
        err = meta_get(meta, "redundancy", &b);
        break;
    case READ_SETTINGS:
        err = meta_settings(meta, on_setting, NULL);
        break;
    case READ_DRIVES:
        err = meta_drives(meta, &drives, &n);
        if (!err)
            meta_drives_free(drives, n);
        break;
    case READ_SLOT:
        err = meta_slot_free(meta, &slot);
        break;
    case READ_NODE:
        err = meta_node_get(meta, fx->file.id, nodes);
        break;
    case READ_INO:
        err = meta_node_by_ino(meta, fx->d[0].id, 0, nodes, 4, &n);
        break;
    case READ_LOOKUP:
        err = meta_lookup(meta, fx->dir.id, "file", nodes);
        break;
    case READ_LOOKUP_PATH:
        err = meta_lookup_path(meta, fx->d[0].root, "dir/file", nodes);
        break;
    case READ_PATH:
        err = meta_path(meta, fx->file.id, &b);
        break;
    case READ_NAMES:
        err = meta_names(meta, fx->file.id, on_name, NULL);
        break;
    case READ_CHILDREN:
        err = meta_children(meta, fx->dir.id, &children, &n);
        if (!err)
            free(children);
        break;
    case READ_NODES:
        err = meta_nodes_after(meta, fx->d[0].id, 0, nodes, 4, &n);
        break;
    case READ_ATTR:
        err = meta_attr_get(meta, fx->file.id, &b);
        break;
    default:
        err = meta_target_get(meta, fx->link.id, &b);
        break;
    }
    mrmr_bytes_free(&b);
    return err;
}

static mrmr_err read_work(struct meta *meta, const struct fixture *fx, enum reader reader)
{
    struct meta_change changes[4];
    struct meta_exposed ranges[4], *of;
    struct meta_exposed_total exposed;
    struct meta_intent intents[4];
    struct meta_loss loss;
    uint64_t a, b;
    int64_t ids[4];
    size_t n;
    mrmr_err err;
    switch (reader) {
    case READ_CHANGES:
        return meta_changes_after(meta, fx->d[0].id, META_CHANGE_VANISHED, 0, changes, 4, &n);
    case READ_LOSSES:
        return meta_losses(meta, fx->d[0].id, &loss, on_loss, NULL);
    case READ_EXPOSED:
        return meta_exposed_after(meta, fx->d[0].id, 0, 0, ranges, 4, &n);
    case READ_EXPOSED_AGED:
        return meta_exposed_aged(meta, fx->d[0].id, INT64_MIN, INT64_MAX, 0, 0, ranges, 4, &n);
    case READ_EXPOSED_OF:
        err = meta_exposed_of(meta, fx->file.id, &of, &n);
        if (!err)
            free(of);
        return err;
    case READ_EXPOSED_TOTAL:
        return meta_exposed_total(meta, 0, &exposed);
    case READ_INTENTS:
        return meta_intents_after(meta, 0, 0, intents, 4, &n);
    case READ_TODO:
        return meta_todo_after(meta, "job", 0, ids, 4, &n);
    case READ_TODO_TOTALS:
        return meta_todo_totals(meta, "job", 0, &a, &b);
    default:
        return meta_events(meta, 0, 0, on_event, NULL);
    }
}

static mrmr_err read_stripes(struct meta *meta, const struct fixture *fx, enum reader reader)
{
    struct meta_stripe s;
    struct meta_stripe_brief brief;
    struct meta_extent *extents;
    struct meta_totals totals;
    int64_t ids[4];
    size_t n;
    mrmr_err err;
    switch (reader) {
    case READ_STRIPE:
        err = meta_stripe_load(meta, fx->stripe, &s);
        if (!err)
            meta_stripe_free(&s);
        return err;
    case READ_UUID:
        return meta_stripe_by_uuid(meta, &fx->uuid, ids);
    case READ_EXTENTS:
        err = meta_extents_of(meta, fx->file.id, &extents, &n);
        if (!err)
            free(extents);
        return err;
    case READ_EXTENT_AT:
        err = meta_extent_at(meta, fx->file.id, 1, &extents);
        if (!err)
            free(extents);
        return err;
    case READ_SUSPECTS:
        return meta_suspects_after(meta, fx->d[0].id, 0, ids, 4, &n);
    case READ_STRIPES:
        return meta_stripes(meta, on_brief, NULL);
    case READ_BRIEF:
        return meta_stripe_brief_get(meta, fx->stripe, &brief);
    case READ_MEND:
        return meta_stripes_to_mend(meta, 0, 2, ids, 4, &n);
    case READ_SCRUB:
        return meta_stripes_to_scrub(meta, -1, 0, INT64_MAX, ids, 4, &n);
    case READ_OF_DRIVE:
        return meta_stripes_of_drive(meta, fx->d[0].id, 0, ids, 4, &n);
    default:
        return meta_totals(meta, 0, &totals);
    }
}

static mrmr_err read_one(struct meta *meta, const struct fixture *fx, enum reader reader)
{
    if (reader <= READ_TARGET)
        return read_tree(meta, fx, reader);
    if (reader >= READ_STRIPE && reader <= READ_TOTALS)
        return read_stripes(meta, fx, reader);
    return read_work(meta, fx, reader);
}

/* --- Values out of bounds --- */

#define HUGE_INT "9223372036854775807"
static const struct {
    const char *harm;
    enum reader reader;
} harms[] = {
    {"UPDATE drive SET slot = 248 WHERE slot = 0", READ_DRIVES},
    {"UPDATE drive SET slot = -1 WHERE slot = 0", READ_DRIVES},
    {"UPDATE drive SET uuid = x'00' WHERE slot = 0", READ_DRIVES},
    {"UPDATE drive SET session_token = x'00'", READ_DRIVES},
    {"UPDATE drive SET role = 5", READ_DRIVES},
    {"UPDATE drive SET state = 3", READ_DRIVES},
    {"UPDATE drive SET total = -1", READ_DRIVES},
    {"UPDATE drive SET name = printf('%100d', slot)", READ_DRIVES},
    {"UPDATE drive SET hold = printf('%1000d', slot)", READ_DRIVES},
    {"UPDATE drive SET uri = CAST(x'610062' AS TEXT)", READ_DRIVES},
    {"UPDATE drive SET root = -5", READ_DRIVES},
    {"UPDATE node SET type = 7", READ_NODE},
    {"UPDATE node SET type = -1", READ_CHILDREN},
    {"UPDATE node SET size = -1", READ_LOOKUP},
    {"UPDATE node SET mode = 4294967296", READ_NODES},
    {"UPDATE node SET recheck = 2", READ_INO},
    {"UPDATE node SET version = -1", READ_LOOKUP_PATH},
    {"UPDATE name SET name = x'2e2e' WHERE name = CAST('file' AS BLOB)", READ_PATH},
    {"UPDATE name SET name = x'2f' WHERE name = CAST('file' AS BLOB)", READ_NAMES},
    {"UPDATE name SET name = x'610062' WHERE name = CAST('file' AS BLOB)", READ_CHILDREN},
    {"UPDATE name SET name = x'' WHERE name = CAST('file' AS BLOB)", READ_PATH},
    {"UPDATE name SET name = zeroblob(256) WHERE name = CAST('file' AS BLOB)", READ_CHILDREN},
    {"UPDATE name SET name = CAST(printf('%300d', 1) AS BLOB) WHERE name = CAST('file' AS BLOB)",
        READ_NAMES},
    {"UPDATE name SET parent = (SELECT node FROM name WHERE name = CAST('dir' AS BLOB))"
     " WHERE name = CAST('dir' AS BLOB)",
        READ_PATH},
    {"DELETE FROM name WHERE name = CAST('dir' AS BLOB)", READ_PATH},
    {"UPDATE target SET target = x'610062'", READ_TARGET},
    {"UPDATE change SET drive = drive, type = 99", READ_CHANGES},
    {"UPDATE change SET name = x'2e2e'", READ_CHANGES},
    {"UPDATE change SET name = zeroblob(300)", READ_CHANGES},
    {"UPDATE exposed SET leaves = 0", READ_EXPOSED},
    {"UPDATE exposed SET bytes = 0", READ_EXPOSED_AGED},
    {"UPDATE exposed SET leaves = " HUGE_INT, READ_EXPOSED_OF},
    {"UPDATE exposed SET bytes = 0", READ_EXPOSED_TOTAL},
    {"UPDATE exposed SET bytes = -1", READ_EXPOSED},
    {"UPDATE exposed SET first = " HUGE_INT, READ_EXPOSED_OF},
    {"UPDATE exposed SET first = -1", READ_EXPOSED_TOTAL},
    {"UPDATE stripe SET length = -1", READ_STRIPE},
    {"UPDATE stripe SET length = 5", READ_STRIPE},
    {"UPDATE stripe SET length = 5", READ_STRIPES},
    {"UPDATE stripe SET generation = 0", READ_BRIEF},
    {"UPDATE stripe SET uuid = zeroblob(17)", READ_STRIPE},
    {"UPDATE block SET slot = 248", READ_STRIPE},
    {"UPDATE block SET length = -1", READ_STRIPES},
    {"UPDATE block SET length = 5", READ_STRIPE},
    {"UPDATE block SET drive = 2", READ_STRIPE},
    {"UPDATE block SET extents = -1", READ_BRIEF},
    {"UPDATE block SET bytes = -9", READ_TOTALS},
    {"DELETE FROM block", READ_STRIPE},
    {"UPDATE row SET idx = 8 WHERE idx = 0", READ_STRIPE},
    {"UPDATE row SET idx = -1 WHERE idx = 0", READ_STRIPES},
    {"UPDATE row SET state = 3", READ_BRIEF},
    {"UPDATE row SET file_size = -1", READ_STRIPE},
    {"UPDATE row SET drive = 0", READ_STRIPE},
    {"WITH RECURSIVE i (i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM i WHERE i < 50)"
     " INSERT INTO row SELECT 1, i, 1, 0, 0 FROM i",
        READ_STRIPES},
    {"WITH RECURSIVE i (i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM i WHERE i < 50)"
     " INSERT INTO row SELECT 1, i, 1, 0, 0 FROM i",
        READ_STRIPE},
    {"WITH RECURSIVE i (i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM i WHERE i < 500)"
     " INSERT INTO block SELECT 1, i, i + 10, 0, 0, 0 FROM i",
        READ_STRIPES},
    {"WITH RECURSIVE i (i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM i WHERE i < 500)"
     " INSERT INTO block SELECT 1, i, i + 10, 0, 0, 0 FROM i",
        READ_STRIPE},
    {"UPDATE extent SET digests = zeroblob(31)", READ_STRIPE},
    {"UPDATE extent SET digests = zeroblob(64)", READ_EXTENTS},
    {"UPDATE extent SET digests = x''", READ_EXTENT_AT},
    {"UPDATE extent SET leaves = 2", READ_STRIPE},
    {"UPDATE extent SET leaves = 0, digests = x''", READ_STRIPE},
    {"UPDATE extent SET leaves = -1", READ_STRIPE},
    {"UPDATE extent SET bytes = " HUGE_INT, READ_EXTENTS},
    {"UPDATE extent SET first = " HUGE_INT, READ_STRIPE},
    {"UPDATE extent SET place = " HUGE_INT, READ_STRIPE},
    {"UPDATE extent SET place = -1", READ_EXTENTS},
    {"UPDATE extent SET place = 1", READ_STRIPE},
    {"UPDATE extent SET state = 5", READ_STRIPE},
    {"UPDATE extent SET state = 5", READ_STRIPES},
    {"UPDATE extent SET state = 4, node = -7", READ_STRIPE},
    {"UPDATE extent SET drive = 2", READ_STRIPE},
    {"UPDATE extent SET drive = 2, state = 3", READ_STRIPES},
    {"UPDATE block SET extents = 0; UPDATE extent SET state = 3", READ_BRIEF},
    {"INSERT INTO extent SELECT 99, stripe, drive, 5, node, first, leaves, bytes, version, state, "
     "digests"
     " FROM extent",
        READ_STRIPE},
    {"UPDATE intent SET kind = 2", READ_INTENTS},
    {"UPDATE intent SET file = '../../etc/passwd'", READ_INTENTS},
    {"UPDATE intent SET file = '/etc/passwd'", READ_INTENTS},
    {"UPDATE intent SET file = 'a//b'", READ_INTENTS},
    {"UPDATE intent SET file = 'a/.'", READ_INTENTS},
    {"UPDATE intent SET file = printf('%200d', 1)", READ_INTENTS},
    {"UPDATE event SET kind = printf('%200d', 1)", READ_EVENTS},
    {"UPDATE event SET warning = 9", READ_EVENTS},
    {"UPDATE setting SET value = CAST(x'6100' AS TEXT)", READ_SETTING},
    {"UPDATE setting SET key = CAST(x'6100' AS TEXT)", READ_SETTINGS},
    {"DROP TABLE todo", READ_TODO},
    {"DROP INDEX extent_drive_off", READ_STRIPES},
    {"ALTER TABLE event RENAME TO other; CREATE VIEW event AS SELECT * FROM other", READ_EVENTS},
};

static void out_of_bounds(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    char good[128];
    for (int reader = 0; reader < READERS; reader++)
        assert_ok(read_one(w->meta, &fx, (enum reader)reader)); /* all is well so far */
    meta_close(w->meta);
    w->meta = NULL;
    snprintf(good, sizeof good, "%s/good", w->dir);
    copy_file(w->path, good);
    for (size_t i = 0; i < sizeof harms / sizeof *harms; i++) {
        copy_file(good, w->path);
        world_sql(w, harms[i].harm);
        assert_ok(meta_open(w->path, 0, &w->meta));
        mrmr_err err = read_one(w->meta, &fx, harms[i].reader);
        if (mrmr_class_of(err) != MRMR_CLASS_CORRUPT)
            fail_msg(
                "%s: reader %d gave %s", harms[i].harm, (int)harms[i].reader, mrmr_err_name(err));
        assert_told(w->path);
        assert_told("zcat DRIVE");
        for (int reader = 0; reader < READERS; reader++) {
            err = read_one(w->meta, &fx, (enum reader)reader);
            assert_int_not_equal(err, MRMR_INTERNAL);
        }
        meta_close(w->meta);
        w->meta = NULL;
    }
}

/* Two folders that hold each other twice over: nothing may walk them for ever. */
static void circles(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    struct meta_loss loss;
    struct meta_node sub = make_node(w, &fx.d[0], fx.dir.id, "sub", META_DIR, 0);
    assert_ok(meta_name_add(w->meta, sub.id, "up", fx.dir.id));
    assert_ok(meta_name_add(w->meta, sub.id, "up2", fx.dir.id));
    assert_ok(meta_name_add(w->meta, sub.id, "self", sub.id));
    struct meta_change c = {
        .drive = fx.d[0].id, .node = sub.id, .parent = fx.dir.id, .name = "sub"};
    assert_ok(meta_change_add(w->meta, &c));
    assert_ok(meta_losses(w->meta, fx.d[0].id, &loss, NULL, NULL));
    for (int reader = 0; reader < READERS; reader++)
        assert_int_not_equal(read_one(w->meta, &fx, (enum reader)reader), MRMR_INTERNAL);
}

/* --- Any damage to the file --- */

static void damage(const char *path, struct rng *rng)
{
    int fd = open(path, O_RDWR);
    struct stat st;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    uint64_t pages = (uint64_t)st.st_size / 4096, n = 1 + rng_below(rng, 8);
    for (uint64_t i = 0; i < n; i++) {
        uint8_t bytes[4];
        uint64_t value = rng_next(rng);
        memcpy(bytes, &value, sizeof bytes);
        /* Mostly where structure lies: a page's header and its cell pointers. */
        uint64_t at = rng_below(rng, pages) * 4096 + rng_below(rng, rng_below(rng, 2) ? 64 : 4096);
        if (at < 100 && rng_below(rng, 8))
            at += 100;
        assert_true(pwrite(fd, bytes, 1 + rng_below(rng, 4), (off_t)at) > 0);
    }
    if (rng_below(rng, 20) == 0)
        assert_int_equal(ftruncate(fd, (off_t)rng_below(rng, (uint64_t)st.st_size)), 0);
    close(fd);
}

static void any_damage(void **state)
{
    struct world *w = *state;
    struct rng rng = rng_seeded(__func__);
    struct fixture fx = fixture(w);
    char good[128];
    int refused = 0, found = 0, rounds = 600;
    meta_close(w->meta);
    w->meta = NULL;
    snprintf(good, sizeof good, "%s/good", w->dir);
    copy_file(w->path, good);
    for (int round = 0; round < rounds; round++) {
        copy_file(good, w->path);
        damage(w->path, &rng);
        if (meta_open(w->path, 0, &w->meta)) {
            refused++;
            continue;
        }
        mrmr_err worst = MRMR_OK;
        for (int reader = 0; reader < READERS; reader++) {
            mrmr_err err = read_one(w->meta, &fx, (enum reader)reader);
            if (mrmr_class_of(err) == MRMR_CLASS_CORRUPT)
                worst = err;
        }
        mrmr_err check = meta_check(w->meta);
        found += worst || check;
        if (meta_begin(w->meta) == MRMR_OK) { /* and writing, whatever comes of it */
            struct meta_node node = {.drive = fx.d[0].id, .version = 1};
            struct meta_exposed range = {fx.d[0].id, fx.file.id, 1, 1, META_LEAF, 1};
            struct meta_verdict verdict[] = {{1, META_LIVE, false}, {2, META_GONE, false}};
            meta_node_add(w->meta, &node, fx.dir.id, "new");
            meta_expose(w->meta, &range);
            meta_unexpose(w->meta, fx.file.id, 0, 2);
            meta_extent_judge(w->meta, 1, verdict, 2);
            meta_stripe_remove(w->meta, fx.stripe);
            meta_name_remove(w->meta, fx.dir.id, "file");
            meta_node_remove(w->meta, fx.file.id);
            if (meta_commit(w->meta))
                meta_rollback(w->meta);
        }
        meta_close(w->meta);
        w->meta = NULL;
        char log[128];
        snprintf(log, sizeof log, "%s-wal", w->path);
        unlink(log);
    }
    print_message(
        "%d damaged catalogs: %d refused at open, %d found out later\n", rounds, refused, found);
    assert_true(refused + found > rounds / 4); /* the damage was real */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(out_of_bounds),
        TEST(circles),
        TEST(any_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
