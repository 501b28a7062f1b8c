/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What is mounted below a root. The driver goes into nothing of that, so a folder over which something is mounted
 * goes from what there is, and comes back, and no event tells of it: the kernel says only that something
 * was mounted or unmounted somewhere, through /proc/self/mountinfo, see proc(5). And what the root lies on: one that was
 * unmounted while it was in use, or is mounted anew, is served as it was by what is open, and nobody else sees that.
 *
 * Nothing here asks a file system, which may hang; but for the root itself, while it is opened, where what is mounted does not say what is there.
 */
#include "drivers/local_watch_internal.h"

#include "base/log.h"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

/* A line of mountinfo. */
struct mounted {
    uint64_t id, on; /* on: that of the one that it is mounted on */
    char *point;
    bool automount; /* nothing is mounted there, but will be for whoever looks: see autofs(5) */
};

static bool parse(char *line, struct mounted *ret_mounted)
{
    char *word[5];
    for (int i = 0; i < 5; i++)
        word[i] = strsep(&line, " ");
    if (!word[4])
        return false;
    unescape(word[4]);
    const char *kind = line ? strstr(line, " - ") : NULL;
    *ret_mounted = (struct mounted){.id = strtoull(word[0], NULL, 10),
        .on = strtoull(word[1], NULL, 10),
        .point = word[4],
        .automount = kind && strncmp(kind, " - autofs ", 10) == 0};
    return true;
}

static size_t length(const char *path)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    return n;
}

static bool is_below(const char *path, const char *root)
{
    const size_t n = length(root);
    return strncmp(path, root, n) == 0 && path[n] == '/' && path[n + 1];
}

static bool is_over(const char *point, const char *root)
{
    const size_t n = length(point);
    return strncmp(point, root, n) == 0 && (root[n] == '/' || !root[n]);
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

/* At the root or above, hidden ones, too. */
struct over {
    const struct mounted *mounted;
    size_t n;
};

static bool is_outermost(const struct over *over, const struct mounted *mounted)
{
    for (size_t i = 0; i < over->n; i++)
        if (over->mounted[i].id == mounted->on && &over->mounted[i] != mounted)
            return false;
    return true;
}

/* Of those on this one (NULL: on none of these) that which a path comes to first: what is mounted there below that is hidden by it. */
static const struct mounted *next_on(const struct over *over, const struct mounted *on)
{
    const struct mounted *first = NULL;
    for (size_t i = 0; i < over->n; i++) {
        const struct mounted *one = &over->mounted[i];
        const bool is_on = on ? one->on == on->id && one != on : is_outermost(over, one);
        if (is_on && (!first || length(one->point) < length(first->point)))
            first = one;
    }
    return first;
}

/* That on which the root lies. */
static struct mounted lies_on(const struct over *over)
{
    const struct mounted *at = NULL;
    for (size_t i = 0; i < over->n; i++) {
        const struct mounted *next = next_on(over, at);
        if (!next)
            break;
        at = next;
    }
    return at ? *at : (struct mounted){.id = 0};
}

/* Below: each with its NUL, in the order in which they were mounted. */
static mrmr_err list(
    int fd, const char *root, struct mrmr_bytes *below, uint64_t *ret_over, bool *ret_automount)
{
    mrmr_autobytes struct mrmr_bytes text = MRMR_BYTES_INIT, over = MRMR_BYTES_INIT;
    struct mounted mounted;
    MRMR_TRY(read_all(fd, &text));
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (!parse(line, &mounted))
            continue;
        if (is_below(mounted.point, root))
            MRMR_TRY(mrmr_bytes_add(below, mounted.point, strlen(mounted.point) + 1));
        if (is_over(mounted.point, root))
            MRMR_TRY(mrmr_bytes_add(&over, &mounted, sizeof mounted));
    }
    mounted = lies_on(&(struct over){
        (const struct mounted *)(const void *)over.data, over.size / sizeof mounted});
    *ret_over = mounted.id;
    *ret_automount = mounted.automount;
    return MRMR_OK;
}

bool drv_is_automount(const char *root)
{
    mrmr_autobytes struct mrmr_bytes below = MRMR_BYTES_INIT;
    mrmr_autoclose int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    uint64_t over;
    bool automount = false;
    return fd >= 0 && !list(fd, root, &below, &over, &automount) && automount;
}

/* The mount through which something is open; 0: not known. */
static uint64_t mount_of(int fd)
{
    char path[64], line[128];
    unsigned long long id = 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *info = fopen(path, "re");
    while (info && fgets(line, sizeof line, info))
        sscanf(line, "mnt_id: %llu", &id);
    if (info)
        fclose(info);
    return id;
}

/* What is there now is what is open. */
static bool is_open(const char *root, uint64_t open_mount)
{
    mrmr_autoclose int now = open(root, O_PATH | O_CLOEXEC);
    return now >= 0 && mount_of(now) == open_mount;
}

/* What is mounted where a process sees little of it need not tell: then what is there does. */
void local_mounts_open(struct local_mounts *mounts, const char *root, int root_fd)
{
    const uint64_t over = mount_of(root_fd);
    *mounts = (struct local_mounts){.root = root, .below = MRMR_BYTES_INIT};
    bool automount;
    mounts->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    if (mounts->fd < 0 || list(mounts->fd, root, &mounts->below, &mounts->over, &automount))
        mrmr_log(MRMR_LOG_INFO, "%s: what is mounted below it is not followed", root);
    if (mounts->over != over && !is_open(root, over))
        mounts->over = over;
}

static bool below_changed(struct local_mounts *mounts, struct mrmr_bytes *below)
{
    if (below->size == mounts->below.size &&
        (!below->size || memcmp(below->data, mounts->below.data, below->size) == 0))
        return false;
    const struct mrmr_bytes was = mounts->below;
    mounts->below = *below;
    *below = was;
    return true;
}

enum local_mounts_change local_mounts_changed(struct local_mounts *mounts)
{
    mrmr_autobytes struct mrmr_bytes below = MRMR_BYTES_INIT;
    uint64_t over;
    bool automount;
    if (list(mounts->fd, mounts->root, &below, &over, &automount))
        return LOCAL_MOUNTS_BELOW;
    const bool root = over != mounts->over, changed = below_changed(mounts, &below);
    mounts->over = over;
    return root ? LOCAL_MOUNTS_ROOT : changed ? LOCAL_MOUNTS_BELOW : LOCAL_MOUNTS_NONE;
}

void local_mounts_close(struct local_mounts *mounts)
{
    if (mounts->fd >= 0)
        close(mounts->fd);
    mrmr_bytes_free(&mounts->below);
}
