/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Two stripes into one, and one row more for a stripe.
 *
 * MERGE joins stripes whose blocks lie on disjoint drives: it costs no read of data and frees the
 * shorter one's rows. Best partners for a stripe of few blocks are those of many, so the list is
 * sorted by the number of blocks, and each stripe, from the narrowest, looks at a bounded number of
 * the widest that could fit. Stripes that the plan adds to are not merged in it: filling them is
 * worth more.
 *
 * DEEPEN gives rows to stripes of fewer than are asked, on drives that have no part in them.
 */
#include "parity/planner_internal.h"

enum { WORTH = 32, PARTNERS_TRIED = 128, MISSES_IN_A_ROW = 20000 };

int parity_planner_merge_row_drive(const struct parity_planner *planner, const uint8_t taken[],
    const uint16_t domain_count[], uint64_t bytes)
{
    int best = -1;
    bool best_apart = false;
    for (unsigned i = 0; i < planner->drives; i++) {
        if (taken[i] || !planner->may_row[i] || planner->room[i] < bytes)
            continue;
        bool apart = domain_count[planner->domain[i]] < planner->config.redundancy;
        if (best < 0 || (apart && !best_apart) ||
            (apart == best_apart && planner->used[i] < planner->used[best])) {
            best = (int)i;
            best_apart = apart;
        }
    }
    return best;
}

/* list[] sorted by the number of blocks, bucket[k] and bucket_end[k] bounding those of k blocks. */
mrmr_err parity_planner_merge_enter(struct parity_planner *planner)
{
    uint32_t at[PLANNER_MAX + 2] = {0}; /* at[k + 1] counts, then at[k] is where k starts */
    for (size_t s = 0; s < planner->knowns; s++)
        if (!planner->known[s].touched)
            at[planner->known[s].blocks + 1]++;
    for (unsigned k = 1; k < PLANNER_MAX + 2; k++)
        at[k] += at[k - 1];
    memcpy(planner->bucket, at, sizeof at);
    planner->listed = at[PLANNER_MAX + 1];
    for (uint32_t s = 0; s < planner->knowns; s++)
        if (!planner->known[s].touched)
            planner->list[at[planner->known[s].blocks]++] = s;
    memcpy(planner->bucket_end, at, sizeof planner->bucket_end);
    planner->next = 0;
    planner->misses = 0;
    return MRMR_OK;
}

static bool disjoint(const struct planner_view *a, const struct planner_view *b, unsigned drives)
{
    for (unsigned i = 0; i < drives; i++)
        if (a->place[i] == PLANNER_BLOCK && b->place[i] == PLANNER_BLOCK)
            return false;
    return true;
}

/* Cheap look before the stripe is spread out. */
static bool may_fit(const struct parity_planner *planner, const struct planner_view *a, uint32_t b)
{
    const struct planner_known *known = &planner->known[b];
    uint32_t least = (uint32_t)planner_min(a->length, known->length);
    if (known->touched || known->rows != a->rows || b == a->index ||
        least < planner_max(a->length, known->length) / WORTH)
        return false;
    const uint8_t *drive = planner->bytes + known->at + known->rows;
    for (unsigned i = 0; i < known->blocks; i++)
        if (a->place[drive[i]] == PLANNER_BLOCK)
            return false;
    return true;
}

/* What the merged rows' placement is worked out with. */
struct joint {
    const struct planner_view *longer, *shorter;
    uint8_t taken[PLANNER_MAX];
    uint16_t domain[PLANNER_MAX];
    uint64_t cost[PARITY_PLANNER_ROWS_MAX];
};

static bool put_row(const struct parity_planner *planner, struct joint *joint, unsigned row,
    unsigned drive, struct parity_planner_op *op)
{
    uint64_t cost = joint->longer->length;
    if (joint->longer->place[drive] == PLANNER_ROW)
        cost = 0;
    else if (joint->shorter->place[drive] == PLANNER_ROW)
        cost = joint->longer->length - joint->shorter->length;
    if (joint->taken[drive] || !planner->may_row[drive] || planner->room[drive] < cost)
        return false;
    joint->taken[drive] = true;
    joint->domain[planner->domain[drive]]++;
    joint->cost[row] = cost;
    op->row_drive[row] = (uint8_t)drive;
    return true;
}

/* Where the old rows are, as far as no block of either lies there; the longer stripe's first, for
 * they cost nothing. */
static bool place_rows(
    const struct parity_planner *planner, struct joint *joint, struct parity_planner_op *op)
{
    const struct planner_view *from[2] = {joint->longer, joint->shorter};
    for (unsigned i = 0; i < planner->drives; i++) {
        joint->taken[i] = from[0]->place[i] == PLANNER_BLOCK || from[1]->place[i] == PLANNER_BLOCK;
        if (joint->taken[i])
            joint->domain[planner->domain[i]]++;
    }
    unsigned placed = 0; /* a bit a row */
    for (unsigned f = 0; f < 2; f++)
        for (unsigned row = 0; row < op->rows; row++)
            if (!(placed >> row & 1) && put_row(planner, joint, row, from[f]->row_drive[row], op))
                placed |= 1U << row;
    for (unsigned row = 0; row < op->rows; row++) {
        for (unsigned i = 0; i < 2 * op->rows && !(placed >> row & 1); i++)
            if (put_row(planner, joint, row, from[i / op->rows]->row_drive[i % op->rows], op))
                placed |= 1U << row;
        int drive = placed >> row & 1 ? -1
                                      : parity_planner_merge_row_drive(planner, joint->taken,
                                            joint->domain, joint->longer->length);
        if (drive >= 0 && put_row(planner, joint, row, (unsigned)drive, op))
            placed |= 1U << row;
    }
    return placed + 1 == 1U << op->rows;
}

static bool join(struct parity_planner *planner, struct parity_planner_op *op)
{
    struct planner_view *a = &planner->view, *b = &planner->other;
    bool swap = a->length < b->length;
    struct joint joint = {.longer = swap ? b : a, .shorter = swap ? a : b};
    op->rows = op->old_rows = a->rows;
    if (!disjoint(a, b, planner->drives) || !place_rows(planner, &joint, op))
        return false;
    op->kind = PARITY_PLANNER_MERGE;
    op->stripe = planner->known[joint.longer->index].id;
    op->other = planner->known[joint.shorter->index].id;
    op->length = joint.longer->length;
    for (unsigned row = 0; row < op->rows; row++)
        parity_planner_take(planner, op->row_drive[row], joint.cost[row]);
    planner->known[a->index].touched = planner->known[b->index].touched = true;
    return true;
}

/* The widest partners that could fit, down to those as narrow as itself. */
static bool find_partner(struct parity_planner *planner, struct parity_planner_op *op)
{
    const struct planner_view *a = &planner->view;
    unsigned tries = 0;
    for (unsigned k = planner->drives - a->rows - a->blocks; k >= a->blocks; k--) {
        uint32_t *end = &planner->bucket_end[k], from = planner->bucket[k];
        while (*end > from && planner->known[planner->list[*end - 1]].touched)
            --*end; /* so that partners already given away are not passed again and again */
        for (uint32_t at = *end; at-- > from; tries++) {
            if (tries == PARTNERS_TRIED)
                return false;
            if (!may_fit(planner, a, planner->list[at]))
                continue;
            parity_planner_known_view(planner, planner->list[at], &planner->other);
            if (join(planner, op))
                return true;
        }
    }
    return false;
}

bool parity_planner_merge_step(struct parity_planner *planner, struct parity_planner_op *op)
{
    while (planner->next < planner->listed && planner->misses < MISSES_IN_A_ROW) {
        uint32_t index = planner->list[planner->next++];
        const struct planner_known *known = &planner->known[index];
        if (known->touched)
            continue;
        if (2U * known->blocks + known->rows > planner->drives)
            return false; /* from here on none has a partner as wide as itself */
        parity_planner_known_view(planner, index, &planner->view);
        if (find_partner(planner, op)) {
            planner->misses = 0;
            planner->merges++;
            return true;
        }
        planner->misses++;
    }
    return false;
}

mrmr_err parity_planner_deepen_enter(struct parity_planner *planner)
{
    planner->next = 0;
    planner->shallow = 0;
    return MRMR_OK;
}

bool parity_planner_deepen_step(struct parity_planner *planner, struct parity_planner_op *op)
{
    struct planner_view *view = &planner->view;
    while (planner->next < planner->knowns) {
        uint32_t index = (uint32_t)planner->next++;
        struct planner_known *known = &planner->known[index];
        if (known->rows >= planner->config.redundancy)
            continue;
        planner->shallow++;
        if (known->touched)
            continue;
        parity_planner_known_view(planner, index, view);
        op->rows = op->old_rows = view->rows;
        memcpy(op->row_drive, view->row_drive, view->rows);
        while (op->rows < planner->config.redundancy) {
            int drive =
                parity_planner_merge_row_drive(planner, view->place, view->domain, view->length);
            if (drive < 0)
                break;
            view->place[drive] = PLANNER_ROW;
            view->domain[planner->domain[drive]]++;
            op->row_drive[op->rows++] = (uint8_t)drive;
            parity_planner_take(planner, (unsigned)drive, view->length);
        }
        if (op->rows == op->old_rows)
            continue;
        planner->shallow -= op->rows == planner->config.redundancy;
        known->touched = true;
        op->kind = PARITY_PLANNER_DEEPEN;
        op->stripe = known->id;
        op->length = view->length;
        return true;
    }
    return false;
}
