/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/durable.h"

#include "base/cleanup.h"
#include "tests/unit/base_check.h"
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct folder {
    char path[64];
    int fd;
};

static int make_folder(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    if (!folder)
        return -1;
    strcpy(folder->path, "/tmp/mrmr-durable-XXXXXX");
    *state = folder;
    if (!mkdtemp(folder->path))
        return -1;
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder->fd < 0 ? -1 : 0;
}

/* How many names the folder holds; with remove they are removed on the way. */
static unsigned names(const struct folder *folder, bool remove)
{
    unsigned found = 0;
    DIR *dir = opendir(folder->path);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        found++;
        if (remove && unlinkat(folder->fd, entry->d_name, 0) < 0)
            assert_return_code(unlinkat(folder->fd, entry->d_name, AT_REMOVEDIR), errno);
    }
    closedir(dir);
    return found;
}

static int drop_folder(void **state)
{
    struct folder *folder = *state;
    names(folder, true);
    close(folder->fd);
    int result = rmdir(folder->path);
    free(folder);
    return result;
}

static void assert_content(
    const struct folder *folder, const char *name, const void *want, size_t size)
{
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_durable_read(folder->fd, name, size, &b));
    assert_int_equal(b.size, size);
    if (size)
        assert_memory_equal(b.data, want, size);
}

static void a_new_file_has_content_and_mode_and_nothing_is_left(void **state)
{
    struct folder *folder = *state;
    mode_t mask = umask(022);
    assert_ok(mrmr_durable_replace(folder->fd, "one", "hello", 5, 0640));
    umask(mask);
    struct stat st;
    assert_int_equal(fstatat(folder->fd, "one", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_content(folder, "one", "hello", 5);
    assert_int_equal(names(folder, false), 1);
}

static void a_replaced_file_is_all_new(void **state)
{
    struct folder *folder = *state;
    size_t size = 300000;
    mrmr_autofree char *big = malloc(size);
    assert_non_null(big);
    for (size_t i = 0; i < size; i++)
        big[i] = (char)(i * 31 % 253);
    assert_ok(mrmr_durable_replace(folder->fd, "one", big, size, 0600));
    assert_content(folder, "one", big, size);
    assert_ok(mrmr_durable_replace(folder->fd, "one", "x", 1, 0600));
    assert_content(folder, "one", "x", 1);
    assert_ok(mrmr_durable_replace(folder->fd, "one", NULL, 0, 0600));
    assert_content(folder, "one", "", 0);
    assert_int_equal(names(folder, false), 1);
}

static void who_has_the_old_file_open_keeps_its_bytes(void **state)
{
    struct folder *folder = *state;
    assert_ok(mrmr_durable_replace(folder->fd, "one", "old", 3, 0600));
    mrmr_autoclose int fd = openat(folder->fd, "one", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(mrmr_durable_replace(folder->fd, "one", "new!", 4, 0600));
    char got[8] = "";
    assert_int_equal(read(fd, got, sizeof got), 3);
    assert_memory_equal(got, "old", 3);
}

static void a_leftover_temp_of_a_crash_is_no_obstacle(void **state)
{
    struct folder *folder = *state;
    assert_ok(mrmr_durable_replace(folder->fd, ".one.new", "longer than what comes", 22, 0600));
    assert_ok(mrmr_durable_replace(folder->fd, "one", "fresh", 5, 0600));
    assert_content(folder, "one", "fresh", 5);
    assert_int_equal(names(folder, false), 1);
}

static void a_planted_symlink_is_not_followed(void **state)
{
    struct folder *folder = *state;
    assert_ok(mrmr_durable_replace(folder->fd, "victim", "precious", 8, 0600));
    assert_int_equal(symlinkat("victim", folder->fd, ".one.new"), 0);
    assert_err(mrmr_durable_replace(folder->fd, "one", "x", 1, 0600), MRMR_LOOP);
    assert_content(folder, "victim", "precious", 8);
    assert_int_equal(symlinkat("victim", folder->fd, "link"), 0);
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_err(mrmr_durable_read(folder->fd, "link", 100, &b), MRMR_LOOP);
    assert_ok(
        mrmr_durable_replace(folder->fd, "link", "mine", 4, 0600)); /* replaces the link itself */
    assert_content(folder, "link", "mine", 4);
    assert_content(folder, "victim", "precious", 8);
}

/* The file size limit stands in for a full disk: the write stops half way, with EFBIG. */
static void a_failed_write_leaves_the_old_file(void **state)
{
    struct folder *folder = *state;
    static char big[100000];
    struct rlimit before, small;
    assert_ok(mrmr_durable_replace(folder->fd, "one", "old", 3, 0600));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 8192, .rlim_max = before.rlim_max};
    sighandler_t handler = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    mrmr_err err = mrmr_durable_replace(folder->fd, "one", big, sizeof big, 0600);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_err(err, MRMR_TOO_LARGE);
    assert_content(folder, "one", "old", 3);
    assert_int_equal(names(folder, false), 1);
}

static void a_failed_rename_leaves_no_temp(void **state)
{
    struct folder *folder = *state;
    assert_int_equal(mkdirat(folder->fd, "one", 0700), 0);
    assert_err(mrmr_durable_replace(folder->fd, "one", "x", 1, 0600), MRMR_IS_DIR);
    assert_int_equal(names(folder, false), 1);
}

static void errors_name_the_file(void **state)
{
    struct folder *folder = *state;
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_err(mrmr_durable_read(folder->fd, "nowhere", 100, &b), MRMR_ABSENT);
    assert_string_equal(mrmr_story_get()->path, "nowhere");
    assert_err(mrmr_durable_read(folder->fd, ".", 100, &b), MRMR_IS_DIR);
    char name[400];
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_err(mrmr_durable_replace(folder->fd, name, "x", 1, 0600), MRMR_NAME_TOO_LONG);
    assert_err(mrmr_durable_replace(folder->fd, "no/folder", "x", 1, 0600), MRMR_ABSENT);
    assert_int_equal(names(folder, false), 0);
}

static void read_appends_and_is_bounded(void **state)
{
    struct folder *folder = *state;
    static char big[10000];
    memset(big, 'b', sizeof big);
    assert_ok(mrmr_durable_replace(folder->fd, "big", big, sizeof big, 0600));
    mrmr_autobytes struct mrmr_bytes b = MRMR_BYTES_INIT;
    assert_ok(mrmr_bytes_str(&b, "before "));
    assert_err(mrmr_durable_read(folder->fd, "big", sizeof big - 1, &b), MRMR_SPACE);
    assert_string_equal(b.data, "before ");
    assert_int_equal(b.size, 7);
    assert_ok(mrmr_durable_read(folder->fd, "big", sizeof big, &b));
    assert_int_equal(b.size, 7 + sizeof big);
    assert_memory_equal(b.data + 7, big, sizeof big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, drop_folder)
        TEST(a_new_file_has_content_and_mode_and_nothing_is_left),
        TEST(a_replaced_file_is_all_new),
        TEST(who_has_the_old_file_open_keeps_its_bytes),
        TEST(a_leftover_temp_of_a_crash_is_no_obstacle),
        TEST(a_planted_symlink_is_not_followed),
        TEST(a_failed_write_leaves_the_old_file),
        TEST(a_failed_rename_leaves_no_temp),
        TEST(errors_name_the_file),
        TEST(read_appends_and_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
