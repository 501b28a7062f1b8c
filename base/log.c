/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"

#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
    mrmr_log_sink sink;
    void *arg;
    enum mrmr_log_level most;
} log_target;

void mrmr_log_set(mrmr_log_sink sink, void *arg, enum mrmr_log_level most)
{
    log_target.sink = sink;
    log_target.arg = arg;
    log_target.most = most;
}

void mrmr_log(enum mrmr_log_level level, const char *fmt, ...)
{
    if (!log_target.sink || level > log_target.most)
        return;
    char line[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    mrmr_text_one_line(line, strlen(line));
    log_target.sink(level, line, log_target.arg);
}

void mrmr_log_story(enum mrmr_log_level level, const char *what)
{
    char line[2048];
    mrmr_log(level, "%s: %s", what, mrmr_story_print(mrmr_story_get(), line, sizeof line));
}
