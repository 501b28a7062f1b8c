/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The planner's phases, in the order in which they give operations:
 *
 *   LOAD        stripes are being told of
 *   ABSORB      what the full-length stripes still take: no parity
 *   GROW        the short ones: fill, widen, and grow where that costs no more than a new stripe
 *   MERGE       what is still as it was and fits together
 *   MAKE        new stripes for the rest
 *   SQUEEZE     no room for new rows: whatever the stripes still take, however little
 *   DEEPEN      rows for stripes that have too few
 *   LOW_*       for q = redundancy-1 … 1: what could not have all its rows gets q of them; not
 * while merges are about to free room DONE
 *
 * A phase is entered, stepped until it gives nothing more, and left for the next; `rows` is q.
 */
#include "parity/planner_internal.h"

static mrmr_err check_config(const struct parity_planner_config *config, unsigned drives)
{
    if (config->redundancy < 1 || config->redundancy > PARITY_PLANNER_ROWS_MAX)
        return mrmr_fail(MRMR_INVALID, "redundancy %u is not within 1…%d", config->redundancy,
            PARITY_PLANNER_ROWS_MAX);
    if (!config->grain || config->grain > config->block || config->block > PARITY_PLANNER_BLOCK_MAX)
        return mrmr_fail(
            MRMR_INVALID, "block size %u with pieces of %u", config->block, config->grain);
    if (drives > PARITY_PLANNER_DRIVES_MAX)
        return mrmr_fail(MRMR_INVALID, "%u drives are too many", drives);
    return MRMR_OK;
}

/* The caller's domain numbers become 0 … domains-1, in the order in which they are met. */
static void number_domains(
    struct parity_planner *planner, const struct parity_planner_drive drive[])
{
    for (unsigned i = 0; i < planner->drives; i++) {
        unsigned first = 0;
        while (drive[first].domain != drive[i].domain)
            first++;
        planner->domain[i] = first < i ? planner->domain[first] : (uint16_t)planner->domains++;
    }
}

mrmr_err parity_planner_create(const struct parity_planner_config *config, unsigned drives,
    const struct parity_planner_drive drive[], struct parity_planner **ret_planner)
{
    MRMR_TRY(check_config(config, drives));
    for (unsigned i = 0; i < drives; i++)
        if (drive[i].exposed > PARITY_PLANNER_BYTES_MAX ||
            drive[i].used > PARITY_PLANNER_BYTES_MAX || drive[i].room > PARITY_PLANNER_BYTES_MAX)
            return mrmr_fail(MRMR_INVALID, "drive %u is too large", i);
    struct parity_planner *planner = calloc(1, sizeof *planner);
    if (!planner)
        return mrmr_nomem();
    planner->config = *config;
    planner->drives = drives;
    planner->rows = config->redundancy;
    for (unsigned i = 0; i < drives; i++) {
        planner->exposed[i] = drive[i].exposed;
        planner->used[i] = drive[i].used;
        planner->may_row[i] = drive[i].flags & PARITY_PLANNER_ROWS;
        planner->room[i] = planner->may_row[i] ? drive[i].room : 0;
    }
    number_domains(planner, drive);
    *ret_planner = planner;
    return MRMR_OK;
}

void parity_planner_destroy(struct parity_planner *planner)
{
    if (!planner)
        return;
    free(planner->known);
    free(planner->bytes);
    free(planner->list);
    free(planner);
}

mrmr_err parity_planner_stripe(
    struct parity_planner *planner, const struct parity_planner_stripe *stripe)
{
    if (planner->phase != PLANNER_LOAD)
        return mrmr_fail(MRMR_INVALID, "the plan is being read already");
    return parity_planner_known_put(planner, stripe);
}

static bool any_left(const struct parity_planner *planner)
{
    for (unsigned i = 0; i < planner->drives; i++)
        if (planner->exposed[i])
            return true;
    return false;
}

static bool is_needed(const struct parity_planner *planner, enum planner_phase phase)
{
    switch (phase) {
    case PLANNER_MERGE:
    case PLANNER_DEEPEN:
        return true;
    case PLANNER_LOW_ABSORB:
    case PLANNER_LOW_MAKE:
        return !planner->merges && any_left(planner);
    default:
        return any_left(planner);
    }
}

static mrmr_err enter(struct parity_planner *planner)
{
    switch (planner->phase) {
    case PLANNER_ABSORB:
    case PLANNER_SQUEEZE:
    case PLANNER_LOW_ABSORB:
        return parity_planner_absorb_enter(planner);
    case PLANNER_GROW:
        return parity_planner_grow_enter(planner);
    case PLANNER_MERGE:
        return parity_planner_merge_enter(planner);
    case PLANNER_MAKE:
    case PLANNER_LOW_MAKE:
        return parity_planner_make_enter(planner);
    case PLANNER_DEEPEN:
        return parity_planner_deepen_enter(planner);
    default:
        return MRMR_OK;
    }
}

static bool step(struct parity_planner *planner, struct parity_planner_op *op)
{
    switch (planner->phase) {
    case PLANNER_ABSORB:
    case PLANNER_SQUEEZE:
    case PLANNER_LOW_ABSORB:
        return parity_planner_absorb_step(planner, op);
    case PLANNER_GROW:
        return parity_planner_grow_step(planner, op);
    case PLANNER_MERGE:
        return parity_planner_merge_step(planner, op);
    case PLANNER_MAKE:
    case PLANNER_LOW_MAKE:
        return parity_planner_make_step(planner, op);
    case PLANNER_DEEPEN:
        return parity_planner_deepen_step(planner, op);
    default:
        return false;
    }
}

static void advance(struct parity_planner *planner)
{
    planner->entered = false;
    if (planner->phase == PLANNER_DEEPEN || planner->phase == PLANNER_LOW_MAKE) {
        planner->rows--;
        planner->phase = planner->rows ? PLANNER_LOW_ABSORB : PLANNER_DONE;
    } else {
        planner->phase++;
    }
}

mrmr_err parity_planner_next(struct parity_planner *planner, struct parity_planner_op *ret_op)
{
    struct parity_planner_op *op = ret_op;
    if (planner->phase == PLANNER_LOAD) {
        planner->list = calloc(planner->knowns + 1, sizeof *planner->list);
        if (!planner->list)
            return mrmr_nomem();
        advance(planner);
    }
    while (planner->phase != PLANNER_DONE) {
        if (!planner->entered && is_needed(planner, planner->phase)) {
            MRMR_TRY(enter(planner));
            planner->entered = true;
        }
        memset(op, 0, offsetof(struct parity_planner_op, add));
        if (planner->entered && step(planner, op))
            return MRMR_OK;
        advance(planner);
    }
    memset(op, 0, offsetof(struct parity_planner_op, add));
    return MRMR_OK;
}

uint64_t parity_planner_left(
    const struct parity_planner *planner, unsigned drive, enum parity_planner_reason *ret_reason)
{
    enum parity_planner_reason reason = PARITY_PLANNER_TOO_FEW;
    for (unsigned i = 0; i < planner->drives; i++)
        if (i != drive && planner->may_row[i])
            reason = PARITY_PLANNER_NO_ROOM;
    if (reason == PARITY_PLANNER_NO_ROOM && planner->merges)
        reason = PARITY_PLANNER_AGAIN;
    if (!planner->exposed[drive])
        reason = PARITY_PLANNER_PLACED;
    if (ret_reason)
        *ret_reason = reason;
    return planner->exposed[drive];
}

uint64_t parity_planner_shallow(const struct parity_planner *planner)
{
    return planner->shallow;
}
