/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tools/mrmr_screen.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "tools/mrmr_meter.h"
#include "tools/mrmr_print.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define SCREEN_DRAW_EVERY (MRMR_NS_PER_S / 10)
#define SCREEN_LINE_EVERY (10 * MRMR_NS_PER_S)
#define SCREEN_TELL_EVERY MRMR_NS_PER_S

enum {
    SCREEN_TEXT = 256,
    SCREEN_BAR_MOST = 30,
    SCREEN_BAR_LEAST = 8,
    SCREEN_WIDTH_MOST = 500,
    SCREEN_WORDS = 46 /* the bar leaves them so much, to keep its width */
};

static struct {
    bool show, terminal;
    int tells; /* -1: nobody */

    pthread_mutex_t lock;
    /* Guarded by lock. */
    const char *phase;
    struct mrmr_meter meter;
    int64_t drawn, told;             /* 0: not yet */
    char bar[SCREEN_WIDTH_MOST + 1]; /* what stands on the terminal's line; "" = nothing */
} screen = {.tells = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

/* --- Lines --- */

static void screen_clear_locked(void)
{
    if (screen.bar[0])
        fputs("\r\x1b[K", stderr);
}

static void screen_draw_locked(void)
{
    if (screen.bar[0])
        fprintf(stderr, "\r%s\x1b[K", screen.bar);
    fflush(stderr);
}

static void screen_put(const char *lead, const char *text)
{
    /* Messages are escaped where they are made; what is not UTF-8 cannot have been. */
    mrmr_autofree char *escaped =
        mrmr_text_is_utf8(text, strlen(text)) ? NULL : mrmr_print_escaped(text);
    mrmr_locked(&screen.lock);
    screen_clear_locked();
    fprintf(stderr, "%s%s\n", lead, escaped ? escaped : text);
    screen_draw_locked();
}

void mrmr_screen_line(const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    screen_put("", text);
}

void mrmr_screen_story(void)
{
    char text[4096];
    screen_put("mrmr: ", mrmr_story_print(mrmr_story_get(), text, sizeof text));
}

static void screen_log(enum mrmr_log_level level, const char *line, void *arg)
{
    static const char *const leads[] = {
        [MRMR_LOG_ERROR] = "mrmr: error: ",
        [MRMR_LOG_WARN] = "mrmr: warning: ",
        [MRMR_LOG_INFO] = "mrmr: ",
        [MRMR_LOG_DEBUG] = "mrmr: debug: ",
    };
    (void)arg;
    screen_put(leads[level], line);
}

void mrmr_screen_setup(bool progress, enum mrmr_log_level most)
{
    const char *term = getenv("TERM");
    screen.show = progress;
    screen.terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    setvbuf(stderr, NULL, _IOLBF, 0);
    mrmr_log_set(screen_log, NULL, most);
}

/* --- Progress in words --- */

struct screen_words {
    uint64_t done, total; /* total 0: not known */
    bool bytes;           /* else things */
    char amount[96], rate[48], eta[48];
};

/* What a phase counts. */
static const char *words_unit(const char *phase)
{
    if (strcmp(phase, "mend") == 0 || strcmp(phase, "scrub") == 0)
        return "stripes";
    return strcmp(phase, "compare") == 0 ? "files" : "entries";
}

static void words_amount(struct screen_words *w, const struct pool_progress *p)
{
    char a[MRMR_TEXT_SHORT], b[MRMR_TEXT_SHORT];
    const char *unit = words_unit(p->phase);
    if (w->bytes && w->total)
        snprintf(w->amount, sizeof w->amount, "%s of %s", mrmr_text_print_size(w->done, a),
            mrmr_text_print_size(w->total, b));
    else if (w->total && p->bytes)
        snprintf(w->amount, sizeof w->amount, "%" PRIu64 " of %" PRIu64 " %s, %s", w->done,
            w->total, unit, mrmr_text_print_size(p->bytes, a));
    else if (w->total)
        snprintf(
            w->amount, sizeof w->amount, "%" PRIu64 " of %" PRIu64 " %s", w->done, w->total, unit);
    else if (p->items && p->bytes)
        snprintf(w->amount, sizeof w->amount, "%" PRIu64 " %s, %s", p->items, unit,
            mrmr_text_print_size(p->bytes, a));
    else if (w->bytes)
        snprintf(w->amount, sizeof w->amount, "%s", mrmr_text_print_size(p->bytes, a));
    else
        snprintf(w->amount, sizeof w->amount, "%" PRIu64 " %s", w->done, unit);
}

static void words_speed(struct screen_words *w, const struct mrmr_meter *meter)
{
    char text[MRMR_TEXT_SHORT];
    uint64_t rate = mrmr_meter_rate(meter), seconds;
    if (rate && w->bytes)
        snprintf(w->rate, sizeof w->rate, "%s/s", mrmr_text_print_size(rate, text));
    else if (rate)
        snprintf(w->rate, sizeof w->rate, "%" PRIu64 "/s", rate);
    if (w->total && mrmr_meter_eta(meter, w->total - w->done, &seconds))
        snprintf(w->eta, sizeof w->eta, "ETA %s", mrmr_text_print_duration(seconds, text));
}

static void screen_words_locked(const struct pool_progress *p, struct screen_words *ret_words)
{
    struct screen_words w = {.bytes = p->bytes_total || (!p->items_total && p->bytes)};
    w.done = w.bytes ? p->bytes : p->items;
    w.total = w.bytes ? p->bytes_total : p->items_total;
    w.done = w.total && w.done > w.total ? w.total : w.done;
    mrmr_meter_add(&screen.meter, mrmr_clock_monotonic(), w.done);
    words_amount(&w, p);
    words_speed(&w, &screen.meter);
    *ret_words = w;
}

static unsigned words_percent(const struct screen_words *w)
{
    return (unsigned)((double)w->done * 100 / (double)w->total);
}

/* --- Progress on a terminal --- */

static size_t screen_width(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return 80;
    return size.ws_col < SCREEN_WIDTH_MOST ? size.ws_col : SCREEN_WIDTH_MOST;
}

/* "[####----] ", or nothing where there is no room for it. */
static void bar_make(const struct screen_words *w, size_t room, char *bar, size_t size)
{
    size_t width = room > SCREEN_BAR_MOST ? SCREEN_BAR_MOST : room;
    bar[0] = '\0';
    if (!w->total || width < SCREEN_BAR_LEAST || width + 1 > size)
        return;
    size_t inner = width - 3, full = (size_t)((double)inner * (double)w->done / (double)w->total);
    bar[0] = '[';
    memset(bar + 1, '#', full);
    memset(bar + 1 + full, '-', inner - full);
    memcpy(bar + 1 + inner, "] ", 3);
}

static void screen_bar_locked(const struct screen_words *w, bool stopping)
{
    char percent[16] = "", bar[SCREEN_BAR_MOST + 1], right[SCREEN_TEXT];
    size_t width = screen_width() - 1; /* the last column would wrap on some */
    if (w->total)
        snprintf(percent, sizeof percent, "%3u%% ", words_percent(w));
    snprintf(right, sizeof right, "%s%s%s%s%s", w->amount, w->rate[0] ? "  " : "", w->rate,
        stopping || w->eta[0] ? "  " : "", stopping ? "stopping" : w->eta);
    size_t words = strlen(right) > SCREEN_WORDS ? strlen(right) : SCREEN_WORDS;
    size_t taken = strlen(screen.phase) + 1 + strlen(percent) + words;
    bar_make(w, taken < width ? width - taken : 0, bar, sizeof bar);
    snprintf(screen.bar, width + 1, "%s %s%s%s", screen.phase, percent, bar, right);
    screen_draw_locked();
}

/* --- Progress elsewhere --- */

static void screen_plain_locked(int fd, const struct screen_words *w, bool stopping)
{
    char percent[16] = "";
    if (w->total)
        snprintf(percent, sizeof percent, "%u%%, ", words_percent(w));
    dprintf(fd, "mrmr: %s: %s%s%s%s%s%s%s\n", screen.phase, percent, w->amount,
        w->rate[0] ? ", " : "", w->rate, w->eta[0] ? ", " : "", w->eta,
        stopping ? ", stopping" : "");
}

static void screen_show_locked(const struct screen_words *w, bool new_phase, bool stopping)
{
    const int64_t now = screen.meter.at;
    const int64_t every = screen.terminal ? SCREEN_DRAW_EVERY : SCREEN_LINE_EVERY;
    if (screen.drawn && now - screen.drawn < every && !(new_phase && screen.terminal))
        return;
    screen.drawn = now;
    if (screen.terminal)
        screen_bar_locked(w, stopping);
    else
        screen_plain_locked(STDERR_FILENO, w, stopping);
}

static void screen_tell_locked(const struct screen_words *w, bool new_phase, bool stopping)
{
    const int64_t now = screen.meter.at;
    if (screen.told && now - screen.told < SCREEN_TELL_EVERY && !new_phase)
        return;
    screen.told = now;
    screen_plain_locked(screen.tells, w, stopping);
}

void mrmr_screen_tell(int fd)
{
    screen.tells = fd;
}

void mrmr_screen_progress(const struct pool_progress *progress, bool stopping)
{
    if (!screen.show && screen.tells < 0)
        return;
    mrmr_locked(&screen.lock);
    struct screen_words words;
    bool new_phase = !screen.phase || strcmp(screen.phase, progress->phase) != 0;
    if (new_phase) {
        screen.phase = progress->phase;
        mrmr_meter_start(&screen.meter);
    }
    screen_words_locked(progress, &words);
    if (screen.show)
        screen_show_locked(&words, new_phase, stopping);
    if (screen.tells >= 0)
        screen_tell_locked(&words, new_phase, stopping);
}

void mrmr_screen_end(void)
{
    mrmr_locked(&screen.lock);
    screen_clear_locked();
    fflush(stderr);
    screen.bar[0] = '\0';
    screen.phase = NULL;
    screen.drawn = 0;
}
