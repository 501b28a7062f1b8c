/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The schedule of new stripes.
 *
 * Given M and each drive's x_i of data and p_i of rows (x_i + p_i <= M, Σ p_i = q·M), stripes are
 * cut one after the other, each as long as the block size or as long as the choice of drives in it
 * can last. With T of length still to come:
 *
 *   - rows go to the q drives with the most of their share left. As Σ p = q·T and no p exceeds T,
 * at most q drives have p = T, and they are among them: no drive's rows are ever late.
 *   - data is taken from those whose slack T - p - x is least, until the stripe is as wide as the
 * average of what is still to come, and from all whose slack would not outlast this stripe. So k is
 * even and no data is ever late.
 *   - a stripe ends early where a drive not in it would become late, or where a chosen drive's
 * share ends.
 *
 * A share ends once for each drive, so almost all stripes have the block's full length and M is met
 * exactly. This is McNaughton's wrap-around for preemptive machines (a stripe is a moment, a drive
 * a job that is in one place at a time), cut so that it needs no memory. Domains: a drive whose
 * domain has q members in the stripe already is passed over while it has slack, and a domain's own
 * slack q·T - its load counts like a drive's.
 */
#include "parity/planner_internal.h"

void parity_planner_make_fluid(
    const struct parity_planner *planner, const uint64_t exposed[], struct planner_fluid *ret_fluid)
{
    uint64_t unit = planner->config.grain;
    ret_fluid->drives = planner->drives;
    ret_fluid->domains = planner->domains;
    ret_fluid->rows = planner->rows;
    ret_fluid->block = planner->config.block / unit;
    for (unsigned i = 0; i < planner->drives; i++) {
        ret_fluid->data[i] = (exposed[i] + unit - 1) / unit;
        ret_fluid->room[i] = planner->room[i] / unit;
        ret_fluid->used[i] = planner->used[i] / unit;
        ret_fluid->domain[i] = planner->domain[i];
    }
}

mrmr_err parity_planner_make_enter(struct parity_planner *planner)
{
    struct planner_fluid fluid;
    struct planner_share share;
    struct planner_make *m = &planner->make;
    memset(m, 0, sizeof *m);
    parity_planner_make_fluid(planner, planner->exposed, &fluid);
    parity_planner_fluid_share(&fluid, &share);
    m->rows = planner->rows;
    m->block = fluid.block;
    m->left = share.length;
    for (unsigned i = 0; i < planner->drives; i++) {
        m->data[i] = share.data[i];
        m->share[i] = share.rows[i];
        m->domain_load[planner->domain[i]] += share.data[i] + share.rows[i];
        m->running |= share.data[i] > 0;
    }
    return MRMR_OK;
}

/* One stripe in the making. */
struct slice {
    uint64_t length;
    unsigned rows, blocks;
    uint8_t row_drive[PARITY_PLANNER_ROWS_MAX];
    uint8_t block_drive[PLANNER_MAX];
    bool row[PLANNER_MAX], block[PLANNER_MAX];
    uint16_t domain[PLANNER_MAX];
};

static void choose_rows(const struct parity_planner *planner, struct slice *s)
{
    const struct planner_make *m = &planner->make;
    while (s->rows < m->rows) {
        int best = -1;
        for (unsigned i = 0; i < planner->drives; i++)
            if (!s->row[i] && m->share[i] && (best < 0 || m->share[i] > m->share[best]))
                best = (int)i;
        if (best < 0)
            return;
        s->row[best] = true;
        s->row_drive[s->rows++] = (uint8_t)best;
        s->domain[planner->domain[best]]++;
        s->length = planner_min(s->length, m->share[best]);
    }
}

struct candidate {
    uint64_t slack; /* the drive's */
    uint64_t rank;  /* that or its domain's, if less */
    uint8_t drive;
};

static int by_rank(const void *a, const void *b)
{
    const struct candidate *p = a, *q = b;
    if (p->rank != q->rank)
        return p->rank < q->rank ? -1 : 1;
    return p->drive < q->drive ? -1 : 1;
}

static unsigned find_candidates(
    const struct parity_planner *planner, const struct slice *s, struct candidate c[])
{
    const struct planner_make *m = &planner->make;
    unsigned n = 0;
    for (unsigned i = 0; i < planner->drives; i++) {
        if (s->row[i] || !m->data[i])
            continue;
        uint64_t slack = planner_less(m->left, m->share[i] + m->data[i]);
        uint64_t most = m->left * m->rows, load = m->domain_load[planner->domain[i]];
        uint64_t rank = load <= most ? planner_min(slack, (most - load) / m->rows) : slack;
        c[n++] = (struct candidate){.slack = slack, .rank = rank, .drive = (uint8_t)i};
    }
    qsort(c, n, sizeof *c, by_rank);
    return n;
}

static void choose_blocks(const struct parity_planner *planner, struct slice *s)
{
    const struct planner_make *m = &planner->make;
    struct candidate c[PLANNER_MAX];
    unsigned n = find_candidates(planner, s, c);
    uint64_t data = 0;
    for (unsigned i = 0; i < planner->drives; i++)
        data += m->data[i];
    uint64_t width = (data + m->left - 1) / m->left;
    for (unsigned i = 0; i < n; i++) {
        uint16_t *domain = &s->domain[planner->domain[c[i].drive]];
        bool late = c[i].slack < s->length;
        if (!late && (s->blocks >= width || *domain >= m->rows))
            continue;
        s->block[c[i].drive] = true;
        s->block_drive[s->blocks++] = c[i].drive;
        (*domain)++;
    }
    for (unsigned i = 0; i < n && !s->blocks; i++) { /* better an unsafe domain than no block */
        s->block[c[i].drive] = true;
        s->block_drive[s->blocks++] = c[i].drive;
    }
}

/* No longer than its longest block, nor than leaves every drive time for the rest of its rows and
 * data. */
static void cut(const struct parity_planner *planner, struct slice *s)
{
    const struct planner_make *m = &planner->make;
    uint64_t longest = 0;
    for (unsigned i = 0; i < planner->drives; i++) {
        if (s->block[i])
            longest = planner_max(longest, m->data[i]);
        if (s->row[i])
            continue;
        uint64_t slack = planner_less(m->left, m->share[i]);
        uint64_t most = s->block[i] && m->data[i] >= s->length ? s->length
                        : s->block[i]                          ? planner_max(m->data[i], slack)
                                                               : planner_less(slack, m->data[i]);
        s->length = planner_min(s->length, most);
    }
    s->length = planner_min(s->length, longest);
}

static void commit(struct parity_planner *planner, const struct slice *s)
{
    struct planner_make *m = &planner->make;
    for (unsigned i = 0; i < planner->drives; i++) {
        uint64_t *domain = &m->domain_load[planner->domain[i]];
        if (s->row[i]) {
            m->share[i] -= s->length;
            *domain -= s->length;
        } else if (s->block[i]) {
            uint64_t part = planner_min(s->length, m->data[i]);
            m->data[i] -= part;
            *domain -= part;
        }
    }
    m->left -= s->length;
}

static void describe(
    struct parity_planner *planner, const struct slice *s, struct parity_planner_op *op)
{
    uint64_t limit = s->length * planner->config.grain;
    op->kind = PARITY_PLANNER_MAKE;
    op->rows = s->rows;
    memcpy(op->row_drive, s->row_drive, sizeof s->row_drive);
    for (unsigned i = 0; i < s->blocks; i++) {
        unsigned drive = s->block_drive[i];
        uint64_t part = planner_min(limit, planner->make.data[drive] * planner->config.grain);
        uint32_t bytes = (uint32_t)planner_min(part, planner->exposed[drive]);
        op->add[op->adds++] = (struct parity_planner_add){.bytes = bytes, .drive = (uint8_t)drive};
        planner->exposed[drive] -= bytes;
        op->length = (uint32_t)planner_max(op->length, bytes);
    }
    for (unsigned i = 0; i < s->rows; i++)
        parity_planner_take(planner, s->row_drive[i], op->length);
}

bool parity_planner_make_step(struct parity_planner *planner, struct parity_planner_op *op)
{
    struct planner_make *m = &planner->make;
    struct slice s = {0};
    if (!m->running || !m->left)
        return false;
    s.length = planner_min(m->left, m->block);
    choose_rows(planner, &s);
    if (s.rows == m->rows)
        choose_blocks(planner, &s);
    if (s.blocks)
        cut(planner, &s);
    if (!s.blocks || !s.length)
        return m->running = false;
    describe(planner, &s, op);
    commit(planner, &s);
    return true;
}
