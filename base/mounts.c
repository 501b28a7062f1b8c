/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/mounts.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/text.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char list[] = "/proc/self/mounts";

/* --- the list --- */

static bool is_octal(const char *s)
{
    return s[0] >= '0' && s[0] <= '3' && s[1] >= '0' && s[1] <= '7' && s[2] >= '0' && s[2] <= '7';
}

/* "\040" is a blank, and so on. */
static void unescape(char *field)
{
    char *to = field;
    for (const char *s = field; *s; to++)
        if (*s == '\\' && is_octal(s + 1)) {
            *to = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 4;
        } else {
            *to = *s++;
        }
    *to = '\0';
}

/* A word of the line, whose end is moved on. */
static const char *field(char **rest)
{
    char *word = strsep(rest, " \n");
    if (!word)
        return "";
    unescape(word);
    return word;
}

mrmr_err mrmr_mounts_each(mrmr_mount_fn fn, void *arg)
{
    FILE *file = fopen(list, "re");
    mrmr_autofree char *line = NULL;
    size_t room = 0;
    if (!file)
        return mrmr_fail_errno(errno, "read", list);
    while (getline(&line, &room, file) > 0) {
        char *rest = line;
        struct mrmr_mount mount;
        mount.source = field(&rest);
        mount.point = field(&rest);
        mount.type = field(&rest);
        mount.options = field(&rest);
        fn(&mount, arg);
    }
    mrmr_err err = ferror(file) ? mrmr_fail_errno(errno, "read", list) : MRMR_OK;
    fclose(file);
    return err;
}

/* --- one point --- */

struct at {
    const char *point;
    struct mrmr_mounted found;
};

static void at_each(const struct mrmr_mount *mount, void *arg)
{
    static const char user[] = "user_id=";
    struct at *at = arg;
    if (strcmp(mount->point, at->point) != 0)
        return;
    const char *id = strstr(mount->options, user);
    snprintf(at->found.type, sizeof at->found.type, "%s", mount->type);
    snprintf(at->found.source, sizeof at->found.source, "%s", mount->source);
    at->found.user = id ? strtoul(id + strlen(user), NULL, 10) : 0;
}

mrmr_err mrmr_mounts_at(const char *point, struct mrmr_mounted *ret_mounted)
{
    struct at at = {.point = point};
    MRMR_TRY(mrmr_mounts_each(at_each, &at));
    *ret_mounted = at.found;
    return MRMR_OK;
}

/* A slash at its end would have the mount itself asked for what it is. */
static void trim(char *path)
{
    for (size_t size = strlen(path); size > 1 && path[size - 1] == '/'; size--)
        path[size - 1] = '\0';
}

mrmr_err mrmr_mounts_path(const char *given, const char *op, char **ret_path)
{
    mrmr_autofree char *copy = strdup(given);
    if (!copy)
        return mrmr_nomem();
    trim(copy);
    char *path = realpath(copy, NULL);
    if (path) {
        *ret_path = path;
        return MRMR_OK;
    }
    if (errno != ENOTCONN)
        return mrmr_fail_errno(errno, op, given);
    char *slash = strrchr(copy, '/');
    if (slash)
        *slash = '\0';
    mrmr_autofree char *folder = realpath(!slash ? "." : *copy ? copy : "/", NULL);
    if (!folder || asprintf(&path, "%s/%s", folder, slash ? slash + 1 : copy) < 0)
        return mrmr_fail_errno(ENOENT, op, given);
    *ret_path = path;
    return MRMR_OK;
}

mrmr_err mrmr_mounts_hint(mrmr_err err, const char *words, const char *path)
{
    mrmr_autobytes struct mrmr_bytes word = MRMR_BYTES_INIT;
    struct mrmr_story story;
    mrmr_story_save(&story);
    const bool quoted = !mrmr_text_shell(&word, path);
    mrmr_story_restore(&story);
    return mrmr_err_hint(err, "%s %s", words, quoted ? word.data : path);
}
