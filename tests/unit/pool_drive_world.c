/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/unit/pool_drive_world.h"

#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

void assert_ok(mrmr_err err)
{
    char text[1024];
    if (err)
        fail_msg("%s", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

const char *world_path(const struct world *w, const char *name)
{
    static char path[8][600];
    static unsigned at;
    char *p = path[at++ % 8];
    snprintf(p, sizeof path[0], "%s/%s", w->dir, name);
    return p;
}

void world_open(struct world *w)
{
    assert_null(w->pool);
    assert_ok(pool_open(world_path(w, "pool"), POOL_OWN, "test", &w->pool));
}

void world_close(struct world *w)
{
    pool_close(w->pool);
    w->pool = NULL;
}

int world_setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    const char *temp = getenv("TMPDIR");
    snprintf(w->dir, sizeof w->dir, "%s/mrmr-pool-XXXXXX", temp ? temp : "/tmp");
    if (!mkdtemp(w->dir))
        return -1;
    assert_ok(pool_create(world_path(w, "pool")));
    world_open(w);
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    struct world *w = *state;
    pool_close(w->pool);
    world_remove(w->dir);
    free(w);
    return 0;
}

void world_mkdir(const char *path)
{
    assert_int_equal(mkdir(path, 0755), 0);
}

void world_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void world_run(const char *const argv[])
{
    pid_t pid;
    int status;
    assert_int_equal(posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

void world_remove(const char *path)
{
    world_run((const char *const[]){"rm", "-rf", "--", path, NULL});
}

void world_copy(const char *from, const char *to)
{
    world_run((const char *const[]){"cp", "-a", "--", from, to, NULL});
}

static struct mrmr_bytes *tree_out;

/* A number for the content: what is not zeros, with its place. A drive's reserve is megabytes of zeros. */
static struct mrmr_digest tree_content(const char *path)
{
    enum { PART = 1 << 16 };
    static const char zeros[PART];
    struct {
        struct mrmr_digest before;
        int64_t at;
        char part[PART];
    } piece = {.at = 0};
    mrmr_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (ssize_t n; (n = read(fd, piece.part, PART)) != 0; piece.at += n) {
        assert_true(n > 0);
        if (memcmp(piece.part, zeros, (size_t)n) != 0)
            piece.before = mrmr_digest_of(&piece, offsetof(typeof(piece), part) + (size_t)n);
    }
    return piece.before;
}

static int tree_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    char digest[2 * MRMR_DIGEST_SIZE + 1] = "-";
    (void)ftw;
    if (type == FTW_F && S_ISREG(st->st_mode)) {
        struct mrmr_digest d = tree_content(path);
        for (size_t i = 0; i < sizeof d.bytes; i++)
            snprintf(digest + 2 * i, 3, "%02x", d.bytes[i]);
    }
    mrmr_bytes_fmt(tree_out, "%s %o %lld %lld.%09ld %s\n", path, st->st_mode,
        S_ISDIR(st->st_mode) ? 0LL : (long long)st->st_size, (long long)st->st_mtim.tv_sec,
        st->st_mtim.tv_nsec, digest);
    return 0;
}

static int tree_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *world_tree(const char *path)
{
    struct mrmr_bytes raw = MRMR_BYTES_INIT, sorted = MRMR_BYTES_INIT;
    tree_out = &raw;
    assert_int_equal(nftw(path, tree_entry, 16, FTW_PHYS), 0);
    char *lines[4096];
    size_t n = 0;
    for (char *line = strtok(raw.data, "\n"); line && n < 4096; line = strtok(NULL, "\n"))
        lines[n++] = line;
    qsort(lines, n, sizeof *lines, tree_compare);
    for (size_t i = 0; i < n; i++)
        assert_ok(mrmr_bytes_fmt(&sorted, "%s\n", lines[i]));
    mrmr_bytes_free(&raw);
    return sorted.data;
}

mrmr_err world_try_add(struct world *w, const char *uri)
{
    struct pool_drive_spec spec = {.uri = uri};
    return pool_drive_add(w->pool, &spec);
}

struct pool_drive *world_add(struct world *w, const char *name)
{
    world_mkdir(world_path(w, name));
    assert_ok(world_try_add(w, world_path(w, name)));
    struct pool_drive *drive = pool_drive_by_name(w->pool, name);
    assert_non_null(drive);
    assert_int_equal(drive->presence, POOL_PRESENT);
    return drive;
}

struct pool_identity world_identity(const char *root)
{
    struct drv *drv = NULL;
    struct pool_identity identity;
    assert_ok(drv_open(root, &drv));
    assert_ok(pool_identity_read(drv, &identity));
    drv_close(drv);
    return identity;
}

static void expect_words(const struct mrmr_story *story, const char *const words[])
{
    char text[2048];
    mrmr_story_print(story, text, sizeof text);
    if (!story->hint[0])
        fail_msg("no next step in: %s", text);
    for (size_t i = 0; words[i]; i++)
        if (!strstr(text, words[i]))
            fail_msg("'%s' is not in: %s", words[i], text);
}

void world_expect(mrmr_err got, mrmr_err wanted, const char *const words[])
{
    if (got != wanted) {
        char text[2048];
        fail_msg("wanted '%s', got '%s': %s", mrmr_err_name(wanted), mrmr_err_name(got),
            mrmr_story_print(mrmr_story_get(), text, sizeof text));
    }
    expect_words(mrmr_story_get(), words);
}

void world_expect_why(
    const struct pool_drive *drive, enum pool_presence presence, const char *const words[])
{
    assert_non_null(drive);
    if (drive->presence != presence) {
        char text[2048];
        fail_msg("drive %s: presence %d, wanted %d: %s", drive->meta.name, (int)drive->presence,
            (int)presence, mrmr_story_print(&drive->why, text, sizeof text));
    }
    expect_words(&drive->why, words);
}

struct events_seen {
    const char *kind;
    size_t n;
    char *text;
};

static mrmr_err events_see(const struct pool_event *event, void *arg)
{
    struct events_seen *seen = arg;
    if (strcmp(event->kind, seen->kind) == 0) {
        seen->n++;
        if (seen->text)
            snprintf(seen->text, 512, "%s", event->text);
    }
    return MRMR_OK;
}

size_t world_events(struct world *w, const char *kind, char *ret_text)
{
    struct events_seen seen = {.kind = kind, .text = ret_text};
    assert_ok(pool_events(w->pool, 0, 1000, events_see, &seen));
    return seen.n;
}
