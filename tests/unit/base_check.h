/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What every test of base/ includes: cmocka with the headers it asks for, and two assertions on
 * mrmr_err that show the story of an unexpected error.
 */
#ifndef MRMR_TESTS_UNIT_BASE_CHECK_H
#define MRMR_TESTS_UNIT_BASE_CHECK_H

#include "base/err.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static inline void check_err(
    mrmr_err got, mrmr_err want, const char *expr, const char *file, int line)
{
    if (got == want)
        return;
    char story[1024];
    print_error("%s gave '%s' where '%s' was expected; the story: %s\n", expr, mrmr_err_name(got),
        mrmr_err_name(want), mrmr_story_print(mrmr_story_get(), story, sizeof story));
    _fail(file, line);
}
#define assert_err(expr, want) check_err((expr), (want), #expr, __FILE__, __LINE__)
#define assert_ok(expr) assert_err(expr, MRMR_OK)

#endif
