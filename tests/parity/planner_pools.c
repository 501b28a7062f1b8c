/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Random pools against the closed form of design §7: planned at once, and in twenty steps with
 * arrivals and deletions. MRMR_POOLS sets how many (MRMR_ALL: more, instrumented builds: fewer); the
 * seed is printed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/parity/planner_sim.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOLS 60
#else
#define POOLS (getenv("MRMR_ALL") ? 1000 : 400)
#endif

#define MIB (UINT32_C(1) << 20)
#define BLOCK (32 * MIB)
#define UNIT (1000 * (uint64_t)BLOCK) /* the smallest drive holds 1,000 blocks */

static unsigned pools(unsigned divisor)
{
    const char *given = getenv("MRMR_POOLS");
    unsigned n = given ? (unsigned)strtoul(given, NULL, 10) : POOLS;
    return n / divisor ? n / divisor : 1;
}

static void random_pool(struct sim *sim, uint64_t *state, uint64_t unit)
{
    unsigned drives = 4 + (unsigned)(sim_random(state) % 21);
    double most = sim_unit(state) * 0.9;
    bool even = sim_random(state) % 3 == 0; /* all as full as each other, or each as it comes */
    sim_start(sim, drives, 1 + (unsigned)(sim_random(state) % 3), BLOCK, MIB);
    for (unsigned i = 0; i < drives; i++) {
        double full = even ? most : sim_unit(state) * 0.9;
        sim->size[i] = (1 + sim_random(state) % 20) * unit;
        sim_store(sim, i, (uint64_t)(full * (double)sim->size[i]));
    }
}

/* Is it feasible with 2 % of every drive set aside? */
static bool has_slack(const struct sim *sim)
{
    uint64_t size[SIM_MAX], length;
    for (unsigned i = 0; i < sim->drives; i++)
        size[i] = sim->size[i] - sim->size[i] / 50;
    return parity_planner_optimum(sim->config.redundancy, sim->drives, size, sim->data, &length);
}

struct ratio {
    double worst, sum;
    unsigned n;
};

static void note(struct ratio *ratio, double value)
{
    ratio->worst = value > ratio->worst ? value : ratio->worst;
    ratio->sum += value;
    ratio->n++;
}

static void at_once(void **unused)
{
    (void)unused;
    uint64_t seed = sim_seed(), made = 0, full = 0, infeasible = 0, optimum;
    struct ratio ratio = {0};
    for (unsigned p = 0; p < pools(1); p++) {
        struct sim sim;
        uint64_t state = seed * 1000003 + p;
        random_pool(&sim, &state, UNIT);
        bool slack = has_slack(&sim);
        sim_plan(&sim, UINT32_MAX);
        if (slack) {
            assert_int_equal(sim_exposed(&sim), 0);
            assert_true(sim_optimum(&sim, &optimum));
            double r = (double)sim_parity(&sim) / (double)optimum;
            note(&ratio, r);
            if (r > 1.03 || r < 0.999999)
                fail_msg("pool %u of seed %llu: parity is %.4f of the optimum", p,
                    (unsigned long long)seed, r);
            for (size_t k = 0; k < sim.stripes; k++)
                full += sim.stripe[k].length == BLOCK;
            made += sim.stripes;
        } else {
            sim_settle(&sim);
            sim_check_exhausted(&sim);
            infeasible++;
        }
        sim_stop(&sim);
    }
    print_message("at once: %u pools feasible, %llu not; parity / optimum: mean %.5f, worst %.5f; "
                  "%.2f %% of %llu stripes full length\n",
        ratio.n, (unsigned long long)infeasible, ratio.sum / ratio.n, ratio.worst,
        100.0 * (double)full / (double)made, (unsigned long long)made);
    assert_true(ratio.n > 0);
}

/* Can every stripe be domain-safe with the least parity? A domain then holds at most redundancy · M
 * of data and rows. */
static bool may_be_safe(const struct sim *sim, uint64_t parity)
{
    uint64_t sum = 0, length = parity / sim->config.redundancy;
    for (unsigned g = 0; g < sim->drives; g++) {
        uint64_t data = 0, room = 0;
        for (unsigned i = 0; i < sim->drives; i++) {
            if (sim->domain[i] != g)
                continue;
            uint64_t free = sim->size[i] - sim->data[i], more = length - sim->data[i];
            data += sim->data[i];
            room += free < more ? free : more;
        }
        if (data > parity)
            return false;
        sum += room < parity - data ? room : parity - data;
    }
    return sum >= parity;
}

/* Hosts of several drives: parity stays within 3 %, and the one part in a hundred that keeping them
 * apart may cost. */
static void shared_domains(void **unused)
{
    (void)unused;
    uint64_t seed = sim_seed(), optimum;
    struct ratio ratio = {0}, unsafe = {0};
    unsigned safe = 0;
    for (unsigned p = 0; p < pools(5); p++) {
        struct sim sim;
        uint64_t state = seed * 1000003 + p;
        random_pool(&sim, &state, UNIT / 8);
        unsigned hosts = 2 + (unsigned)(sim_random(&state) % (sim.drives - 2));
        for (unsigned i = 0; i < sim.drives; i++)
            sim.domain[i] = (uint32_t)(sim_random(&state) % hosts);
        bool slack = has_slack(&sim);
        sim_settle(&sim);
        if (slack && sim_optimum(&sim, &optimum) && optimum > 100 * (uint64_t)BLOCK) {
            assert_int_equal(sim_exposed(&sim), 0);
            note(&ratio, (double)sim_parity(&sim) / (double)optimum);
            if (may_be_safe(&sim, optimum)) {
                uint64_t bytes = sim_unsafe(&sim);
                note(&unsafe, (double)bytes * sim.config.redundancy / (double)optimum);
                safe += bytes == 0;
            }
        }
        sim_stop(&sim);
    }
    print_message("shared domains: %u pools; parity / optimum: mean %.5f, worst %.5f; safe domains "
                  "cost nothing in %u: safe throughout in %u, bytes in unsafe stripes mean %.4f, "
                  "worst %.4f\n",
        ratio.n, ratio.sum / ratio.n, ratio.worst, unsafe.n, safe, unsafe.sum / unsafe.n,
        unsafe.worst);
    assert_true(ratio.worst <= 1.04);
    assert_true(!unsafe.n || unsafe.sum / unsafe.n <= 0.05); /* measured: 0.4 to 1.3 % */
}

static void delete_some(struct sim *sim, uint64_t *state, double part)
{
    for (size_t k = 0; k < sim->stripes; k++)
        for (unsigned i = 0; i < sim->drives && sim->stripe[k].end; i++) {
            if (sim->stripe[k].end[i] == SIM_ABSENT || sim_unit(state) > part)
                continue;
            uint64_t how = sim_random(state);
            sim_delete(sim, k, i, how % 3 ? 0 : (uint32_t)(how >> 32) % BLOCK, how % 2);
        }
}

/* The same final data on the same drives, arriving in twenty parts of random size. */
static void in_steps(struct sim *sim, uint64_t *state, double deleted)
{
    enum { STEPS = 20 };
    uint64_t target[SIM_MAX];
    for (unsigned i = 0; i < sim->drives; i++) {
        target[i] = sim->data[i];
        sim->data[i] = sim->exposed[i] = 0;
    }
    for (unsigned step = 1; step <= STEPS; step++) {
        if (deleted > 0 && step > 1)
            delete_some(sim, state, deleted);
        for (unsigned i = 0; i < sim->drives; i++) {
            uint64_t missing = target[i] > sim->data[i] ? target[i] - sim->data[i] : 0;
            uint64_t room = sim->size[i] - sim->data[i] - sim->rows[i];
            double part = step == STEPS ? 1 : sim_unit(state) * 2 / (STEPS + 1 - step);
            uint64_t bytes = part < 1 ? (uint64_t)(part * (double)missing) : missing;
            sim_store(sim, i, bytes < room ? bytes : room);
        }
        sim_settle(sim);
    }
}

/* The bounds are twice the distance that 1,600 pools of eight seeds showed (arriving: mean 1.006,
 * worst 1.14; deleting: 1.025 and 1.18). A step cannot know which drive will be the fullest in the
 * end, and rows placed on it before cannot take part any more; deletions leave gaps that only later
 * arrivals on the same drive fill. */
static void drift(double deleted, const char *name, double mean_bound, double worst_bound)
{
    uint64_t seed = sim_seed(), optimum, ops[PARITY_PLANNER_DEEPEN + 1] = {0};
    struct ratio ratio = {0};
    unsigned exposed = 0;
    double pieces = 0;
    for (unsigned p = 0; p < pools(4); p++) {
        struct sim sim;
        uint64_t state = seed * 1000003 + p;
        random_pool(&sim, &state, UNIT / 8);
        bool slack = has_slack(&sim);
        in_steps(&sim, &state, deleted);
        bool counts = slack && sim_optimum(&sim, &optimum) && optimum >= 100 * (uint64_t)BLOCK;
        exposed += counts && sim_exposed(&sim);
        if (counts && !sim_exposed(&sim)) {
            note(&ratio, (double)sim_parity(&sim) / (double)optimum);
            uint64_t length = 0;
            for (size_t k = 0; k < sim.stripes; k++)
                length += sim.stripe[k].length;
            pieces += (double)length / (double)sim.alive / BLOCK;
        }
        for (unsigned k = 0; k <= PARITY_PLANNER_DEEPEN; k++)
            ops[k] += sim.ops[k];
        sim_stop(&sim);
    }
    print_message(
        "twenty steps, %s: %u pools protected whole, %u not; parity / optimum: mean %.4f, "
        "worst %.4f; mean stripe %.3f blocks; made %llu, added %llu, merged %llu\n",
        name, ratio.n, exposed, ratio.sum / ratio.n, ratio.worst, pieces / ratio.n,
        (unsigned long long)ops[PARITY_PLANNER_MAKE], (unsigned long long)ops[PARITY_PLANNER_ADD],
        (unsigned long long)ops[PARITY_PLANNER_MERGE]);
    assert_true(ratio.sum / ratio.n <= mean_bound);
    assert_true(ratio.worst <= worst_bound);
    assert_true(exposed <= ratio.n / 20);
}

static void in_steps_arriving(void **unused)
{
    (void)unused;
    drift(0, "arriving only", 1.03, 1.3);
}

static void in_steps_deleting(void **unused)
{
    (void)unused;
    drift(0.03, "3 % of the blocks deleted at each", 1.06, 1.4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(at_once),
        cmocka_unit_test(shared_domains),
        cmocka_unit_test(in_steps_arriving),
        cmocka_unit_test(in_steps_deleting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
