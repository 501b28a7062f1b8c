/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/base_check.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Every code and the class that decides what a caller does with it. */
static const struct {
    mrmr_err err;
    enum mrmr_class class;
} codes[] = {
    {MRMR_OK, MRMR_CLASS_OK},
    {MRMR_ABSENT, MRMR_CLASS_ABSENT},
    {MRMR_NO_DRIVE, MRMR_CLASS_ABSENT},
    {MRMR_NO_STRIPE, MRMR_CLASS_ABSENT},
    {MRMR_NO_ATTR, MRMR_CLASS_ABSENT},
    {MRMR_UNAVAILABLE, MRMR_CLASS_UNAVAILABLE},
    {MRMR_IO, MRMR_CLASS_UNAVAILABLE},
    {MRMR_OFFLINE, MRMR_CLASS_UNAVAILABLE},
    {MRMR_TIMEOUT, MRMR_CLASS_UNAVAILABLE},
    {MRMR_REFUSED, MRMR_CLASS_UNAVAILABLE},
    {MRMR_CORRUPT, MRMR_CLASS_CORRUPT},
    {MRMR_DIGEST, MRMR_CLASS_CORRUPT},
    {MRMR_FORMAT, MRMR_CLASS_CORRUPT},
    {MRMR_TRUNCATED, MRMR_CLASS_CORRUPT},
    {MRMR_LOST, MRMR_CLASS_CORRUPT},
    {MRMR_SPACE, MRMR_CLASS_SPACE},
    {MRMR_TOO_LARGE, MRMR_CLASS_SPACE},
    {MRMR_VALUE_TOO_LARGE, MRMR_CLASS_SPACE},
    {MRMR_DENIED, MRMR_CLASS_DENIED},
    {MRMR_READONLY, MRMR_CLASS_DENIED},
    {MRMR_CONFLICT, MRMR_CLASS_CONFLICT},
    {MRMR_EXISTS, MRMR_CLASS_CONFLICT},
    {MRMR_CHANGED, MRMR_CLASS_CONFLICT},
    {MRMR_DIVERGED, MRMR_CLASS_CONFLICT},
    {MRMR_BUSY, MRMR_CLASS_CONFLICT},
    {MRMR_HELD, MRMR_CLASS_CONFLICT},
    {MRMR_INVALID, MRMR_CLASS_INVALID},
    {MRMR_NAME_TOO_LONG, MRMR_CLASS_INVALID},
    {MRMR_NOT_DIR, MRMR_CLASS_INVALID},
    {MRMR_IS_DIR, MRMR_CLASS_INVALID},
    {MRMR_NOT_EMPTY, MRMR_CLASS_INVALID},
    {MRMR_LOOP, MRMR_CLASS_INVALID},
    {MRMR_UNSUPPORTED, MRMR_CLASS_UNSUPPORTED},
    {MRMR_CROSS_DEVICE, MRMR_CLASS_UNSUPPORTED},
    {MRMR_NEWER, MRMR_CLASS_UNSUPPORTED},
    {MRMR_CANCELLED, MRMR_CLASS_CANCELLED},
    {MRMR_NOMEM, MRMR_CLASS_MEMORY},
    {MRMR_NO_DESCRIPTORS, MRMR_CLASS_MEMORY},
    {MRMR_INTERNAL, MRMR_CLASS_INTERNAL},
};
enum { CODES = sizeof codes / sizeof *codes };

static void every_code_has_its_class_and_a_name_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODES; i++) {
        const char *name = mrmr_err_name(codes[i].err);
        assert_int_equal(mrmr_class_of(codes[i].err), codes[i].class);
        assert_string_not_equal(name, "unknown error");
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(name, mrmr_err_name(codes[j].err));
    }
    assert_string_equal(mrmr_err_name((mrmr_err)0x7fff), "unknown error");
}

static void absent_unavailable_and_corrupt_stay_apart(void **state)
{
    (void)state;
    static const struct {
        int posix;
        enum mrmr_class class;
    } cases[] = {
        {ENOENT, MRMR_CLASS_ABSENT}, {EIO, MRMR_CLASS_UNAVAILABLE},
        {ENODEV, MRMR_CLASS_UNAVAILABLE}, {ESTALE, MRMR_CLASS_UNAVAILABLE},
        {ETIMEDOUT, MRMR_CLASS_UNAVAILABLE}, {ENOTCONN, MRMR_CLASS_UNAVAILABLE},
        {ENODATA, MRMR_CLASS_UNAVAILABLE}, {ENOSPC, MRMR_CLASS_SPACE}, {EDQUOT, MRMR_CLASS_SPACE},
        {EACCES, MRMR_CLASS_DENIED}, {EROFS, MRMR_CLASS_DENIED}, {EEXIST, MRMR_CLASS_CONFLICT},
        {EXDEV, MRMR_CLASS_UNSUPPORTED}, {ENOMEM, MRMR_CLASS_MEMORY}, {EMFILE, MRMR_CLASS_MEMORY},
        {ENFILE, MRMR_CLASS_MEMORY}, {0, MRMR_CLASS_OK},
        {99999, MRMR_CLASS_UNAVAILABLE}, /* never taken for "absent" */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(mrmr_class_of(mrmr_err_from_errno(cases[i].posix)), cases[i].class);
}

/* By what the medium fails drives are judged; all else that a file system may say is of the one file. */
static void only_media_fail(void **state)
{
    static const int media[] = {EIO, EREMOTEIO, EUCLEAN, EBADMSG, ENODATA};
    static const int others[] = {ENOKEY, EKEYEXPIRED, EKEYREVOKED, EKEYREJECTED, ENOLCK, EOVERFLOW,
        EILSEQ, ERANGE, EDOM, 99999};
    (void)state;
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        assert_int_equal(mrmr_err_from_errno(media[i]), MRMR_IO);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(mrmr_err_from_errno(others[i]), MRMR_REFUSED);
    assert_int_equal(mrmr_err_to_errno(MRMR_REFUSED), EIO);
    assert_true(mrmr_of_one_thing(MRMR_IO) && mrmr_of_one_thing(MRMR_REFUSED));
    assert_false(mrmr_of_one_thing(MRMR_OFFLINE) || mrmr_of_one_thing(MRMR_TIMEOUT));
}

static void every_code_has_an_errno_and_only_ok_has_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < CODES; i++)
        assert_int_equal(mrmr_err_to_errno(codes[i].err) == 0, codes[i].err == MRMR_OK);
    assert_int_equal(mrmr_err_to_errno(MRMR_NO_ATTR), ENODATA);
    static const int round_trip[] = {ENOENT, EIO, ENOSPC, EACCES, EROFS, EEXIST, EBUSY, EINVAL,
        ENAMETOOLONG, ENOTDIR, EISDIR, ENOTEMPTY, ELOOP, EXDEV, ENOTSUP, EINTR, ENOMEM, EMFILE,
        ETIMEDOUT, EFBIG, E2BIG};
    for (size_t i = 0; i < sizeof round_trip / sizeof *round_trip; i++)
        assert_int_equal(mrmr_err_to_errno(mrmr_err_from_errno(round_trip[i])), round_trip[i]);
}

static void fail_starts_a_new_story(void **state)
{
    (void)state;
    assert_err(mrmr_fail(MRMR_DIGEST, "leaf %d", 7), MRMR_DIGEST);
    mrmr_err_drive(MRMR_DIGEST, "red");
    assert_err(mrmr_fail(MRMR_SPACE, NULL), MRMR_SPACE);
    const struct mrmr_story *story = mrmr_story_get();
    assert_int_equal(story->err, MRMR_SPACE);
    assert_string_equal(story->drive, "");
    assert_string_equal(story->text, "");
}

static void setters_fill_gaps_and_never_overwrite(void **state)
{
    (void)state;
    mrmr_fail(MRMR_DIGEST, "leaf 7");
    assert_err(mrmr_err_path(MRMR_DIGEST, "deep"), MRMR_DIGEST);
    mrmr_err_path(MRMR_DIGEST, "shallow");
    mrmr_err_op(MRMR_DIGEST, "read");
    mrmr_err_op(MRMR_DIGEST, "sync");
    mrmr_err_stripe(MRMR_DIGEST, "s1");
    mrmr_err_stripe(MRMR_DIGEST, "s2");
    mrmr_err_drive(MRMR_DIGEST, "red");
    mrmr_err_drive(MRMR_DIGEST, "blue");
    mrmr_err_hint(MRMR_DIGEST, "do %d", 1);
    mrmr_err_hint(MRMR_DIGEST, "do %d", 2);
    const struct mrmr_story *story = mrmr_story_get();
    assert_string_equal(story->path, "deep");
    assert_string_equal(story->op, "read");
    assert_string_equal(story->stripe, "s1");
    assert_string_equal(story->drive, "red");
    assert_string_equal(story->hint, "do 1");
    assert_string_equal(story->text, "leaf 7");
}

static void success_touches_no_story_and_cannot_be_a_failure(void **state)
{
    (void)state;
    mrmr_fail(MRMR_DIGEST, "leaf 7");
    assert_ok(mrmr_err_drive(MRMR_OK, "red"));
    assert_ok(mrmr_err_path(MRMR_OK, "a/b"));
    assert_ok(mrmr_err_stripe(MRMR_OK, "s1"));
    assert_ok(mrmr_err_op(MRMR_OK, "read"));
    assert_ok(mrmr_err_hint(MRMR_OK, "do %d", 1));
    const struct mrmr_story *story = mrmr_story_get();
    assert_string_equal(story->drive, "");
    assert_string_equal(story->path, "");
    assert_string_equal(story->stripe, "");
    assert_string_equal(story->op, "");
    assert_string_equal(story->hint, "");
    assert_err(mrmr_fail(MRMR_OK, "no error"), MRMR_INTERNAL);
}

static void a_story_may_be_told_with_parts_of_the_last_one(void **state)
{
    (void)state;
    mrmr_fail(MRMR_IO, "inner");
    mrmr_fail(MRMR_LOST, "outer after %s", mrmr_story_get()->text);
    assert_string_equal(mrmr_story_get()->text, "outer after inner");
}

static void fail_errno_keeps_the_foreign_code(void **state)
{
    (void)state;
    assert_err(mrmr_fail_errno(ENOSPC, "write", "a/b"), MRMR_SPACE);
    const struct mrmr_story *story = mrmr_story_get();
    assert_int_equal(story->foreign, ENOSPC);
    assert_string_equal(story->op, "write");
    assert_string_equal(story->path, "a/b");
    assert_string_not_equal(story->text, "");
    assert_err(
        mrmr_fail_errno(0, "write", NULL), MRMR_IO); /* a failure is never taken for success */
}

static void a_long_path_is_cut_in_the_middle(void **state)
{
    (void)state;
    char path[5000];
    memset(path, 'x', sizeof path);
    memcpy(path, "start/", 6);
    memcpy(path + sizeof path - 5, "/end", 5);
    mrmr_fail(MRMR_IO, NULL);
    mrmr_err_path(MRMR_IO, path);
    const char *kept = mrmr_story_get()->path;
    size_t length = strlen(kept);
    assert_int_equal(length, sizeof mrmr_story_get()->path - 1);
    assert_memory_equal(kept, "start/", 6);
    assert_string_equal(kept + length - 4, "/end");
    assert_non_null(strstr(kept, "..."));
}

static void print_names_thing_cause_and_next_step(void **state)
{
    (void)state;
    mrmr_fail(MRMR_DIGEST, "leaf 7 differs");
    mrmr_err_path(MRMR_DIGEST, "bad\033[2Jname\n");
    mrmr_err_drive(MRMR_DIGEST, "red");
    mrmr_err_hint(MRMR_DIGEST, "run scrub");
    char buf[300];
    assert_ptr_equal(mrmr_story_print(mrmr_story_get(), buf, sizeof buf), buf);
    assert_non_null(strstr(buf, "red"));
    assert_non_null(strstr(buf, "leaf 7 differs"));
    assert_non_null(strstr(buf, "run scrub"));
    assert_null(strchr(buf, '\033'));
    assert_null(strchr(buf, '\n'));
}

static void print_never_leaves_its_buffer(void **state)
{
    (void)state;
    mrmr_fail(MRMR_DIGEST, "leaf 7 differs");
    mrmr_err_drive(MRMR_DIGEST, "red");
    mrmr_err_hint(MRMR_DIGEST, "run scrub");
    for (size_t size = 1; size < 80; size++) {
        char *buf = malloc(size); /* of exactly that size, for the address sanitizer */
        assert_non_null(buf);
        mrmr_story_print(mrmr_story_get(), buf, size);
        assert_true(strlen(buf) < size);
        free(buf);
    }
    char untouched = 'x';
    mrmr_story_print(mrmr_story_get(), &untouched, 0);
    assert_int_equal(untouched, 'x');
}

static void *other_thread(void *arg)
{
    struct mrmr_story *saved = arg;
    if (mrmr_story_get()->err != MRMR_OK) /* the owner's story is not seen here */
        return NULL;
    mrmr_fail(MRMR_OFFLINE, "from the worker");
    mrmr_err_drive(MRMR_OFFLINE, "blue");
    mrmr_story_save(saved);
    return arg;
}

static void a_worker_hands_its_story_to_its_owner(void **state)
{
    (void)state;
    mrmr_fail(MRMR_SPACE, "of the owner");
    struct mrmr_story saved = {0};
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &saved), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &saved);
    assert_string_equal(mrmr_story_get()->text, "of the owner");
    assert_err(mrmr_story_restore(&saved), MRMR_OFFLINE);
    assert_string_equal(mrmr_story_get()->text, "from the worker");
    assert_string_equal(mrmr_story_get()->drive, "blue");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_class_and_a_name_of_its_own),
        cmocka_unit_test(absent_unavailable_and_corrupt_stay_apart),
        cmocka_unit_test(only_media_fail),
        cmocka_unit_test(every_code_has_an_errno_and_only_ok_has_none),
        cmocka_unit_test(fail_starts_a_new_story),
        cmocka_unit_test(setters_fill_gaps_and_never_overwrite),
        cmocka_unit_test(success_touches_no_story_and_cannot_be_a_failure),
        cmocka_unit_test(a_story_may_be_told_with_parts_of_the_last_one),
        cmocka_unit_test(fail_errno_keeps_the_foreign_code),
        cmocka_unit_test(a_long_path_is_cut_in_the_middle),
        cmocka_unit_test(print_names_thing_cause_and_next_step),
        cmocka_unit_test(print_never_leaves_its_buffer),
        cmocka_unit_test(a_worker_hands_its_story_to_its_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
