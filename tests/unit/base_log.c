/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include "tests/unit/base_check.h"
#include <stdio.h>

struct seen {
    unsigned lines;
    enum mrmr_log_level level;
    char last[4096];
};

static void keep(enum mrmr_log_level level, const char *line, void *arg)
{
    struct seen *seen = arg;
    seen->lines++;
    seen->level = level;
    snprintf(seen->last, sizeof seen->last, "%s", line);
}

static int silence(void **state)
{
    (void)state;
    mrmr_log_set(NULL, NULL, MRMR_LOG_ERROR);
    return 0;
}

static void lines_up_to_the_level_reach_the_sink(void **state)
{
    (void)state;
    struct seen seen = {0};
    mrmr_log_set(keep, &seen, MRMR_LOG_INFO);
    mrmr_log(MRMR_LOG_INFO, "drive %s, %d files", "red", 3);
    assert_int_equal(seen.lines, 1);
    assert_int_equal(seen.level, MRMR_LOG_INFO);
    assert_string_equal(seen.last, "drive red, 3 files");
    mrmr_log(MRMR_LOG_DEBUG, "not this");
    assert_int_equal(seen.lines, 1);
    mrmr_log(MRMR_LOG_ERROR, "%s", "this");
    assert_int_equal(seen.lines, 2);
    mrmr_log_set(NULL, &seen, MRMR_LOG_DEBUG);
    mrmr_log(MRMR_LOG_ERROR, "dropped");
    assert_int_equal(seen.lines, 2);
}

static void a_story_is_logged_after_what_it_is_about(void **state)
{
    (void)state;
    struct seen seen = {0};
    mrmr_log_set(keep, &seen, MRMR_LOG_WARN);
    mrmr_fail(MRMR_OFFLINE, "cable");
    mrmr_err_drive(MRMR_OFFLINE, "red");
    mrmr_log_story(MRMR_LOG_WARN, "sync");
    assert_int_equal(seen.lines, 1);
    assert_memory_equal(seen.last, "sync: ", 6);
    assert_non_null(strstr(seen.last, "red"));
    assert_non_null(strstr(seen.last, "cable"));
}

static void a_name_begins_no_line(void **state)
{
    (void)state;
    struct seen seen = {0};
    mrmr_log_set(keep, &seen, MRMR_LOG_INFO);
    mrmr_log(
        MRMR_LOG_INFO, "%s was renamed to %s", "a\nmrmr: all is well\r", "\033[2J\177 \303\244\t");
    assert_int_equal(seen.lines, 1);
    assert_string_equal(seen.last, "a?mrmr: all is well? was renamed to ?[2J? \303\244?");
}

static void an_overlong_line_is_cut_not_lost(void **state)
{
    (void)state;
    struct seen seen = {0};
    mrmr_log_set(keep, &seen, MRMR_LOG_INFO);
    mrmr_log(MRMR_LOG_INFO, "%05000d", 1);
    assert_int_equal(seen.lines, 1);
    assert_in_range(strlen(seen.last), 1000, 4095);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(lines_up_to_the_level_reach_the_sink, silence),
        cmocka_unit_test_teardown(a_story_is_logged_after_what_it_is_about, silence),
        cmocka_unit_test_teardown(a_name_begins_no_line, silence),
        cmocka_unit_test_teardown(an_overlong_line_is_cut_not_lost, silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
