/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pool/drive/hear.h"

#include <string.h>

enum { BUCKETS = 8192 };

struct hear_folder {
    struct hear_folder *next;
    uint64_t key;
    unsigned round; /* in which it was added last */
    char path[];
};

/* FNV-1a. Of two folders with one key one would be followed: its changes are found when the drive is looked through. */
uint64_t hear_folders_key(const char *path)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *path; path++)
        hash = (hash ^ (unsigned char)*path) * UINT64_C(0x100000001b3);
    return hash;
}

static struct hear_folder **place_of(const struct hear_folders *folders, uint64_t key)
{
    struct hear_folder **at = &folders->bucket[(key >> 32) % BUCKETS];
    while (*at && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

mrmr_err hear_folders_add(struct hear_folders *folders, const char *path)
{
    const uint64_t key = hear_folders_key(path);
    const size_t size = strlen(path) + 1;
    if (!folders->bucket)
        folders->bucket = calloc(BUCKETS, sizeof(struct hear_folder *));
    if (!folders->bucket)
        return mrmr_nomem();
    struct hear_folder *known = *place_of(folders, key);
    if (known) {
        known->round = folders->round;
        return MRMR_OK;
    }
    if (folders->n >= HEAR_FOLDERS_MOST)
        return mrmr_fail(
            MRMR_SPACE, "no more than %d folders of a drive are followed", (int)HEAR_FOLDERS_MOST);
    struct hear_folder *folder = malloc(sizeof *folder + size);
    if (!folder)
        return mrmr_nomem();
    folder->next = NULL;
    folder->key = key;
    folder->round = folders->round;
    memcpy(folder->path, path, size);
    *place_of(folders, key) = folder;
    folders->n++;
    return MRMR_OK;
}

const char *hear_folders_path(const struct hear_folders *folders, uint64_t key)
{
    const struct hear_folder *folder = folders->bucket ? *place_of(folders, key) : NULL;
    return folder ? folder->path : NULL;
}

static bool is_at_or_below(const char *path, const char *top)
{
    const size_t n = strlen(top);
    return !n || (strncmp(path, top, n) == 0 && (!path[n] || path[n] == '/'));
}

/* top NULL: those of former rounds. */
static bool is_dropped(
    const struct hear_folders *folders, const struct hear_folder *folder, const char *top)
{
    return top ? is_at_or_below(folder->path, top) : folder->round != folders->round;
}

static void drop(
    struct hear_folders *folders, const char *top, void (*gone)(uint64_t key, void *arg), void *arg)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct hear_folder **at = &folders->bucket[i], *folder; (folder = *at);) {
            if (!is_dropped(folders, folder, top)) {
                at = &folder->next;
                continue;
            }
            *at = folder->next;
            folders->n--;
            if (gone)
                gone(folder->key, arg);
            free(folder);
        }
}

/* All are looked at, but only where the path was a folder's. */
void hear_folders_remove(struct hear_folders *folders, const char *path,
    void (*gone)(uint64_t key, void *arg), void *arg)
{
    if (hear_folders_path(folders, hear_folders_key(path)))
        drop(folders, path, gone, arg);
}

void hear_folders_keep(struct hear_folders *folders, const char *path)
{
    if (!hear_folders_path(folders, hear_folders_key(path)))
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct hear_folder *folder = folders->bucket[i]; folder; folder = folder->next)
            if (is_at_or_below(folder->path, path))
                folder->round = folders->round;
}

void hear_folders_begin(struct hear_folders *folders)
{
    folders->round++;
}

void hear_folders_sweep(
    struct hear_folders *folders, void (*gone)(uint64_t key, void *arg), void *arg)
{
    if (folders->bucket)
        drop(folders, NULL, gone, arg);
}

void hear_folders_clear(struct hear_folders *folders)
{
    if (folders->bucket)
        drop(folders, "", NULL, NULL);
    free(folders->bucket);
    *folders = (struct hear_folders){.n = 0};
}
