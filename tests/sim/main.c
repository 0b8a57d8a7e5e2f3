/*
 * main.c: jobmill-sim [--seeds N] [--first SEED] [--jobs N] [--plant | --plant-limits]. Runs seeds
 * one after another; a violation is printed with the seed that replays it, and the exit code is 1.
 * With --plant the store's attempt check is taken away, with --plant-limits what people set for
 * queues, and it is a failure if no seed finds that.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/opt.h"
#include "tests/sim/sim.h"

struct conf {
    uint64_t seeds;
    uint64_t first;
    uint64_t jobs;
    bool plant;
    bool plant_limits;
};

#define FIELD(member) offsetof(struct conf, member)

static const struct opt opts[] = {
    {"seeds", 'n', OPT_U64, FIELD(seeds), "100", 1, UINT32_MAX, .help = "How many histories."},
    {"first", 'f', OPT_U64, FIELD(first), "1", 1, UINT64_MAX, .help = "The first seed."},
    {"jobs", 'j', OPT_U64, FIELD(jobs), "100", 1, 100000, .help = "Submits in each."},
    {"plant", 'p', OPT_BOOL, FIELD(plant), "no",
     .help = "Take the attempt check away and expect that this is found."},
    {"plant-limits", 'l', OPT_BOOL, FIELD(plant_limits), "no",
     .help = "Take the limits of queues away and expect that this is found."},
};

static const struct opt_program program = {.name = "jobmill-sim",
                                           .usage = "[options]",
                                           .summary = "Runs the broker's core under seeded faults.",
                                           .version = JM_VERSION,
                                           .opts = opts,
                                           .opt_count = JM_COUNT_OF(opts)};

static int run(const struct conf *conf)
{
    char failure[256];
    enum sim_plant plant = conf->plant          ? SIM_PLANT_NO_ATTEMPT_CHECK
                           : conf->plant_limits ? SIM_PLANT_NO_LIMITS
                                                : SIM_PLANT_NONE;

    for (uint64_t seed = conf->first; seed < conf->first + conf->seeds; seed++) {
        if (sim_run(seed, plant, conf->jobs, failure))
            continue;
        printf("seed %llu: %s\n", (unsigned long long)seed, failure);
        return plant != SIM_PLANT_NONE ? 0 : 1;
    }
    printf("%llu seeds, no violation\n", (unsigned long long)conf->seeds);
    return plant != SIM_PLANT_NONE ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct conf conf = {0};
    struct opt_rest rest;
    int code = opt_start(&program, argc, argv, &conf, &rest);

    if (code < 0)
        code = run(&conf);
    opt_done(&rest);
    return code;
}
