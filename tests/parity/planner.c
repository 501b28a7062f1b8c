/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The planner's corners: few drives, full drives, shared domains, frozen stripes, roles, the closed
 * forms, refusals; and a great many small pools that change at random between plans.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#include "tests/parity/planner_sim.h"

#define MIB (UINT32_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define BLOCK (32 * MIB)
#define DRIVES(...) ((const int[]){__VA_ARGS__, -1})

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { CHAOS = 300, LARGE = 20000 };
#else
enum { CHAOS = 4000, LARGE = 655360 };
#endif

static void pool(struct sim *sim, unsigned drives, unsigned redundancy, uint64_t size)
{
    sim_start(sim, drives, redundancy, BLOCK, MIB);
    for (unsigned i = 0; i < drives; i++)
        sim->size[i] = size;
}

static void one_drive(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 1, 1, 10 * GIB);
    sim_store(&sim, 0, GIB);
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 0);
    assert_int_equal(sim.left[0], GIB);
    assert_int_equal(sim.reason[0], PARITY_PLANNER_TOO_FEW);
    sim_stop(&sim);
}

static void no_drives(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 0, 1, 0);
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 0);
    sim_stop(&sim);
}

/* Two drives mirror each other, whatever the redundancy asks. */
static void two_drives(void **unused)
{
    (void)unused;
    for (unsigned redundancy = 1; redundancy <= 2; redundancy++) {
        struct sim sim;
        pool(&sim, 2, redundancy, 10 * GIB);
        sim_store(&sim, 0, 3 * GIB);
        sim_store(&sim, 1, GIB);
        sim_settle(&sim);
        assert_int_equal(sim_exposed(&sim), 0);
        assert_int_equal(sim_parity(&sim), 4 * GIB);
        for (size_t k = 0; k < sim.stripes; k++)
            assert_int_equal(sim.stripe[k].rows, 1);
        sim_stop(&sim);
    }
}

/* Stripes made while drives were few get their rows when one more is there. */
static void rows_come_later(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 3, 2, 10 * GIB);
    sim.flags[2] = 0;
    sim_store(&sim, 0, GIB);
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim), GIB);
    sim.flags[2] = PARITY_PLANNER_ROWS;
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim), 2 * GIB);
    for (size_t k = 0; k < sim.stripes; k++)
        assert_int_equal(sim.stripe[k].rows, 2);
    assert_int_equal(sim.ops[PARITY_PLANNER_DEEPEN], sim.stripes);
    sim_stop(&sim);
}

/* The rest of the drives together hold less than the huge one: k = 1, and what they cannot hold is
 * left. */
static void one_huge_drive(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 4, 1, 2 * GIB);
    sim.size[0] = 100 * GIB;
    sim_store(&sim, 0, 5 * GIB);
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim), 5 * GIB);
    sim_store(&sim, 0, 5 * GIB);
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim), 6 * GIB);
    assert_int_equal(sim.left[0], 4 * GIB);
    assert_int_equal(sim.reason[0], PARITY_PLANNER_NO_ROOM);
    sim_stop(&sim);
}

static void all_full(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 5, 2, GIB);
    for (unsigned i = 0; i < 5; i++)
        sim_store(&sim, i, GIB);
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(sim.reason[i], PARITY_PLANNER_NO_ROOM);
    sim_stop(&sim);
}

/* Room for one row where two are asked: one is made, for as much as fits. */
static void room_for_fewer_rows(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 3, 2, 4 * GIB);
    sim.size[1] = 0;
    sim_store(&sim, 0, GIB);
    sim_settle(&sim);
    assert_int_equal(sim_exposed(&sim), 0);
    assert_int_equal(sim_parity(&sim), GIB);
    sim_stop(&sim);
}

static void few_bytes(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 6, 2, 10 * GIB);
    sim_store(&sim, 3, 1);
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim), 2);
    for (unsigned i = 0; i < 200; i++) { /* the small stripe grows; no 200 stripes come of it */
        sim_store(&sim, i % 6, 10000);
        sim_settle(&sim);
    }
    assert_int_equal(sim_exposed(&sim), 0);
    assert_in_range(sim.alive, 1, 12);
    assert_in_range(sim_parity(&sim), 2, 2 * 2000000);
    sim_stop(&sim);
}

/* A few MB arriving on a drive cost nothing where a stripe lacks that drive, and one operation
 * serves many drives. */
static void widens_before_it_makes(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 6, 1, 10 * GIB);
    sim_stripe(&sim, BLOCK, DRIVES(5), DRIVES(0, 1), false);
    for (unsigned i = 2; i < 5; i++)
        sim_store(&sim, i, 3 * MIB);
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 1);
    assert_int_equal(sim.ops[PARITY_PLANNER_ADD], 1);
    sim_store(&sim, 2, 29 * MIB); /* and fills the short block */
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 1);
    assert_int_equal(sim.ops[PARITY_PLANNER_ADD], 2);
    assert_int_equal(sim_parity(&sim), BLOCK);
    sim_stop(&sim);
}

static void frozen_is_left_alone(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 6, 1, 10 * GIB);
    sim_stripe(&sim, BLOCK, DRIVES(5), DRIVES(0), true);
    sim_stripe(&sim, BLOCK, DRIVES(5), DRIVES(1), true);
    sim_store(&sim, 2, 3 * MIB);
    sim_settle(&sim); /* the pool of numbers refuses any touch */
    assert_int_equal(sim.ops[PARITY_PLANNER_MAKE], 1);
    assert_int_equal(sim_exposed(&sim), 0);
    sim_stop(&sim);
}

/* A drive that only holds data gets no row, and a stripe with a row on one that cannot be written
 * now is not changed. */
static void roles(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 4, 1, 10 * GIB);
    sim.flags[0] = 0;
    sim_stripe(&sim, BLOCK, DRIVES(0), DRIVES(1), false);
    for (unsigned i = 1; i < 4; i++)
        sim_store(&sim, i, GIB);
    sim_settle(&sim); /* take() and add() refuse rows on drive 0 */
    assert_int_equal(sim_exposed(&sim), 0);
    assert_int_equal(sim.rows[0], BLOCK);
    assert_int_equal(sim.ops[PARITY_PLANNER_ADD], 0);
    sim_stop(&sim);
}

static void merges(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 6, 2, 10 * GIB);
    sim_stripe(&sim, BLOCK, DRIVES(4, 5), DRIVES(0, 1), false);
    sim_stripe(&sim, BLOCK, DRIVES(0, 5), DRIVES(2, 3), false); /* its row 0 must go elsewhere */
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 1);
    assert_int_equal(sim.ops[PARITY_PLANNER_MERGE], 1);
    assert_int_equal(sim_parity(&sim), 2 * BLOCK);
    assert_int_equal(sim.alive, 1);
    sim_stop(&sim);
}

/* Blocks in common, too few drives for the joint rows, or different rows: no merge. */
static void does_not_merge(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 5, 1, 10 * GIB);
    sim_stripe(&sim, BLOCK, DRIVES(4), DRIVES(0, 1, 2), false);
    sim_stripe(&sim, BLOCK, DRIVES(4), DRIVES(2, 3), false);
    sim_stripe(&sim, BLOCK, DRIVES(0, 1), DRIVES(3, 4), false);
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 0);
    sim_stop(&sim);
    pool(&sim, 4, 1, 10 * GIB);
    sim_stripe(&sim, BLOCK, DRIVES(3), DRIVES(0, 1), false);
    sim_stripe(&sim, BLOCK, DRIVES(0), DRIVES(2, 3), false);
    assert_int_equal(sim_plan(&sim, UINT32_MAX), 0);
    sim_stop(&sim);
}

/* Merges first where they free the room that the exposed bytes need. */
static void merges_make_room(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 4, 1, 2 * BLOCK);
    sim.size[0] = sim.size[1] = BLOCK;
    sim.size[2] = 3 * BLOCK;
    sim_stripe(&sim, BLOCK, DRIVES(3), DRIVES(0), false);
    sim_stripe(&sim, BLOCK, DRIVES(3), DRIVES(1), false);
    sim_store(&sim, 2, 3 * BLOCK);
    assert_true(sim_plan(&sim, UINT32_MAX));
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim) + sim_exposed(&sim), 3 * BLOCK);
    sim_stop(&sim);
}

/* Six drives in three hosts at r = 2: apart costs nothing. In two hosts of three at r = 1: it would
 * cost much. */
static void domains(void **unused)
{
    (void)unused;
    struct sim sim;
    uint64_t optimum;
    pool(&sim, 6, 2, 10 * GIB);
    for (unsigned i = 0; i < 6; i++) {
        sim.domain[i] = i / 2;
        sim_store(&sim, i, (i + 1) * GIB / 2);
    }
    sim_settle(&sim);
    assert_true(sim_optimum(&sim, &optimum));
    assert_in_range(sim_parity(&sim), optimum, optimum + optimum / 50);
    assert_in_range(sim_crowd(&sim), 1, 2);
    sim_stop(&sim);

    pool(&sim, 6, 1, 10 * GIB);
    for (unsigned i = 0; i < 6; i++) {
        sim.domain[i] = i / 3;
        sim_store(&sim, i, GIB);
    }
    sim_settle(&sim);
    assert_true(sim_optimum(&sim, &optimum));
    assert_in_range(sim_parity(&sim), optimum, optimum + optimum / 50);
    sim_stop(&sim);

    /* the first drive's neighbour is empty: the rows go to the other hosts all the same */
    pool(&sim, 4, 1, 10 * GIB);
    sim.domain[0] = sim.domain[1] = 7;
    sim_store(&sim, 0, 4 * GIB);
    sim_store(&sim, 2, 2 * GIB);
    sim_settle(&sim);
    assert_int_equal(sim_parity(&sim), 4 * GIB);
    assert_int_equal(sim_crowd(&sim), 1);
    sim_stop(&sim);
}

/* A drive may stay out of its domain's stripes for nothing when bytes arrive later, too. */
static void domains_when_widening(void **unused)
{
    (void)unused;
    struct sim sim;
    pool(&sim, 4, 1, 10 * GIB);
    sim.domain[0] = sim.domain[1] = 7;
    sim_stripe(&sim, BLOCK, DRIVES(3), DRIVES(0), false);
    sim_stripe(&sim, BLOCK, DRIVES(3), DRIVES(2), false);
    sim_store(&sim, 1, 20 * MIB);
    assert_int_equal(sim_plan(&sim, 1), 1);
    assert_int_equal(sim_crowd(&sim), 1);
    sim_stop(&sim);
}

/* Batches of three operations, planned anew each time, end where one plan ends. */
static void batches(void **unused)
{
    (void)unused;
    struct sim sim;
    uint64_t optimum;
    pool(&sim, 7, 2, 100 * GIB);
    for (unsigned i = 0; i < 7; i++)
        sim_store(&sim, i, (i + 1) * GIB);
    while (sim_plan(&sim, 3))
        assert_in_range(sim.plans, 0, 10000);
    assert_int_equal(sim_exposed(&sim), 0);
    assert_true(sim_optimum(&sim, &optimum));
    assert_in_range(sim_parity(&sim), optimum, optimum + optimum * 3 / 100);
    sim_stop(&sim);
}

/* The figures of small files on six drives: 4 GB, 21 blocks a drive, still within 3 %. */
static void few_blocks(void **unused)
{
    (void)unused;
    struct sim sim;
    uint64_t optimum;
    pool(&sim, 6, 2, 10 * GIB);
    for (unsigned i = 0; i < 6; i++)
        sim_store(&sim, i, 600000000 + i * 30000001);
    sim_settle(&sim);
    assert_true(sim_optimum(&sim, &optimum));
    print_message("4 GB on six drives: parity / optimum %.4f, %zu stripes\n",
        (double)sim_parity(&sim) / (double)optimum, sim.alive);
    assert_in_range(sim_parity(&sim), optimum, optimum + optimum * 3 / 100);
    sim_stop(&sim);
}

static void same_plan_twice(void **unused)
{
    (void)unused;
    uint64_t hash[2] = {0};
    for (unsigned n = 0; n < 2; n++) {
        struct parity_planner_config config = {.redundancy = 2, .block = BLOCK, .grain = MIB};
        struct parity_planner_drive drive[9];
        struct parity_planner *planner;
        struct parity_planner_op op;
        for (unsigned i = 0; i < 9; i++)
            drive[i] =
                (struct parity_planner_drive){(i * 7 % 9 + 1) * GIB, i * GIB, 20 * GIB, i / 2, 1};
        assert_int_equal(parity_planner_create(&config, 9, drive, &planner), MRMR_OK);
        do {
            assert_int_equal(parity_planner_next(planner, &op), MRMR_OK);
            for (unsigned i = 0; i < op.adds; i++)
                hash[n] = (hash[n] ^ op.add[i].drive ^ op.add[i].bytes) * 1099511628211u;
            for (unsigned i = 0; i < op.rows; i++)
                hash[n] = (hash[n] ^ op.row_drive[i]) * 1099511628211u;
        } while (op.kind != PARITY_PLANNER_END);
        parity_planner_destroy(planner);
    }
    assert_true(hash[0] && hash[0] == hash[1]);
}

static mrmr_err try_create(
    unsigned redundancy, uint32_t block, uint32_t grain, unsigned drives, uint64_t exposed)
{
    static struct parity_planner_drive drive[300];
    struct parity_planner_config config = {redundancy, block, grain};
    struct parity_planner *planner = NULL;
    drive[0].exposed = exposed;
    mrmr_err err = parity_planner_create(&config, drives, drive, &planner);
    assert_true(err ? !planner : !!planner);
    parity_planner_destroy(planner);
    return err;
}

static void refuses(void **unused)
{
    (void)unused;
    assert_int_equal(try_create(1, BLOCK, MIB, 248, 0), MRMR_OK);
    assert_int_equal(try_create(0, BLOCK, MIB, 4, 0), MRMR_INVALID);
    assert_int_equal(try_create(9, BLOCK, MIB, 4, 0), MRMR_INVALID);
    assert_int_equal(try_create(1, BLOCK, 0, 4, 0), MRMR_INVALID);
    assert_int_equal(try_create(1, MIB, BLOCK, 4, 0), MRMR_INVALID);
    assert_int_equal(try_create(1, UINT32_MAX, MIB, 4, 0), MRMR_INVALID);
    assert_int_equal(try_create(1, BLOCK, MIB, 249, 0), MRMR_INVALID);
    assert_int_equal(try_create(1, BLOCK, MIB, 4, UINT64_MAX), MRMR_INVALID);
}

static mrmr_err try_stripe(
    uint32_t length, unsigned members, const struct parity_planner_member m[])
{
    struct parity_planner_config config = {1, BLOCK, MIB};
    struct parity_planner_drive drive[4] = {{0}};
    struct parity_planner_stripe stripe = {.length = length, .members = members, .member = m};
    struct parity_planner *planner;
    struct parity_planner_op op;
    assert_int_equal(parity_planner_create(&config, 4, drive, &planner), MRMR_OK);
    mrmr_err err = parity_planner_stripe(planner, &stripe);
    assert_int_equal(parity_planner_next(planner, &op), MRMR_OK);
    assert_int_equal(op.kind, PARITY_PLANNER_END);
    assert_int_equal(parity_planner_stripe(planner, &stripe), MRMR_INVALID); /* too late */
    parity_planner_destroy(planner);
    return err;
}

#define MEMBERS(...)                                                                               \
    sizeof((struct parity_planner_member[]){__VA_ARGS__}) / sizeof(struct parity_planner_member),  \
        (const struct parity_planner_member[])                                                     \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void refuses_stripes(void **unused)
{
    (void)unused;
    const uint8_t block = PARITY_PLANNER_IS_BLOCK;
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block}, {0, 1, 0})), MRMR_OK);
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block}, {0, 0, 0})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block}, {9, 0, block}, {0, 1, 0})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({10, 0, block}, {0, 1, 0})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({9, 4, block}, {0, 1, 0})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block}, {0, 1, 1})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block}, {0, 1, 0}, {0, 2, 0})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block}, {0, 1, 8})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({9, 0, block})), MRMR_INVALID);
    assert_int_equal(try_stripe(9, MEMBERS({0, 1, 0})), MRMR_INVALID);
    assert_int_equal(try_stripe(0, MEMBERS({0, 0, block}, {0, 1, 0})), MRMR_INVALID);
}

/* The figures that the design and its table of peers state, in units of 0.01 TB. */
static void closed_forms(void **unused)
{
    (void)unused;
    const uint64_t a[] = {200, 200, 300, 400, 400, 400}, half[] = {100, 100, 150, 200, 200, 200};
    const uint64_t b[] = {200, 400, 800, 1200, 1600, 2000}, c[] = {2000, 2000, 400, 400, 400};
    const uint64_t three[] = {150, 150, 225, 300, 300, 300};
    const uint64_t b65[] = {130, 260, 520, 780, 1040, 1300},
                   level[] = {167, 167, 166, 167, 167, 166};
    uint64_t m;
    assert_int_equal(parity_planner_best(1, 6, a), 1500);
    assert_int_equal(parity_planner_best(2, 6, a), 1100);
    assert_int_equal(parity_planner_best(1, 6, b), 4200);
    assert_int_equal(parity_planner_best(2, 6, b), 2600);
    assert_int_equal(parity_planner_best(1, 5, c), 3200);
    assert_int_equal(parity_planner_best(2, 5, c), 1200);
    assert_int_equal(parity_planner_best(3, 2, c), 0);
    assert_true(parity_planner_optimum(1, 6, a, half, &m));
    assert_int_equal(m, 200);
    assert_true(parity_planner_optimum(2, 6, a, half, &m));
    assert_int_equal(2 * m, 550);
    assert_true(parity_planner_optimum(1, 6, a, three, &m));
    assert_in_range(m, 362, 363);
    assert_true(parity_planner_optimum(1, 6, b, b65, &m));
    assert_in_range(m, 1425, 1435);
    assert_true(parity_planner_optimum(1, 6, b, level, &m));
    assert_int_equal(m, 200);
    assert_false(parity_planner_optimum(1, 6, a, a, &m));
    assert_false(parity_planner_optimum(1, 1, a, half, &m));
}

/* Empty drives hold D*; what is there counts; a full one lowers what the largest can protect; roles
 * are kept. */
static void capacity(void **unused)
{
    (void)unused;
    struct parity_planner_space s[6] = {{0}};
    const uint64_t size[] = {200, 400, 800, 1200, 1600, 2000};
    for (unsigned i = 0; i < 6; i++)
        s[i] = (struct parity_planner_space){.free = size[i], .flags = 3};
    assert_int_equal(parity_planner_capacity(1, 6, s, 0), 4200);
    assert_int_equal(parity_planner_capacity(2, 6, s, 0), 2600);
    assert_int_equal(parity_planner_capacity(1, 1, s, 0), 0);
    s[5] = (struct parity_planner_space){.data = 2000, .flags = 3};
    /* h(2000) = 6200 - 2000, of which 2000 are stored */
    assert_int_equal(parity_planner_capacity(1, 6, s, 0), 2200);
    s[5].data = 0, s[5].rows = 2000; /* all rows that will ever be needed are there already */
    assert_int_equal(parity_planner_capacity(1, 6, s, 2000), 4200);
    for (unsigned i = 0; i < 6; i++)
        s[i] = (struct parity_planner_space){.free = 100, .flags = i ? 1 : 2};
    assert_int_equal(parity_planner_capacity(1, 6, s, 0), 500);
    assert_int_equal(parity_planner_capacity(2, 6, s, 0), 0);
    for (unsigned i = 0; i < 6; i++)
        s[i] = (struct parity_planner_space){.data = 100, .flags = 3};
    assert_int_equal(parity_planner_capacity(1, 6, s, 0), 0);
}

/* What capacity() promises can be stored, levelled, and then protected. */
static void capacity_is_kept(void **unused)
{
    (void)unused;
    uint64_t state = sim_seed();
    for (unsigned n = 0; n < 100; n++) {
        struct sim sim;
        struct parity_planner_space space[SIM_MAX] = {{0}};
        unsigned drives = 3 + (unsigned)(sim_random(&state) % 8);
        sim_start(&sim, drives, 1 + (unsigned)(sim_random(&state) % 2), BLOCK, MIB);
        for (unsigned i = 0; i < drives; i++) {
            sim.size[i] = (1 + sim_random(&state) % 20) * 40 * BLOCK;
            sim_store(&sim, i, (uint64_t)(0.4 * sim_unit(&state) * (double)sim.size[i]));
            space[i] = (struct parity_planner_space){
                .data = sim.data[i], .free = sim.size[i] - sim.data[i], .flags = 3};
        }
        uint64_t more = parity_planner_capacity(sim.config.redundancy, drives, space, 0);
        more -= more / 50; /* fluid and blocks */
        for (uint64_t bytes = 2 * MIB; bytes <= more; bytes += 2 * MIB) {
            unsigned least = 0;
            for (unsigned i = 1; i < drives; i++) /* the least used that is not full */
                if (sim.data[least] + 2 * MIB > sim.size[least] ||
                    (sim.data[i] < sim.data[least] && sim.data[i] + 2 * MIB <= sim.size[i]))
                    least = i;
            sim_store(&sim, least, 2 * MIB);
        }
        uint64_t optimum;
        assert_true(more == 0 || sim_optimum(&sim, &optimum));
        sim_settle(&sim);
        if (more)
            assert_int_equal(sim_exposed(&sim), 0);
        sim_stop(&sim);
    }
}

/* Anything may happen between plans: arrivals, deletions, freezing, roles, redundancy; sizes so
 * small that all limits are met. The pool of numbers checks every operation. */
static void chaos_step(struct sim *sim, uint64_t *state)
{
    for (unsigned i = 0; i < sim->drives; i++) {
        uint64_t room = sim->size[i] - sim->data[i] - sim->rows[i];
        if (sim_random(state) % 2)
            sim_store(sim, i, sim_random(state) % (room / 2 + 1));
        if (sim_random(state) % 20 == 0)
            sim->flags[i] ^= PARITY_PLANNER_ROWS;
    }
    if (sim_random(state) % 6 == 0)
        sim->config.redundancy = 1 + (unsigned)(sim_random(state) % 4);
    for (size_t k = 0; k < sim->stripes; k++) {
        struct sim_stripe *s = &sim->stripe[k];
        s->frozen = sim_random(state) % 16 == 0;
        for (unsigned i = 0; s->end && i < sim->drives; i++)
            if (s->end[i] != SIM_ABSENT && sim_random(state) % 4 == 0)
                sim_delete(sim, k, i, (uint32_t)(sim_random(state) % 8), sim_random(state) % 2);
    }
}

static void chaos(void **unused)
{
    (void)unused;
    uint64_t seed = sim_seed(), ops[PARITY_PLANNER_DEEPEN + 1] = {0};
    for (unsigned n = 0; n < CHAOS; n++) {
        struct sim sim;
        uint64_t state = seed * 1000003 + n;
        unsigned drives = 1 + (unsigned)(sim_random(&state) % 12);
        uint32_t grain = 1 + (uint32_t)(sim_random(&state) % 4);
        sim_start(&sim, drives, 1 + (unsigned)(sim_random(&state) % 3),
            grain + (uint32_t)(sim_random(&state) % 60), grain);
        for (unsigned i = 0; i < drives; i++) {
            sim.size[i] = sim_random(&state) % 400;
            sim.domain[i] = (uint32_t)(sim_random(&state) % drives);
        }
        for (unsigned step = 0; step < 12; step++) {
            chaos_step(&sim, &state);
            if (sim_random(&state) % 4 == 0)
                sim_plan(&sim, 2);
            else if (sim_settle(&sim))
                sim_check_exhausted(&sim);
        }
        for (unsigned k = 0; k <= PARITY_PLANNER_DEEPEN; k++)
            ops[k] += sim.ops[k];
        sim_stop(&sim);
    }
    print_message("chaos: made %llu, added %llu, merged %llu, deepened %llu\n",
        (unsigned long long)ops[PARITY_PLANNER_MAKE], (unsigned long long)ops[PARITY_PLANNER_ADD],
        (unsigned long long)ops[PARITY_PLANNER_MERGE],
        (unsigned long long)ops[PARITY_PLANNER_DEEPEN]);
    for (unsigned k = PARITY_PLANNER_MAKE; k <= PARITY_PLANNER_DEEPEN; k++)
        assert_true(ops[k] > 0);
}

/* --- scale --- */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static long peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss / 1024;
}

static struct parity_planner *large(uint64_t exposed)
{
    struct parity_planner_config config = {.redundancy = 2, .block = BLOCK, .grain = MIB};
    struct parity_planner_drive drive[24];
    struct parity_planner *planner;
    for (unsigned i = 0; i < 24; i++)
        drive[i] = (struct parity_planner_drive){.exposed = exposed,
            .used = exposed,
            .room = (uint64_t)LARGE * BLOCK / 8,
            .domain = i,
            .flags = PARITY_PLANNER_ROWS};
    assert_int_equal(parity_planner_create(&config, 24, drive, &planner), MRMR_OK);
    return planner;
}

static uint64_t run(struct parity_planner *planner)
{
    static struct parity_planner_op op;
    uint64_t n = 0;
    while (!parity_planner_next(planner, &op) && op.kind != PARITY_PLANNER_END)
        n++;
    for (unsigned i = 0; i < 24; i++)
        assert_int_equal(parity_planner_left(planner, i, NULL), 0);
    parity_planner_destroy(planner);
    return n;
}

static void scale(void **unused)
{
    (void)unused;
    double start = seconds();
    uint64_t made = run(large((uint64_t)LARGE * BLOCK));
    print_message("%d blocks on each of 24 drives: %llu stripes in %.2f s, peak %ld MiB\n", LARGE,
        (unsigned long long)made, seconds() - start, peak_mib());
    assert_in_range(made, LARGE, (uint64_t)LARGE * 12 / 10);

    start = seconds();
    struct parity_planner *planner = large((uint64_t)LARGE * BLOCK / 24);
    for (unsigned k = 0; k < LARGE; k++) { /* stripes of 20 blocks and 2 rows, two drives absent */
        struct parity_planner_member member[24];
        struct parity_planner_stripe stripe = {
            .id = k, .length = BLOCK, .members = 22, .member = member};
        for (unsigned i = 0; i < 22; i++)
            member[i] = (struct parity_planner_member){.end = BLOCK - (i == 2 ? 3 * MIB : 0),
                .drive = (uint8_t)((k + i) % 24),
                .row = i < 2 ? (uint8_t)i : PARITY_PLANNER_IS_BLOCK};
        assert_int_equal(parity_planner_stripe(planner, &stripe), MRMR_OK);
    }
    uint64_t ops = run(planner);
    print_message("%d stripes known: %llu operations in %.2f s, peak %ld MiB\n", LARGE,
        (unsigned long long)ops, seconds() - start, peak_mib());
    assert_in_range(ops, 1, LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_drives),
        cmocka_unit_test(one_drive),
        cmocka_unit_test(two_drives),
        cmocka_unit_test(rows_come_later),
        cmocka_unit_test(one_huge_drive),
        cmocka_unit_test(all_full),
        cmocka_unit_test(room_for_fewer_rows),
        cmocka_unit_test(few_bytes),
        cmocka_unit_test(widens_before_it_makes),
        cmocka_unit_test(frozen_is_left_alone),
        cmocka_unit_test(roles),
        cmocka_unit_test(merges),
        cmocka_unit_test(does_not_merge),
        cmocka_unit_test(merges_make_room),
        cmocka_unit_test(domains),
        cmocka_unit_test(domains_when_widening),
        cmocka_unit_test(batches),
        cmocka_unit_test(few_blocks),
        cmocka_unit_test(same_plan_twice),
        cmocka_unit_test(refuses),
        cmocka_unit_test(refuses_stripes),
        cmocka_unit_test(closed_forms),
        cmocka_unit_test(capacity),
        cmocka_unit_test(capacity_is_kept),
        cmocka_unit_test(chaos),
        cmocka_unit_test(scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
