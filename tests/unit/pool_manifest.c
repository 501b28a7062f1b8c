/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/text.h"
#include "pool/drive/drive_text.h"
#include "pool/stripe/gzip.h"
#include "pool/stripe/manifest.h"

/* A pool with a catalog and two drives that nobody ever opens. */
struct fixture {
    struct pool pool;
    struct pool_drive drive[2], *_Atomic drives[2];
    char dir[64];
    int64_t node[8];
    unsigned nodes;
};

static void ok(mrmr_err err)
{
    char text[2048];
    if (err)
        fail_msg("%s", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

static void catalog_path(const struct fixture *f, const char *suffix, char path[128])
{
    snprintf(path, 128, "%s/catalog%s", f->dir, suffix);
}

static int begin(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char path[128];
    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/mrmr-manifest-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    catalog_path(f, "", path);
    ok(meta_open(path, META_CREATE, &f->pool.meta));
    ok(mrmr_uuid_make(&f->pool.uuid));
    ok(meta_begin(f->pool.meta));
    for (unsigned i = 0; i < 2; i++) {
        struct meta_drive *meta = &f->drive[i].meta;
        ok(mrmr_uuid_make(&meta->uuid));
        snprintf(meta->name, sizeof meta->name, i ? "the other" : "one");
        meta->uri = strdup("mem://nowhere");
        meta->slot = (uint8_t)(40 * i + 3);
        ok(meta_drive_add(f->pool.meta, meta));
        f->drives[i] = &f->drive[i];
    }
    ok(meta_commit(f->pool.meta));
    f->pool.drives = f->drives;
    f->pool.ndrives = 2;
    *state = f;
    return 0;
}

static int end(void **state)
{
    struct fixture *f = *state;
    static const char *const suffix[] = {"", "-wal", "-shm"};
    meta_close(f->pool.meta);
    for (unsigned i = 0; i < 3; i++) {
        char path[128];
        catalog_path(f, suffix[i], path);
        unlink(path);
    }
    assert_int_equal(rmdir(f->dir), 0);
    for (unsigned i = 0; i < 2; i++)
        free(f->drive[i].meta.uri);
    free(f);
    return 0;
}

static int64_t add(
    struct fixture *f, unsigned drive, int64_t parent, const char *name, enum meta_type type)
{
    struct meta_node node = {
        .drive = f->drive[drive].meta.id,
        .type = type,
        .mode = 0640,
        .uid = 1000,
        .gid = 100,
        .nlink = 1,
        .size = 5000000000,
        .mtime = -5,
        .version = 3,
    };
    ok(meta_node_add(f->pool.meta, &node, parent, name));
    return node.id;
}

static struct meta_extent extent(struct fixture *f, unsigned drive, int64_t node, uint64_t place,
    uint64_t first, uint64_t bytes, struct mrmr_digest *digests)
{
    struct meta_extent e = {.drive = f->drive[drive].meta.id,
        .node = node,
        .place = place,
        .first = first,
        .leaves = (bytes + META_LEAF - 1) / META_LEAF,
        .bytes = bytes,
        .version = 2,
        .digests = digests};
    for (uint64_t i = 0; i < e.leaves; i++)
        digests[i] = mrmr_digest_of(&e, sizeof e.id + i); /* any that differ */
    return e;
}

/* Body packed, then with a head before it, back to a manifest. */
static struct pool_manifest *back(const struct meta_stripe *stripe, const struct mrmr_bytes *body)
{
    struct mrmr_digest payload[4] = {{{1}}, {{2}}};
    struct pool_manifest head = {.stripe = stripe->uuid,
                             .generation = stripe->generation,
                             .length = stripe->length,
                             .row = 1,
                             .rows = 2,
                             .leaves = (stripe->length + META_LEAF - 1) / META_LEAF,
                             .payload = payload},
                         *m = NULL;
    struct mrmr_bytes text = MRMR_BYTES_INIT;
    struct pool_manifest_parser *parser;
    bool enough;
    assert_true(head.leaves <= 4);
    ok(pool_manifest_head(&head, &text));
    ok(pool_manifest_parser_create(POOL_MANIFEST_WHOLE, &parser));
    for (size_t i = 0; i < text.size; i++) /* byte by byte */
        ok(pool_manifest_parser_feed(parser, text.data + i, 1, &enough));
    mrmr_bytes_clear(&text);
    FILE *pipe; /* what a person would use */
    char name[] = "/tmp/mrmr-manifest-XXXXXX", command[128], line[4096];
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, body->data, body->size), body->size);
    close(fd);
    snprintf(command, sizeof command, "zcat < %s", name);
    assert_non_null(pipe = popen(command, "r"));
    while (fgets(line, sizeof line, pipe))
        ok(pool_manifest_parser_feed(parser, line, strlen(line), &enough));
    assert_int_equal(pclose(pipe), 0);
    unlink(name);
    ok(pool_manifest_parser_finish(parser, &m));
    pool_manifest_parser_destroy(parser);
    mrmr_bytes_free(&text);
    return m;
}

static void expect_path(struct pool_manifest *m, size_t extent_index, const char *path)
{
    const char *got = pool_manifest_path(m, &m->file[m->extent[extent_index].file]);
    if (path)
        assert_string_equal(got, path);
    else
        assert_null(got);
}

static void expect_first_file(struct fixture *f, const struct pool_manifest *m, int64_t id)
{
    struct meta_node node;
    assert_int_equal(m->file[0].id, id);
    assert_int_equal(m->file[0].size, 5000000000);
    assert_int_equal(m->file[0].mtime, -5);
    assert_int_equal(m->file[0].mode, 0640);
    assert_int_equal(m->file[0].uid, 1000);
    assert_int_equal(m->file[0].gid, 100);
    assert_int_equal(m->file[0].version, 3);
    ok(meta_node_get(f->pool.meta, id, &node));
    assert_int_equal(m->file[0].sequence, node.sequence);
}

/* The blocks and extents, and whose they are. */
static void expect_stripe(
    struct fixture *f, const struct pool_manifest *m, const struct meta_stripe *stripe)
{
    assert_int_equal(m->blocks, stripe->blocks);
    for (unsigned i = 0; i < stripe->blocks; i++) {
        const struct meta_block *block = &stripe->block[i];
        assert_int_equal(m->block[i].slot, block->slot);
        assert_int_equal(m->block[i].length, block->length);
        assert_int_equal(m->block[i].extents, block->extents);
        assert_int_equal(m->block[i].first_extent, block->first_extent);
        assert_true(mrmr_uuid_equal(&m->block[i].drive, &f->drive[i].meta.uuid));
        assert_string_equal(m->block[i].name, f->drive[i].meta.name);
    }
    assert_int_equal(m->extents, stripe->extents);
    for (unsigned i = 0; i < stripe->extents; i++) {
        const struct meta_extent *e = &stripe->extent[i];
        assert_int_equal(m->extent[i].place, e->place);
        assert_int_equal(m->extent[i].first, e->first);
        assert_int_equal(m->extent[i].bytes, e->bytes);
        assert_int_equal(m->extent[i].leaves, e->leaves);
        assert_int_equal(m->extent[i].version, 2);
        assert_int_equal(m->extent[i].state, e->state);
        assert_memory_equal(
            &m->digest[m->extent[i].digest], e->digests, e->leaves * sizeof *e->digests);
    }
}

static void test_build(void **state)
{
    struct fixture *f = *state;
    static struct mrmr_digest digest[5][4];
    ok(meta_begin(f->pool.meta));
    int64_t folder = add(f, 0, f->drive[0].meta.root, "new\nline %", META_DIR);
    int64_t plain = add(f, 0, folder, "f\xff", META_REG);
    int64_t question = add(f, 0, f->drive[0].meta.root, "?", META_REG);
    int64_t other = add(f, 1, f->drive[1].meta.root, "other", META_REG);
    ok(meta_commit(f->pool.meta));
    struct meta_extent e[5] = {
        extent(f, 0, plain, 0, 4, META_LEAF + 5, digest[0]),
        extent(f, 0, plain, META_LEAF + 5, 9, 17, digest[1]),
        extent(f, 0, question, META_LEAF + 100, 0, 1, digest[2]),
        extent(f, 1, other, 0, 0, 2 * META_LEAF, digest[3]),
        extent(f, 1, 0, 2 * META_LEAF, 0, 3, digest[4]),
    };
    e[1].state = META_MISSING;
    e[4].state = META_GONE;
    struct meta_block block[2] = {
        {.drive = f->drive[0].meta.id, .slot = 3, .length = META_LEAF + 101, .extents = 3},
        {.drive = f->drive[1].meta.id,
            .slot = 43,
            .length = 2 * META_LEAF + 3,
            .extents = 2,
            .first_extent = 3},
    };
    struct meta_stripe stripe = {.generation = 9,
        .length = 2 * META_LEAF + 3,
        .blocks = 2,
        .extents = 5,
        .block = block,
        .extent = e};
    ok(mrmr_uuid_make(&stripe.uuid));
    struct pool_superseded old[2] = {{stripe.uuid, 8}, {.generation = 4}};
    ok(mrmr_uuid_make(&old[1].stripe));
    struct mrmr_bytes body = MRMR_BYTES_INIT;
    ok(pool_manifest_build(&f->pool, &stripe, old, 2, &body));
    struct pool_manifest *m = back(&stripe, &body);
    assert_true(mrmr_uuid_equal(&m->pool, &f->pool.uuid));
    assert_true(mrmr_uuid_equal(&m->stripe, &stripe.uuid));
    assert_int_equal(m->superseded, 2);
    assert_true(mrmr_uuid_equal(&m->supersedes[1].stripe, &old[1].stripe));
    expect_stripe(f, m, &stripe);
    assert_int_equal(m->files, 4); /* two extents of one file name it once */
    expect_path(m, 0, "new\nline %/f\xff");
    expect_path(m, 1, "new\nline %/f\xff");
    expect_path(m, 2, "?");
    expect_path(m, 3, "other");
    expect_path(m, 4, NULL);
    expect_first_file(f, m, plain);
    assert_int_equal(m->file[3].id, 0);
    pool_manifest_free(m);
    mrmr_bytes_free(&body);
}

static void test_build_limits(void **state)
{
    struct fixture *f = *state;
    struct mrmr_digest digest;
    struct meta_extent e = extent(f, 0, 0, 0, 0, 1, &digest);
    struct meta_block block = {.drive = f->drive[0].meta.id, .slot = 3, .length = 1, .extents = 1};
    struct meta_stripe stripe = {
        .generation = 1, .length = 1, .blocks = 1, .extents = 1, .block = &block, .extent = &e};
    struct mrmr_bytes body = MRMR_BYTES_INIT;
    ok(pool_manifest_build(&f->pool, &stripe, NULL, 0, &body));
    mrmr_bytes_free(&body);
    stripe.extents = POOL_STRIPE_EXTENTS_MAX + 1;
    assert_int_equal(pool_manifest_build(&f->pool, &stripe, NULL, 0, &body), MRMR_SPACE);
    stripe.extents = 1;
    stripe.length = POOL_PARITY_LENGTH_MAX + 1;
    assert_int_equal(pool_manifest_build(&f->pool, &stripe, NULL, 0, &body), MRMR_INTERNAL);
    stripe.length = 1;
    block.drive = 999;
    assert_int_equal(pool_manifest_build(&f->pool, &stripe, NULL, 0, &body), MRMR_INTERNAL);
    assert_null(body.data);
}

/* The remembered folder gives the same paths as the catalog, in any order of nodes. */
static void test_paths(void **state)
{
    struct fixture *f = *state;
    int64_t node[60];
    ok(meta_begin(f->pool.meta));
    int64_t parent = f->drive[0].meta.root;
    for (unsigned i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%u", 59 - i);
        node[i] = add(f, 0, parent, name, i % 10 == 3 ? META_DIR : META_REG);
        if (i % 10 == 3)
            parent = node[i];
    }
    ok(meta_name_add(f->pool.meta, f->drive[0].meta.root, "a link", node[20]));
    ok(meta_name_add(f->pool.meta, parent, "z link", node[20]));
    ok(meta_commit(f->pool.meta));
    struct pool_paths paths = {0};
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 60; i++) {
            const char *path;
            struct mrmr_bytes want = MRMR_BYTES_INIT;
            int64_t id = node[round ? i * 37 % 60 : i];
            ok(meta_path(f->pool.meta, id, &want));
            ok(pool_paths_get(&f->pool, &paths, id, &path));
            assert_string_equal(path, want.data);
            mrmr_bytes_free(&want);
        }
    const char *untouched = "x", *path = untouched;
    assert_int_equal(pool_paths_get(&f->pool, &paths, 99999, &path), MRMR_ABSENT);
    assert_ptr_equal(path, untouched);
    ok(pool_paths_get(&f->pool, &paths, f->drive[0].meta.root, &path));
    assert_string_equal(path, "");
    pool_paths_free(&paths);
}

#define HEAD                                                                                       \
    "mrmr-parity 1\nstripe 3f9c0d2e-5b1a-4c7e-9f00-1234567890e1\ngeneration 7\nrow 0\nrows 1\n"    \
    "length 5\npayload 0123456789012345678901234567890123456789012345678901234567890123\n"
#define REST                                                                                       \
    "shared 3f9c0d2e-5b1a-4c7e-9f00-1234567890e1 7 5\n"                                            \
    "pool 3f9c0d2e-5b1a-4c7e-9f00-1234567890e1\n"                                                  \
    "block 0 3f9c0d2e-5b1a-4c7e-9f00-1234567890e1 5 d\nfile 1 1 1 5 0 0644 0 0 a\n"                \
    "extent 0 0 5 1 live\nleaf 0123456789012345678901234567890123456789012345678901234567890123\n" \
    "end\n"

/* Every beginning of a manifest is refused, whatever was cut off. */
static void test_cut(void **state)
{
    (void)state;
    const char text[] = HEAD REST;
    struct pool_manifest *m = NULL;
    for (size_t size = 0; size < sizeof text - 1; size++) {
        assert_int_equal(pool_manifest_parse(text, size, &m), MRMR_TRUNCATED);
        assert_null(m);
    }
    ok(pool_manifest_parse(text, sizeof text - 1, &m));
    pool_manifest_free(m);
}

/* Who wants the head only looks no further. */
static void test_head_only(void **state)
{
    (void)state;
    struct pool_manifest_parser *parser;
    struct pool_manifest *m = NULL;
    bool enough = false;
    ok(pool_manifest_parser_create(POOL_MANIFEST_HEAD, &parser));
    ok(pool_manifest_parser_feed(parser, HEAD, strlen(HEAD) - 1, &enough));
    assert_false(enough);
    assert_int_equal(pool_manifest_parser_finish(parser, &m), MRMR_TRUNCATED);
    ok(pool_manifest_parser_feed(parser, "\nwhat is this?\n", 15, &enough));
    assert_true(enough);
    ok(pool_manifest_parser_finish(parser, &m));
    assert_int_equal(m->leaves, 1);
    assert_int_equal(m->payload[0].bytes[1], 0x23);
    pool_manifest_parser_destroy(parser);
    pool_manifest_free(m);
}

static void test_story(void **state)
{
    (void)state;
    struct pool_manifest *m = NULL;
    assert_int_equal(pool_manifest_parse(HEAD "what\n", strlen(HEAD) + 5, &m), MRMR_FORMAT);
    assert_non_null(strstr(mrmr_story_get()->text, "line 8"));
}

static void test_gzip(void **state)
{
    (void)state;
    struct mrmr_bytes a = MRMR_BYTES_INIT, b = MRMR_BYTES_INIT;
    ok(pool_gzip_add(&a, "same", 4));
    ok(pool_gzip_add(&b, "same", 4));
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size); /* no time in it */
    ok(pool_gzip_add(&a, "", 0));
    assert_memory_equal(a.data, b.data, b.size); /* appended */
    mrmr_bytes_free(&a);
    mrmr_bytes_free(&b);
}

static mrmr_err count_text(const char *text, size_t size, bool *ret_enough, void *arg)
{
    (void)text;
    (void)ret_enough;
    *(size_t *)arg += size;
    return MRMR_OK;
}

/* A megabyte in a thousand bytes is unpacked up to the bound and no further. */
static void test_bomb(void **state)
{
    (void)state;
    struct mrmr_bytes bomb = MRMR_BYTES_INIT;
    char *zeros = calloc(1, 1 << 20);
    assert_non_null(zeros);
    ok(pool_gzip_add(&bomb, zeros, 1 << 20));
    for (unsigned i = 0; i < 2; i++) {
        struct pool_gunzip *gunzip;
        size_t got = 0, most = (1 << 20) - 1 + i;
        ok(pool_gunzip_create(most, count_text, &got, &gunzip));
        assert_int_equal(pool_gunzip_feed(gunzip, bomb.data, bomb.size), i ? MRMR_OK : MRMR_FORMAT);
        assert_true(got <= most);
        pool_gunzip_destroy(gunzip);
    }
    mrmr_bytes_free(&bomb);
    free(zeros);
}

/* The texts on the drive are for a terminal of 80 columns, and name every record and the formula.
 */
static void test_drive_texts(void **state)
{
    (void)state;
    static const char *const word[] = {"mrmr-parity 1", "stripe", "generation", "row J", "rows M",
        "length L", "payload DIGEST", "shared", "pool UUID", "supersedes", "block SLOT", "file ID",
        "extent PLACE", "leaf DIGEST", "end", "c(j, s) = y * inverse(j XOR y),  y = s + 8", "0x11d",
        "mrmr-row", "BLAKE2b"};
    const char *const text[] = {pool_drive_readme, pool_drive_format};
    for (size_t i = 0; i < sizeof word / sizeof *word; i++)
        assert_non_null(strstr(pool_drive_format, word[i]));
    for (unsigned i = 0; i < 2; i++) {
        size_t column = 0;
        for (const char *p = text[i]; *p; p++) {
            column = *p == '\n' ? 0 : column + 1;
            assert_true(column <= 80);
            assert_true(*p == '\n' || (*p >= ' ' && *p <= '~'));
        }
        assert_int_equal(column, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_build, begin, end),
        cmocka_unit_test_setup_teardown(test_build_limits, begin, end),
        cmocka_unit_test_setup_teardown(test_paths, begin, end),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_head_only),
        cmocka_unit_test(test_story),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_bomb),
        cmocka_unit_test(test_drive_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
