/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is mounted below a root. The driver goes into nothing of that, so a folder over which something is mounted
 * goes from what there is, and comes back, and no event tells of it: the kernel says only that something
 * was mounted or unmounted somewhere, through /proc/self/mountinfo, see proc(5).
 */
#include "drivers/local_watch_internal.h"

#include "base/log.h"
#include <string.h>

static bool is_octal(const char *c)
{
    for (int i = 0; i < 3; i++)
        if (c[i] < '0' || c[i] > '7')
            return false;
    return true;
}

/* In place: blanks and backslashes are written as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *c = text; *c; to++) {
        const bool escaped = *c == '\\' && is_octal(c + 1);
        *to = escaped ? (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0')) : *c;
        c += escaped ? 4 : 1;
    }
    *to = '\0';
}

/* The fifth word of a line. */
static char *mount_point(char *line)
{
    char *word = NULL;
    for (int i = 0; i < 5; i++)
        word = strsep(&line, " ");
    if (word)
        unescape(word);
    return word;
}

static bool is_below(const char *path, const char *root)
{
    size_t n = strlen(root);
    while (n && root[n - 1] == '/')
        n--;
    return strncmp(path, root, n) == 0 && path[n] == '/' && path[n + 1];
}

static mrmr_err read_all(int fd, struct mrmr_bytes *text)
{
    enum { PART = 16 << 10 };
    if (lseek(fd, 0, SEEK_SET) < 0)
        return mrmr_fail_errno(errno, "read", "/proc/self/mountinfo");
    for (;;) {
        MRMR_TRY(mrmr_bytes_reserve(text, PART));
        ssize_t n = read(fd, text->data + text->size, PART);
        if (n < 0)
            return mrmr_fail_errno(errno, "read", "/proc/self/mountinfo");
        text->size += (size_t)n;
        text->data[text->size] = '\0';
        if (n == 0)
            return MRMR_OK;
    }
}

/* Each with its NUL, in the order in which they were mounted. */
static mrmr_err list_below(const struct local_mounts *mounts, struct mrmr_bytes *below)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT;
    MRMR_TRY(read_all(mounts->fd, &text));
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        const char *point = mount_point(line);
        if (point && is_below(point, mounts->root))
            MRMR_TRY(mrmr_bytes_add(below, point, strlen(point) + 1));
    }
    return MRMR_OK;
}

void local_mounts_open(struct local_mounts *mounts, const char *root)
{
    *mounts = (struct local_mounts){.root = root, .below = MRMR_BYTES_INIT};
    mounts->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (mounts->fd < 0 || list_below(mounts, &mounts->below))
        mrmr_log(MRMR_LOG_INFO, "%s: what is mounted below it is not followed", root);
}

bool local_mounts_changed(struct local_mounts *mounts)
{
    mrmr_autobytes struct mrmr_bytes below = MRMR_BYTES_INIT;
    if (list_below(mounts, &below))
        return true;
    if (below.size == mounts->below.size &&
        (!below.size || memcmp(below.data, mounts->below.data, below.size) == 0))
        return false;
    const struct mrmr_bytes was = mounts->below;
    mounts->below = below;
    below = was;
    return true;
}

void local_mounts_close(struct local_mounts *mounts)
{
    if (mounts->fd >= 0)
        close(mounts->fd);
    mrmr_bytes_free(&mounts->below);
}
