/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Where what the catalog knows is now by the records, sorted: so that what was moved to somewhere below
 * a folder lies side by side, and is found without a look at all else.
 */
#include "pool/records/moved_now.h"

#include <stdlib.h>
#include <string.h>

static int text_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void now_places_make(struct pool_moved_now *now)
{
    for (size_t i = 0; i < 2 * now->steps.n; i++)
        if (now->step[i / 2].what[i % 2] == NOW_KNOWN && now->step[i / 2].now[i % 2])
            now->place[now->places++] = now->step[i / 2].now[i % 2];
    qsort(now->place, now->places, sizeof *now->place, text_compare);
}

/* --- below a folder --- */

/* Its rest below the folder; NULL: it lies elsewhere. */
static const char *below(const char *path, const char *folder, size_t size)
{
    if (strncmp(path, folder, size) != 0)
        return NULL;
    if (!size)
        return *path ? path : NULL;
    return path[size] == '/' ? path + size + 1 : NULL;
}

/* Before all that is below the folder: those lie side by side, from the folder with a slash on. */
static bool comes_before(const char *path, const char *folder, size_t size)
{
    int order = strncmp(path, folder, size);
    return order < 0 || (order == 0 && size && (uint8_t)path[size] < '/');
}

static size_t first_below(const struct pool_moved_now *now, const char *folder, size_t size)
{
    size_t low = 0, high = now->places;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        atomic_fetch_add(now->looks, 1);
        if (comes_before(now->place[middle], folder, size))
            low = middle + 1;
        else
            high = middle;
    }
    while (!size && low < now->places && !*now->place[low])
        low++; /* the root itself */
    return low;
}

bool pool_moved_now_leads(const struct pool_moved_now *now, const char *folder)
{
    const size_t size = strlen(folder), at = first_below(now, folder, size);
    return at < now->places && below(now->place[at], folder, size);
}

struct name {
    const char *text;
    size_t size;
};

static int name_compare(const void *a, const void *b, void *looks)
{
    const struct name *x = a, *y = b;
    const size_t least = x->size < y->size ? x->size : y->size;
    int order = memcmp(x->text, y->text, least);
    atomic_fetch_add((atomic_ullong *)looks, 1);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

/* The first of what is below goes on past the slash, and so may another behind it: "a", "a-b", "a/c". */
static mrmr_err names_add(
    const struct pool_moved_now *now, struct name *name, size_t n, struct mrmr_bytes *names)
{
    qsort_r(name, n, sizeof *name, name_compare, now->looks);
    for (size_t i = 0; i < n; i++) {
        if (i && name_compare(&name[i - 1], &name[i], now->looks) == 0)
            continue;
        MRMR_TRY(mrmr_bytes_add(names, name[i].text, name[i].size));
        MRMR_TRY(mrmr_bytes_add(names, "", 1));
    }
    return MRMR_OK;
}

mrmr_err pool_moved_now_names(
    const struct pool_moved_now *now, const char *folder, struct mrmr_bytes *names)
{
    const size_t size = strlen(folder), first = first_below(now, folder, size);
    const char *rest;
    size_t end = first;
    while (end < now->places && below(now->place[end], folder, size))
        end++;
    mrmr_autofree struct name *name = calloc(end - first + 1, sizeof *name);
    if (!name)
        return mrmr_nomem();
    for (size_t i = first; i < end; i++) {
        rest = below(now->place[i], folder, size);
        name[i - first] = (struct name){rest, strcspn(rest, "/")};
    }
    atomic_fetch_add(now->looks, end - first);
    return names_add(now, name, end - first, names);
}

uint64_t pool_moved_now_looks(const struct pool_moved_now *now)
{
    return atomic_load(now->looks);
}
