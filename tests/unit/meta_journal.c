/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The journal, bases and logs as SQL text, and catalogs restored from them. Whatever the history
 * was, SQLite alone and meta_restore must both make the same catalog of base and logs, table by
 * table.
 */
#include "meta_copies.h"

#include "catalog_same.h"

/* --- A history --- */

struct history {
    struct rng rng;
    struct meta_drive drive[4];
    int64_t node[2000];
    uint64_t size[2000];
    size_t nodes;
    unsigned serial;
};

static void history_drives(struct world *w, struct history *h)
{
    static const char *const names[] = {"one", "two", "it's", "four"};
    for (size_t i = 0; i < 4; i++)
        h->drive[i] = make_drive(w, names[i]);
}

static void history_name(struct history *h, char name[64])
{
    static const char *const forms[] = {"img%u.cr2", "it''s '%u'", "\xff\xfe-%u", "n\n%u", "ü %u"};
    unsigned form = (unsigned)rng_below(&h->rng, 5), n = h->serial++;
    const char *f = forms[form];
    const char *percent = strchr(f, '%');
    snprintf(name, 64, "%.*s%u%s", (int)(percent - f), f, n, percent + 2);
}

static void history_add(struct world *w, struct history *h)
{
    char name[64];
    const struct meta_drive *d = &h->drive[rng_below(&h->rng, 3)];
    if (h->nodes == 2000)
        return;
    history_name(h, name);
    bool link = rng_below(&h->rng, 8) == 0;
    uint64_t size = link ? 5 : 1 + rng_below(&h->rng, 3 * META_LEAF);
    struct meta_node n = make_node(w, d, d->root, name, link ? META_SYMLINK : META_REG, size);
    if (link)
        assert_ok(meta_target_set(w->meta, n.id, "it's\n\x01 there"));
    else
        make_exposed(w, &n);
    if (rng_below(&h->rng, 4) == 0)
        assert_ok(meta_attr_set(w->meta, n.id, "\0user.x\xff", 8));
    h->size[h->nodes] = link ? 0 : size;
    h->node[h->nodes++] = n.id;
}

static void history_touch(struct world *w, struct history *h)
{
    struct meta_node n;
    if (!h->nodes)
        return;
    size_t i = (size_t)rng_below(&h->rng, h->nodes);
    assert_ok(meta_node_get(w->meta, h->node[i], &n));
    n.mtime = -(int64_t)rng_below(&h->rng, 1000000);
    n.mode = 0600;
    n.ino = rng_next(&h->rng);
    assert_ok(meta_node_store(w->meta, &n));
}

struct only_name {
    int64_t parent;
    char name[META_NAME_MAX + 1];
};

static mrmr_err first_name(int64_t parent, const char *name, void *arg)
{
    struct only_name *only = arg;
    only->parent = parent;
    snprintf(only->name, sizeof only->name, "%s", name);
    return MRMR_OK;
}

static void history_move(struct world *w, struct history *h, bool remove)
{
    struct only_name only = {0};
    char name[64];
    if (!h->nodes)
        return;
    size_t i = (size_t)rng_below(&h->rng, h->nodes);
    assert_ok(meta_names(w->meta, h->node[i], first_name, &only));
    if (!remove) {
        history_name(h, name);
        assert_ok(meta_name_move(w->meta, only.parent, only.name, only.parent, name));
        return;
    }
    assert_ok(meta_name_remove(w->meta, only.parent, only.name));
    assert_ok(meta_node_remove(w->meta, h->node[i]));
    h->nodes--;
    h->node[i] = h->node[h->nodes];
    h->size[i] = h->size[h->nodes];
}

/* Two names change places: in the text one must go before the other can come. */
static void history_swap(struct world *w, struct history *h)
{
    struct meta_drive a = h->drive[0], b = h->drive[1];
    char name[64];
    memcpy(name, a.name, sizeof name);
    memcpy(a.name, "aside", 6);
    assert_ok(meta_drive_store(w->meta, &a));
    memcpy(a.name, b.name, sizeof name);
    memcpy(b.name, name, sizeof name);
    assert_ok(meta_drive_store(w->meta, &b));
    assert_ok(meta_drive_store(w->meta, &a));
    h->drive[0] = a;
    h->drive[1] = b;
}

static void history_stripe(struct world *w, struct history *h)
{
    struct meta_node file[3];
    for (size_t i = 0; i < 3; i++) {
        char name[64];
        history_name(h, name);
        file[i] = make_node(w, &h->drive[i], h->drive[i].root, name, META_REG,
            1 + rng_below(&h->rng, 2 * META_LEAF));
        make_exposed(w, &file[i]);
    }
    make_stripe(w, h->drive, file, 3, &h->drive[3], 1);
}

static void history_small(struct world *w, struct history *h)
{
    char value[32];
    snprintf(value, sizeof value, "it's\n%u", h->serial++);
    assert_ok(meta_set(w->meta, "exclude", value));
    struct meta_event event = {.time = -1, .kind = "k", .warning = true, .text = value};
    assert_ok(meta_event_add(w->meta, &event));
    if (rng_below(&h->rng, 4) == 0)
        assert_ok(meta_events_trim(w->meta, 3));
    struct meta_intent intent = {.drive = h->drive[0].id, .file = "parity/00/x"};
    assert_ok(meta_intent_add(w->meta, &intent));
    if (rng_below(&h->rng, 2))
        assert_ok(meta_intent_remove(w->meta, intent.id));
    struct mrmr_uuid uuid;
    assert_ok(mrmr_uuid_make(&uuid));
    assert_ok(meta_uuid_retire(w->meta, &uuid, "gone"));
    if (h->nodes)
        assert_ok(meta_todo_add(w->meta, "scrub", h->node[rng_below(&h->rng, h->nodes)]));
}

static void history_step(struct world *w, struct history *h)
{
    bool whole = rng_below(&h->rng, 3) > 0, undo = whole && rng_below(&h->rng, 4) == 0;
    struct history before = *h;
    if (whole)
        assert_ok(meta_begin(w->meta));
    for (uint64_t n = 1 + rng_below(&h->rng, 12); n > 0; n--)
        switch (rng_below(&h->rng, 8)) {
        case 0:
            history_touch(w, h);
            break;
        case 1:
            history_move(w, h, false);
            break;
        case 2:
            history_move(w, h, true);
            break;
        case 3:
            history_stripe(w, h);
            break;
        case 4:
            history_small(w, h);
            break;
        case 5:
            history_swap(w, h);
            break;
        default:
            history_add(w, h);
        }
    if (undo) {
        struct rng rng = h->rng;
        unsigned serial = h->serial;
        meta_rollback(w->meta);
        *h = before;
        h->rng = rng;
        h->serial = serial;
    } else if (whole) {
        assert_ok(meta_commit(w->meta));
    }
}

static void random_histories(void **state)
{
    struct world *w = *state;
    static struct history h;
    static struct copies c;
    h = (struct history){.rng = rng_seeded("random_histories")};
    c = (struct copies){0};
    assert_ok(meta_journal_start(w->meta));
    history_drives(w, &h);
    for (int round = 0; round < 24; round++) {
        for (uint64_t n = rng_below(&h.rng, 6); n > 0; n--)
            history_step(w, &h);
        if (round % 8 == 0)
            copies_base(w, &c);
        else
            copies_log(w, &c);
        assert_false(copies_state(w).changed);
        copies_assert_restores(w, &c);
    }
    copies_free(&c);
}

/* --- What a copy is made for, and what not --- */

static void every_table_is_copied(void **state)
{
    struct world *w = *state;
    static struct copies c;
    assert_ok(meta_journal_start(w->meta));
    copies_base(w, &c);
    /* A table of secrets, once there is one, is named here and left out of meta/table.c. */
    int64_t known = world_int(w, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"
                                 " AND name NOT IN ('sqlite_stat1', 'sqlite_stat4')");
    assert_int_equal(known, CATALOG_TABLES);
    for (size_t i = 0; i < CATALOG_TABLES; i++) {
        char sql[96];
        snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_schema WHERE name = '%s'",
            catalog_tables[i]);
        assert_int_equal(world_int(w, sql), 1);
    }
    copies_free(&c);
}

static void changed_is_what_matters(void **state)
{
    struct world *w = *state;
    static struct copies c;
    assert_ok(meta_journal_start(w->meta));
    assert_true(copies_state(w).changed);
    assert_false(copies_state(w).whole);
    struct meta_drive d = make_drive(w, "one");
    copies_base(w, &c);
    assert_true(copies_state(w).whole);
    assert_false(copies_state(w).changed);
    /* Each run changes these. */
    d.seen = 77;
    d.avail = 5;
    d.session.number++;
    assert_ok(meta_drive_store(w->meta, &d));
    struct meta_event event = {.kind = "k", .text = (char[]){"text"}};
    assert_ok(meta_event_add(w->meta, &event));
    assert_false(copies_state(w).changed);
    /* A row that came and went, and one that never was. */
    struct meta_node n = make_node(w, &d, d.root, "f", META_REG, 5);
    assert_ok(meta_name_remove(w->meta, d.root, "f"));
    assert_ok(meta_node_remove(w->meta, n.id));
    assert_ok(meta_begin(w->meta));
    make_node(w, &d, d.root, "g", META_REG, 5);
    meta_rollback(w->meta);
    assert_false(copies_state(w).changed);
    /* … which a restart does not take for a gap either. */
    world_reopen(w);
    assert_ok(meta_journal_start(w->meta));
    assert_true(copies_state(w).whole);
    assert_false(copies_state(w).changed);
    assert_ok(meta_set(w->meta, "redundancy", "2"));
    assert_true(copies_state(w).changed);
    /* A setting is in every log, so a restart loses nothing. */
    world_reopen(w);
    assert_ok(meta_journal_start(w->meta));
    assert_true(copies_state(w).whole);
    assert_true(copies_state(w).changed);
    copies_log(w, &c);
    assert_false(copies_state(w).changed);
    copies_assert_restores(w, &c);
    make_node(w, &d, d.root, "h", META_REG, 5);
    assert_true(copies_state(w).changed);
    copies_free(&c);
}

/* A process that ended before it cut a log, and one that kept no journal. */
static void a_gap_asks_for_a_base(void **state)
{
    struct world *w = *state;
    static struct copies c;
    assert_ok(meta_journal_start(w->meta));
    struct meta_drive d = make_drive(w, "one");
    copies_base(w, &c);
    make_node(w, &d, d.root, "f", META_REG, 5);
    world_reopen(w);
    assert_ok(meta_journal_start(w->meta));
    assert_false(copies_state(w).whole);
    assert_true(copies_state(w).changed);
    struct meta_text *text = NULL;
    assert_err(meta_copy_cut(w->meta, c.sequence + 1, &text, NULL), MRMR_INTERNAL);
    assert_null(text);
    copies_base(w, &c);
    assert_true(copies_state(w).whole);
    copies_assert_restores(w, &c);
    copies_free(&c);
}

/* More than the journal keeps in memory: it goes to the spool in between; and more than that: the
 * journal gives up, and says so. */
static void large_changes(void **state)
{
    struct world *w = *state;
    static struct copies c;
    static uint8_t blob[4096];
    assert_ok(meta_journal_start(w->meta));
    struct meta_drive d = make_drive(w, "one");
    copies_base(w, &c);
    memset(blob, 0xaa, sizeof blob);
    for (int part = 0; part < 30; part++) {
        assert_ok(meta_begin(w->meta));
        for (int i = 0; i < 100; i++) {
            char name[32];
            snprintf(name, sizeof name, "f%d-%d", part, i);
            struct meta_node n = make_node(w, &d, d.root, name, META_REG, 5);
            assert_ok(meta_attr_set(w->meta, n.id, blob, sizeof blob));
        }
        assert_ok(meta_commit(w->meta));
    }
    copies_log(w, &c);
    assert_true(c.log[0].size > 20 << 20);
    copies_assert_restores(w, &c);
    for (int part = 0; copies_state(w).whole; part++) {
        assert_true(part < 200);
        assert_ok(meta_begin(w->meta));
        for (int64_t id = d.root + 1; id <= d.root + 2000; id++) {
            blob[0] = (uint8_t)part;
            assert_ok(meta_attr_set(w->meta, id, blob, sizeof blob));
        }
        assert_ok(meta_commit(w->meta));
    }
    copies_base(w, &c);
    copies_assert_restores(w, &c);
    copies_free(&c);
}

/* Two blocks of a stripe change places: each takes the other's place in a UNIQUE index, so that no
 * order of plain updates would do. */
static void rows_that_change_places(void **state)
{
    struct world *w = *state;
    static struct copies c;
    struct meta_drive drive[3] = {make_drive(w, "one"), make_drive(w, "two"), make_drive(w, "p")};
    struct meta_node file[2];
    for (int i = 0; i < 2; i++) {
        file[i] = make_node(w, &drive[i], drive[i].root, "f", META_REG, 5);
        make_exposed(w, &file[i]);
    }
    int64_t id = make_stripe(w, drive, file, 2, &drive[2], 1);
    assert_ok(meta_journal_start(w->meta));
    copies_base(w, &c);
    struct meta_stripe s = {0};
    assert_ok(meta_stripe_load(w->meta, id, &s));
    for (size_t i = 0; i < 2; i++) {
        s.block[i].drive = drive[1 - i].id;
        s.extent[i].drive = drive[1 - i].id;
    }
    s.generation++;
    assert_ok(meta_stripe_store(w->meta, &s, s.generation - 1, NULL, 0));
    meta_stripe_free(&s);
    copies_log(w, &c);
    assert_non_null(strstr(c.log[0].data, "DELETE FROM block"));
    copies_assert_restores(w, &c);
    copies_free(&c);
}

/* A base is one moment's, whatever is committed while it is read. */
struct meanwhile {
    struct world *w;
    const struct meta_drive *drive;
    struct mrmr_bytes text;
    unsigned n;
};

static mrmr_err write_meanwhile(const char *data, size_t size, void *arg)
{
    struct meanwhile *m = arg;
    char name[32];
    if (m->n++ == 0) {
        for (int i = 0; i < 50; i++) {
            snprintf(name, sizeof name, "late%d", i);
            make_node(m->w, m->drive, m->drive->root, name, META_REG, 5);
        }
    }
    return mrmr_bytes_add(&m->text, data, size);
}

static void snapshots(void **state)
{
    struct world *w = *state;
    static struct copies c;
    struct meta_text *base = NULL;
    assert_ok(meta_journal_start(w->meta));
    struct meta_drive d = make_drive(w, "one");
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        make_node(w, &d, d.root, name, META_REG, 5);
    }
    assert_ok(meta_copy_cut(w->meta, 1, NULL, &base));
    struct meanwhile m = {.w = w, .drive = &d};
    assert_ok(meta_text_read(base, write_meanwhile, &m));
    assert_null(strstr(m.text.data, "late"));
    meta_text_free(base);
    c = (struct copies){.base = m.text, .sequence = 1};
    copies_log(w, &c);
    assert_non_null(strstr(c.log[0].data, "late49"));
    copies_assert_restores(w, &c);
    copies_free(&c);
}

static void misuse(void **state)
{
    struct world *w = *state;
    struct meta_copy_state s;
    struct meta_text *text = NULL;
    assert_err(meta_copy_state(w->meta, &s), MRMR_INTERNAL);
    assert_ok(meta_journal_start(w->meta));
    assert_err(meta_journal_start(w->meta), MRMR_INTERNAL);
    assert_err(meta_copy_cut(w->meta, 0, NULL, &text), MRMR_INTERNAL);
    assert_ok(meta_begin(w->meta));
    assert_err(meta_copy_state(w->meta, &s), MRMR_BUSY);
    assert_err(meta_copy_cut(w->meta, 1, NULL, &text), MRMR_BUSY);
    meta_rollback(w->meta);
    assert_ok(meta_copy_cut(w->meta, 5, NULL, &text));
    meta_text_free(text);
    assert_err(meta_copy_cut(w->meta, 4, NULL, &text), MRMR_INTERNAL);
    assert_err(meta_copy_cut(w->meta, 5, &text, NULL), MRMR_INTERNAL);
    assert_ok(meta_copy_cut(w->meta, 5, NULL, &text)); /* once more, unchanged */
    meta_text_free(text);
    assert_ok(meta_set(w->meta, "redundancy", "2"));
    assert_err(meta_copy_cut(w->meta, 5, NULL, &text), MRMR_CHANGED);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(random_histories),
        TEST(every_table_is_copied),
        TEST(changed_is_what_matters),
        TEST(a_gap_asks_for_a_base),
        TEST(large_changes),
        TEST(rows_that_change_places),
        TEST(snapshots),
        TEST(misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
