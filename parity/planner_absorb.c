/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What existing stripes can still take: widened and filled for no parity at all, or grown.
 *
 * ABSORB, SQUEEZE and LOW_ABSORB go over the stripes in the order of what each could take, so that
 * few are rewritten. Every drive's bytes go where that drive is absent or short, and no drive
 * stands in another's way: first come, first served is the optimum. A rewrite that gains less than
 * 1/32 of the stripe is left out, except in SQUEEZE, which comes when there is no room for new
 * rows.
 *
 * GROW takes the stripes shorter than the block by an eighth or more. A stripe that grows by g
 * costs as much as a new one of length g, but leaves no short stripe behind; it is done where the
 * fluid problem says that the rest then needs g less. The number weighed is bounded, as each costs
 * a solution.
 */
#include "parity/planner_internal.h"

enum { WORTH = 32, SHORT = 8, GROWTHS_WEIGHED = 256 };

static bool is_short(const struct parity_planner *planner, uint32_t length)
{
    uint32_t block = planner->config.block;
    return length < block && block - length >= planner_max(block / SHORT, planner->config.grain);
}

static bool wanted(const struct parity_planner *planner, const struct planner_known *known)
{
    const uint8_t *row_drive = planner->bytes + known->at;
    if (known->touched)
        return false;
    for (unsigned i = 0; i < known->rows; i++) /* its row cannot be rewritten where it is */
        if (!planner->may_row[row_drive[i]])
            return false;
    switch (planner->phase) {
    case PLANNER_ABSORB:
        return known->rows >= planner->rows && !is_short(planner, known->length);
    case PLANNER_GROW:
        return known->rows >= planner->rows && is_short(planner, known->length);
    case PLANNER_SQUEEZE:
        return known->rows >= planner->rows;
    default:
        return known->rows == planner->rows;
    }
}

static uint64_t gain(const struct parity_planner *planner, const struct planner_view *view)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < planner->drives; i++)
        sum += planner_min(
            planner->exposed[i], parity_planner_known_avail(planner, view, i, view->length));
    return sum;
}

static bool keeps_apart(
    const struct parity_planner *planner, const struct planner_view *view, unsigned drive)
{
    return view->place[drive] == PLANNER_BLOCK ||
           view->domain[planner->domain[drive]] < planner->rows;
}

struct ranked {
    uint64_t key;
    uint32_t index;
};

static int by_key(const void *a, const void *b)
{
    const struct ranked *p = a, *q = b;
    if (p->key != q->key)
        return p->key < q->key ? -1 : 1;
    return p->index < q->index ? -1 : p->index > q->index;
}

/* Fill list[] with the stripes wanted, the most gain first (GROW: the shortest first), and add up
 * what each drive could bring, in later[] (ABSORB: with domains apart). */
static mrmr_err rank(struct parity_planner *planner)
{
    mrmr_autofree struct ranked *ranked = NULL;
    size_t n = 0;
    if (!(ranked = calloc(planner->knowns + 1, sizeof *ranked)))
        return mrmr_nomem();
    memset(planner->later, 0, sizeof planner->later);
    for (uint32_t s = 0; s < planner->knowns; s++) {
        struct planner_view *view = &planner->view;
        if (!wanted(planner, &planner->known[s]))
            continue;
        parity_planner_known_view(planner, s, view);
        uint64_t sum = gain(planner, view);
        if (!sum && planner->phase != PLANNER_GROW)
            continue;
        ranked[n].key = planner->phase == PLANNER_GROW ? view->length : UINT64_MAX - sum;
        ranked[n++].index = s;
        for (unsigned i = 0; i < planner->drives; i++)
            if (planner->phase == PLANNER_GROW || keeps_apart(planner, view, i))
                planner->later[i] += parity_planner_known_avail(planner, view, i, view->length);
    }
    qsort(ranked, n, sizeof *ranked, by_key);
    for (size_t i = 0; i < n; i++)
        planner->list[i] = ranked[i].index;
    planner->listed = n;
    planner->next = 0;
    return MRMR_OK;
}

mrmr_err parity_planner_absorb_enter(struct parity_planner *planner)
{
    MRMR_TRY(rank(planner));
    planner->sweep = 0;
    for (unsigned i = 0; i < planner->drives; i++)
        planner->choosy[i] = planner->domains < planner->drives &&
                             planner->phase == PLANNER_ABSORB &&
                             planner->later[i] >= planner->exposed[i];
    return MRMR_OK;
}

/* Put what the drives can add to the stripe at that length into *op; nothing is taken yet. */
static uint64_t propose(const struct parity_planner *planner, struct planner_view *view,
    uint32_t length, struct parity_planner_op *op)
{
    uint64_t sum = 0;
    op->adds = 0;
    op->length = view->length;
    for (unsigned i = 0; i < planner->drives; i++) {
        uint64_t bytes =
            planner_min(planner->exposed[i], parity_planner_known_avail(planner, view, i, length));
        if (!bytes || (planner->choosy[i] && !keeps_apart(planner, view, i)))
            continue;
        bool fill = view->place[i] == PLANNER_BLOCK;
        op->add[op->adds++] = (struct parity_planner_add){
            .bytes = (uint32_t)bytes, .drive = (uint8_t)i, .fill = fill};
        if (!fill)
            view->domain[planner->domain[i]]++;
        op->length = (uint32_t)planner_max(op->length, bytes + (fill ? view->end[i] : 0));
        sum += bytes;
    }
    return sum;
}

static void take(
    struct parity_planner *planner, const struct planner_view *view, struct parity_planner_op *op)
{
    struct planner_known *known = &planner->known[view->index];
    known->touched = true;
    op->kind = PARITY_PLANNER_ADD;
    op->stripe = known->id;
    op->rows = op->old_rows = view->rows;
    memcpy(op->row_drive, view->row_drive, view->rows);
    for (unsigned i = 0; i < op->adds; i++)
        planner->exposed[op->add[i].drive] -= op->add[i].bytes;
    for (unsigned i = 0; i < view->rows; i++)
        parity_planner_take(planner, view->row_drive[i], op->length - view->length);
}

bool parity_planner_absorb_step(struct parity_planner *planner, struct parity_planner_op *op)
{
    while (planner->sweep < 2) {
        while (planner->next < planner->listed) {
            struct planner_view *view = &planner->view;
            uint32_t index = planner->list[planner->next++];
            if (planner->known[index].touched)
                continue;
            parity_planner_known_view(planner, index, view);
            uint64_t least = planner->phase == PLANNER_SQUEEZE ? 1 : view->length / WORTH + 1;
            if (propose(planner, view, view->length, op) < least)
                continue;
            take(planner, view, op);
            return true;
        }
        planner->sweep++; /* once more for those that could not keep their domain apart after all */
        planner->next = 0;
        memset(planner->choosy, 0, sizeof planner->choosy);
    }
    return false;
}

mrmr_err parity_planner_grow_enter(struct parity_planner *planner)
{
    planner->tries = 0;
    memset(planner->choosy, 0, sizeof planner->choosy);
    return rank(planner);
}

/* What would go into new stripes if this one took what it can and the later ones too. */
static bool find_rest(
    const struct parity_planner *planner, const struct planner_view *view, uint64_t rest[])
{
    bool any = false;
    for (unsigned i = 0; i < planner->drives; i++) {
        uint64_t here = parity_planner_known_avail(planner, view, i, view->length);
        rest[i] = planner_less(planner->exposed[i], here + planner->later[i]);
        any |= rest[i] > 0;
    }
    return any;
}

/* The growth that lets every drive not holding a row bring its rest, within the block and the rows'
 * drives. */
static uint32_t most_growth(
    const struct parity_planner *planner, const struct planner_view *view, const uint64_t rest[])
{
    uint64_t growth = 0;
    for (unsigned i = 0; i < planner->drives; i++)
        if (view->place[i] != PLANNER_ROW)
            growth = planner_max(growth, rest[i]);
    growth = planner_min(growth, planner->config.block - view->length);
    for (unsigned i = 0; i < view->rows; i++)
        growth = planner_min(growth, planner->room[view->row_drive[i]]);
    return (uint32_t)growth;
}

/* Does growing by that much lower the length needed elsewhere by as much, and protect no less? */
static bool pays(const struct parity_planner *planner, const struct planner_view *view,
    const uint64_t rest[], uint32_t growth)
{
    uint64_t left[PLANNER_MAX], taken = 0, before, after, unit = planner->config.grain;
    struct planner_fluid fluid;
    parity_planner_make_fluid(planner, rest, &fluid);
    uint64_t protects = parity_planner_fluid_best(&fluid, &before);
    for (unsigned i = 0; i < planner->drives; i++) {
        uint64_t part = view->place[i] == PLANNER_ROW ? 0 : planner_min(rest[i], growth);
        left[i] = rest[i] - part;
        taken += (rest[i] + unit - 1) / unit - (left[i] + unit - 1) / unit;
    }
    parity_planner_make_fluid(planner, left, &fluid);
    for (unsigned i = 0; i < view->rows; i++)
        fluid.room[view->row_drive[i]] = (planner->room[view->row_drive[i]] - growth) / unit;
    taken += parity_planner_fluid_best(&fluid, &after);
    return taken >= protects && after * unit + growth <= before * unit;
}

bool parity_planner_grow_step(struct parity_planner *planner, struct parity_planner_op *op)
{
    while (planner->next < planner->listed) {
        struct planner_view *view = &planner->view;
        uint64_t rest[PLANNER_MAX];
        uint32_t growth = 0;
        parity_planner_known_view(planner, planner->list[planner->next++], view);
        for (unsigned i = 0; i < planner->drives; i++)
            planner->later[i] = planner_less(
                planner->later[i], parity_planner_known_avail(planner, view, i, view->length));
        if (planner->tries < GROWTHS_WEIGHED && find_rest(planner, view, rest)) {
            growth = most_growth(planner, view, rest);
            planner->tries++;
            if (growth && !pays(planner, view, rest, growth))
                growth = 0;
        }
        if (propose(planner, view, view->length + growth, op) < view->length / WORTH + 1)
            continue;
        take(planner, view, op);
        return true;
    }
    return false;
}
