/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * .mrmr/drive: what is written is what is read; everything else is refused, whatever it is.
 */
#include "tests/unit/pool_drive_world.h"

#include <stdio.h>
#include <string.h>

#define GOOD                                                                                       \
    "format=1\n"                                                                                   \
    "pool=00112233-4455-6677-8899-aabbccddeeff\n"                                                  \
    "uuid=0f0e0d0c-0b0a-0908-0706-050403020100\n"                                                  \
    "name=disk%20one\n"                                                                            \
    "slot=247\n"                                                                                   \
    "session=12\n"                                                                                 \
    "token=000102030405060708090a0b0c0d0e0f\n"

static mrmr_err parse(const char *text, struct pool_identity *identity)
{
    return pool_identity_parse(text, strlen(text), identity);
}

static void test_parse(void **state)
{
    (void)state;
    struct pool_identity identity;
    assert_ok(parse(GOOD, &identity));
    assert_string_equal(identity.name, "disk one");
    assert_int_equal(identity.slot, 247);
    assert_int_equal(identity.session.number, 12);
    assert_int_equal(identity.session.token[15], 15);
    assert_int_equal(identity.pool.bytes[0], 0x00);
    assert_int_equal(identity.uuid.bytes[0], 0x0f);
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    assert_ok(pool_identity_print(&identity, &text));
    assert_string_equal(text.data, GOOD);
}

/* GOOD with the first `from` in it replaced. */
static char *with(const char *from, const char *to)
{
    const char *at = strstr(GOOD, from);
    assert_non_null(at);
    char *text = NULL;
    assert_true(asprintf(&text, "%.*s%s%s", (int)(at - GOOD), GOOD, to, at + strlen(from)) > 0);
    return text;
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        mrmr_err err;
    } bad[] = {
        {"format=1", "format=2", MRMR_NEWER},
        {"format=1", "format=0", MRMR_FORMAT},
        {"format=1", "format=", MRMR_FORMAT},
        {"format=1\n", "", MRMR_FORMAT},
        {"format=1\n", "format=1\nformat=1\n", MRMR_FORMAT},
        {"format=1\n", "format=1\nother=1\n", MRMR_FORMAT},
        {"format=1\n", "format=2\nother=1\n", MRMR_NEWER},
        {"format=1\n", "format=1\n\n", MRMR_FORMAT},
        {"pool=0011", "pool=001", MRMR_FORMAT},
        {"uuid=0f0e", "uuid=zzzz", MRMR_FORMAT},
        {"uuid=", "uuid", MRMR_FORMAT},
        {"name=disk%20one", "name=", MRMR_FORMAT},
        {"name=disk%20one", "name=disk%00one", MRMR_FORMAT},
        {"name=disk%20one", "name=disk one", MRMR_FORMAT},
        {"name=disk%20one", "name=0123456789012345678901234567890123456789012345678901234567890123",
            MRMR_FORMAT},
        {"slot=247", "slot=248", MRMR_FORMAT},
        {"slot=247", "slot=-1", MRMR_FORMAT},
        {"slot=247", "slot=99999999999999999999999", MRMR_FORMAT},
        {"session=12", "session=0", MRMR_FORMAT},
        {"session=12", "session=18446744073709551615", MRMR_FORMAT},
        {"session=12", "session=+1", MRMR_FORMAT},
        {"token=0001", "token=01", MRMR_FORMAT},
        {"token=0001", "token=000001", MRMR_FORMAT},
        {"token=0001", "token=00g1", MRMR_FORMAT},
        {"0f\n", "0f", MRMR_FORMAT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mrmr_autofree char *text = with(bad[i].from, bad[i].to);
        struct pool_identity identity = {.slot = 99};
        mrmr_err err = parse(text, &identity);
        if (err != bad[i].err)
            fail_msg("%s → %s: %s", bad[i].from, bad[i].to, mrmr_err_name(err));
        assert_int_equal(identity.slot, 99);
        assert_true(mrmr_story_get()->hint[0] != '\0');
    }
    struct pool_identity identity;
    assert_int_equal(parse("", &identity), MRMR_FORMAT);
    assert_int_equal(pool_identity_parse("format=1\n\0x=1\n", 14, &identity), MRMR_FORMAT);
}

/* Every prefix and every flipped byte: refused, or parsed; never out of bounds (the sanitizers
 * watch). */
static void test_damaged(void **state)
{
    (void)state;
    struct pool_identity identity;
    for (size_t n = 0; n < strlen(GOOD); n++)
        assert_int_equal(pool_identity_parse(GOOD, n, &identity), MRMR_FORMAT);
    for (size_t i = 0; i < strlen(GOOD); i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            char text[] = GOOD;
            text[i] = (char)(text[i] ^ (1 << bit));
            mrmr_err err = pool_identity_parse(text, strlen(GOOD), &identity);
            assert_true(err == MRMR_OK || err == MRMR_FORMAT || err == MRMR_NEWER);
        }
    }
}

static void write_raw(struct drv *drv, const char *data, size_t size)
{
    struct drv_file *file = NULL;
    assert_ok(
        drv_file_open(drv, POOL_IDENTITY_PATH, DRV_OPEN_WRITE | DRV_OPEN_CREATE, 0644, &file));
    assert_ok(drv_file_write(file, 0, data, size));
    drv_file_close(file);
}

static void test_on_drive(void **state)
{
    (void)state;
    struct drv *drv = NULL;
    struct pool_identity identity, again;
    assert_ok(drv_open("mem://identity", &drv));
    assert_int_equal(pool_identity_read(drv, &identity), MRMR_ABSENT);
    assert_ok(drv_mkdir(drv, ".mrmr", 0700));
    assert_int_equal(pool_identity_read(drv, &identity), MRMR_ABSENT);

    /* What a hostile or broken drive may have there. */
    assert_ok(drv_mkdir(drv, POOL_IDENTITY_PATH, 0700));
    assert_int_equal(pool_identity_read(drv, &identity), MRMR_FORMAT);
    assert_ok(drv_rmdir(drv, POOL_IDENTITY_PATH));
    assert_ok(drv_symlink(drv, "/etc/passwd", POOL_IDENTITY_PATH));
    assert_int_equal(pool_identity_read(drv, &identity), MRMR_FORMAT);
    assert_ok(drv_unlink(drv, POOL_IDENTITY_PATH));
    assert_ok(drv_mknod(drv, POOL_IDENTITY_PATH, DRV_FIFO, 0600, 0));
    assert_int_equal(pool_identity_read(drv, &identity), MRMR_FORMAT);
    assert_ok(drv_unlink(drv, POOL_IDENTITY_PATH));
    mrmr_autofree char *large = calloc(1, 1 << 20);
    memset(large, '\n', 1 << 20);
    write_raw(drv, large, 1 << 20);
    assert_int_equal(pool_identity_read(drv, &identity), MRMR_FORMAT);
    assert_ok(drv_unlink(drv, POOL_IDENTITY_PATH));

    assert_ok(parse(GOOD, &identity));
    snprintf(identity.name, sizeof identity.name, "d\xc3\xa9j\xc3\xa0 %%=");
    assert_ok(pool_identity_write(drv, &identity));
    assert_ok(pool_identity_read(drv, &again));
    assert_string_equal(again.name, identity.name);
    assert_true(pool_session_equal(&again.session, &identity.session));
    assert_true(mrmr_uuid_equal(&again.pool, &identity.pool));
    drv_close(drv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_on_drive),
    };
    return cmocka_run_group_tests_name("pool_drive_identity", tests, NULL, NULL);
}
