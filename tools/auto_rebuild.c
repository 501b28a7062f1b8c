/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/auto_rebuild.h"

#include "base/clock.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

static const int64_t fresh = 60 * MRMR_NS_PER_S;
static const int64_t an_hour = 3600 * MRMR_NS_PER_S;
enum { DOUBLINGS = 5 }; /* of an hour: beyond a day */

/* --- a look --- */

void auto_rebuild_look(struct auto_rebuild *ar)
{
    ar->on = false;
    ar->delay = ar->redundancy = ar->room = 0;
    for (size_t i = 0; i < ar->n; i++)
        ar->drive[i].seen = false;
}

static struct auto_rebuild_drive *find(struct auto_rebuild *ar, const char *uuid)
{
    for (size_t i = 0; i < ar->n; i++)
        if (strcmp(ar->drive[i].uuid, uuid) == 0)
            return &ar->drive[i];
    if (ar->n == AUTO_REBUILD_DRIVES)
        return NULL;
    struct auto_rebuild_drive *drive = &ar->drive[ar->n++];
    *drive = (struct auto_rebuild_drive){.lost = false};
    snprintf(drive->uuid, sizeof drive->uuid, "%s", uuid);
    return drive;
}

static void drive_line(struct auto_rebuild *ar, const char *value)
{
    char uuid[40], word[16], name[64];
    unsigned long long only, bytes;
    int at = 0;
    if (sscanf(value, "%39s %15s %llu %llu %n", uuid, word, &only, &bytes, &at) < 4 || !at ||
        !value[at] || strlen(value + at) >= sizeof name)
        return;
    struct auto_rebuild_drive *drive = find(ar, uuid);
    if (!drive)
        return;
    snprintf(drive->name, sizeof drive->name, "%s", value + at);
    drive->seen = true;
    drive->lost = strcmp(word, "lost") == 0;
    drive->begun = strcmp(word, "begun") == 0;
    drive->out = strcmp(word, "out") == 0;
    drive->only = only;
    drive->bytes = bytes;
}

void auto_rebuild_line(struct auto_rebuild *ar, const char *key, const char *value)
{
    if (strcmp(key, "auto-rebuild") == 0)
        ar->on = strcmp(value, "on") == 0;
    else if (strcmp(key, "auto-rebuild-delay") == 0)
        mrmr_text_u64(value, &ar->delay);
    else if (strcmp(key, "redundancy") == 0)
        mrmr_text_u64(value, &ar->redundancy);
    else if (strcmp(key, "storable") == 0)
        mrmr_text_u64(value, &ar->room);
    else if (strcmp(key, "drive") == 0)
        drive_line(ar, value);
}

void auto_rebuild_looked(struct auto_rebuild *ar, int64_t now)
{
    size_t left = 0;
    for (size_t i = 0; i < ar->n; i++) {
        struct auto_rebuild_drive drive = ar->drive[i];
        if (!drive.seen)
            continue;
        drive.since = !drive.lost ? 0 : drive.since ? drive.since : now;
        if (!drive.lost && !drive.begun)
            drive.again = drive.failures = 0;
        ar->drive[left++] = drive;
    }
    ar->n = left;
    ar->looked = now;
}

/* --- what is due --- */

static uint64_t not_in_service(const struct auto_rebuild *ar)
{
    uint64_t n = 0;
    for (size_t i = 0; i < ar->n; i++)
        n += ar->drive[i].lost || ar->drive[i].begun || ar->drive[i].out;
    return n;
}

/* When, by what is known; INT64_MAX: never. */
static int64_t due_at(const struct auto_rebuild *ar, const struct auto_rebuild_drive *drive)
{
    if (drive->begun)
        return drive->again;
    if (!drive->lost || not_in_service(ar) > ar->redundancy || drive->only ||
        drive->bytes > ar->room)
        return INT64_MAX;
    const int64_t at = drive->since + (int64_t)ar->delay * MRMR_NS_PER_S;
    return at > drive->again ? at : drive->again;
}

enum auto_rebuild_job auto_rebuild_due(
    const struct auto_rebuild *ar, int64_t now, const char **ret_name, int64_t *ret_again)
{
    *ret_again = INT64_MAX;
    if (!ar->on || !ar->looked)
        return AUTO_REBUILD_NONE;
    const struct auto_rebuild_drive *first = NULL;
    for (size_t i = 0; i < ar->n; i++) {
        const int64_t at = due_at(ar, &ar->drive[i]);
        if (at >= *ret_again)
            continue;
        *ret_again = at;
        first = &ar->drive[i];
    }
    if (!first || *ret_again > now)
        return AUTO_REBUILD_NONE;
    *ret_name = first->name;
    return now - ar->looked > fresh ? AUTO_REBUILD_LOOK : AUTO_REBUILD_BEGIN;
}

void auto_rebuild_ended(struct auto_rebuild *ar, const char *name, int64_t now, bool done)
{
    for (size_t i = 0; i < ar->n; i++) {
        struct auto_rebuild_drive *drive = &ar->drive[i];
        if (strcmp(drive->name, name) != 0)
            continue;
        const unsigned n = drive->failures < DOUBLINGS ? drive->failures : DOUBLINGS;
        drive->again = now + (n < DOUBLINGS ? an_hour << n : 24 * an_hour);
        drive->failures = done ? 0 : drive->failures + 1;
    }
}
