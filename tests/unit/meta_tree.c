/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Settings, drives, nodes and names, attributes, staged changes, to-do lists, intents, events.
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

static void drives_round_trip(void **state)
{
    struct world *w = *state;
    char uri[] = "/mnt/\xfe disk";
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
    assert_ok(meta_drive_add(w->meta, &d));
    assert_true(d.id > 0 && d.root > 0);
    world_reopen(w);
    struct meta_drive *got;
    size_t n;
    assert_ok(meta_drives(w->meta, &got, &n));
    assert_int_equal(n, 1);
    assert_string_equal(got->uri, uri);
    assert_int_equal(got->id, d.id);
    assert_int_equal(got->root, d.root);
    assert_true(mrmr_uuid_equal(&got->uuid, &d.uuid));
    assert_true(mrmr_uuid_equal(&got->replaces, &d.replaces));
    assert_string_equal(got->name, "one");
    assert_string_equal(got->domain, "shelf");
    assert_int_equal(got->role, META_ROLE_PARITY);
    assert_int_equal(got->state, META_DRIVE_REBUILDING);
    assert_int_equal(got->slot, 247);
    assert_int_equal(got->reserve, 1);
    assert_int_equal(got->max_usage, INT64_MAX);
    assert_int_equal(got->session.number, 9);
    assert_memory_equal(got->session.token, d.session.token, 16);
    assert_int_equal(got->intended.number, 10);
    assert_memory_equal(got->intended.token, d.intended.token, 16);
    assert_string_equal(got->boot, "boot");
    assert_string_equal(got->fs_id, "fs");
    assert_int_equal(got->total, 100);
    assert_int_equal(got->avail, 50);
    assert_true(got->present);
    assert_int_equal(got->seen, -5);
    assert_int_equal(got->scanned, 6);
    assert_string_equal(got->hold, "because");

    strcpy(got->name, "two");
    got->slot = 3;
    got->present = false;
    assert_ok(meta_drive_store(w->meta, got));
    meta_drives_free(got, n);
    assert_ok(meta_drives(w->meta, &got, &n));
    assert_string_equal(got->name, "two");
    assert_int_equal(got->slot, 3);
    assert_false(got->present);
    got->id = 77;
    assert_err(meta_drive_store(w->meta, got), MRMR_ABSENT);
    meta_drives_free(got, n);

    struct meta_node root;
    assert_ok(meta_node_get(w->meta, d.root, &root));
    assert_int_equal(root.type, META_DIR);
    assert_int_equal(root.drive, d.id);
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

/* --- Nodes and names --- */

static void assert_same_node(const struct meta_node *a, const struct meta_node *b)
{
    assert_int_equal(a->id, b->id);
    assert_int_equal(a->drive, b->drive);
    assert_int_equal(a->type, b->type);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->uid, b->uid);
    assert_int_equal(a->gid, b->gid);
    assert_int_equal(a->nlink, b->nlink);
    assert_true(a->size == b->size && a->ino == b->ino && a->rdev == b->rdev);
    assert_true(a->mtime == b->mtime && a->ctime == b->ctime && a->btime == b->btime);
    assert_true(a->version == b->version && a->sequence == b->sequence);
    assert_int_equal(a->recheck, b->recheck);
}

static void nodes_round_trip(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct meta_node in = {.drive = d.id,
        .type = META_BLOCK,
        .mode = UINT32_MAX,
        .uid = UINT32_MAX - 1,
        .gid = 7,
        .nlink = 8,
        .size = INT64_MAX,
        .ino = UINT64_MAX,
        .rdev = UINT64_MAX - 5,
        .mtime = INT64_MIN,
        .ctime = INT64_MAX,
        .btime = -1,
        .version = 12,
        .recheck = true};
    struct meta_node got, other;
    assert_ok(meta_node_add(w->meta, &in, d.root, "dev"));
    other = make_node(w, &d, d.root, "other", META_REG, 5);
    world_reopen(w);
    assert_ok(meta_node_get(w->meta, in.id, &got));
    assert_same_node(&in, &got);
    assert_ok(meta_lookup(w->meta, d.root, "dev", &got));
    assert_same_node(&in, &got);
    in.type = META_REG;
    in.size = 3;
    in.mtime = 4;
    in.recheck = false;
    assert_ok(meta_node_store(w->meta, &in));
    assert_ok(meta_node_get(w->meta, in.id, &got));
    assert_true(got.sequence > other.sequence); /* the latest change */
    in.sequence = got.sequence;
    assert_same_node(&in, &got);

    struct meta_node many[4];
    size_t n;
    assert_ok(meta_node_by_ino(w->meta, d.id, UINT64_MAX, many, 4, &n));
    assert_int_equal(n, 1);
    assert_same_node(&in, &many[0]);
    assert_ok(meta_node_by_ino(w->meta, d.id + 1, UINT64_MAX, many, 4, &n));
    assert_int_equal(n, 0);
    assert_ok(meta_node_by_ino(
        w->meta, d.id, 0, many, 1, &n)); /* the root and "other", but at most one */
    assert_int_equal(n, 1);

    in.size = UINT64_MAX;
    assert_err(meta_node_store(w->meta, &in), MRMR_INVALID);
    in.id = 999;
    in.size = 1;
    assert_err(meta_node_store(w->meta, &in), MRMR_ABSENT);
    assert_err(meta_node_get(w->meta, 999, &got), MRMR_ABSENT);
}

static void names_of_any_bytes(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    char longest[META_NAME_MAX + 2];
    memset(longest, 0xfe, sizeof longest);
    longest[META_NAME_MAX + 1] = '\0';
    struct meta_node node = {.drive = d.id, .version = 1}, got;
    assert_err(meta_node_add(w->meta, &node, d.root, longest), MRMR_NAME_TOO_LONG);
    longest[META_NAME_MAX] = '\0';
    static const char *const bad[] = {"", ".", "..", "a/b", "/"};
    for (size_t i = 0; i < 5; i++) {
        assert_err(meta_node_add(w->meta, &node, d.root, bad[i]), MRMR_INVALID);
        assert_err(meta_name_add(w->meta, d.root, bad[i], d.root), MRMR_INVALID);
    }
    const char *const names[] = {"\x01", "\n", "a", "a\nb", "\xc3\x28", longest, "\xff"};
    for (size_t i = 0; i < 7; i++) {
        node.size = i;
        assert_ok(meta_node_add(w->meta, &node, d.root, names[i]));
        assert_err(meta_node_add(w->meta, &node, d.root, names[i]), MRMR_EXISTS);
    }
    struct meta_child *children;
    size_t n;
    assert_ok(meta_children(w->meta, d.root, &children, &n));
    assert_int_equal(n, 7);
    for (size_t i = 0; i < n; i++) { /* in memcmp order, as listed above */
        assert_string_equal(children[i].name, names[i]);
        assert_int_equal(children[i].node.size, i);
        struct mrmr_bytes path = MRMR_BYTES_INIT;
        assert_ok(meta_path(w->meta, children[i].node.id, &path));
        assert_string_equal(path.data, names[i]);
        mrmr_bytes_free(&path);
        assert_ok(meta_lookup(w->meta, d.root, names[i], &got));
        assert_same_node(&got, &children[i].node);
    }
    free(children);
    assert_ok(meta_children(w->meta, node.id, &children, &n)); /* has none */
    assert_int_equal(n, 0);
    free(children);
    assert_err(meta_node_add(w->meta, &node, node.id, "below a file"), MRMR_INVALID);
    assert_err(meta_node_add(w->meta, &node, 999, "below nothing"), MRMR_ABSENT);
    assert_err(meta_name_add(w->meta, 999, "below nothing", node.id), MRMR_ABSENT);
    assert_err(meta_name_add(w->meta, d.root, "of nothing", 999), MRMR_ABSENT);
}

static mrmr_err list_name(int64_t parent, const char *name, void *arg)
{
    return mrmr_bytes_fmt(arg, "%lld/%s;", (long long)parent, name);
}

static void paths_and_links(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct meta_node got, a = make_node(w, &d, d.root, "a", META_DIR, 0);
    struct meta_node b = make_node(w, &d, a.id, "b", META_DIR, 0);
    struct meta_node f = make_node(w, &d, b.id, "f", META_REG, 1);
    struct mrmr_bytes p = MRMR_BYTES_INIT;
    assert_ok(meta_path(w->meta, f.id, &p));
    assert_string_equal(p.data, "a/b/f");
    assert_ok(meta_name_add(w->meta, a.id, "e", f.id)); /* a link; "e" < "f" */
    mrmr_bytes_clear(&p);
    assert_ok(meta_path(w->meta, f.id, &p));
    assert_string_equal(p.data, "a/e");
    mrmr_bytes_clear(&p);
    assert_ok(meta_names(w->meta, f.id, list_name, &p));
    char want[64];
    snprintf(want, sizeof want, "%lld/e;%lld/f;", (long long)a.id, (long long)b.id);
    assert_string_equal(p.data, want);
    assert_ok(meta_name_add(w->meta, d.root, "z", f.id)); /* by name, not by folder */
    mrmr_bytes_clear(&p);
    assert_ok(meta_path(w->meta, f.id, &p));
    assert_string_equal(p.data, "a/e");
    assert_ok(meta_name_remove(w->meta, d.root, "z"));
    assert_ok(meta_lookup_path(w->meta, d.root, "a/b/f", &got));
    assert_int_equal(got.id, f.id);
    assert_ok(meta_lookup_path(w->meta, a.id, "e", &got));
    assert_int_equal(got.id, f.id);
    assert_ok(meta_lookup_path(w->meta, d.root, "", &got));
    assert_int_equal(got.id, d.root);
    assert_err(meta_lookup_path(w->meta, d.root, "a/b/f/g", &got), MRMR_ABSENT);
    assert_err(meta_lookup_path(w->meta, d.root, "a/../a", &got), MRMR_ABSENT);
    mrmr_bytes_clear(&p);
    assert_ok(meta_path(w->meta, d.root, &p));
    assert_int_equal(p.size, 0);

    assert_ok(meta_name_move(
        w->meta, d.root, "a", b.id, "odd")); /* a circle: only a hostile scan makes one */
    assert_err(meta_path(w->meta, f.id, &p), MRMR_CORRUPT);
    assert_ok(meta_name_move(w->meta, b.id, "odd", d.root, "new"));
    mrmr_bytes_clear(&p);
    assert_ok(meta_path(w->meta, f.id, &p));
    assert_string_equal(p.data, "new/e");
    assert_err(meta_name_move(w->meta, a.id, "e", b.id, "f"), MRMR_EXISTS);
    assert_err(meta_name_move(w->meta, a.id, "none", b.id, "g"), MRMR_ABSENT);
    assert_err(meta_name_move(w->meta, a.id, "e", b.id, "."), MRMR_INVALID);
    assert_ok(meta_name_remove(w->meta, a.id, "e"));
    assert_err(meta_name_remove(w->meta, a.id, "e"), MRMR_ABSENT);
    assert_ok(meta_name_remove(w->meta, b.id, "f"));
    assert_err(meta_path(w->meta, f.id, &p), MRMR_ABSENT);
    mrmr_bytes_free(&p);
}

static void paths_deeper_than_4096(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct mrmr_bytes want = MRMR_BYTES_INIT, got = MRMR_BYTES_INIT;
    int64_t parent = d.root;
    assert_ok(meta_begin(w->meta));
    for (int i = 0; i < 3000; i++) {
        char name[32];
        snprintf(name, sizeof name, "folder%d", i);
        parent = make_node(w, &d, parent, name, META_DIR, 0).id;
        assert_ok(mrmr_bytes_fmt(&want, "%s%s", i ? "/" : "", name));
    }
    assert_ok(meta_commit(w->meta));
    assert_ok(meta_path(w->meta, parent, &got));
    assert_string_equal(got.data, want.data);
    struct meta_node node;
    assert_ok(meta_lookup_path(w->meta, d.root, want.data, &node));
    assert_int_equal(node.id, parent);
    mrmr_bytes_free(&want);
    mrmr_bytes_free(&got);
}

static void nodes_removed(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_node dir = make_node(w, &d[0], d[0].root, "dir", META_DIR, 0);
    struct meta_node f = make_node(w, &d[0], dir.id, "f", META_REG, 3 * META_LEAF);
    make_exposed(w, &f);
    int64_t stripe = make_stripe(w, d, &f, 1, &d[1], 1);
    struct meta_exposed more = {d[0].id, f.id, 1, 1, META_LEAF, 1};
    assert_ok(meta_expose(w->meta, &more));
    assert_ok(meta_attr_set(w->meta, f.id, "x", 1));
    assert_ok(meta_todo_add(w->meta, "job", f.id));
    assert_err(meta_node_remove(w->meta, d[0].root), MRMR_BUSY);
    assert_err(meta_node_remove(w->meta, dir.id), MRMR_BUSY);
    assert_err(meta_node_remove(w->meta, f.id), MRMR_BUSY);
    assert_ok(meta_name_remove(w->meta, dir.id, "f"));
    assert_ok(meta_node_remove(w->meta, f.id));
    assert_err(meta_node_remove(w->meta, f.id), MRMR_ABSENT);
    struct meta_stripe image;
    assert_ok(meta_stripe_load(w->meta, stripe, &image));
    assert_int_equal(image.extent[0].state, META_GONE);
    assert_int_equal(image.extent[0].node, 0);
    meta_stripe_free(&image);
    assert_int_equal(
        world_int(w, "SELECT (SELECT count(*) FROM exposed) + (SELECT count(*) FROM attr)"
                     " + (SELECT count(*) FROM todo)"),
        0);
    assert_ok(meta_name_remove(w->meta, d[0].root, "dir"));
    assert_ok(meta_node_remove(w->meta, dir.id));
    assert_ok(meta_check(w->meta));
}

/* What a file's removal makes of its extents. */
static void nodes_removed_leave_extents(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    static const struct {
        enum meta_extent_state before, after;
    } cases[] = {{META_LIVE, META_GONE}, {META_MISSING, META_GONE}, {META_SUSPECT, META_GONE},
        {META_STALE, META_STALE}, {META_GONE, META_GONE}};
    for (size_t i = 0; i < 5; i++) {
        struct meta_node f = make_node(w, &d[0], d[0].root, "f", META_REG, 10);
        make_exposed(w, &f);
        int64_t stripe = make_stripe(w, d, &f, 1, &d[1], 1);
        if (cases[i].before != META_LIVE)
            assert_ok(meta_extents_mark(w->meta, f.id, META_LIVE, cases[i].before));
        assert_ok(meta_name_remove(w->meta, d[0].root, "f"));
        assert_ok(meta_node_remove(w->meta, f.id));
        struct meta_stripe image;
        assert_ok(meta_stripe_load(w->meta, stripe, &image));
        assert_int_equal(image.extent[0].state, cases[i].after);
        meta_stripe_free(&image);
    }
}

static void nodes_in_order(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "%d", 1000 - i);
        make_node(w, &d[i % 2], d[i % 2].root, name, META_REG, 1);
    }
    struct meta_node nodes[7];
    int64_t after = 0;
    size_t n, total = 0;
    do {
        assert_ok(meta_nodes_after(w->meta, d[1].id, after, nodes, 7, &n));
        for (size_t i = 0; i < n; i++, total++) {
            assert_true(nodes[i].id > after);
            assert_int_equal(nodes[i].drive, d[1].id);
            after = nodes[i].id;
        }
    } while (n);
    assert_int_equal(total, 26); /* with the root */
}

static void attributes(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one");
    struct meta_node l = make_node(w, &d, d.root, "l", META_SYMLINK, 0);
    struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(meta_attr_get(w->meta, l.id, &b));
    assert_ok(meta_target_get(w->meta, l.id, &b));
    assert_int_equal(b.size, 0);
    assert_ok(meta_attr_set(w->meta, l.id, "a\0b", 3));
    assert_ok(meta_attr_set(w->meta, l.id, "c\0d\xff", 4));
    assert_ok(meta_target_set(w->meta, l.id, "../\xff/to"));
    assert_ok(meta_attr_get(w->meta, l.id, &b));
    assert_int_equal(b.size, 4);
    assert_memory_equal(b.data, "c\0d\xff", 4);
    mrmr_bytes_clear(&b);
    assert_ok(meta_target_get(w->meta, l.id, &b));
    assert_string_equal(b.data, "../\xff/to");
    mrmr_bytes_clear(&b);
    assert_ok(meta_attr_set(w->meta, l.id, NULL, 0));
    assert_ok(meta_target_set(w->meta, l.id, NULL));
    assert_ok(meta_attr_get(w->meta, l.id, &b));
    assert_ok(meta_target_get(w->meta, l.id, &b));
    assert_int_equal(b.size, 0);
    assert_err(meta_attr_set(w->meta, 999, "a", 1), MRMR_ABSENT);
    mrmr_bytes_free(&b);
}

/* --- Staged changes --- */

static void change(struct world *w, const struct meta_drive *d, enum meta_change_kind kind,
    int64_t node, int64_t parent, const char *name)
{
    struct meta_change c = {.drive = d->id, .kind = kind, .node = node, .parent = parent};
    strcpy(c.name, name);
    assert_ok(meta_change_add(w->meta, &c));
    assert_true(c.id > 0);
}

static void changes(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_change in = {.drive = d[0].id,
        .kind = META_CHANGE_CHANGED,
        .node = 5,
        .parent = 6,
        .name = "n\xff\n",
        .now = {.type = META_FIFO,
            .size = 9,
            .ino = UINT64_MAX,
            .mtime = -4,
            .ctime = 3,
            .btime = 2,
            .mode = 1}};
    struct meta_change got[4];
    size_t n;
    uint64_t count;
    assert_ok(meta_change_add(w->meta, &in));
    int64_t id = in.id;
    in.now.size = 10;
    assert_ok(meta_change_add(w->meta, &in)); /* the same one again */
    assert_int_equal(in.id, id);
    for (int i = 0; i < 6; i++)
        change(w, &d[0], META_CHANGE_HELD, 100 + i, 0, "");
    change(w, &d[1], META_CHANGE_CHANGED, 7, 0, "");
    world_reopen(w);
    assert_ok(meta_changes_after(w->meta, d[0].id, META_CHANGE_CHANGED, 0, got, 4, &n));
    assert_int_equal(n, 1);
    assert_int_equal(got[0].id, id);
    assert_int_equal(got[0].drive, d[0].id);
    assert_int_equal(got[0].kind, META_CHANGE_CHANGED);
    assert_int_equal(got[0].node, 5);
    assert_int_equal(got[0].parent, 6);
    assert_string_equal(got[0].name, "n\xff\n");
    assert_int_equal(got[0].now.type, META_FIFO);
    assert_int_equal(got[0].now.size, 10);
    assert_true(got[0].now.ino == UINT64_MAX && got[0].now.mtime == -4);
    assert_true(got[0].now.ctime == 3 && got[0].now.btime == 2 && got[0].now.mode == 1);
    assert_ok(meta_changes_after(w->meta, d[0].id, META_CHANGE_HELD, 0, got, 4, &n));
    assert_int_equal(n, 4);
    assert_int_equal(got[3].node, 103);
    assert_ok(meta_changes_after(w->meta, d[0].id, META_CHANGE_HELD, got[3].id, got, 4, &n));
    assert_int_equal(n, 2);
    assert_int_equal(got[0].node, 104);
    assert_ok(meta_change_remove(w->meta, got[0].id));
    assert_ok(meta_changes_count(w->meta, d[0].id, META_CHANGE_HELD, &count));
    assert_int_equal(count, 5);
    assert_ok(meta_changes_clear(w->meta, d[0].id, META_CHANGE_HELD));
    assert_ok(meta_changes_count(w->meta, d[0].id, META_CHANGE_HELD, &count));
    assert_int_equal(count, 0);
    assert_ok(meta_changes_count(w->meta, d[1].id, META_CHANGE_CHANGED, &count));
    assert_int_equal(count, 1);
    in.now.size = UINT64_MAX;
    assert_err(meta_change_add(w->meta, &in), MRMR_INVALID);
}

static mrmr_err list_loss(const char *top, const struct meta_loss *loss, void *arg)
{
    return mrmr_bytes_fmt(arg, "%s:%llu/%llu+%llu;", top, (unsigned long long)loss->files,
        (unsigned long long)loss->vanished, (unsigned long long)loss->changed);
}

static void assert_losses(struct world *w, const struct meta_drive *d, uint64_t files,
    uint64_t vanished, uint64_t changed, const char *want)
{
    struct mrmr_bytes got = MRMR_BYTES_INIT;
    struct meta_loss all;
    assert_ok(mrmr_bytes_str(&got, ""));
    assert_ok(meta_losses(w->meta, d->id, &all, list_loss, &got));
    assert_string_equal(got.data, want);
    assert_int_equal(all.files, files);
    assert_int_equal(all.vanished, vanished);
    assert_int_equal(all.changed, changed);
    mrmr_bytes_free(&got);
}

static void losses(void **state)
{
    struct world *w = *state;
    struct meta_drive d = make_drive(w, "one"), other = make_drive(w, "two");
    struct meta_node a = make_node(w, &d, d.root, "a", META_DIR, 0);
    struct meta_node ab = make_node(w, &d, a.id, "b", META_DIR, 0);
    struct meta_node c = make_node(w, &d, d.root, "c", META_DIR, 0);
    struct meta_node top = make_node(w, &d, d.root, "file", META_REG, 1);
    struct meta_node af = make_node(w, &d, a.id, "f", META_REG, 1);
    struct meta_node abf = make_node(w, &d, ab.id, "f", META_REG, 1);
    struct meta_node abg = make_node(w, &d, ab.id, "g", META_REG, 1);
    struct meta_node cf = make_node(w, &d, c.id, "f", META_REG, 1);
    make_node(w, &d, c.id, "s", META_SYMLINK, 0);
    make_node(w, &other, other.root, "x", META_REG, 1);
    assert_losses(w, &d, 5, 0, 0, "");

    change(w, &d, META_CHANGE_VANISHED, a.id, d.root, "a");
    assert_losses(w, &d, 5, 3, 0, "a:3/3+0;");
    change(
        w, &d, META_CHANGE_VANISHED, ab.id, a.id, "b"); /* below one that vanished: counts once */
    change(w, &d, META_CHANGE_VANISHED, abf.id, ab.id, "f");
    change(w, &d, META_CHANGE_VANISHED, top.id, d.root, "file");
    assert_losses(w, &d, 5, 4, 0, ":1/1+0;a:3/3+0;");
    change(w, &d, META_CHANGE_APPEARED, ab.id, c.id,
        "moved"); /* the folder b moved out, f in it vanished */
    assert_losses(w, &d, 5, 3, 0, ":1/1+0;a:3/2+0;");
    change(w, &d, META_CHANGE_APPEARED, abf.id, c.id, "f2");
    assert_losses(w, &d, 5, 2, 0, ":1/1+0;a:3/1+0;");

    /* A file with a name left is not lost; with all of them gone it is, and counts once. */
    assert_ok(meta_name_add(w->meta, c.id, "link", af.id));
    assert_losses(w, &d, 5, 1, 0, ":1/1+0;");
    change(w, &d, META_CHANGE_VANISHED, af.id, c.id, "link");
    assert_losses(w, &d, 5, 2, 0, ":1/1+0;a:3/1+0;");

    /* Changed counts for files that stripes count on. */
    change(w, &d, META_CHANGE_CHANGED, cf.id, c.id, "f");
    assert_losses(w, &d, 5, 2, 0, ":1/1+0;a:3/1+0;");
    make_exposed(w, &cf);
    make_stripe(w, &d, &cf, 1, &other, 1);
    assert_losses(w, &d, 5, 2, 1, ":1/1+0;a:3/1+0;c:1/0+1;");
    assert_losses(w, &other, 1, 0, 0, "");
    (void)abg;
    struct meta_loss all;
    assert_err(meta_losses(w->meta, 99, &all, NULL, NULL), MRMR_ABSENT);
    assert_ok(meta_losses(w->meta, d.id, &all, NULL, NULL));
}

/* Against a plain walk: random trees, links, vanished and appeared names. */
#define MODEL_NODES 120
struct loss_model {
    struct meta_node node[MODEL_NODES];
    int parent[MODEL_NODES][2]; /* up to two names */
    bool gone[MODEL_NODES][2], appeared[MODEL_NODES];
    int names[MODEL_NODES];
};

static bool model_lost(const struct loss_model *m, int i)
{
    if (i == 0 || m->appeared[i])
        return false;
    for (int k = 0; k < m->names[i]; k++)
        if (!m->gone[i][k] && !model_lost(m, m->parent[i][k]))
            return false;
    return true;
}

static void losses_model(void **state)
{
    struct world *w = *state;
    struct rng rng = rng_seeded(__func__);
    for (int round = 0; round < 25; round++) {
        char name[32];
        static struct loss_model m;
        memset(&m, 0, sizeof m);
        snprintf(name, sizeof name, "d%d", round);
        struct meta_drive d = make_drive(w, name);
        m.node[0].id = d.root;
        m.node[0].type = META_DIR;
        uint64_t files = 0, lost = 0;
        for (int i = 1; i < MODEL_NODES; i++) {
            int p;
            do
                p = (int)rng_below(&rng, (uint64_t)i);
            while (m.node[p].type != META_DIR);
            enum meta_type type = rng_below(&rng, 3) ? META_REG : META_DIR;
            snprintf(
                name, sizeof name, "n%llu", (unsigned long long)(rng_below(&rng, 1000) * 1000) + i);
            m.node[i] = make_node(w, &d, m.node[p].id, name, type, 1);
            m.parent[i][0] = p;
            m.names[i] = 1;
            m.gone[i][0] = rng_below(&rng, 8) == 0;
            if (m.gone[i][0])
                change(w, &d, META_CHANGE_VANISHED, m.node[i].id, m.node[p].id, name);
            if (type == META_REG && rng_below(&rng, 4) == 0) {
                do
                    p = (int)rng_below(&rng, (uint64_t)i);
                while (m.node[p].type != META_DIR);
                snprintf(name, sizeof name, "l%d", i);
                assert_ok(meta_name_add(w->meta, m.node[p].id, name, m.node[i].id));
                m.parent[i][1] = p;
                m.names[i] = 2;
                m.gone[i][1] = rng_below(&rng, 3) == 0;
                if (m.gone[i][1])
                    change(w, &d, META_CHANGE_VANISHED, m.node[i].id, m.node[p].id, name);
            }
            m.appeared[i] = rng_below(&rng, 10) == 0;
            if (m.appeared[i])
                change(w, &d, META_CHANGE_APPEARED, m.node[i].id, d.root, "elsewhere");
        }
        for (int i = 1; i < MODEL_NODES; i++)
            if (m.node[i].type == META_REG) {
                files++;
                lost += model_lost(&m, i);
            }
        struct meta_loss all;
        assert_ok(meta_losses(w->meta, d.id, &all, NULL, NULL));
        assert_int_equal(all.files, files);
        assert_int_equal(all.vanished, lost);
    }
}

/* --- Intents, to do, events --- */

static void intents(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_intent in[5], got[3];
    size_t n;
    for (int i = 0; i < 5; i++) {
        in[i] = (struct meta_intent){
            .kind = i % 2 ? META_INTENT_DROP : META_INTENT_MAKE, .drive = d[i % 2].id};
        snprintf(in[i].file, sizeof in[i].file, "parity/3f/row%d", i);
        assert_ok(meta_intent_add(w->meta, &in[i]));
    }
    world_reopen(w);
    assert_ok(meta_intents_after(w->meta, 0, 0, got, 3, &n));
    assert_int_equal(n, 3);
    assert_int_equal(got[1].kind, META_INTENT_DROP);
    assert_string_equal(got[1].file, "parity/3f/row1");
    assert_int_equal(got[1].drive, d[1].id);
    assert_ok(meta_intents_after(w->meta, 0, got[2].id, got, 3, &n));
    assert_int_equal(n, 2);
    assert_ok(meta_intent_remove(w->meta, in[1].id));
    assert_ok(meta_intents_after(w->meta, d[1].id, 0, got, 3, &n));
    assert_int_equal(n, 1);
    assert_int_equal(got[0].id, in[3].id);
    struct meta_intent last = in[4];
    assert_ok(meta_intent_remove(w->meta, last.id));
    assert_ok(meta_intent_add(w->meta, &last));
    assert_true(last.id > in[4].id);
    last.drive = 99;
    assert_err(meta_intent_add(w->meta, &last), MRMR_ABSENT);
    last.file[0] = '\0';
    assert_err(meta_intent_add(w->meta, &last), MRMR_INVALID);
}

static void todo(void **state)
{
    struct world *w = *state;
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    struct meta_node f[4];
    for (int i = 0; i < 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "f%d", i);
        f[i] = make_node(w, &d[0], d[0].root, name, i == 3 ? META_DIR : META_REG, 10u << i);
    }
    struct meta_node g = make_node(w, &d[1], d[1].root, "g", META_REG, 5);
    uint64_t n, bytes;
    int64_t ids[3];
    size_t got;
    bool has;
    assert_ok(meta_todo_add(w->meta, "rebuild", f[1].id));
    assert_ok(meta_todo_add_drive(w->meta, "rebuild", d[0].id, &n));
    assert_int_equal(n, 3); /* one was there, and the root is not one */
    assert_ok(meta_todo_add(w->meta, "rebuild", g.id));
    assert_ok(meta_todo_add(w->meta, "rebuild", g.id));
    assert_ok(meta_todo_totals(w->meta, "rebuild", 0, &n, &bytes));
    assert_int_equal(n, 5);
    assert_int_equal(bytes, 75);
    assert_ok(meta_todo_totals(w->meta, "rebuild", d[0].id, &n, &bytes));
    assert_int_equal(n, 4);
    assert_int_equal(bytes, 70);
    assert_ok(meta_todo_totals(w->meta, "other", 0, &n, &bytes));
    assert_int_equal(n + bytes, 0);
    assert_ok(meta_todo_after(w->meta, "rebuild", 0, ids, 3, &got));
    assert_int_equal(got, 3);
    assert_int_equal(ids[2], f[2].id);
    assert_ok(meta_todo_after(w->meta, "rebuild", ids[2], ids, 3, &got));
    assert_int_equal(got, 2);
    assert_int_equal(ids[1], g.id);
    assert_ok(meta_todo_done(w->meta, "rebuild", g.id));
    assert_ok(meta_todo_done(w->meta, "rebuild", g.id));
    assert_ok(meta_todo_has(w->meta, "rebuild", g.id, &has));
    assert_false(has);
    assert_ok(meta_todo_has(w->meta, "rebuild", f[0].id, &has));
    assert_true(has);
    assert_ok(meta_todo_has(w->meta, "other", f[0].id, &has));
    assert_false(has);
}

static mrmr_err list_event(const struct meta_event *event, void *arg)
{
    return mrmr_bytes_fmt(arg, "%lld %s%s %s %s;", (long long)event->time,
        event->warning ? "!" : "", event->kind, event->drive, event->text);
}

static void assert_events(struct world *w, int64_t after, size_t last, const char *want)
{
    struct mrmr_bytes got = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&got, ""));
    assert_ok(meta_events(w->meta, after, last, list_event, &got));
    assert_string_equal(got.data, want);
    mrmr_bytes_free(&got);
}

static void events(void **state)
{
    struct world *w = *state;
    char text[] = "t";
    struct meta_event e = {.kind = "hold", .drive = "one", .text = text};
    for (int i = 1; i <= 5; i++) {
        e.time = i;
        e.warning = i == 3;
        assert_ok(meta_event_add(w->meta, &e));
    }
    assert_events(w, 0, 2, "4 hold one t;5 hold one t;");
    assert_events(w, 1, 2, "4 hold one t;5 hold one t;");
    assert_events(w, 4, 9, "5 hold one t;");
    assert_events(w, 2, 0, "3 !hold one t;4 hold one t;5 hold one t;");
    assert_events(w, 5, 3, "");
    assert_ok(meta_events_trim(w->meta, 9));
    assert_ok(meta_events_trim(w->meta, 2));
    assert_events(w, 0, 0, "4 hold one t;5 hold one t;");
    assert_ok(meta_events_trim(w->meta, 0));
    e.time = 6;
    e.text = NULL;
    assert_ok(meta_event_add(w->meta, &e));
    assert_events(w, 5, 0, "6 hold one ;"); /* ids go on */
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(settings),
        TEST(drives_round_trip),
        TEST(drives_refused),
        TEST(drives_removed),
        TEST(slots),
        TEST(retired),
        TEST(nodes_round_trip),
        TEST(names_of_any_bytes),
        TEST(paths_and_links),
        TEST(paths_deeper_than_4096),
        TEST(nodes_removed),
        TEST(nodes_removed_leave_extents),
        TEST(nodes_in_order),
        TEST(attributes),
        TEST(changes),
        TEST(losses),
        TEST(losses_model),
        TEST(intents),
        TEST(todo),
        TEST(events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
