/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * How long the new stripes must be in all, and how their rows are shared out.
 *
 * Let x_i be the data to protect, R_i the room for rows, q the rows. With stripes of length M in
 * all a drive can take min(R_i, M - x_i) bytes of rows, and q·M are needed. A drive's data up to M
 * - R_i takes nothing from the rows that the drive could hold; above that each byte of data
 * displaces one of rows. So of the data
 *
 *     V(M) = Σ min(x_i, max(0, M - R_i)) + min(Σ of the rest up to M, Σ min(R_i, M) - q·M)
 *
 * can be protected. V is the value of a linear program with M on its right-hand side, hence
 * concave, and bisection on its differences finds the least M of the greatest V. Where everything
 * fits this is M* of design §7.
 */
#include "parity/planner_internal.h"

bool parity_planner_search(int64_t (*value)(const void *context, uint64_t x), const void *context,
    uint64_t low, uint64_t high, int64_t target, uint64_t *ret_x)
{
    uint64_t a = low, b = high;
    while (a < b) { /* the least argument of the maximum */
        uint64_t mid = a + (b - a) / 2;
        if (value(context, mid + 1) > value(context, mid))
            a = mid + 1;
        else
            b = mid;
    }
    if (value(context, a) < target)
        return false;
    b = a;
    a = low;
    while (a < b) {
        uint64_t mid = a + (b - a) / 2;
        if (value(context, mid) >= target)
            b = mid;
        else
            a = mid + 1;
    }
    *ret_x = a;
    return true;
}

/* Σ min(R_i, M) - q·M: rows that could be held if there were no data, beyond those needed. */
static int64_t spare(const void *context, uint64_t length)
{
    const struct planner_fluid *f = context;
    int64_t sum = -(int64_t)(length * f->rows);
    for (unsigned i = 0; i < f->drives; i++)
        sum += (int64_t)planner_min(f->room[i], length);
    return sum;
}

static uint64_t undisturbing(const struct planner_fluid *f, unsigned i, uint64_t length)
{
    return planner_min(f->data[i], planner_less(length, f->room[i]));
}

static int64_t protectable(const void *context, uint64_t length)
{
    const struct planner_fluid *f = context;
    int64_t sum = 0, rest = 0;
    for (unsigned i = 0; i < f->drives; i++) {
        uint64_t free = undisturbing(f, i, length);
        sum += (int64_t)free;
        rest += (int64_t)(planner_min(f->data[i], length) - free);
    }
    int64_t room = spare(f, length);
    return sum + (rest < room ? rest : room);
}

/* The greatest length for which there are rows at all. */
static uint64_t longest(const struct planner_fluid *f)
{
    uint64_t low = 0, high = 0, holders = 0;
    for (unsigned i = 0; i < f->drives; i++) {
        high += f->room[i];
        holders += f->room[i] > 0;
    }
    if (holders < f->rows)
        return 0;
    high /= f->rows;
    while (low < high) { /* spare() is concave and 0 at 0 */
        uint64_t mid = low + (high - low + 1) / 2;
        if (spare(f, mid) >= 0)
            low = mid;
        else
            high = mid - 1;
    }
    return low;
}

uint64_t parity_planner_fluid_best(const struct planner_fluid *fluid, uint64_t *ret_length)
{
    uint64_t high = longest(fluid), a = 0, b = high;
    while (a < b) {
        uint64_t mid = a + (b - a) / 2;
        if (protectable(fluid, mid + 1) > protectable(fluid, mid))
            a = mid + 1;
        else
            b = mid;
    }
    *ret_length = a;
    return (uint64_t)protectable(fluid, a);
}

/* Which data: all that displaces no rows, and of the rest an equal part of each. */
static void choose_data(
    const struct planner_fluid *f, uint64_t length, uint64_t total, uint64_t data[])
{
    uint64_t want[PLANNER_MAX], wanted = 0, got = 0;
    for (unsigned i = 0; i < f->drives; i++) {
        data[i] = undisturbing(f, i, length);
        want[i] = planner_min(f->data[i], length) - data[i];
        wanted += want[i];
        got += data[i];
    }
    uint64_t extra = total - got, given = 0;
    for (unsigned i = 0; i < f->drives && wanted; i++) {
        uint64_t part = (uint64_t)((unsigned __int128)want[i] * extra / wanted);
        data[i] += part;
        want[i] -= part;
        given += part;
    }
    for (unsigned i = 0; i < f->drives && given < extra; i++) {
        uint64_t part = planner_min(want[i], extra - given);
        data[i] += part;
        given += part;
    }
}

/* --- sharing the rows out: water on the least-used drives --- */

struct water {
    const struct planner_fluid *fluid;
    const uint64_t *data; /* protected */
    uint64_t length;
    bool apart;      /* a domain takes at most what keeps its members in a stripe at q … */
    uint64_t excess; /* … and this much more, where that is not to be had */
    uint64_t domain_data[PLANNER_MAX];
};

static uint64_t row_cap(const struct water *w, unsigned i)
{
    return planner_min(w->fluid->room[i], planner_less(w->length, w->data[i]));
}

static uint64_t domain_cap(const struct water *w, unsigned domain)
{
    uint64_t cap = planner_less(w->length * w->fluid->rows, w->domain_data[domain]);
    return w->apart ? cap + w->excess : UINT64_MAX;
}

/* Rows taken by each domain if the water stands at that level. */
static uint64_t water_at(const struct water *w, uint64_t level, uint64_t domain_rows[])
{
    uint64_t sum = 0;
    memset(domain_rows, 0, w->fluid->domains * sizeof *domain_rows);
    for (unsigned i = 0; i < w->fluid->drives; i++)
        domain_rows[w->fluid->domain[i]] +=
            planner_min(planner_less(level, w->fluid->used[i]), row_cap(w, i));
    for (unsigned g = 0; g < w->fluid->domains; g++)
        sum += planner_min(domain_rows[g], domain_cap(w, g));
    return sum;
}

/* The least level at which the domain (all of them: -1) holds `want`. */
static uint64_t find_level(const struct water *w, int domain, uint64_t want)
{
    uint64_t rows[PLANNER_MAX], low = 0, high = 0;
    for (unsigned i = 0; i < w->fluid->drives; i++)
        high = planner_max(high, w->fluid->used[i] + w->fluid->room[i]);
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        uint64_t sum = water_at(w, mid, rows);
        if ((domain < 0 ? sum : rows[domain]) >= want)
            high = mid;
        else
            low = mid + 1;
    }
    return low;
}

/* Give `want` to the drives of one domain, or all, whose water stands at that level; the last unit
 * or so too much comes off the drives at the surface, from the last. */
static void pour(const struct water *w, int domain, uint64_t level, uint64_t want, uint64_t rows[])
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < w->fluid->drives; i++) {
        if (domain >= 0 && w->fluid->domain[i] != domain)
            continue;
        rows[i] = planner_min(planner_less(level, w->fluid->used[i]), row_cap(w, i));
        sum += rows[i];
    }
    for (unsigned i = w->fluid->drives; i-- > 0 && sum > want;) {
        bool surface = rows[i] && w->fluid->used[i] + rows[i] == level;
        if (surface && (domain < 0 || w->fluid->domain[i] == domain)) {
            rows[i]--;
            sum--;
        }
    }
}

/* Move what is over whole blocks between the drives of one domain, or all, so that it makes whole
 * blocks on few of them instead of a short stripe for each. */
static void coarsen(const struct water *w, int domain, uint64_t rows[])
{
    uint64_t block = w->fluid->block, loose = 0, over[PLANNER_MAX] = {0};
    for (unsigned i = 0; i < w->fluid->drives; i++) {
        if (domain >= 0 && w->fluid->domain[i] != domain)
            continue;
        over[i] = rows[i] % block;
        rows[i] -= over[i];
        loose += over[i];
    }
    while (loose) { /* the sum fitted before, so it fits again */
        int best = -1;
        for (unsigned i = 0; i < w->fluid->drives; i++)
            if (over[i] && (best < 0 || over[i] > over[best]))
                best = (int)i;
        if (best < 0)
            break;
        uint64_t part =
            planner_min(planner_min(loose, block), row_cap(w, (unsigned)best) - rows[best]);
        rows[best] += part;
        loose -= part;
        over[best] = 0;
    }
}

static void share_rows(const struct water *w, uint64_t rows[])
{
    uint64_t need = w->length * w->fluid->rows, by_domain[PLANNER_MAX];
    uint64_t level = find_level(w, -1, need);
    if (!w->apart) {
        pour(w, -1, level, need, rows);
        coarsen(w, -1, rows);
        return;
    }
    uint64_t below[PLANNER_MAX] = {0}, over = water_at(w, level, by_domain) - need;
    if (level)
        water_at(w, level - 1, below);
    for (unsigned g = w->fluid->domains;
         g-- > 0;) { /* what the last unit of the level was too much */
        uint64_t cap = domain_cap(w, g), want = planner_min(by_domain[g], cap);
        uint64_t give = planner_min(over, want - planner_min(below[g], cap));
        want -= give;
        over -= give;
        pour(w, (int)g, find_level(w, (int)g, want), want, rows);
        coarsen(w, (int)g, rows);
    }
}

static int64_t apart_spare(const void *context, uint64_t length)
{
    struct water w = *(const struct water *)context;
    uint64_t rows[PLANNER_MAX];
    w.length = length;
    return (int64_t)water_at(&w, UINT64_MAX, rows) - (int64_t)(length * w.fluid->rows);
}

/* Domains stay distinct if none has more than q·M of data and rows together. One part in a hundred
 * more parity is accepted for that, not more; beyond it, every domain gets the same least excess.
 */
static void keep_apart(struct water *w)
{
    uint64_t low = w->length, high = w->length + w->length / 100 + 1, q = w->fluid->rows;
    for (unsigned g = 0; g < w->fluid->domains; g++)
        low = planner_max(low, (w->domain_data[g] + q - 1) / q);
    w->apart = true;
    uint64_t length;
    if (low <= high && parity_planner_search(apart_spare, w, low, high, 0, &length)) {
        w->length = length;
        return;
    }
    for (low = 0, high = w->length * q; low < high;) {
        w->excess = low + (high - low) / 2;
        if (apart_spare(w, w->length) >= 0)
            high = w->excess;
        else
            low = w->excess + 1;
    }
    w->excess = low;
}

void parity_planner_fluid_share(const struct planner_fluid *fluid, struct planner_share *ret_share)
{
    struct planner_share share = {0};
    uint64_t total = parity_planner_fluid_best(fluid, &share.length);
    choose_data(fluid, share.length, total, share.data);
    struct water w = {.fluid = fluid, .data = share.data, .length = share.length};
    for (unsigned i = 0; i < fluid->drives; i++)
        w.domain_data[fluid->domain[i]] += share.data[i];
    if (fluid->domains < fluid->drives)
        keep_apart(&w);
    share.length = w.length;
    share_rows(&w, share.rows);
    *ret_share = share;
}
