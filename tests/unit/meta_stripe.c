/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Stripes: images stored and loaded, claims, verdicts, and what the jobs ask about them.
 */
#include "meta_support.h"

#define DRIVES 6

struct fixture {
    struct meta_drive d[DRIVES];
    struct meta_node f[DRIVES]; /* one file of three leaves a drive, all exposed */
};

static struct fixture fixture(struct world *w)
{
    struct fixture fx;
    for (int i = 0; i < DRIVES; i++) {
        char name[32];
        snprintf(name, sizeof name, "d%d", i);
        fx.d[i] = make_drive(w, name);
        fx.f[i] = make_node(w, &fx.d[i], fx.d[i].root, "f", META_REG, 2 * META_LEAF + 100);
        make_exposed(w, &fx.f[i]);
    }
    return fx;
}

static int64_t plain_stripe(struct world *w, const struct fixture *fx)
{
    return make_stripe(w, fx->d, fx->f, 3, &fx->d[3], 2);
}

/* --- Round trip --- */

static void assert_same_stripe(const struct meta_stripe *a, const struct meta_stripe *b)
{
    assert_int_equal(a->id, b->id);
    assert_true(mrmr_uuid_equal(&a->uuid, &b->uuid));
    assert_true(a->generation == b->generation && a->length == b->length);
    assert_true(a->made == b->made && a->scrubbed == b->scrubbed);
    assert_int_equal(a->blocks, b->blocks);
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->extents, b->extents);
    for (size_t i = 0; i < a->blocks; i++) {
        const struct meta_block *x = &a->block[i], *y = &b->block[i];
        assert_true(x->drive == y->drive && x->slot == y->slot && x->length == y->length);
        assert_true(x->extents == y->extents && x->first_extent == y->first_extent);
    }
    for (size_t i = 0; i < a->rows; i++) {
        const struct meta_row *x = &a->row[i], *y = &b->row[i];
        assert_true(x->index == y->index && x->drive == y->drive && x->state == y->state);
        assert_true(x->file_size == y->file_size);
    }
    for (size_t i = 0; i < a->extents; i++) {
        const struct meta_extent *x = &a->extent[i], *y = &b->extent[i];
        assert_true(x->id == y->id && x->stripe == y->stripe && x->drive == y->drive);
        assert_true(x->node == y->node && x->place == y->place && x->first == y->first);
        assert_true(x->leaves == y->leaves && x->bytes == y->bytes);
        assert_true(x->version == y->version && x->state == y->state);
        assert_memory_equal(x->digests, y->digests, x->leaves * sizeof *x->digests);
    }
}

enum { WIDE = 30, DIGESTS = 4096 };

/* What a stripe may be made of, and where its parts lie. */
struct parts {
    struct meta_drive drive[WIDE];
    struct meta_node file[WIDE];
    struct mrmr_digest digest[DIGESTS];
    struct meta_block block[WIDE];
    struct meta_row row[META_ROWS_MAX];
    struct meta_extent extent[WIDE * 8];
};

static void make_parts(struct world *w, struct parts *parts)
{
    for (size_t i = 0; i < DIGESTS; i++)
        parts->digest[i] = make_digest(i);
    for (int i = 0; i < WIDE; i++) {
        struct meta_drive *d = &parts->drive[i];
        char name[32];
        snprintf(name, sizeof name, "d%d", i);
        *d = make_drive(w, name);
        d->slot = (uint8_t)(247 - i * 7);
        assert_ok(meta_drive_store(w->meta, d));
        parts->file[i] = make_node(w, d, d->root, "f", META_REG, 1);
    }
}

static void random_block(struct parts *parts, struct rng *rng, struct meta_stripe *s, int i)
{
    struct meta_block *b = &parts->block[s->blocks++];
    const struct meta_drive *d = &parts->drive[i];
    *b = (struct meta_block){d->id, d->slot, 0, rng_below(rng, 8), s->extents};
    uint64_t at = 0;
    for (size_t j = 0; j < b->extents; j++) {
        uint64_t leaves = 1 + rng_below(rng, 4);
        at += rng_below(rng, 3) * 1000; /* perhaps a gap */
        uint64_t bytes = (leaves - 1) * META_LEAF + 1 + rng_below(rng, META_LEAF);
        parts->extent[s->extents++] = (struct meta_extent){.drive = d->id,
            .node = rng_below(rng, 5) ? parts->file[i].id : 0,
            .place = at,
            .first = rng_below(rng, 1000),
            .leaves = leaves,
            .bytes = bytes,
            .version = rng_below(rng, 9),
            .state = (enum meta_extent_state)rng_below(rng, 5),
            .digests = &parts->digest[rng_below(rng, 4000)]};
        at += bytes;
    }
    b->length = at;
}

/* Of each drive nothing, a row, or a block. */
static void random_stripe(struct parts *parts, struct rng *rng, struct meta_stripe *s)
{
    s->block = parts->block;
    s->row = parts->row;
    s->extent = parts->extent;
    for (int i = WIDE; i-- > 0;) { /* downwards in drives is upwards in slots */
        if (rng_below(rng, 3) == 0)
            continue;
        if (rng_below(rng, 6) == 0 && s->rows < META_ROWS_MAX) {
            parts->row[s->rows] = (struct meta_row){(uint8_t)s->rows, parts->drive[i].id,
                (enum meta_row_state)rng_below(rng, 3), rng_next(rng) >> 2};
            s->rows++;
            continue;
        }
        random_block(parts, rng, s, i);
    }
}

/* Random images over many drives, whose slots are not in the order of their ids. */
static void round_trip(void **state)
{
    struct world *w = *state;
    struct rng rng = rng_seeded(__func__);
    static struct parts parts;
    struct meta_stripe old = {.id = 0};
    make_parts(w, &parts);
    for (int round = 0; round < 60; round++) {
        struct meta_stripe s = {.id = old.id,
            .uuid = old.uuid,
            .generation = old.generation + 1,
            .length = 40 * META_LEAF,
            .made = round,
            .scrubbed = -round};
        if (!s.id)
            assert_ok(mrmr_uuid_make(&s.uuid));
        random_stripe(&parts, &rng, &s);
        assert_ok(meta_stripe_store(w->meta, &s, old.generation, NULL, 0));
        meta_stripe_free(&old);
        assert_ok(meta_stripe_load(w->meta, s.id, &old));
        assert_same_stripe(&s, &old);
        assert_int_equal(world_int(w, "SELECT count(*) FROM extent"), s.extents);
    }
    assert_ok(meta_check(w->meta));
    int64_t id;
    assert_ok(meta_stripe_by_uuid(w->meta, &old.uuid, &id));
    assert_int_equal(id, old.id);
    assert_ok(meta_stripe_remove(w->meta, id));
    assert_err(meta_stripe_remove(w->meta, id), MRMR_NO_STRIPE);
    assert_err(meta_stripe_by_uuid(w->meta, &old.uuid, &id), MRMR_NO_STRIPE);
    struct meta_stripe got;
    assert_err(meta_stripe_load(w->meta, id, &got), MRMR_NO_STRIPE);
    assert_int_equal(
        world_int(w, "SELECT (SELECT count(*) FROM extent) + (SELECT count(*) FROM block)"
                     " + (SELECT count(*) FROM row)"),
        0);
    meta_stripe_free(&old);
    meta_stripe_free(&old);
}

/* --- What a store refuses, and that it leaves nothing behind --- */

static char *dump(struct world *w)
{
    struct mrmr_bytes all = MRMR_BYTES_INIT;
    sqlite3 *db;
    sqlite3_stmt *stmt;
    static const char *const sql[] = {"SELECT * FROM stripe", "SELECT * FROM block",
        "SELECT * FROM row", "SELECT * FROM extent", "SELECT * FROM exposed", "SELECT * FROM node"};
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    for (size_t i = 0; i < sizeof sql / sizeof *sql; i++) {
        assert_int_equal(sqlite3_prepare_v2(db, sql[i], -1, &stmt, NULL), SQLITE_OK);
        while (sqlite3_step(stmt) == SQLITE_ROW)
            for (int c = 0; c < sqlite3_column_count(stmt); c++) {
                const void *data = sqlite3_column_blob(stmt, c);
                for (int k = 0; k < sqlite3_column_bytes(stmt, c); k++)
                    assert_ok(mrmr_bytes_fmt(&all, "%02x", ((const uint8_t *)data)[k]));
                assert_ok(mrmr_bytes_str(&all, " "));
            }
        sqlite3_finalize(stmt);
    }
    sqlite3_close(db);
    return all.data;
}

enum {
    CLAIM_GONE,
    CLAIM_VERSION,
    CLAIM_COVERED,
    CLAIM_PARTLY,
    CLAIM_TWICE,
    CLAIM_GENERATION,
    CLAIMS
};

/* The second of two claims, or the generation that is returned, is not as it should be. */
static uint64_t spoil_claim(const struct fixture *fx, int which, struct meta_claim claim[2])
{
    switch (which) {
    case CLAIM_GONE:
        claim[1].node = 999;
        break;
    case CLAIM_VERSION:
        claim[1].version = 2;
        break;
    case CLAIM_COVERED:
        claim[1].node = fx->f[0].id;
        break;
    case CLAIM_PARTLY:
        claim[1].leaves = 4;
        break;
    case CLAIM_TWICE:
        claim[1] = (struct meta_claim){fx->f[3].id, 1, 2, 1};
        break;
    default:
        return 7;
    }
    return 1;
}

static void is_refused(
    struct world *w, const struct fixture *fx, int64_t id, int which, bool inside)
{
    struct meta_stripe s;
    struct meta_claim claim[2] = {{fx->f[3].id, 1, 0, 3}, {fx->f[4].id, 1, 0, 3}};
    const uint64_t expected = spoil_claim(fx, which, claim);
    assert_ok(meta_stripe_load(w->meta, id, &s));
    s.generation++;
    const int64_t extent_id = s.extent[0].id;
    char *before = dump(w);
    if (inside)
        assert_ok(meta_begin(w->meta));
    assert_err(meta_stripe_store(w->meta, &s, expected, claim, 2), MRMR_CHANGED);
    assert_int_equal(s.extent[0].id, extent_id);
    if (inside) /* the transaction lives, and nothing is in it */
        assert_ok(meta_commit(w->meta));
    char *after = dump(w);
    assert_string_equal(before, after);
    free(before);
    free(after);
    meta_stripe_free(&s);
}

static void claims_that_changed(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    int64_t id = plain_stripe(w, &fx);
    assert_int_equal(world_int(w, "SELECT count(*) FROM exposed"), 3); /* those claimed are gone */
    for (int inside = 0; inside < 2; inside++)
        for (int which = 0; which < CLAIMS; which++)
            is_refused(w, &fx, id, which, inside);
}

/* An extent of the image whose file was removed since. */
static void claim_beside_what_went(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    struct meta_stripe s;
    assert_ok(meta_stripe_load(w->meta, plain_stripe(w, &fx), &s));
    assert_ok(meta_name_remove(w->meta, fx.d[1].root, "f"));
    assert_ok(meta_node_remove(w->meta, fx.f[1].id));
    s.generation++;
    assert_err(meta_stripe_store(w->meta, &s, 1, NULL, 0), MRMR_CHANGED);
    meta_stripe_free(&s);
}

/* Only what it names is taken. */
static void claim_in_full(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    struct meta_stripe s;
    struct meta_exposed *ranges;
    size_t n;
    assert_ok(meta_stripe_load(w->meta, plain_stripe(w, &fx), &s));
    s.generation++;
    struct meta_claim claim = {fx.f[5].id, 1, 1, 1};
    assert_ok(meta_stripe_store(w->meta, &s, 1, &claim, 1));
    meta_stripe_free(&s);
    assert_ok(meta_exposed_of(w->meta, fx.f[5].id, &ranges, &n));
    assert_int_equal(n, 2);
    assert_int_equal(ranges[1].bytes, 100);
    free(ranges);
}

enum { SPOILT_NEW = 15, SPOILT };

/* One thing of it is not as it should be. */
static mrmr_err spoil(struct meta_stripe *s, int which)
{
    switch (which) {
    case 0:
        s->generation = 0;
        break;
    case 1:
        s->length = 10;
        break;
    case 2:
        s->block[1].slot = s->block[0].slot;
        break;
    case 3:
        s->block[1].drive = s->block[0].drive;
        break;
    case 4:
        s->block[0].extents = 2;
        break;
    case 5:
        s->blocks = 2;
        break;
    case 6:
        s->extent[1].drive = 1234;
        break;
    case 7:
        s->extent[1].leaves = 2;
        break;
    case 8:
        s->extent[1].place = UINT64_MAX;
        break;
    case 9:
        s->extent[1].state = (enum meta_extent_state)5;
        break;
    case 10:
        s->extent[1].digests = NULL;
        break;
    case 11:
        s->row[1].index = 0;
        break;
    case 12:
        s->row[1].drive = s->block[0].drive;
        break;
    case 13:
        s->row[1].index = META_ROWS_MAX;
        break;
    case 14:
        s->row[1].drive = 999;
        return MRMR_ABSENT;
    case SPOILT_NEW: /* with a generation before it */
        s->id = 0;
        break;
    }
    return MRMR_INVALID;
}

static void store_invalid(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    int64_t id = plain_stripe(w, &fx);
    char *before = dump(w);
    for (int which = 0; which < SPOILT; which++) {
        struct meta_stripe s;
        assert_ok(meta_stripe_load(w->meta, id, &s));
        s.generation = 2;
        const mrmr_err want = spoil(&s, which);
        assert_err(meta_stripe_store(w->meta, &s, 1, NULL, 0), want);
        if (which == SPOILT_NEW)
            assert_err(meta_stripe_store(w->meta, &s, 0, NULL, 0), MRMR_EXISTS); /* its uuid */
        meta_stripe_free(&s);
    }
    char *after = dump(w);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

/* --- Extents --- */

static void extents_of_a_file(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    plain_stripe(w, &fx);
    struct meta_extent *e;
    size_t n;
    int64_t node = fx.f[1].id;
    assert_ok(meta_extents_of(w->meta, node, &e, &n));
    assert_int_equal(n, 1);
    struct mrmr_digest want = make_digest(2);
    assert_memory_equal(&e->digests[2], &want, sizeof want);
    free(e);
    assert_ok(meta_extent_at(w->meta, node, 2, &e));
    assert_int_equal(e->bytes, 2 * META_LEAF + 100);
    free(e);
    assert_err(meta_extent_at(w->meta, node, 3, &e), MRMR_ABSENT);
    assert_err(meta_extent_at(w->meta, node, UINT64_MAX, &e), MRMR_ABSENT);
    assert_err(meta_extent_at(w->meta, fx.f[4].id, 0, &e), MRMR_ABSENT);
    assert_ok(meta_extents_mark(w->meta, node, META_GONE, META_LIVE)); /* none is GONE */
    assert_ok(meta_extents_mark(w->meta, node, META_LIVE, META_MISSING));
    assert_ok(meta_extent_at(w->meta, node, 0, &e));
    assert_int_equal(e->state, META_MISSING);
    free(e);
    assert_ok(meta_extents_mark(w->meta, node, META_MISSING, META_SUSPECT));
    assert_err(meta_extent_at(w->meta, node, 0, &e), MRMR_ABSENT);
    int64_t nodes[2];
    assert_ok(meta_suspects_after(w->meta, fx.d[1].id, 0, nodes, 2, &n));
    assert_int_equal(n, 1);
    assert_int_equal(nodes[0], node);
    assert_ok(meta_suspects_after(w->meta, fx.d[1].id, node, nodes, 2, &n));
    assert_int_equal(n, 0);
    assert_ok(meta_suspects_after(w->meta, fx.d[0].id, 0, nodes, 2, &n));
    assert_int_equal(n, 0);
    assert_err(
        meta_extents_mark(w->meta, node, META_LIVE, (enum meta_extent_state)9), MRMR_INVALID);
    assert_ok(meta_extents_of(w->meta, fx.f[4].id, &e, &n));
    assert_int_equal(n, 0);
    free(e);
}

/* Random verdicts on one extent of many leaves, against an array. */
static void judge(void **state)
{
    struct world *w = *state;
    struct rng rng = rng_seeded(__func__);
    struct meta_drive d[2] = {make_drive(w, "one"), make_drive(w, "two")};
    enum { LEAVES = 30 };
    struct meta_node f =
        make_node(w, &d[0], d[0].root, "f", META_REG, (LEAVES - 1) * META_LEAF + 9);
    make_exposed(w, &f);
    int64_t id = make_stripe(w, d, &f, 1, &d[1], 1);
    enum meta_extent_state now[LEAVES] = {META_LIVE};
    size_t n, pieces = 1;
    for (int step = 0; step < 200; step++) {
        struct meta_extent *e;
        assert_ok(meta_extents_of(w->meta, f.id, &e, &n));
        const struct meta_extent *one = &e[rng_below(&rng, n)];
        struct meta_verdict runs[LEAVES];
        size_t nruns = 0, distinct = 0;
        for (uint64_t at = 0; at < one->leaves; nruns++) {
            uint64_t leaves = 1 + rng_below(&rng, one->leaves - at);
            runs[nruns] =
                (struct meta_verdict){leaves, (enum meta_extent_state)rng_below(&rng, 5), false};
            distinct += !nruns || runs[nruns].state != runs[nruns - 1].state;
            for (uint64_t i = 0; i < leaves; i++)
                now[one->first + at + i] = runs[nruns].state;
            at += leaves;
        }
        assert_ok(meta_extent_judge(w->meta, one->id, runs, nruns));
        pieces += distinct - 1;
        runs[0].leaves++;
        assert_err(meta_extent_judge(w->meta, one->id, runs, nruns), MRMR_INVALID);
        free(e);

        struct meta_stripe s; /* which checks that pieces neither overlap nor leave the block */
        assert_ok(meta_stripe_load(w->meta, id, &s));
        assert_int_equal(s.extents, pieces);
        uint64_t leaf = 0;
        for (size_t i = 0; i < s.extents; i++) {
            assert_int_equal(s.extent[i].first, leaf);
            assert_int_equal(s.extent[i].place, leaf * META_LEAF);
            for (uint64_t k = 0; k < s.extent[i].leaves; k++, leaf++) {
                struct mrmr_digest want = make_digest(leaf);
                assert_int_equal(s.extent[i].state, now[leaf]);
                assert_memory_equal(&s.extent[i].digests[k], &want, sizeof want);
            }
            assert_int_equal(s.extent[i].bytes,
                s.extent[i].leaves * META_LEAF - (leaf == LEAVES ? META_LEAF - 9 : 0));
        }
        assert_int_equal(leaf, LEAVES);
        meta_stripe_free(&s);
    }
    struct meta_verdict all = {1, META_LIVE, false};
    assert_err(meta_extent_judge(w->meta, 99999, &all, 1), MRMR_ABSENT);
    assert_ok(meta_check(w->meta)); /* the block's count of extents with it */
}

/* --- Briefs and lists --- */

struct brief_list {
    struct meta_stripe_brief brief[8];
    size_t n;
};

static mrmr_err take_brief(const struct meta_stripe_brief *brief, void *arg)
{
    struct brief_list *list = arg;
    if (list->n == 8)
        return mrmr_fail(MRMR_CANCELLED, NULL);
    list->brief[list->n++] = *brief;
    return MRMR_OK;
}

static void briefs(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    int64_t a = plain_stripe(w, &fx);
    int64_t b = make_stripe(w, &fx.d[3], &fx.f[3], 1, &fx.d[0], 3);
    assert_ok(meta_extents_mark(w->meta, fx.f[1].id, META_LIVE, META_STALE));
    assert_ok(meta_extents_mark(w->meta, fx.f[2].id, META_LIVE, META_SUSPECT));
    static struct brief_list list;
    list.n = 0;
    assert_ok(meta_stripes(w->meta, take_brief, &list));
    assert_int_equal(list.n, 2);
    const struct meta_stripe_brief *x = &list.brief[0], *y = &list.brief[1];
    assert_int_equal(x->id, a);
    assert_int_equal(x->generation, 1);
    assert_int_equal(x->length, 2 * META_LEAF + 100);
    assert_int_equal(x->blocks, 3);
    assert_int_equal(x->rows, 2);
    assert_int_equal(x->wanted, 2);
    assert_int_equal(x->unwanted, 1);
    assert_int_equal(x->dirty_blocks, 1);
    assert_false(x->block[0].dirty || x->block[1].dirty);
    assert_true(x->block[2].dirty);
    assert_int_equal(x->block[2].drive, fx.d[2].id);
    assert_int_equal(x->block[2].length, 2 * META_LEAF + 100);
    assert_int_equal(x->row[1].drive, fx.d[4].id);
    assert_int_equal(x->row[1].index, 1);
    assert_int_equal(y->id, b);
    assert_int_equal(y->blocks, 1);
    assert_int_equal(y->rows, 3);
    assert_int_equal(y->wanted, 1);
    assert_int_equal(y->dirty_blocks + y->unwanted, 0);
    struct meta_stripe_brief one;
    assert_ok(meta_stripe_brief_get(w->meta, a, &one));
    assert_int_equal(one.wanted, 2);
    assert_int_equal(one.dirty_blocks, 1);
    assert_ok(meta_stripe_brief_get(w->meta, b, &one));
    assert_int_equal(one.rows, 3);
    assert_err(meta_stripe_brief_get(w->meta, 99, &one), MRMR_NO_STRIPE);
    list.n = 8;
    assert_err(meta_stripes(w->meta, take_brief, &list), MRMR_CANCELLED);

    struct meta_totals t;
    assert_ok(meta_totals(w->meta, 0, &t));
    assert_int_equal(t.nodes, 2 * DRIVES);
    assert_int_equal(t.files, DRIVES);
    assert_int_equal(t.file_bytes, DRIVES * (2 * META_LEAF + 100));
    assert_int_equal(t.stripes, 2);
    assert_int_equal(t.extents, 4);
    assert_int_equal(t.extent_bytes, 4 * (2 * META_LEAF + 100));
    assert_int_equal(t.unwanted_bytes, 2 * META_LEAF + 100);
    assert_int_equal(t.row_bytes, 5 * (2 * META_LEAF + 200));
    assert_ok(meta_totals(w->meta, fx.d[0].id, &t));
    assert_int_equal(t.nodes, 2);
    assert_int_equal(t.stripes, 2); /* a block of one, a row of the other */
    assert_int_equal(t.extents, 1);
    assert_int_equal(t.unwanted_bytes, 0);
    assert_int_equal(t.row_bytes, 2 * META_LEAF + 200);
    assert_ok(meta_totals(w->meta, fx.d[5].id, &t));
    assert_int_equal(t.stripes + t.extents + t.row_bytes, 0);
}

static void assert_mend(struct world *w, unsigned rows, int64_t want)
{
    int64_t ids[4];
    size_t n;
    assert_ok(meta_stripes_to_mend(w->meta, 0, rows, ids, 4, &n));
    assert_int_equal(n, want ? 1 : 0);
    if (want)
        assert_int_equal(ids[0], want);
}

struct two { /* stripes */
    struct fixture fx;
    int64_t a, b;
};

static struct two two_stripes(struct world *w)
{
    struct two two = {.fx = fixture(w)};
    two.a = plain_stripe(w, &two.fx);
    two.b = make_stripe(w, &two.fx.d[3], &two.fx.f[3], 1, &two.fx.d[0], 2);
    return two;
}

static void lists_to_mend(void **state)
{
    struct world *w = *state;
    struct two two = two_stripes(w);
    int64_t ids[4];
    size_t n;
    assert_mend(w, 2, 0);
    assert_ok(meta_stripes_to_mend(w->meta, 0, 1, ids, 4, &n));
    assert_int_equal(n, 2);
    assert_ok(meta_stripes_to_mend(w->meta, two.a, 1, ids, 4, &n));
    assert_int_equal(n, 1);
    static const enum meta_extent_state states[] = {
        META_MISSING, META_STALE, META_GONE, META_SUSPECT};
    for (int i = 0; i < 4; i++) {
        assert_ok(meta_extents_mark(w->meta, two.fx.f[2].id, META_LIVE, states[i]));
        assert_mend(w, 2, states[i] == META_SUSPECT ? 0 : two.a);
        assert_ok(meta_extents_mark(w->meta, two.fx.f[2].id, states[i], META_LIVE));
    }
}

static void lists_to_mend_by_rows(void **state)
{
    struct world *w = *state;
    struct two two = two_stripes(w);
    struct meta_row row = {1, two.fx.d[4].id, META_ROW_DAMAGED, 7};
    assert_ok(meta_row_store(w->meta, two.a, &row));
    assert_mend(w, 2, two.a);
    row.state = META_ROW_OK;
    assert_ok(meta_row_store(w->meta, two.a, &row));
    assert_mend(w, 2, 0);
    row.index = 2;
    assert_ok(meta_row_store(w->meta, two.b, &row));
    assert_mend(w, 2, two.b);
    assert_ok(meta_row_remove(w->meta, two.b, 2));
    assert_err(meta_row_remove(w->meta, two.b, 2), MRMR_ABSENT);
    assert_mend(w, 2, 0);
    row.index = META_ROWS_MAX;
    assert_err(meta_row_store(w->meta, two.b, &row), MRMR_INVALID);
    row.index = 0;
    assert_err(meta_row_store(w->meta, 999, &row), MRMR_ABSENT);
}

static void lists_to_scrub(void **state)
{
    struct world *w = *state;
    struct two two = two_stripes(w);
    int64_t ids[4];
    size_t n;
    assert_ok(meta_stripe_scrubbed(w->meta, two.a, 50));
    assert_err(meta_stripe_scrubbed(w->meta, 999, 50), MRMR_NO_STRIPE);
    assert_ok(meta_stripes_to_scrub(w->meta, INT64_MIN, 0, 100, ids, 4, &n));
    assert_int_equal(n, 2);
    assert_int_equal(ids[0], two.b); /* never scrubbed goes first */
    assert_int_equal(ids[1], two.a);
    assert_ok(meta_stripes_to_scrub(w->meta, INT64_MIN, 0, 50, ids, 4, &n));
    assert_int_equal(n, 1);
    assert_ok(meta_stripes_to_scrub(w->meta, 0, two.b, 100, ids, 4, &n));
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], two.a);
    assert_ok(meta_stripes_to_scrub(w->meta, 50, two.a, 100, ids, 4, &n));
    assert_int_equal(n, 0);
}

static void lists_of_a_drive(void **state)
{
    struct world *w = *state;
    struct two two = two_stripes(w);
    int64_t ids[4];
    size_t n;
    assert_ok(meta_stripes_of_drive(w->meta, two.fx.d[0].id, 0, ids, 4, &n)); /* block and row */
    assert_int_equal(n, 2);
    assert_ok(meta_stripes_of_drive(w->meta, two.fx.d[0].id, 0, ids, 1, &n));
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], two.a);
    assert_ok(meta_stripes_of_drive(w->meta, two.fx.d[3].id, two.a, ids, 4, &n));
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], two.b);
    assert_ok(meta_stripes_of_drive(w->meta, two.fx.d[5].id, 0, ids, 4, &n));
    assert_int_equal(n, 0);
}

/* --- Views: what a person asks with sqlite3 --- */

static void assert_view(struct world *w, const char *sql, const char *want)
{
    sqlite3 *db;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open(w->path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL))
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    struct mrmr_bytes got = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&got, ""));
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        for (int c = 0; c < sqlite3_column_count(stmt); c++) {
            const char *text = (const char *)sqlite3_column_text(stmt, c);
            assert_ok(mrmr_bytes_fmt(&got, "%s%s", c ? "|" : "", text ? text : "-"));
        }
        assert_ok(mrmr_bytes_str(&got, "\n"));
    }
    assert_string_equal(got.data, want);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    mrmr_bytes_free(&got);
}

static void present(struct world *w, struct meta_drive *d, bool is)
{
    d->present = is;
    assert_ok(meta_drive_store(w->meta, d));
}

static void views(void **state)
{
    struct world *w = *state;
    struct fixture fx = fixture(w);
    struct meta_node dir = make_node(w, &fx.d[0], fx.d[0].root, "dir", META_DIR, 0);
    make_node(w, &fx.d[0], dir.id, "empty", META_REG, 0);
    plain_stripe(w, &fx);
    assert_ok(meta_set(w->meta, "redundancy", "2"));
    static const char ask[] = "SELECT drive, path, protection, survives FROM file WHERE drive IN "
                              "('d0', 'd5') ORDER BY 1, 2";
    assert_view(w, ask, "d0|dir/empty|empty|-\nd0|f|protected|2\nd5|f|exposed|0\n");
    assert_view(w, "SELECT size, mtime, version, exposed FROM file WHERE drive = 'd5'",
        "2097252|2023-11-14 22:13:20|1|2097252\n");
    assert_view(w, "SELECT blocks, \"rows\", rows_intact, blocks_erased, margin FROM stripe_margin",
        "3|2|2|0|2\n");
    assert_view(w, "SELECT drive, path, exposed FROM exposed_file ORDER BY drive",
        "d3|f|2097252\nd4|f|2097252\nd5|f|2097252\n");
    assert_view(w,
        "SELECT drive, files, file_bytes, exposed_bytes, blocks, block_bytes, \"rows\", row_bytes "
        "FROM drive_usage WHERE drive IN ('d0', 'd3')",
        "d0|2|2097252|0|1|2097252|0|0\nd3|1|2097252|2097252|0|0|1|2097352\n");

    assert_ok(meta_set(w->meta, "redundancy", "3")); /* wanted, not made yet */
    assert_view(w, ask, "d0|dir/empty|empty|-\nd0|f|exposed|2\nd5|f|exposed|0\n");
    assert_ok(meta_set(w->meta, "redundancy", "2"));

    present(w, &fx.d[1], false); /* a block away: one margin less */
    present(w, &fx.d[5], false);
    assert_view(w, ask, "d0|dir/empty|empty|-\nd0|f|exposed|1\nd5|f|lost|-1\n");
    assert_view(w, "SELECT protection, survives FROM file WHERE drive = 'd1'", "degraded|1\n");
    present(w, &fx.d[3], false); /* and a row */
    assert_view(w, "SELECT protection, survives FROM file WHERE drive = 'd1'", "degraded|0\n");
    assert_ok(meta_extents_mark(w->meta, fx.f[2].id, META_LIVE, META_MISSING));
    assert_view(w, "SELECT margin FROM stripe_margin", "-1\n");
    assert_view(w,
        "SELECT drive, protection, survives FROM file WHERE drive IN ('d0', 'd1', 'd2') AND size > "
        "0"
        " ORDER BY drive",
        "d0|exposed|0\nd1|lost|-1\nd2|lost|-1\n");
    present(w, &fx.d[1], true);
    present(w, &fx.d[3], true);
    assert_view(w, "SELECT protection, survives FROM file WHERE drive = 'd2'", "degraded|1\n");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(round_trip),
        TEST(claims_that_changed),
        TEST(claim_beside_what_went),
        TEST(claim_in_full),
        TEST(store_invalid),
        TEST(extents_of_a_file),
        TEST(judge),
        TEST(briefs),
        TEST(lists_to_mend),
        TEST(lists_to_mend_by_rows),
        TEST(lists_to_scrub),
        TEST(lists_of_a_drive),
        TEST(views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
