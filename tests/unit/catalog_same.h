/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two catalogs compared table by table, for the tests of copies.
 */
#ifndef MRMR_TESTS_CATALOG_SAME_H
#define MRMR_TESTS_CATALOG_SAME_H

#include <stdbool.h>

/* The copied tables, as the test itself knows them. */
enum { CATALOG_TABLES = 19 };
extern const char *const catalog_tables[CATALOG_TABLES];

/* Fails the test with what differs first. Left out is only copy.open, the mark that makes a
 * restored catalog's next copy a base. */
void catalog_assert_same(const char *a, const char *b);
/* Without failing: true if they are the same. */
bool catalog_same(const char *a, const char *b);

#endif
