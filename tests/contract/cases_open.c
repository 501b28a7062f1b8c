/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is done through an open file: parts of it, copies between files, attributes, files without a
 * name and names for them.
 */
#include "contract.h"
#include "tests/support/skip.h"

#define KIB UINT64_C(1024)

static const unsigned BOTH = DRV_OPEN_READ | DRV_OPEN_WRITE;

static struct drv_file *create(struct contract *c, const char *path)
{
    struct drv_file *file = NULL;
    assert_ok(drv_file_open(c->drv, path, BOTH | DRV_OPEN_CREATE, 0600, &file));
    return file;
}

static struct drv_file *open_file(struct contract *c, const char *path, unsigned flags)
{
    struct drv_file *file = NULL;
    assert_ok(drv_file_open(c->drv, path, flags, 0, &file));
    return file;
}

static void put(struct drv_file *file, uint64_t offset, size_t size, int byte)
{
    mrmr_autofree uint8_t *buf = malloc(size);
    memset(buf, byte, size);
    assert_ok(drv_file_write(file, offset, buf, size));
}

static void assert_bytes(struct drv_file *file, uint64_t offset, size_t size, int byte)
{
    mrmr_autofree uint8_t *buf = malloc(size);
    assert_ok(drv_file_read_exact(file, offset, buf, size));
    for (size_t i = 0; i < size; i++)
        if (buf[i] != byte)
            fail_msg("byte at %llu is %d, not %d", (unsigned long long)(offset + i), buf[i], byte);
}

static struct drv_stat file_stat(struct drv_file *file)
{
    struct drv_stat stat;
    assert_ok(drv_file_stat(file, &stat));
    return stat;
}

/* False: this drive cannot do it, and the file is as it was. */
static bool range(struct drv_file *file, enum drv_range what, uint64_t offset, uint64_t size)
{
    const uint64_t before = file_stat(file).size;
    mrmr_err err = drv_file_range(file, what, offset, size);
    if (err == MRMR_UNSUPPORTED) {
        assert_int_equal(file_stat(file).size, before);
        return false;
    }
    assert_err(err, MRMR_OK);
    return true;
}

/* --- parts --- */

static void room_is_reserved(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put(file, 0, 100, 5);
    if (range(file, DRV_RANGE_ALLOCATE_KEEP, 0, 1024 * KIB)) {
        assert_int_equal(file_stat(file).size, 100);
        assert_true(file_stat(file).allocated >= 1000 * KIB);
        uint64_t start, end;
        assert_ok(drv_file_next_data(file, 100, &start, &end));
        assert_int_equal(start, 100);
        assert_int_equal(end, 100);
    }
    if (range(file, DRV_RANGE_ALLOCATE, 2048 * KIB, 1024 * KIB)) {
        assert_int_equal(file_stat(file).size, 3072 * KIB);
        assert_bytes(file, 100, 3072 * KIB - 100, 0);
        assert_true(range(file, DRV_RANGE_ALLOCATE, 0, KIB));
        assert_int_equal(file_stat(file).size, 3072 * KIB);
    }
    assert_bytes(file, 0, 100, 5);
    drv_file_close(file);
}

static void holes_are_punched(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put(file, 0, 1024 * KIB, 5);
    assert_ok(drv_file_sync(file));
    if (range(file, DRV_RANGE_PUNCH, 256 * KIB + 10, 512 * KIB)) {
        assert_int_equal(file_stat(file).size, 1024 * KIB);
        assert_bytes(file, 0, 256 * KIB + 10, 5);
        assert_bytes(file, 256 * KIB + 10, 512 * KIB, 0);
        assert_bytes(file, 768 * KIB + 10, 256 * KIB - 10, 5);
        assert_ok(drv_file_sync(file));
        if (contract_can(c, DRV_CAP_SPARSE))
            assert_true(file_stat(file).allocated <= 640 * KIB);
        assert_true(range(file, DRV_RANGE_PUNCH, 1000 * KIB, 1000 * KIB));
        assert_int_equal(file_stat(file).size, 1024 * KIB);
        assert_true(range(file, DRV_RANGE_PUNCH, 11, 3)); /* less than a block */
        assert_bytes(file, 10, 1, 5);
        assert_bytes(file, 11, 3, 0);
        assert_bytes(file, 14, 1, 5);
    }
    drv_file_close(file);
}

static void ranges_are_zeroed(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = create(c, "f");
    put(file, 0, 100 * KIB, 5);
    if (range(file, DRV_RANGE_ZERO_KEEP, 50 * KIB + 1, 100 * KIB)) {
        assert_int_equal(file_stat(file).size, 100 * KIB);
        assert_bytes(file, 0, 50 * KIB + 1, 5);
        assert_bytes(file, 50 * KIB + 1, 50 * KIB - 1, 0);
    }
    if (range(file, DRV_RANGE_ZERO, 10 * KIB, 190 * KIB)) {
        assert_int_equal(file_stat(file).size, 200 * KIB);
        assert_bytes(file, 0, 10 * KIB, 5);
        assert_bytes(file, 10 * KIB, 190 * KIB, 0);
        assert_true(file_stat(file).allocated >= 190 * KIB);
    }
    drv_file_close(file);
}

static void ranges_are_checked(void **state)
{
    struct contract *c = *state;
    make_file(c, "f", "text");
    struct drv_file *file = open_file(c, "f", DRV_OPEN_READ);
    mrmr_err err = drv_file_range(file, DRV_RANGE_PUNCH, 0, 2);
    assert_true(err == MRMR_INVALID || err == MRMR_UNSUPPORTED);
    assert_err(drv_file_range(file, DRV_RANGE_ZERO, INT64_MAX, 2), MRMR_INVALID);
    assert_err(drv_file_range(file, (enum drv_range)99, 0, 2), MRMR_INVALID);
    drv_file_close(file);
    file = open_file(c, "f", DRV_OPEN_WRITE);
    assert_ok(drv_file_range(file, DRV_RANGE_PUNCH, 0, 0));
    drv_file_close(file);
    assert_text(c, "f", "text");
}

/* --- copies --- */

/* All of it, in as many pieces as it takes. */
static mrmr_err copy_all(struct drv_file *from, uint64_t from_offset, struct drv_file *to,
    uint64_t to_offset, uint64_t size)
{
    while (size) {
        uint64_t n = 0;
        MRMR_TRY(drv_file_copy(from, from_offset, to, to_offset, size, &n));
        assert_in_range(n, 1, size);
        from_offset += n;
        to_offset += n;
        size -= n;
    }
    return MRMR_OK;
}

static void bytes_are_copied(void **state)
{
    struct contract *c = *state;
    struct drv_file *from = create(c, "from"), *to = create(c, "to");
    enum { SIZE = 300001 };
    mrmr_autofree uint8_t *want = malloc(SIZE), *have = malloc(SIZE);
    uint64_t n = 99;
    fill(want, SIZE, 0, 3);
    assert_ok(drv_file_write(from, 0, want, SIZE));
    put(to, 0, 10, 9);
    mrmr_err err = copy_all(from, 1000, to, 5, SIZE - 1000);
    if (err != MRMR_UNSUPPORTED) {
        assert_err(err, MRMR_OK);
        assert_int_equal(file_stat(to).size, SIZE - 1000 + 5);
        assert_bytes(to, 0, 5, 9);
        assert_ok(drv_file_read_exact(to, 5, have, SIZE - 1000));
        assert_memory_equal(have, want + 1000, SIZE - 1000);
        assert_ok(drv_file_copy(from, SIZE, to, 0, 100, &n));
        assert_int_equal(n, 0);
        assert_ok(drv_file_copy(from, SIZE - 3, to, 0, 100, &n));
        assert_in_range(n, 1, 3);
        assert_ok(copy_all(from, 0, from, SIZE, 1000)); /* within one file */
        assert_ok(drv_file_read_exact(from, SIZE, have, 1000));
        assert_memory_equal(have, want, 1000);
        assert_err(drv_file_copy(from, 0, from, 10, 100, &n), MRMR_INVALID);
        drv_file_close(to);
        to = open_file(c, "to", DRV_OPEN_READ);
        assert_err(drv_file_copy(from, 0, to, 0, 100, &n), MRMR_INVALID);
    }
    assert_err(drv_file_copy(from, INT64_MAX, to, 0, 100, &n), MRMR_INVALID);
    drv_file_close(from);
    drv_file_close(to);
}

static void ranges_are_shared(void **state)
{
    struct contract *c = *state;
    struct drv_file *from = create(c, "from"), *to = create(c, "to");
    put(from, 0, 64 * KIB, 1);
    put(from, 64 * KIB, 64 * KIB, 2);
    put(from, 128 * KIB, 77, 3);
    put(to, 0, 192 * KIB, 9);
    mrmr_err err = drv_file_clone_range(from, 64 * KIB, to, 128 * KIB, 64 * KIB);
    assert_err(err, contract_can(c, DRV_CAP_REFLINK) ? MRMR_OK : MRMR_UNSUPPORTED);
    assert_bytes(to, 0, 128 * KIB, 9);
    assert_bytes(to, 128 * KIB, 64 * KIB, err ? 9 : 2);
    if (!err) {
        put(from, 64 * KIB, 10, 7); /* theirs are apart */
        assert_bytes(to, 128 * KIB, 64 * KIB, 2);
        assert_ok(drv_file_clone_range(from, 128 * KIB, to, 192 * KIB, 0));
        assert_int_equal(file_stat(to).size, 192 * KIB + 77);
        assert_bytes(to, 192 * KIB, 77, 3);
        assert_err(drv_file_clone_range(from, 1, to, 0, 64 * KIB), MRMR_UNSUPPORTED);
        assert_err(drv_file_clone_range(from, 0, from, 0, 64 * KIB), MRMR_UNSUPPORTED);
        assert_bytes(to, 0, 128 * KIB, 9);
    }
    drv_file_close(from);
    drv_file_close(to);
}

/* --- attributes --- */

/* Also when the name is gone, or is another file's. */
static void attributes_of_an_open_file(void **state)
{
    struct contract *c = *state;
    CONTRACT_NEEDS(c, DRV_CAP_NS_TIMES | DRV_CAP_MODE);
    const struct drv_stat attr = {.mode = 0640, .mtime = 1234567890123456789, .atime = 42};
    const unsigned what = DRV_ATTR_MODE | DRV_ATTR_MTIME | DRV_ATTR_ATIME;
    make_file(c, "f", "x");
    struct drv_file *file = open_file(c, "f", DRV_OPEN_READ);
    assert_err(drv_file_set_attr(file, 1 << 12, &attr), MRMR_INVALID);
    mrmr_err err = drv_file_set_attr(file, what, &attr);
    if (err != MRMR_UNSUPPORTED) {
        assert_err(err, MRMR_OK);
        assert_int_equal(stat_of(c, "f").mode, 0640);
        assert_int_equal(stat_of(c, "f").mtime, attr.mtime);
        assert_int_equal(stat_of(c, "f").atime, attr.atime);
        assert_ok(drv_unlink(c->drv, "f"));
        make_file(c, "f", "another");
        const struct drv_stat other = stat_of(c, "f");
        assert_ok(drv_file_set_attr(
            file, DRV_ATTR_MODE | DRV_ATTR_MTIME, &(struct drv_stat){.mode = 0600, .mtime = 5}));
        assert_int_equal(file_stat(file).mode, 0600);
        assert_int_equal(file_stat(file).mtime, 5);
        assert_int_equal(stat_of(c, "f").mode, other.mode);
        assert_int_equal(stat_of(c, "f").mtime, other.mtime);
    }
    drv_file_close(file);
}

/* --- files without a name --- */

static void files_without_a_name(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    assert_ok(drv_mkdir(c->drv, "d", 0755));
    make_file(c, "f", "x");
    mrmr_err err = drv_file_open_unnamed(c->drv, "d", BOTH, 0604, &file);
    if (err == MRMR_UNSUPPORTED)
        return;
    assert_err(err, MRMR_OK);
    assert_ok(drv_file_write(file, 0, "unnamed", 7));
    assert_int_equal(file_stat(file).nlink, 0);
    if (contract_can(c, DRV_CAP_MODE))
        assert_int_equal(file_stat(file).mode, 0604);
    assert_ok(drv_rmdir(c->drv, "d")); /* it is in no folder */
    assert_err(drv_file_link(file, "f"), MRMR_EXISTS);
    assert_err(drv_file_link(file, ""), MRMR_INVALID);
    assert_err(drv_file_link(file, "d/g"), MRMR_ABSENT);
    assert_ok(drv_file_link(file, "g"));
    assert_text(c, "g", "unnamed");
    assert_text(c, "f", "x");
    assert_int_equal(file_stat(file).nlink, 1);
    if (contract_can(c, DRV_CAP_HARDLINK)) {
        assert_ok(drv_file_link(file, "h"));
        assert_int_equal(stat_of(c, "h").ino, stat_of(c, "g").ino);
        assert_ok(drv_unlink(c->drv, "h"));
    }
    assert_ok(drv_unlink(c->drv, "g"));
    assert_err(drv_file_link(file, "g"), MRMR_ABSENT); /* its last name was removed */
    drv_file_close(file);
    file = NULL;
    assert_err(drv_file_open_unnamed(c->drv, "f", BOTH, 0600, &file), MRMR_NOT_DIR);
    assert_err(drv_file_open_unnamed(c->drv, "none", BOTH, 0600, &file), MRMR_ABSENT);
    assert_err(drv_file_open_unnamed(c->drv, "", DRV_OPEN_READ, 0600, &file), MRMR_INVALID);
    assert_null(file);
    assert_ok(drv_file_open_unnamed(c->drv, "", DRV_OPEN_WRITE, 0600, &file));
    drv_file_close(file);
}

static void opened_and_looked_at(void **state)
{
    struct contract *c = *state;
    struct drv_file *file = NULL;
    struct drv_stat stat = {.size = 1};
    assert_ok(drv_file_open_stat(c->drv, "f", BOTH | DRV_OPEN_CREATE, 0600, &file, &stat));
    assert_int_equal(stat.type, DRV_REG);
    assert_int_equal(stat.size, 0);
    assert_int_equal(stat.ino, stat_of(c, "f").ino);
    put(file, 0, 3, 'a');
    drv_file_close(file);
    file = NULL;
    assert_err(
        drv_file_open_stat(c->drv, "f", BOTH | DRV_OPEN_CREATE, 0600, &file, &stat), MRMR_EXISTS);
    assert_err(drv_file_open_stat(c->drv, "none", DRV_OPEN_READ, 0, &file, &stat), MRMR_ABSENT);
    assert_err(drv_file_open_stat(c->drv, "f", 0, 0, &file, &stat), MRMR_INVALID);
    assert_null(file);
    assert_ok(drv_file_open_stat(c->drv, "f", DRV_OPEN_READ, 0, &file, &stat));
    assert_int_equal(stat.size, 3);
    assert_bytes(file, 0, 3, 'a');
    drv_file_close(file);
}

/* What an op says of the folder is what is there after it. */
static void assert_folder(struct contract *c, const char *path, const struct drv_stat *said)
{
    const struct drv_stat is = stat_of(c, path);
    assert_int_equal(said->type, DRV_DIR);
    assert_int_equal(said->ino, is.ino);
    assert_int_equal(said->mtime, is.mtime);
    assert_int_equal(said->ctime, is.ctime);
}

static void made_and_opened(void **state)
{
    struct contract *c = *state;
    struct drv_named named = {.file = NULL};
    assert_ok(drv_mkdir(c->drv, "in", 0700));
    assert_ok(drv_file_make(c->drv, "in/f", 0600, &named));
    assert_folder(c, "in", &named.folder);
    assert_int_equal(named.stat.ino, stat_of(c, "in/f").ino);
    put(named.file, 0, 3, 'a');
    assert_bytes(named.file, 0, 3, 'a');
    drv_file_close(mrmr_steal(named.file));
    assert_err(drv_file_make(c->drv, "in/f", 0600, &named), MRMR_EXISTS);
    assert_err(drv_file_make(c->drv, "none/f", 0600, &named), MRMR_ABSENT);
    assert_null(named.file);
    assert_ok(drv_file_make(c->drv, "top", 0600, &named));
    assert_folder(c, "", &named.folder);
    drv_file_close(named.file);
}

/* The name goes from just that inode, and what had it can be read and written. */
static void taken_and_opened(void **state)
{
    struct contract *c = *state;
    struct drv_named named = {.file = NULL};
    CONTRACT_NEEDS(c, DRV_CAP_STABLE_INO);
    assert_ok(drv_mkdir(c->drv, "in", 0700));
    make_file(c, "in/f", "text");
    make_file(c, "in/g", "other");
    const uint64_t ino = stat_of(c, "in/f").ino;
    assert_err(drv_file_take(c->drv, "in/g", ino, &named), MRMR_CHANGED);
    assert_err(drv_file_take(c->drv, "in/none", ino, &named), MRMR_CHANGED);
    assert_err(drv_file_take(c->drv, "in", stat_of(c, "in").ino, &named), MRMR_CHANGED);
    assert_null(named.file);
    assert_text(c, "in/g", "other");
    assert_ok(drv_file_take(c->drv, "in/f", ino, &named));
    assert_absent(c, "in/f");
    assert_folder(c, "in", &named.folder);
    assert_int_equal(named.stat.ino, ino);
    assert_int_equal(named.stat.size, 4);
    assert_int_equal(named.flags, BOTH);
    put(named.file, 0, 2, 'x');
    assert_bytes(named.file, 0, 2, 'x');
    drv_file_close(named.file);
}

static void one_with_more_names_is_not_taken(void **state)
{
    struct contract *c = *state;
    struct drv_named named = {.file = NULL};
    CONTRACT_NEEDS(c, DRV_CAP_STABLE_INO | DRV_CAP_HARDLINK);
    make_file(c, "f", "text");
    assert_ok(drv_link(c->drv, "f", "g"));
    assert_err(drv_file_take(c->drv, "f", stat_of(c, "f").ino, &named), MRMR_CHANGED);
    assert_null(named.file);
    assert_text(c, "f", "text");
}

static void attributes_of_just_this_one(void **state)
{
    struct contract *c = *state;
    const struct drv_stat set = {.mtime = INT64_C(1000000000000000000)};
    CONTRACT_NEEDS(c, DRV_CAP_STABLE_INO);
    make_file(c, "f", "text");
    make_file(c, "g", "other");
    const struct drv_stat f = stat_of(c, "f"), g = stat_of(c, "g");
    struct drv_stat is = {.size = 1}, folder = f;
    folder.type = DRV_DIR;
    assert_err(drv_set_attr_of(c->drv, "f", &g, DRV_ATTR_MTIME, &set, &is), MRMR_CHANGED);
    assert_err(drv_set_attr_of(c->drv, "f", &folder, DRV_ATTR_MTIME, &set, &is), MRMR_CHANGED);
    assert_err(drv_set_attr_of(c->drv, "none", &f, DRV_ATTR_MTIME, &set, &is), MRMR_ABSENT);
    assert_int_equal(is.size, 1);
    assert_int_equal(stat_of(c, "f").mtime, f.mtime);
    assert_ok(drv_set_attr_of(c->drv, "f", &f, DRV_ATTR_MTIME, &set, &is));
    assert_int_equal(is.mtime, set.mtime);
    assert_int_equal(is.ino, f.ino);
    assert_int_equal(is.size, 4);
    assert_int_equal(stat_of(c, "f").mtime, set.mtime);
}

static void reads_to_the_end_are_sure(void **state)
{
    struct contract *c = *state;
    struct drv_file *file;
    char buf[16];
    size_t got;
    make_file(c, "f", "text");
    file = open_file(c, "f", DRV_OPEN_READ);
    assert_ok(drv_file_read_sure(file, 1, buf, sizeof buf, &got));
    assert_int_equal(got, 3);
    assert_memory_equal(buf, "ext", 3);
    assert_ok(drv_file_read_sure(file, 9, buf, sizeof buf, &got));
    assert_int_equal(got, 0);
    drv_file_close(file);
}

const struct CMUnitTest cases_open[] = {
    CASE(made_and_opened),
    CASE(taken_and_opened),
    CASE(one_with_more_names_is_not_taken),
    CASE(reads_to_the_end_are_sure),
    CASE(attributes_of_just_this_one),
    CASE(opened_and_looked_at),
    CASE(room_is_reserved),
    CASE(holes_are_punched),
    CASE(ranges_are_zeroed),
    CASE(ranges_are_checked),
    CASE(bytes_are_copied),
    CASE(ranges_are_shared),
    CASE(attributes_of_an_open_file),
    CASE(files_without_a_name),
};
const size_t cases_open_count = sizeof cases_open / sizeof *cases_open;
