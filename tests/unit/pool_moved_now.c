/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What lies below a folder after many renames: the right names, each once, and no more work than to
 * sort them.
 */
#include "pool/records/moved.h"
#include "tests/support/rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RENAMES = 20000, LOOKS_EACH = 20 /* log2 of that, and some */, RANDOM = 400 };

static struct rig *rig;
static struct pool_drive *drive;
static char (*place)[64]; /* where each is now */
static size_t places;

static int setup(void **state)
{
    (void)state;
    rig = rig_create(&(struct rig_spec){.seed = rig_seed("pool_moved_now")});
    drive = rig_pool_drive(rig, 0);
    place = calloc(RENAMES, sizeof *place);
    places = 0;
    return place ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(place);
    rig_destroy(rig);
    return 0;
}

static void is_at(const char *prefix, size_t i, const char *suffix)
{
    snprintf(place[places++], sizeof *place, "%s%zu%s", prefix, i, suffix);
}

/* The catalog knows a file for each. */
static mrmr_err add_files(struct meta *meta, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < places; i++) {
        char name[32];
        struct meta_node node = {.drive = drive->meta.id, .type = META_REG, .nlink = 1};
        snprintf(name, sizeof name, "was%zu", i);
        MRMR_TRY(meta_node_add(meta, &node, drive->meta.root, name));
    }
    return MRMR_OK;
}

static struct pool_moved_now *now_of_all(void)
{
    struct pool_moved_now *now;
    int fd;
    rig_ok(meta_atomically(rig->pool->meta, add_files, NULL));
    rig_ok(pool_moved_open(rig->pool->dirfd, &fd));
    for (size_t i = 0; i < places; i++) {
        char name[32];
        snprintf(name, sizeof name, "was%zu", i);
        rig_ok(pool_moved_add(fd, drive->meta.id, name, place[i], POOL_MOVED_RENAME, false));
    }
    close(fd);
    rig_ok(pool_moved_now_create(rig->pool, drive->meta.id, drive->meta.root, &now));
    return now;
}

static size_t count(const struct mrmr_bytes *names)
{
    size_t n = 0;
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1)
        n++;
    return n;
}

static bool is_among(const struct mrmr_bytes *names, const char *name, size_t size)
{
    for (size_t at = 0; at < names->size; at += strlen(names->data + at) + 1)
        if (strlen(names->data + at) == size && memcmp(names->data + at, name, size) == 0)
            return true;
    return false;
}

static void test_many_renames(void **state)
{
    (void)state;
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    for (size_t i = 0; i < RENAMES / 2; i++)
        is_at("is/", i, "");
    for (size_t i = 0; i < RENAMES / 2; i++)
        is_at("made/", i, "/file");
    struct pool_moved_now *now = now_of_all();
    uint64_t before = pool_moved_now_looks(now);
    rig_ok(pool_moved_now_names(now, "is", &names));
    assert_int_equal(count(&names), RENAMES / 2);
    mrmr_bytes_free(&names);
    assert_true(pool_moved_now_looks(now) - before < (uint64_t)RENAMES / 2 * LOOKS_EACH);
    before = pool_moved_now_looks(now);
    rig_ok(pool_moved_now_names(now, "made", &names));
    assert_int_equal(count(&names), RENAMES / 2);
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) {
        char folder[64];
        snprintf(folder, sizeof folder, "made/%.40s", names.data + at);
        assert_true(pool_moved_now_leads(now, folder)); /* each is looked at in a listing */
    }
    mrmr_bytes_free(&names);
    assert_true(pool_moved_now_looks(now) - before < (uint64_t)RENAMES * LOOKS_EACH);
    pool_moved_now_destroy(now);
}

/* As one who looks at each place finds it. */
static void compare(const struct pool_moved_now *now, const char *folder)
{
    struct mrmr_bytes names = MRMR_BYTES_INIT;
    const size_t size = strlen(folder);
    size_t n = 0;
    bool leads = false;
    rig_ok(pool_moved_now_names(now, folder, &names));
    for (size_t i = 0; i < places; i++) {
        const char *rest = size ? place[i] + size + 1 : place[i];
        if (size && (strncmp(place[i], folder, size) != 0 || place[i][size] != '/'))
            continue;
        leads = true;
        assert_true(is_among(&names, rest, strcspn(rest, "/")));
        bool first = true;
        for (size_t j = 0; j < i && first; j++) {
            const char *other = size ? place[j] + size + 1 : place[j];
            first = (size && (strncmp(place[j], folder, size) != 0 || place[j][size] != '/')) ||
                    strcspn(other, "/") != strcspn(rest, "/") ||
                    memcmp(other, rest, strcspn(rest, "/")) != 0;
        }
        n += first;
    }
    assert_int_equal(count(&names), n);
    assert_int_equal(pool_moved_now_leads(now, folder), leads);
    mrmr_bytes_free(&names);
}

/* Names that begin alike, with what sorts before and after a slash. */
static void test_what_is_below(void **state)
{
    (void)state;
    static const char *const part[] = {"a", "a-", "a!b", "aa", "b", "a0", "\xff"};
    enum { PARTS = sizeof part / sizeof *part };
    char folder[64];
    for (unsigned i = 0; i < RANDOM; i++) {
        char prefix[40] = "";
        for (uint64_t depth = rig_random(rig, 4); depth; depth--) {
            strcat(prefix, part[rig_random(rig, PARTS)]);
            strcat(prefix, "/");
        }
        strcat(prefix, part[rig_random(rig, PARTS)]);
        strcat(prefix, "/");
        is_at(prefix, i, rig_random(rig, 2) ? "" : "/a");
    }
    struct pool_moved_now *now = now_of_all();
    compare(now, "");
    for (unsigned i = 0; i < PARTS; i++)
        for (unsigned j = 0; j <= PARTS; j++) {
            snprintf(folder, sizeof folder, "%s%s%s", part[i], j < PARTS ? "/" : "",
                j < PARTS ? part[j] : "");
            compare(now, folder);
        }
    compare(now, "nothing");
    pool_moved_now_destroy(now);
}

static mrmr_err add_one(struct meta *meta, void *arg)
{
    struct meta_node node = {.drive = drive->meta.id, .type = META_REG, .nlink = 1, .ino = 5};
    (void)arg;
    return meta_node_add(meta, &node, drive->meta.root, "a");
}

/* One name that went, and went again and again of what the catalog does not have by it: it went. */
static void test_many_went(void **state)
{
    struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct pool_moved_now *now;
    int fd;
    (void)state;
    rig_ok(meta_atomically(rig->pool->meta, add_one, NULL));
    rig_ok(pool_moved_open(rig->pool->dirfd, &fd));
    for (unsigned i = 0; i < RENAMES; i++)
        rig_ok(pool_moved_add_gone(fd, drive->meta.id, "a", POOL_MOVED_REMOVED, i ? 6 : 5, 0));
    close(fd);
    rig_ok(pool_moved_now_create(rig->pool, drive->meta.id, drive->meta.root, &now));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pool_moved_now_origin(now, "a", &path), MRMR_ABSENT);
        assert_int_equal(pool_moved_now_place(now, "a", &path), MRMR_ABSENT);
        rig_ok(pool_moved_now_origin(now, "b", &path));
    }
    mrmr_bytes_free(&path);
    pool_moved_now_destroy(now);
}

static void leads(const struct pool_moved_now *now, const char *path, const char *origin)
{
    struct mrmr_bytes got = MRMR_BYTES_INIT;
    rig_ok(pool_moved_now_origin(now, path, &got));
    assert_string_equal(got.data, origin);
    rig_ok(pool_moved_now_place(now, origin, &got));
    assert_string_equal(got.data, path);
    mrmr_bytes_free(&got);
}

static void renamed(
    int fd, const char *from, const char *to, enum pool_moved_kind kind, uint64_t a, uint64_t b)
{
    const uint64_t inodes[2] = {a, b};
    rig_ok(pool_moved_add_inodes(fd, drive->meta.id, from, to, kind, inodes, false));
}

static mrmr_err add_another(struct meta *meta, void *arg)
{
    struct meta_node node = {.drive = drive->meta.id, .type = META_REG, .nlink = 1, .ino = 6};
    struct meta_node folder = {.drive = drive->meta.id, .type = META_DIR, .nlink = 2, .ino = 8};
    struct meta_node in = {.drive = drive->meta.id, .type = META_REG, .nlink = 1, .ino = 7};
    (void)arg;
    MRMR_TRY(meta_node_add(meta, &node, drive->meta.root, "b"));
    MRMR_TRY(meta_node_add(meta, &folder, drive->meta.root, "f"));
    return meta_node_add(meta, &in, folder.id, "in");
}

/* What the catalog does not have says nothing of what it has at the same paths, however often it was renamed; but of what was moved into it
 * that it went along. */
static void test_what_is_unknown(void **state)
{
    struct mrmr_bytes path = MRMR_BYTES_INIT;
    struct pool_moved_now *now;
    int fd;
    (void)state;
    rig_ok(meta_atomically(rig->pool->meta, add_one, NULL));
    rig_ok(meta_atomically(rig->pool->meta, add_another, NULL));
    rig_ok(pool_moved_open(rig->pool->dirfd, &fd));
    for (unsigned i = 0; i < RENAMES; i++) /* 9 is nowhere */
        renamed(fd, i % 2 ? "b" : "a", i % 2 ? "a" : "b", POOL_MOVED_RENAME, 9, 0);
    renamed(fd, "a", "b", POOL_MOVED_EXCHANGE, 9, 10);
    rig_ok(pool_moved_now_create(rig->pool, drive->meta.id, drive->meta.root, &now));
    leads(now, "a", "a");
    leads(now, "b", "b");
    pool_moved_now_destroy(now);
    renamed(fd, "a", "made/a", POOL_MOVED_RENAME, 5, 0);
    renamed(fd, "made", "c", POOL_MOVED_RENAME, 9, 0);
    renamed(fd, "c", "d", POOL_MOVED_RENAME, 9, 0);
    renamed(fd, "f/in", "out", POOL_MOVED_RENAME, 7, 0);
    renamed(fd, "d", "f", POOL_MOVED_RENAME, 9, 0);
    close(fd);
    rig_ok(pool_moved_now_create(rig->pool, drive->meta.id, drive->meta.root, &now));
    leads(now, "f/a", "a");
    leads(now, "b", "b");
    leads(now, "c/other", "c/other"); /* in another c, */
    leads(now, "d/other", "d/other"); /* and in another d */
    leads(now, "out", "f/in");
    assert_int_equal(pool_moved_now_origin(now, "f/in", &path), MRMR_ABSENT);
    assert_int_equal(pool_moved_now_origin(now, "a", &path), MRMR_ABSENT);
    rig_ok(pool_moved_now_origin(now, "made/a", &path));
    assert_string_equal(path.data, "made/a"); /* which the catalog does not have */
    mrmr_bytes_free(&path);
    pool_moved_now_destroy(now);
}

/* What would take too long is not answered wrongly. */
static void test_too_much_is_an_error(void **state)
{
    struct mrmr_bytes path = MRMR_BYTES_INIT, deep = MRMR_BYTES_INIT;
    struct pool_moved_now *now;
    int fd;
    (void)state;
    rig_ok(meta_atomically(rig->pool->meta, add_one, NULL));
    rig_ok(pool_moved_open(rig->pool->dirfd, &fd));
    for (unsigned i = 0; i < 12000; i++)
        rig_ok(pool_moved_add(
            fd, drive->meta.id, i % 2 ? "b" : "a", i % 2 ? "a" : "b", POOL_MOVED_RENAME, false));
    close(fd);
    rig_ok(pool_moved_now_create(rig->pool, drive->meta.id, drive->meta.root, &now));
    rig_ok(mrmr_bytes_str(&deep, "a"));
    for (unsigned i = 0; i < 100; i++)
        rig_ok(mrmr_bytes_str(&deep, "/x"));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pool_moved_now_origin(now, deep.data, &path), MRMR_UNSUPPORTED);
        assert_int_equal(pool_moved_now_place(now, deep.data, &path), MRMR_UNSUPPORTED);
        rig_ok(pool_moved_now_origin(now, "a", &path));
    }
    mrmr_bytes_free(&path);
    mrmr_bytes_free(&deep);
    pool_moved_now_destroy(now);
}

int main(void)
{
#define now_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    static const struct CMUnitTest tests[] = {
        now_test(test_many_renames),
        now_test(test_what_is_below),
        now_test(test_many_went),
        now_test(test_what_is_unknown),
        now_test(test_too_much_is_an_error),
    };
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("pool_moved_now", tests, NULL, NULL);
}
