/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What the daemon makes of what its own jobs say: progress is kept, and the rest logged, the same once an hour, also of the next job.
 */
#include "tests/unit/base_check.h"
#include "tools/daemon_task.h"
#include "tools/mrmr.h"

#include "base/log.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t ahead;
int64_t __real_mrmr_clock_boot(void);
int64_t __wrap_mrmr_clock_boot(void);

int64_t __wrap_mrmr_clock_boot(void)
{
    return __real_mrmr_clock_boot() + ahead;
}

/* No command is begun here. */
const struct cmd *mrmr_command(const char *name)
{
    (void)name;
    return NULL;
}

static unsigned logged;

static void count(enum mrmr_log_level level, const char *line, void *arg)
{
    (void)level, (void)line, (void)arg;
    logged++;
}

/* How many lines are logged of what a job says. */
static unsigned says_of(struct daemon_task *task, enum daemon_task_kind kind, const char *text)
{
    int ends[2];
    logged = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
    close(ends[1]);
    task->kind = kind;
    task->says = ends[0];
    mrmr_log_set(count, NULL, MRMR_LOG_WARN);
    daemon_task_hear(task);
    mrmr_log_set(NULL, NULL, MRMR_LOG_WARN);
    return logged;
}

static unsigned says(struct daemon_task *task, const char *text)
{
    return says_of(task, TASK_SYNC, text);
}

static void test_what_is_said_again(void **state)
{
    static const char busy[] = "mrmr: the pool is busy: mrmr sync (process 4711)\n";
    struct daemon_task task = {.says = -1};
    (void)state;
    assert_int_equal(says(&task, busy), 1);
    daemon_task_clear(&task);
    assert_int_equal(says(&task, "mrmr: the pool is busy: mrmr sync (process 815)\n"), 0);
    assert_int_equal(says(&task, "mrmr: warning: file 'a' is skipped\nmrmr: other\n"), 2);
    ahead = INT64_C(3700) * 1000000000;
    daemon_task_clear(&task);
    assert_int_equal(says(&task, busy), 1);
    assert_int_equal(says(&task, busy), 0);
    daemon_task_clear(&task);
}

static void test_how_long_it_looked(void **state)
{
    struct daemon_task task = {.says = -1};
    (void)state;
    assert_int_equal(says(&task, "mrmr: looking: 1234 ms\n"), 0);
    assert_int_equal(task.looking / 1000000, 1234);
    assert_int_equal(says(&task, "mrmr: looking: glass ms\nmrmr: looking:  ms\n"), 2);
    assert_int_equal(task.looking / 1000000, 1234);
    daemon_task_clear(&task);
    assert_int_equal(task.looking, 0);
}

static void test_how_much_it_scrubbed(void **state)
{
    struct daemon_task task = {.says = -1};
    (void)state;
    assert_int_equal(says(&task, "mrmr: scrubbed: 12 stripes\n"), 0);
    assert_int_equal(task.scrubbed, 12);
    assert_int_equal(says(&task, "mrmr: scrubbed: 12 plates\nmrmr: scrubbed: -1 stripes\n"), 2);
    assert_int_equal(task.scrubbed, 12);
    assert_false(task.scrubbed_all);
    assert_int_equal(says_of(&task, TASK_SCRUB, "mrmr: all of the part is scrubbed\n"), 0);
    assert_true(task.scrubbed_all);
    daemon_task_clear(&task);
    assert_true(task.scrubbed == 0 && !task.scrubbed_all);
}

static void test_progress(void **state)
{
    struct daemon_task task = {.says = -1};
    (void)state;
    assert_int_equal(says(&task, "mrmr: scan: 5 entries\nmrmr: protect: 40%, 2 GB of 5 GB\n"), 0);
    assert_string_equal(task.progress, "protect: 40%, 2 GB of 5 GB");
    daemon_task_clear(&task);
    assert_string_equal(task.progress, "");
    assert_int_equal(says_of(&task, TASK_CALLER, "mrmr: mend: 3 stripes\nmrmr: other\n"), 0);
    assert_string_equal(task.progress, "mend: 3 stripes");
    daemon_task_clear(&task);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_is_said_again),
        cmocka_unit_test(test_how_long_it_looked), cmocka_unit_test(test_how_much_it_scrubbed),
        cmocka_unit_test(test_progress)};
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("tools_daemon_task", tests, NULL, NULL);
}
