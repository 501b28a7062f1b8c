/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Staged changes and what they lose, intents, to-do lists, events.
 */
#include "meta_support.h"

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
        TEST(changes),
        TEST(losses),
        TEST(losses_model),
        TEST(intents),
        TEST(todo),
        TEST(events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
