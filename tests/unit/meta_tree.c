/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Nodes and names, and their attributes.
 */
#include "meta_support.h"

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

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(nodes_round_trip),
        TEST(names_of_any_bytes),
        TEST(paths_and_links),
        TEST(paths_deeper_than_4096),
        TEST(nodes_removed),
        TEST(nodes_removed_leave_extents),
        TEST(nodes_in_order),
        TEST(attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
