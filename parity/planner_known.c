/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The existing stripes, held compactly: 32 bytes, a byte a member, five more for a block with room
 * at its end. A stripe that this plan could not change is not held at all.
 */
#include "parity/planner_internal.h"

/* Room that is worth having: a whole piece, or all that is exposed on the drive. */
static bool usable(const struct parity_planner *planner, unsigned drive, uint64_t room)
{
    uint64_t least = planner_min(planner->config.grain, planner->exposed[drive]);
    return least && room >= least;
}

static mrmr_err check(
    const struct parity_planner *planner, const struct parity_planner_stripe *s, bool there[])
{
    unsigned rows = 0, blocks = 0, seen = 0;
    for (unsigned i = 0; i < s->members; i++) {
        const struct parity_planner_member *m = &s->member[i];
        if (m->drive >= planner->drives || there[m->drive])
            return mrmr_fail(MRMR_INVALID, "two members of a stripe on one drive");
        there[m->drive] = true;
        if (m->row == PARITY_PLANNER_IS_BLOCK) {
            blocks++;
            if (m->end > s->length)
                return mrmr_fail(MRMR_INVALID, "a block is longer than its stripe");
            continue;
        }
        if (m->row >= PARITY_PLANNER_ROWS_MAX || (seen >> m->row & 1))
            return mrmr_fail(MRMR_INVALID, "row %u twice or out of range", m->row);
        seen |= 1U << m->row;
        rows++;
    }
    if (!blocks || !rows || seen + 1 != 1U << rows || !s->length)
        return mrmr_fail(MRMR_INVALID, "a stripe without blocks or without all its rows");
    return MRMR_OK;
}

/* Its rows are too few, or a drive with exposed bytes can add to it, or another stripe might fit
 * beside it. */
static bool useful(
    const struct parity_planner *planner, const struct parity_planner_stripe *s, const bool there[])
{
    unsigned rows = 0;
    for (unsigned i = 0; i < s->members; i++) {
        const struct parity_planner_member *m = &s->member[i];
        uint32_t most = (uint32_t)planner_max(s->length, planner->config.block);
        if (m->row != PARITY_PLANNER_IS_BLOCK)
            rows++;
        else if (usable(planner, m->drive, most - m->end))
            return true;
    }
    if (rows < planner->config.redundancy || s->members < planner->drives)
        return true;
    for (unsigned i = 0; i < planner->drives; i++)
        if (!there[i] && planner->exposed[i])
            return true;
    return false;
}

static mrmr_err reserve(struct parity_planner *planner, size_t bytes)
{
    if (planner->knowns == UINT32_MAX)
        return mrmr_fail(MRMR_INVALID, "too many stripes for one plan");
    if (planner->knowns == planner->knowns_room) {
        size_t room = planner->knowns_room ? planner->knowns_room + planner->knowns_room / 2 : 256;
        void *grown = reallocarray(planner->known, room, sizeof *planner->known);
        if (!grown)
            return mrmr_nomem();
        planner->known = grown;
        planner->knowns_room = room;
    }
    if (planner->bytes_len + bytes > planner->bytes_room) {
        size_t room = planner->bytes_room + planner->bytes_room / 2 + 4096 + bytes;
        void *grown = realloc(planner->bytes, room);
        if (!grown)
            return mrmr_nomem();
        planner->bytes = grown;
        planner->bytes_room = room;
    }
    return MRMR_OK;
}

mrmr_err parity_planner_known_put(
    struct parity_planner *planner, const struct parity_planner_stripe *stripe)
{
    bool there[PLANNER_MAX] = {false};
    MRMR_TRY(check(planner, stripe, there));
    if (stripe->frozen || !useful(planner, stripe, there))
        return MRMR_OK;
    MRMR_TRY(reserve(planner, stripe->members * (2 + sizeof(uint32_t))));
    struct planner_known known = {
        .id = stripe->id, .length = stripe->length, .at = planner->bytes_len};
    uint8_t *out = planner->bytes + planner->bytes_len, blocks[PLANNER_MAX];
    for (unsigned i = 0; i < stripe->members; i++) {
        const struct parity_planner_member *m = &stripe->member[i];
        if (m->row == PARITY_PLANNER_IS_BLOCK) {
            blocks[known.blocks++] = m->drive;
        } else {
            out[m->row] = m->drive;
            known.rows++;
        }
    }
    out += known.rows;
    memcpy(out, blocks, known.blocks);
    out += known.blocks;
    for (unsigned i = 0; i < stripe->members; i++) {
        const struct parity_planner_member *m = &stripe->member[i];
        if (m->row != PARITY_PLANNER_IS_BLOCK || m->end == stripe->length)
            continue;
        *out++ = m->drive;
        memcpy(out, &m->end, sizeof m->end);
        out += sizeof m->end;
        known.shorts++;
    }
    planner->bytes_len = (size_t)(out - planner->bytes);
    planner->known[planner->knowns++] = known;
    return MRMR_OK;
}

void parity_planner_known_view(
    const struct parity_planner *planner, uint32_t index, struct planner_view *ret_view)
{
    const struct planner_known *known = &planner->known[index];
    const uint8_t *in = planner->bytes + known->at;
    ret_view->index = index;
    ret_view->length = known->length;
    ret_view->rows = known->rows;
    ret_view->blocks = known->blocks;
    memset(ret_view->place, PLANNER_ABSENT, planner->drives);
    memset(ret_view->domain, 0, planner->domains * sizeof *ret_view->domain);
    for (unsigned i = 0; i < known->rows; i++, in++) {
        ret_view->row_drive[i] = *in;
        ret_view->place[*in] = PLANNER_ROW;
        ret_view->domain[planner->domain[*in]]++;
    }
    for (unsigned i = 0; i < known->blocks; i++, in++) {
        ret_view->place[*in] = PLANNER_BLOCK;
        ret_view->end[*in] = known->length;
        ret_view->domain[planner->domain[*in]]++;
    }
    for (unsigned i = 0; i < known->shorts; i++) {
        unsigned drive = *in++;
        memcpy(&ret_view->end[drive], in, sizeof(uint32_t));
        in += sizeof(uint32_t);
    }
}

uint64_t parity_planner_known_avail(const struct parity_planner *planner,
    const struct planner_view *view, unsigned drive, uint32_t length)
{
    uint64_t room = 0;
    if (view->place[drive] == PLANNER_ABSENT)
        room = length;
    else if (view->place[drive] == PLANNER_BLOCK)
        room = planner_less(length, view->end[drive]);
    return usable(planner, drive, room) ? room : 0;
}
