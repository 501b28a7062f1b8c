/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The closed forms of design §7. h(M) = Σ min(c_j, M) - r·M is concave: it rises as long as more
 * than r drives are larger than M.
 */
#include "parity/planner_internal.h"

struct sizes {
    unsigned rows, drives;
    const uint64_t *size;
};

static int64_t holds(const void *context, uint64_t length)
{
    const struct sizes *s = context;
    int64_t sum = -(int64_t)(length * s->rows);
    for (unsigned i = 0; i < s->drives; i++)
        sum += (int64_t)planner_min(s->size[i], length);
    return sum;
}

bool parity_planner_optimum(unsigned redundancy, unsigned drives, const uint64_t size[],
    const uint64_t data[], uint64_t *ret_stripe_bytes)
{
    uint64_t low = 0, high = 0, total = 0;
    struct sizes sizes = {.rows = redundancy, .drives = drives, .size = size};
    for (unsigned i = 0; i < drives; i++) {
        if (data[i] > size[i])
            return false;
        low = planner_max(low, data[i]);
        high = planner_max(high, size[i]);
        total += data[i];
    }
    return parity_planner_search(holds, &sizes, low, high, (int64_t)total, ret_stripe_bytes);
}

uint64_t parity_planner_best(unsigned redundancy, unsigned drives, const uint64_t size[])
{
    bool out[PLANNER_MAX] = {false};
    uint64_t sum = 0;
    for (unsigned n = 0; n < redundancy && n < drives;
         n++) { /* leave out the largest that is left */
        int largest = -1;
        for (unsigned i = 0; i < drives; i++)
            if (!out[i] && (largest < 0 || size[i] > size[largest]))
                largest = (int)i;
        out[largest] = true;
    }
    for (unsigned i = 0; i < drives; i++)
        sum += out[i] ? 0 : size[i];
    return sum;
}

struct future {
    unsigned rows, drives;
    const struct parity_planner_space *space;
    int64_t rows_there;
};

/* New data that fits if the stripes get that long in all; very negative where the rows then have no
 * place. */
static int64_t fits(const void *context, uint64_t length)
{
    const struct future *f = context;
    int64_t need = (int64_t)(length * f->rows) - f->rows_there;
    int64_t only_rows = 0, both = 0, only_data = 0;
    for (unsigned i = 0; i < f->drives; i++) {
        const struct parity_planner_space *s = &f->space[i];
        int64_t room = (int64_t)planner_min(s->free, planner_less(length, s->data + s->rows));
        if (s->flags == (PARITY_PLANNER_SPACE_DATA | PARITY_PLANNER_SPACE_ROWS))
            both += room;
        else if (s->flags == PARITY_PLANNER_SPACE_ROWS)
            only_rows += room;
        else if (s->flags == PARITY_PLANNER_SPACE_DATA)
            only_data += room;
    }
    int64_t displaced = need > only_rows ? need - only_rows : 0;
    if (displaced > both)
        return -displaced;
    return both - displaced + only_data;
}

/* fits() is concave where it is not negative, and its negative part rises and falls with it. */
uint64_t parity_planner_capacity(unsigned redundancy, unsigned drives,
    const struct parity_planner_space space[], uint64_t stripe_bytes)
{
    struct future f = {.rows = redundancy, .drives = drives, .space = space};
    uint64_t low = stripe_bytes, high = stripe_bytes, best = 0;
    for (unsigned i = 0; i < drives; i++) {
        low = planner_max(low, space[i].data + space[i].rows);
        high = planner_max(high, space[i].data + space[i].rows + space[i].free);
        f.rows_there += (int64_t)space[i].rows;
    }
    high = planner_max(high, low);
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        if (fits(&f, mid + 1) > fits(&f, mid))
            low = mid + 1;
        else
            high = mid;
    }
    int64_t most = fits(&f, low);
    if (most > 0)
        best = (uint64_t)most;
    return best;
}
