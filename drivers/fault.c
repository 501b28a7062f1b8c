/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The rules of the fault driver: handles, counting, and what is to happen to a call. fault.h says
 * the rules' meaning.
 */
#include "drivers/fault_internal.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include <signal.h>
#include <string.h>

#define FAULT_OPS 30 /* bits of DRV_FAULT_ALL */

struct rule {
    struct rule *next;
    unsigned id;
    struct drv_fault_rule rule; /* its texts belong to it */
    uint64_t seen, hits;
};

struct drv_fault {
    char *name, *uri;       /* fault://name; guarded by served_lock, as is: */
    struct drv_fault *next; /* in the list of those that serve a name */

    pthread_mutex_t lock;
    unsigned refs;
    unsigned next_id;
    uint64_t calls[FAULT_OPS];
    struct rule *rules;
};

/* Lock order: served_lock, then a handle's lock. */
static pthread_mutex_t served_lock = PTHREAD_MUTEX_INITIALIZER;
static struct drv_fault *served;

/* --- handles --- */

static void rule_free(struct rule *r)
{
    free((char *)r->rule.prefix);
    free((char *)r->rule.part);
    free(r);
}

static void rules_clear_locked(struct drv_fault *fault)
{
    while (fault->rules) {
        struct rule *r = fault->rules;
        fault->rules = r->next;
        rule_free(r);
    }
}

mrmr_err drv_fault_create(struct drv_fault **ret_fault)
{
    struct drv_fault *fault = calloc(1, sizeof *fault);
    if (!fault)
        return mrmr_nomem();
    pthread_mutex_init(&fault->lock, NULL);
    fault->refs = 1;
    *ret_fault = fault;
    return MRMR_OK;
}

void fault_get(struct drv_fault *fault)
{
    mrmr_locked(&fault->lock);
    fault->refs++;
}

static bool fault_unref(struct drv_fault *fault)
{
    mrmr_locked(&fault->lock);
    return --fault->refs == 0;
}

void fault_put(struct drv_fault *fault)
{
    if (!fault_unref(fault))
        return;
    rules_clear_locked(fault);
    pthread_mutex_destroy(&fault->lock);
    free(fault->name);
    free(fault->uri);
    free(fault);
}

static void unserve(struct drv_fault *fault)
{
    mrmr_locked(&served_lock);
    for (struct drv_fault **at = &served; *at; at = &(*at)->next) {
        if (*at != fault)
            continue;
        *at = fault->next;
        return;
    }
}

void drv_fault_destroy(struct drv_fault *fault)
{
    if (!fault)
        return;
    unserve(fault);
    drv_fault_clear(fault);
    fault_put(fault);
}

static struct drv_fault *served_find_locked(const char *name)
{
    struct drv_fault *fault = served;
    while (fault && strcmp(fault->name, name) != 0)
        fault = fault->next;
    return fault;
}

mrmr_err drv_fault_serve(struct drv_fault *fault, const char *name, const char *uri)
{
    static bool registered;
    mrmr_locked(&served_lock);
    if (!registered)
        MRMR_TRY(drv_register(&fault_ops));
    registered = true;
    if (!*name || fault->name)
        return mrmr_fail(MRMR_INVALID, "a fault handle serves one name, and it is not empty");
    if (served_find_locked(name))
        return mrmr_fail(MRMR_EXISTS, "fault://%s is served already", name);
    mrmr_autofree char *name_copy = strdup(name), *uri_copy = strdup(uri);
    if (!name_copy || !uri_copy)
        return mrmr_nomem();
    fault->name = mrmr_steal(name_copy);
    fault->uri = mrmr_steal(uri_copy);
    fault->next = served;
    served = fault;
    return MRMR_OK;
}

mrmr_err fault_served(const char *name, struct drv_fault **ret_fault, char **ret_uri)
{
    mrmr_locked(&served_lock);
    struct drv_fault *fault = served_find_locked(name);
    if (!fault)
        return mrmr_fail(MRMR_NO_DRIVE, "nothing serves fault://%s", name);
    char *uri = strdup(fault->uri);
    if (!uri)
        return mrmr_nomem();
    fault_get(fault);
    *ret_fault = fault;
    *ret_uri = uri;
    return MRMR_OK;
}

/* --- rules --- */

static mrmr_err text_copy(const char *text, const char **ret_copy)
{
    *ret_copy = text ? strdup(text) : NULL;
    return text && !*ret_copy ? mrmr_nomem() : MRMR_OK;
}

static mrmr_err rule_check(const struct drv_fault_rule *rule)
{
    bool may_be_late = rule->action == DRV_FAULT_ERROR || rule->action == DRV_FAULT_KILL ||
                       rule->action == DRV_FAULT_HOOK;
    if ((rule->action == DRV_FAULT_ERROR && !rule->err) ||
        (rule->action == DRV_FAULT_HOOK && !rule->hook) || (rule->late && !may_be_late) ||
        rule->action > DRV_FAULT_HOOK)
        return mrmr_fail(MRMR_INVALID, "a fault rule that makes no sense");
    return MRMR_OK;
}

mrmr_err drv_fault_add(struct drv_fault *fault, const struct drv_fault_rule *rule, unsigned *ret_id)
{
    MRMR_TRY(rule_check(rule));
    struct rule *r = calloc(1, sizeof *r);
    if (!r)
        return mrmr_nomem();
    r->rule = *rule;
    r->rule.ops = rule->ops ? rule->ops : DRV_FAULT_ALL;
    r->rule.mask = rule->mask ? rule->mask : 1;
    r->rule.part = NULL;
    if (text_copy(rule->prefix, &r->rule.prefix) || text_copy(rule->part, &r->rule.part)) {
        rule_free(r);
        return mrmr_nomem();
    }
    mrmr_locked(&fault->lock);
    r->id = ++fault->next_id;
    struct rule **at = &fault->rules;
    while (*at)
        at = &(*at)->next;
    *at = r;
    if (ret_id)
        *ret_id = r->id;
    return MRMR_OK;
}

void drv_fault_remove(struct drv_fault *fault, unsigned id)
{
    mrmr_locked(&fault->lock);
    for (struct rule **at = &fault->rules; *at; at = &(*at)->next) {
        struct rule *r = *at;
        if (r->id != id)
            continue;
        *at = r->next;
        rule_free(r);
        return;
    }
}

void drv_fault_clear(struct drv_fault *fault)
{
    mrmr_locked(&fault->lock);
    rules_clear_locked(fault);
}

uint64_t drv_fault_calls(struct drv_fault *fault, uint32_t ops)
{
    mrmr_locked(&fault->lock);
    uint64_t sum = 0;
    for (unsigned i = 0; i < FAULT_OPS; i++)
        sum += ops >> i & 1 ? fault->calls[i] : 0;
    return sum;
}

uint64_t drv_fault_hits(struct drv_fault *fault, unsigned id)
{
    mrmr_locked(&fault->lock);
    for (const struct rule *r = fault->rules; r; r = r->next)
        if (r->id == id)
            return r->hits;
    return 0;
}

uint64_t fault_room(struct drv_fault *fault)
{
    mrmr_locked(&fault->lock);
    uint64_t room = UINT64_MAX;
    for (const struct rule *r = fault->rules; r; r = r->next)
        if (r->rule.action == DRV_FAULT_FULL && r->rule.bytes < room)
            room = r->rule.bytes;
    return room;
}

/* --- deciding --- */

static bool path_matches(const struct drv_fault_rule *rule, const char *path)
{
    return path && (!rule->prefix || !strncmp(path, rule->prefix, strlen(rule->prefix))) &&
           (!rule->part || strstr(path, rule->part));
}

static bool rule_due(struct rule *r, enum drv_fault_op op, const char *path, const char *other)
{
    const struct drv_fault_rule *rule = &r->rule;
    if (!(rule->ops & op) || (!path_matches(rule, path) && !path_matches(rule, other)))
        return false;
    r->seen++;
    return r->seen > rule->after && (!rule->times || r->hits < rule->times);
}

static void hooks_add(struct fault_hooks *hooks, const struct drv_fault_rule *rule)
{
    if (hooks->count == FAULT_HOOKS_MAX)
        return;
    hooks->at[hooks->count].hook = rule->hook;
    hooks->at[hooks->count++].arg = rule->arg;
}

/* A full drive: take size out of the room, or decide. True if it had to. */
static bool full_decide(struct drv_fault_rule *rule, uint64_t size, struct fault_turn *turn)
{
    enum {
        MAKES = DRV_FAULT_CREATE | DRV_FAULT_MKDIR | DRV_FAULT_SYMLINK | DRV_FAULT_MKNOD |
                DRV_FAULT_LINK | DRV_FAULT_CLONE
    };
    const bool writes = turn->op & (DRV_FAULT_FILE_WRITE | DRV_FAULT_FILE_ALLOCATE |
                                       DRV_FAULT_FILE_RANGE | DRV_FAULT_FILE_COPY);
    if (!(writes && size > rule->bytes) && !((turn->op & MAKES) && rule->bytes == 0)) {
        rule->bytes -= writes ? size : 0;
        return false;
    }
    turn->action = turn->op == DRV_FAULT_FILE_WRITE ? DRV_FAULT_SHORT : DRV_FAULT_ERROR;
    turn->bytes = rule->bytes;
    turn->err = MRMR_SPACE;
    if (turn->op == DRV_FAULT_FILE_WRITE)
        rule->bytes = 0;
    return true;
}

/* Let a due rule act; true if it decides the call. */
static bool rule_act(struct rule *r, uint64_t size, struct fault_turn *turn)
{
    struct drv_fault_rule *rule = &r->rule;
    switch (rule->action) {
    case DRV_FAULT_DELAY:
        turn->delay_ns += rule->delay_ns;
        return false;
    case DRV_FAULT_HOOK:
        hooks_add(rule->late ? &turn->hooks_late : &turn->hooks_early, rule);
        return false;
    case DRV_FAULT_FULL:
        return full_decide(rule, size, turn);
    default:
        turn->action = rule->action;
        turn->late = rule->late;
        turn->err = rule->err;
        turn->bytes = rule->bytes;
        turn->mask = rule->mask;
        return true;
    }
}

static void decide(
    struct drv_fault *fault, const char *other, uint64_t size, struct fault_turn *turn)
{
    mrmr_locked(&fault->lock);
    fault->calls[__builtin_ctz(turn->op)]++;
    for (struct rule *r = fault->rules; r && !turn->decided; r = r->next) {
        if (!rule_due(r, turn->op, turn->path, other))
            continue;
        turn->decided = rule_act(r, size, turn);
        r->hits += turn->decided || r->rule.action != DRV_FAULT_FULL;
    }
}

/* --- acting --- */

static void hooks_run(const struct fault_hooks *hooks, const struct fault_turn *turn)
{
    for (unsigned i = 0; i < hooks->count; i++)
        hooks->at[i].hook(hooks->at[i].arg, turn->op, turn->path);
}

static void wait_ns(uint64_t ns)
{
    struct timespec left = {
        .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        ;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) /* the signal is on its way; nothing more may happen here */
        pause();
}

mrmr_err fault_error(const struct fault_turn *turn)
{
    mrmr_err err = mrmr_fail(turn->err, "injected fault");
    return mrmr_err_path(mrmr_err_op(err, "fault"), turn->path);
}

/* SHORT means something for these only, FLIP for reads only; elsewhere a SHORT is its error and a
 * FLIP nothing. */
static bool is_cuttable(enum drv_fault_op op)
{
    return op == DRV_FAULT_FILE_READ || op == DRV_FAULT_FILE_WRITE || op == DRV_FAULT_LIST;
}

mrmr_err fault_begin(struct drv_fault *fault, enum drv_fault_op op, const char *path,
    const char *other, uint64_t size, struct fault_turn *ret_turn)
{
    *ret_turn = (struct fault_turn){.op = op, .path = path};
    decide(fault, other, size, ret_turn);
    if (ret_turn->delay_ns)
        wait_ns(ret_turn->delay_ns);
    hooks_run(&ret_turn->hooks_early, ret_turn);
    if (!ret_turn->decided || ret_turn->late)
        return MRMR_OK;
    if (ret_turn->action == DRV_FAULT_KILL)
        die();
    bool fails = ret_turn->action == DRV_FAULT_ERROR ||
                 (ret_turn->action == DRV_FAULT_SHORT && !is_cuttable(op) && ret_turn->err);
    return fails ? fault_error(ret_turn) : MRMR_OK;
}

mrmr_err fault_end(const struct fault_turn *turn, mrmr_err err)
{
    if (err)
        return err;
    hooks_run(&turn->hooks_late, turn);
    if (!turn->decided || !turn->late)
        return MRMR_OK;
    if (turn->action == DRV_FAULT_KILL)
        die();
    return fault_error(turn);
}
