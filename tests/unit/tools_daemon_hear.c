/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Who hears of changes for the daemon ends, again and again: another one is begun after a minute, and that is said, once an hour.
 */
#include "tests/unit/base_check.h"
#include "tools/daemon_inside.h"
#include "tools/mrmr.h"

#include "base/clock.h"
#include "base/log.h"
#include <stdlib.h>

static int64_t ahead; /* s */
static unsigned logged, begun;
int64_t __real_mrmr_clock_boot(void);
int64_t __wrap_mrmr_clock_boot(void);

int64_t __wrap_mrmr_clock_boot(void)
{
    return __real_mrmr_clock_boot() + ahead * MRMR_NS_PER_S;
}

/* --- the rest of the daemon --- */

const struct cmd *mrmr_command(const char *name)
{
    (void)name;
    return NULL;
}

struct caller *daemon_caller_waits(const struct daemon *d)
{
    (void)d;
    return NULL;
}

void daemon_worker_changed(struct daemon *d)
{
    (void)d;
}

mrmr_err daemon_own_begin(const struct daemon *d, struct daemon_task *task,
    enum daemon_task_kind kind, const char *name, const char *const words[])
{
    (void)d, (void)name, (void)words;
    task->kind = kind;
    begun++;
    return MRMR_OK;
}

static void count(enum mrmr_log_level level, const char *line, void *arg)
{
    (void)level, (void)arg;
    logged += strstr(line, "hearing of changes has ended") != NULL;
}

/* --- */

/* One is begun, and ends by itself. */
static void ends(struct daemon *d)
{
    const unsigned before = begun;
    daemon_hear_next(d);
    assert_int_equal(begun, before + 1);
    daemon_hear_ended(d);
    daemon_hear_next(d);
    assert_int_equal(begun, before + 1);
    assert_true(daemon_hear_due(d) > mrmr_clock_boot());
    ahead += 61;
}

static void test_it_ends_again_and_again(void **state)
{
    struct daemon d = {.task = {.says = -1}, .hear = {.says = -1}};
    (void)state;
    mrmr_log_set(count, NULL, MRMR_LOG_WARN);
    for (unsigned i = 0; i < 50; i++)
        ends(&d);
    assert_int_equal(logged, 1);
    ahead += 3600;
    ends(&d);
    ends(&d);
    mrmr_log_set(NULL, NULL, MRMR_LOG_WARN);
    assert_int_equal(logged, 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_it_ends_again_and_again)};
    cmocka_set_test_filter(getenv("MRMR_TEST"));
    return cmocka_run_group_tests_name("tools_daemon_hear", tests, NULL, NULL);
}
