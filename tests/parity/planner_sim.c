/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/parity/planner_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

void sim_start(
    struct sim *sim, unsigned drives, unsigned redundancy, uint32_t block, uint32_t grain)
{
    memset(sim, 0, sizeof *sim);
    sim->drives = drives;
    sim->config.redundancy = redundancy;
    sim->config.block = block;
    sim->config.grain = grain;
    for (unsigned i = 0; i < drives; i++) {
        sim->domain[i] = 1000 + i;
        sim->flags[i] = PARITY_PLANNER_ROWS;
    }
}

static void drop(struct sim *sim, size_t index)
{
    struct sim_stripe *s = &sim->stripe[index];
    for (unsigned i = 0; i < s->rows; i++)
        sim->rows[s->row_drive[i]] -= s->length;
    free(s->end);
    free(s->live);
    memset(s, 0, sizeof *s);
    sim->alive--;
}

void sim_stop(struct sim *sim)
{
    for (size_t i = 0; i < sim->stripes; i++)
        if (sim->stripe[i].end)
            drop(sim, i);
    free(sim->stripe);
}

void sim_store(struct sim *sim, unsigned drive, uint64_t bytes)
{
    sim->data[drive] += bytes;
    sim->exposed[drive] += bytes;
}

static struct sim_stripe *add_stripe(struct sim *sim)
{
    if (sim->stripes == sim->stripes_room) {
        sim->stripes_room = sim->stripes_room * 2 + 64;
        sim->stripe = realloc(sim->stripe, sim->stripes_room * sizeof *sim->stripe);
        assert_non_null(sim->stripe);
    }
    struct sim_stripe *s = &sim->stripe[sim->stripes++];
    memset(s, 0, sizeof *s);
    s->end = malloc(sim->drives * sizeof *s->end);
    s->live = calloc(sim->drives, sizeof *s->live);
    assert_true(s->end && s->live);
    memset(s->end, 0xff, sim->drives * sizeof *s->end);
    sim->alive++;
    return s;
}

void sim_stripe(
    struct sim *sim, uint32_t length, const int row_drive[], const int block_drive[], bool frozen)
{
    struct sim_stripe *s = add_stripe(sim);
    s->length = length;
    s->frozen = frozen;
    for (; *row_drive >= 0; row_drive++) {
        s->row_drive[s->rows++] = (uint8_t)*row_drive;
        sim->rows[*row_drive] += length;
    }
    for (; *block_drive >= 0; block_drive++) {
        s->end[*block_drive] = s->live[*block_drive] = length;
        sim->data[*block_drive] += length;
    }
}

static void set_length(struct sim *sim, struct sim_stripe *s, uint32_t length)
{
    for (unsigned i = 0; i < s->rows; i++)
        sim->rows[s->row_drive[i]] += (uint64_t)length - s->length;
    s->length = length;
}

void sim_delete(struct sim *sim, size_t stripe, unsigned drive, uint32_t keep, bool keep_end)
{
    struct sim_stripe *s = &sim->stripe[stripe];
    uint32_t longest = 0;
    if (keep > s->live[drive])
        keep = s->live[drive];
    sim->data[drive] -= s->live[drive] - keep;
    s->live[drive] = keep;
    if (!keep)
        s->end[drive] = SIM_ABSENT;
    else if (!keep_end)
        s->end[drive] = keep;
    for (unsigned i = 0; i < sim->drives; i++)
        if (s->end[i] != SIM_ABSENT && s->end[i] > longest)
            longest = s->end[i];
    set_length(sim, s, longest);
    if (!longest)
        drop(sim, stripe);
}

/* --- executing --- */

struct execution {
    struct sim *sim;
    uint64_t taken[SIM_MAX]; /* of the room at the plan's start */
    uint64_t room[SIM_MAX];
};

static void take(struct execution *x, unsigned drive, uint64_t bytes)
{
    x->taken[drive] += bytes;
    x->sim->rows[drive] += bytes;
    assert_true(!bytes || (x->sim->flags[drive] & PARITY_PLANNER_ROWS));
    assert_in_range(x->taken[drive], 0, x->room[drive]);
}

static void check_distinct(const struct sim *sim, const struct sim_stripe *s)
{
    bool there[SIM_MAX] = {false};
    unsigned blocks = 0;
    for (unsigned i = 0; i < sim->drives; i++) {
        there[i] = s->end[i] != SIM_ABSENT;
        blocks += there[i];
        if (there[i])
            assert_in_range(s->end[i], 1, s->length);
    }
    assert_true(blocks);
    assert_in_range(s->rows, 1, PARITY_PLANNER_ROWS_MAX);
    for (unsigned i = 0; i < s->rows; i++) {
        assert_true(s->row_drive[i] < sim->drives && !there[s->row_drive[i]]);
        there[s->row_drive[i]] = true;
    }
}

static void put_blocks(struct sim *sim, struct sim_stripe *s, const struct parity_planner_op *op)
{
    uint32_t longest = 0;
    assert_true(op->adds);
    for (unsigned i = 0; i < op->adds; i++) {
        const struct parity_planner_add *add = &op->add[i];
        uint32_t *end = &s->end[add->drive];
        assert_in_range(add->drive, 0, sim->drives - 1);
        assert_int_equal(add->fill, *end != SIM_ABSENT);
        assert_in_range(add->bytes, 1, sim->exposed[add->drive]);
        *end = (add->fill ? *end : 0) + add->bytes;
        s->live[add->drive] += add->bytes;
        sim->exposed[add->drive] -= add->bytes;
    }
    for (unsigned i = 0; i < sim->drives; i++)
        if (s->end[i] != SIM_ABSENT && s->end[i] > longest)
            longest = s->end[i];
    assert_int_equal(longest > s->length ? longest : s->length, op->length);
}

static void make(struct execution *x, const struct parity_planner_op *op)
{
    struct sim_stripe *s = add_stripe(x->sim);
    assert_int_equal(op->old_rows, 0);
    assert_in_range(op->rows, 1, x->sim->config.redundancy);
    assert_in_range(op->length, 1, x->sim->config.block);
    put_blocks(x->sim, s, op);
    s->length = op->length;
    s->rows = op->rows;
    memcpy(s->row_drive, op->row_drive, op->rows);
    for (unsigned i = 0; i < op->rows; i++)
        take(x, op->row_drive[i], op->length);
    check_distinct(x->sim, s);
    s->plan = x->sim->plans;
}

static struct sim_stripe *touch(struct execution *x, uint64_t id)
{
    assert_in_range(id, 0, x->sim->stripes - 1);
    struct sim_stripe *s = &x->sim->stripe[id];
    assert_true(s->end && !s->frozen && s->plan != x->sim->plans);
    s->plan = x->sim->plans;
    return s;
}

static void add(struct execution *x, const struct parity_planner_op *op)
{
    struct sim_stripe *s = touch(x, op->stripe);
    assert_true(op->rows == s->rows && op->old_rows == s->rows);
    assert_memory_equal(op->row_drive, s->row_drive, s->rows);
    put_blocks(x->sim, s, op);
    for (unsigned i = 0; i < s->rows; i++) {
        assert_true(x->sim->flags[s->row_drive[i]] & PARITY_PLANNER_ROWS);
        take(x, s->row_drive[i], op->length - s->length);
    }
    assert_true(op->length == s->length || op->length <= x->sim->config.block);
    s->length = op->length;
    check_distinct(x->sim, s);
}

static uint32_t row_bytes(const struct sim_stripe *s, unsigned drive)
{
    for (unsigned i = 0; i < s->rows; i++)
        if (s->row_drive[i] == drive)
            return s->length;
    return 0;
}

static void merge(struct execution *x, const struct parity_planner_op *op)
{
    struct sim *sim = x->sim;
    struct sim_stripe *a = touch(x, op->stripe), *b = touch(x, op->other);
    assert_true(a->rows == b->rows && op->rows == a->rows && op->old_rows == a->rows);
    assert_int_equal(op->length, a->length > b->length ? a->length : b->length);
    for (unsigned i = 0; i < op->rows; i++) {
        uint32_t there = row_bytes(a, op->row_drive[i]), other = row_bytes(b, op->row_drive[i]);
        there = there > other ? there : other;
        take(x, op->row_drive[i], op->length - there);
        sim->rows[op->row_drive[i]] +=
            there; /* take() counts what the room must bear beyond the old */
    }
    for (unsigned i = 0; i < a->rows; i++) {
        sim->rows[a->row_drive[i]] -= a->length;
        sim->rows[b->row_drive[i]] -= b->length;
    }
    for (unsigned i = 0; i < sim->drives; i++) {
        if (b->end[i] == SIM_ABSENT)
            continue;
        assert_int_equal(a->end[i], SIM_ABSENT);
        a->end[i] = b->end[i];
        a->live[i] = b->live[i];
    }
    a->length = op->length;
    memcpy(a->row_drive, op->row_drive, op->rows);
    check_distinct(sim, a);
    b->rows = 0;
    drop(sim, (size_t)op->other);
}

static void deepen(struct execution *x, const struct parity_planner_op *op)
{
    struct sim_stripe *s = touch(x, op->stripe);
    assert_int_equal(op->old_rows, s->rows);
    assert_in_range(op->rows, s->rows + 1, x->sim->config.redundancy);
    assert_memory_equal(op->row_drive, s->row_drive, s->rows);
    for (; s->rows < op->rows; s->rows++) {
        s->row_drive[s->rows] = op->row_drive[s->rows];
        take(x, op->row_drive[s->rows], s->length);
    }
    check_distinct(x->sim, s);
}

static struct parity_planner *brief(struct execution *x)
{
    struct sim *sim = x->sim;
    struct parity_planner_drive drive[SIM_MAX] = {0};
    struct parity_planner *planner = NULL;
    for (unsigned i = 0; i < sim->drives; i++) {
        uint64_t used = sim->data[i] + sim->rows[i];
        assert_in_range(used, 0, sim->size[i]);
        x->room[i] = sim->size[i] - used;
        drive[i] = (struct parity_planner_drive){.exposed = sim->exposed[i],
            .used = used,
            .room = x->room[i],
            .domain = sim->domain[i],
            .flags = sim->flags[i]};
    }
    assert_int_equal(parity_planner_create(&sim->config, sim->drives, drive, &planner), MRMR_OK);
    for (size_t k = 0; k < sim->stripes; k++) {
        struct parity_planner_member member[SIM_MAX];
        const struct sim_stripe *s = &sim->stripe[k];
        if (!s->end)
            continue;
        struct parity_planner_stripe told = {
            .id = k, .length = s->length, .frozen = s->frozen, .member = member};
        for (unsigned i = 0; i < sim->drives; i++)
            if (s->end[i] != SIM_ABSENT)
                member[told.members++] = (struct parity_planner_member){
                    .end = s->end[i], .drive = (uint8_t)i, .row = PARITY_PLANNER_IS_BLOCK};
        for (unsigned i = 0; i < s->rows; i++)
            member[told.members++] =
                (struct parity_planner_member){.drive = s->row_drive[i], .row = (uint8_t)i};
        assert_int_equal(parity_planner_stripe(planner, &told), MRMR_OK);
    }
    return planner;
}

static void execute(struct execution *x, const struct parity_planner_op *op)
{
    x->sim->ops[op->kind]++;
    switch (op->kind) {
    case PARITY_PLANNER_MAKE:
        make(x, op);
        break;
    case PARITY_PLANNER_ADD:
        add(x, op);
        break;
    case PARITY_PLANNER_MERGE:
        merge(x, op);
        break;
    case PARITY_PLANNER_DEEPEN:
        deepen(x, op);
        break;
    default:
        fail();
    }
}

unsigned sim_plan(struct sim *sim, unsigned max)
{
    struct execution x = {.sim = sim};
    struct parity_planner_op op;
    unsigned n = 0;
    struct parity_planner *planner = brief(&x);
    sim->plans++;
    for (; n < max; n++) {
        assert_int_equal(parity_planner_next(planner, &op), MRMR_OK);
        if (op.kind == PARITY_PLANNER_END)
            break;
        execute(&x, &op);
    }
    for (unsigned i = 0; i < sim->drives; i++) {
        sim->left[i] = parity_planner_left(planner, i, &sim->reason[i]);
        assert_int_equal(sim->left[i], sim->exposed[i]); /* every byte in an operation or here */
        assert_int_equal(sim->reason[i] == PARITY_PLANNER_PLACED, sim->left[i] == 0);
    }
    parity_planner_destroy(planner);
    return n;
}

unsigned sim_settle(struct sim *sim)
{
    unsigned plans = 1;
    while (sim_plan(sim, UINT32_MAX))
        assert_in_range(plans++, 0, 200);
    return plans;
}

/* --- looking --- */

void sim_check_exhausted(const struct sim *sim)
{
    for (unsigned i = 0; i < sim->drives; i++)
        for (unsigned j = 0; j < sim->drives && sim->left[i]; j++)
            if (i != j && (sim->flags[j] & PARITY_PLANNER_ROWS))
                assert_in_range(
                    sim->size[j] - sim->data[j] - sim->rows[j], 0, sim->config.grain - 1);
}

uint64_t sim_parity(const struct sim *sim)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < sim->drives; i++)
        sum += sim->rows[i];
    return sum;
}

uint64_t sim_exposed(const struct sim *sim)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < sim->drives; i++)
        sum += sim->exposed[i];
    return sum;
}

bool sim_optimum(const struct sim *sim, uint64_t *ret_parity)
{
    uint64_t length;
    if (!parity_planner_optimum(sim->config.redundancy, sim->drives, sim->size, sim->data, &length))
        return false;
    *ret_parity = length * sim->config.redundancy;
    return true;
}

static unsigned crowd(const struct sim *sim, const struct sim_stripe *s)
{
    unsigned most = 0;
    for (unsigned g = 0; g < sim->drives; g++) {
        unsigned n = 0;
        for (unsigned i = 0; i < sim->drives; i++)
            n += sim->domain[i] == sim->domain[g] && s->end[i] != SIM_ABSENT;
        for (unsigned i = 0; i < s->rows; i++)
            n += sim->domain[s->row_drive[i]] == sim->domain[g];
        most = n > most ? n : most;
    }
    return most;
}

unsigned sim_crowd(const struct sim *sim)
{
    unsigned most = 0;
    for (size_t k = 0; k < sim->stripes; k++) {
        unsigned n = sim->stripe[k].end ? crowd(sim, &sim->stripe[k]) : 0;
        most = n > most ? n : most;
    }
    return most;
}

uint64_t sim_unsafe(const struct sim *sim)
{
    uint64_t sum = 0;
    for (size_t k = 0; k < sim->stripes; k++)
        if (sim->stripe[k].end && crowd(sim, &sim->stripe[k]) > sim->config.redundancy)
            sum += sim->stripe[k].length;
    return sum;
}

uint64_t sim_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

double sim_unit(uint64_t *state)
{
    return (double)(sim_random(state) >> 11) / (double)(UINT64_C(1) << 53);
}

uint64_t sim_seed(void)
{
    const char *given = getenv("MRMR_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("seed %llu (MRMR_SEED)\n", (unsigned long long)seed);
    return seed;
}
