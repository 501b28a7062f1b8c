/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/hook.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "tools/hook_run.h"
#include "tools/mrmr_print.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* What is told of, each at most so often. */
enum hook_trouble {
    HOOK_NOT_RUN,
    HOOK_ENDS_BADLY,
    HOOK_HANGS,
    HOOK_PRINTS,
    HOOK_DROPS,
    HOOK_TROUBLES
};
static const int64_t seldom = 3600 * MRMR_NS_PER_S;

enum { HOOK_LINES_TOLD = 10, HOOK_KIND = 32 };

struct hook_item {
    struct hook_item *next;
    char kind[HOOK_KIND];
    struct mrmr_bytes environment; /* strings, each with its NUL */
};

struct hook {
    char *pool;
    struct mrmr_bytes always; /* of the environment */
    int64_t deadline, grace;
    size_t queue_most;
    int epoll, again; /* again: an eventfd, by which a step is asked for */

    char *command; /* "": none */
    char *words;   /* the same, cut into words */
    char **argv;   /* of these */

    struct hook_item *first, **last;
    size_t queued;
    uint64_t dropped; /* and not told of yet */

    struct hook_run *run;    /* NULL: none runs */
    struct hook_item *event; /* for which it runs */

    int64_t told[HOOK_TROUBLES]; /* when, monotonic; 0: never */
    struct hook_counts counts;
};

/* --- telling --- */

static bool may_tell(struct hook *hook, enum hook_trouble what)
{
    const int64_t now = mrmr_clock_monotonic();
    if (hook->told[what] && now - hook->told[what] < seldom)
        return false;
    hook->told[what] = now;
    return true;
}

/* Line by line, as much of it as was kept and helps. */
static void tell_output(const struct hook_result *result)
{
    char text[HOOK_OUTPUT_MOST + 1];
    memcpy(text, result->output, result->size);
    text[result->size] = '\0';
    for (size_t i = 0; i < result->size; i++)
        text[i] = text[i] ? text[i] : '?';
    char *rest = text;
    unsigned lines = 0;
    for (char *line; lines < HOOK_LINES_TOLD && (line = strsep(&rest, "\n"));) {
        mrmr_autofree char *shown = mrmr_print_escaped(line);
        if (line[0] && shown)
            mrmr_log(MRMR_LOG_WARN, "on-event printed: %s", shown);
        lines += line[0] != '\0';
    }
    if (result->more || (rest && *rest))
        mrmr_log(MRMR_LOG_WARN, "on-event printed more than that");
}

/* The story is why. */
static void tell_not_run(struct hook *hook)
{
    if (may_tell(hook, HOOK_NOT_RUN))
        mrmr_log_story(
            MRMR_LOG_WARN, "on-event: its program cannot be run, and events pass without it");
}

static void tell_dropped(struct hook *hook, bool now)
{
    if (!hook->dropped || !(may_tell(hook, HOOK_DROPS) || now))
        return;
    mrmr_log(MRMR_LOG_WARN,
        "on-event: %" PRIu64 " events were dropped: its program takes too long for so many",
        hook->dropped);
    hook->dropped = 0;
}

static void tell_end(struct hook *hook, const struct hook_result *result)
{
    const char *program = hook->argv ? hook->argv[0] : "its program";
    bool tell = false;
    if (result->end == HOOK_HUNG && (tell = may_tell(hook, HOOK_HANGS)))
        mrmr_log(MRMR_LOG_WARN,
            "on-event: %s did not end within %" PRId64 " s (for %s) and was made to", program,
            hook->deadline / MRMR_NS_PER_S, hook->event->kind);
    else if (result->end == HOOK_FAILED && (tell = may_tell(hook, HOOK_ENDS_BADLY)))
        mrmr_log(MRMR_LOG_WARN, "on-event: %s ended with %s %d (for %s)", program,
            result->signal ? "signal" : "code", result->signal ? result->signal : result->code,
            hook->event->kind);
    if (result->size && (may_tell(hook, HOOK_PRINTS) || tell))
        tell_output(result);
}

/* --- what waits --- */

static void item_free(struct hook_item *item)
{
    if (!item)
        return;
    mrmr_bytes_free(&item->environment);
    free(item);
}

static struct hook_item *queue_take(struct hook *hook)
{
    struct hook_item *item = hook->first;
    hook->first = item->next;
    if (!hook->first)
        hook->last = &hook->first;
    hook->queued--;
    return item;
}

static void queue_put(struct hook *hook, struct hook_item *item)
{
    *hook->last = item;
    hook->last = &item->next;
    hook->queued++;
}

static void queue_clear(struct hook *hook)
{
    while (hook->first)
        item_free(queue_take(hook));
}

/* NAME=value and its NUL. */
static mrmr_err environment_add(struct mrmr_bytes *to, const char *name, const char *value)
{
    MRMR_TRY(mrmr_bytes_fmt(to, "%s=%s", name, value));
    return mrmr_bytes_add(to, "", 1);
}

static mrmr_err environment_add_escaped(struct mrmr_bytes *to, const char *name, const char *value)
{
    mrmr_autofree char *escaped = mrmr_print_escaped(value);
    return escaped ? environment_add(to, name, escaped) : mrmr_nomem();
}

static mrmr_err environment_of(const struct pool_event *event, struct mrmr_bytes *to)
{
    char time[MRMR_PRINT_TIME], id[24];
    snprintf(id, sizeof id, "%" PRId64, event->id);
    MRMR_TRY(environment_add_escaped(to, "MRMR_EVENT", event->kind));
    MRMR_TRY(environment_add(to, "MRMR_EVENT_ID", id));
    MRMR_TRY(environment_add(to, "MRMR_EVENT_TIME", mrmr_print_time_utc(event->time, time)));
    MRMR_TRY(environment_add_escaped(to, "MRMR_EVENT_DRIVE", event->drive));
    MRMR_TRY(environment_add_escaped(to, "MRMR_EVENT_TEXT", event->text));
    return environment_add(to, "MRMR_EVENT_WARNING", event->warning ? "1" : "0");
}

static mrmr_err environment_always(const char *pool, struct mrmr_bytes *to)
{
    static const char *const names[] = {"PATH", "HOME", "LANG"};
    MRMR_TRY(environment_add(to, "MRMR_POOL", pool));
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            MRMR_TRY(environment_add(to, names[i], getenv(names[i])));
    return MRMR_OK;
}

static void step_asked(const struct hook *hook)
{
    const uint64_t one = 1;
    (void)!write(hook->again, &one, sizeof one);
}

mrmr_err hook_event(const struct pool_event *event, void *arg)
{
    struct hook *hook = arg;
    if (!hook->argv)
        return MRMR_OK;
    struct hook_item *item = calloc(1, sizeof *item);
    if (!item)
        return mrmr_nomem();
    snprintf(item->kind, sizeof item->kind, "%s", event->kind);
    mrmr_err err = environment_of(event, &item->environment);
    if (err) {
        item_free(item);
        return err;
    }
    if (hook->queued >= hook->queue_most) {
        item_free(queue_take(hook));
        hook->dropped++;
        hook->counts.dropped++;
    }
    queue_put(hook, item);
    step_asked(hook);
    return MRMR_OK;
}

/* --- running it --- */

/* The strings of both, as a list that ends with NULL; free(). */
static char **environment_list(const struct mrmr_bytes *a, const struct mrmr_bytes *b)
{
    const struct mrmr_bytes *const both[] = {a, b};
    size_t n = 0;
    for (size_t i = 0; i < 2; i++)
        for (size_t at = 0; at < both[i]->size; at++)
            n += both[i]->data[at] == '\0';
    char **list = calloc(n + 1, sizeof *list);
    size_t filled = 0;
    for (size_t i = 0; list && i < 2; i++)
        for (size_t at = 0; at < both[i]->size; at += strlen(both[i]->data + at) + 1)
            list[filled++] = both[i]->data + at;
    return list;
}

static mrmr_err run_for(struct hook *hook, const struct hook_item *item)
{
    MRMR_TRY(pool_is_ours(hook->pool));
    mrmr_autofree char **environment = environment_list(&item->environment, &hook->always);
    if (!environment)
        return mrmr_nomem();
    return hook_run_start(
        hook->argv, environment, hook->epoll, hook->deadline, hook->grace, &hook->run);
}

/* One at most: who has to try many is not held up by it. */
static void start_next(struct hook *hook)
{
    tell_dropped(hook, false);
    if (!hook->first)
        return;
    struct hook_item *item = queue_take(hook);
    if (run_for(hook, item)) {
        hook->counts.not_run++;
        tell_not_run(hook);
        item_free(item);
        step_asked(hook);
        return;
    }
    hook->event = item;
}

static void run_ended(struct hook *hook, const struct hook_result *result)
{
    hook->counts.well += result->end == HOOK_WELL;
    hook->counts.failed += result->end == HOOK_FAILED;
    hook->counts.hung += result->end == HOOK_HUNG;
    hook->counts.printed += result->size > 0;
    tell_end(hook, result);
    hook_run_destroy(mrmr_steal(hook->run));
    item_free(mrmr_steal(hook->event));
}

void hook_step(struct hook *hook)
{
    struct hook_result result;
    uint64_t asked;
    (void)!read(hook->again, &asked, sizeof asked);
    if (hook->run && hook_run_step(hook->run, &result))
        run_ended(hook, &result);
    if (!hook->run)
        start_next(hook);
    if (hook_idle(hook))
        tell_dropped(hook, true);
}

int hook_fd(const struct hook *hook)
{
    return hook->epoll;
}

bool hook_idle(const struct hook *hook)
{
    return !hook->run && !hook->first;
}

struct hook_counts hook_counts(const struct hook *hook)
{
    return hook->counts;
}

/* --- the program --- */

static const char blanks[] = " \t";

/* *ret_argv points into words. */
static mrmr_err words_cut(char *words, char ***ret_argv)
{
    char **argv = calloc(strlen(words) / 2 + 2, sizeof *argv);
    size_t n = 0;
    if (!argv)
        return mrmr_nomem();
    for (char *word; (word = strsep(&words, blanks));)
        if (*word)
            argv[n++] = word;
    *ret_argv = argv;
    return MRMR_OK;
}

static mrmr_err command_check(const char *command)
{
    if (command[strspn(command, blanks)] == '/')
        return MRMR_OK;
    return mrmr_err_hint(
        mrmr_fail(MRMR_INVALID, "on-event '%.200s' is no absolute path of a program", command),
        "set it again: mrmr set on-event /PATH/TO/PROGRAM");
}

mrmr_err hook_set(struct hook *hook, const char *command)
{
    if (hook->command && strcmp(hook->command, command) == 0)
        return MRMR_OK;
    mrmr_autofree char *copy = strdup(command), *words = strdup(command);
    char **argv = NULL;
    if (!copy || !words)
        return mrmr_nomem();
    if (command[0]) {
        MRMR_TRY(command_check(command));
        MRMR_TRY(words_cut(words, &argv));
    } else {
        queue_clear(hook);
    }
    free(hook->argv);
    free(hook->words);
    free(hook->command);
    hook->argv = argv;
    hook->words = mrmr_steal(words);
    hook->command = mrmr_steal(copy);
    memset(hook->told, 0, sizeof hook->told); /* of another program */
    return MRMR_OK;
}

/* --- life --- */

static mrmr_err start(struct hook *hook, const char *pool)
{
    struct epoll_event event = {.events = EPOLLIN};
    hook->pool = strdup(pool);
    if (!hook->pool)
        return mrmr_nomem();
    MRMR_TRY(environment_always(pool, &hook->always));
    hook->epoll = epoll_create1(EPOLL_CLOEXEC);
    hook->again = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (hook->epoll < 0 || hook->again < 0 ||
        epoll_ctl(hook->epoll, EPOLL_CTL_ADD, hook->again, &event) < 0)
        return mrmr_fail_errno(errno, "prepare", "on-event");
    return MRMR_OK;
}

mrmr_err hook_create(const struct hook_options *options, struct hook **ret_hook)
{
    struct hook *hook = calloc(1, sizeof *hook);
    if (!hook)
        return mrmr_nomem();
    hook->epoll = hook->again = -1;
    hook->last = &hook->first;
    hook->deadline = options->deadline ? options->deadline : HOOK_DEADLINE_S * MRMR_NS_PER_S;
    hook->grace = options->grace ? options->grace : HOOK_GRACE_S * MRMR_NS_PER_S;
    hook->queue_most = options->queue_most ? options->queue_most : HOOK_QUEUE_MOST;
    mrmr_err err = start(hook, options->pool);
    if (err) {
        struct mrmr_story story;
        mrmr_story_save(&story);
        hook_destroy(hook);
        return mrmr_story_restore(&story);
    }
    *ret_hook = hook;
    return MRMR_OK;
}

void hook_destroy(struct hook *hook)
{
    if (!hook)
        return;
    tell_dropped(hook, true);
    hook_run_destroy(hook->run);
    item_free(hook->event);
    queue_clear(hook);
    if (hook->epoll >= 0)
        close(hook->epoll);
    if (hook->again >= 0)
        close(hook->again);
    mrmr_bytes_free(&hook->always);
    free(hook->argv);
    free(hook->words);
    free(hook->command);
    free(hook->pool);
    free(hook);
}
