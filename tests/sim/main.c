/*
 * main.c: jobmill-sim [--seeds N] [--from SEED] [--events N] [--jobs N] [--find] [--verbose]. Runs
 * seeds, some processes of them side by side; a violation is printed with the seed that replays it,
 * and the last line is a JSON object of what was done. Exit code 1 if there was a violation; with
 * --find (for the programs with a planted bug) if there was none, and the first one ends it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/opt.h"
#include "tests/sim/sim.h"

enum { MAX_JOBS = 64, MAX_VIOLATIONS = 20 };

struct conf {
    uint64_t seeds;
    uint64_t from;
    uint64_t events;
    uint64_t jobs;
    bool find;
    bool verbose;
    bool trace;
};

#define FIELD(member) offsetof(struct conf, member)

static const struct opt opts[] = {
    {"seeds", 'n', OPT_U64, FIELD(seeds), "100", 1, UINT32_MAX, .help = "How many histories."},
    {"from", 'f', OPT_U64, FIELD(from), "1", 1, UINT64_MAX, .help = "The first seed."},
    {"events", 'e', OPT_U64, FIELD(events), "200", 1, 1000000,
     .help = "What clients, workers and faults do in each, before it is left to come to rest."},
    {"jobs", 'j', OPT_U64, FIELD(jobs), "1", 1, MAX_JOBS, .help = "Processes side by side."},
    {"find", 'x', OPT_BOOL, FIELD(find), "no", .help = "Expect a violation, and stop at it."},
    {"verbose", 'v', OPT_BOOL, FIELD(verbose), "no", .help = "Print each seed's figures."},
    {"trace", 't', OPT_BOOL, FIELD(trace), "no", .help = "Tell on stderr what happens."},
};

static const struct opt_program program = {.name = "jobmill-sim",
                                           .usage = "[options]",
                                           .summary = "Runs the broker's core under seeded faults.",
                                           .version = JM_VERSION,
                                           .opts = opts,
                                           .opt_count = JM_COUNT_OF(opts)};

/* What one process has done; shared with the parent. */
struct part {
    uint64_t seed; /* that runs now */
    uint64_t seeds;
    uint64_t violations;
    uint64_t first_bad; /* seed, or 0 */
    uint64_t lost;
    uint64_t applied_twice;
    struct sim_result sum;
};

static void add_result(struct part *p, const struct sim_result *r)
{
    p->seeds++;
    p->sum.acts += r->acts;
    p->sum.steps += r->steps;
    p->sum.accepted += r->accepted;
    p->sum.finished += r->finished;
    p->sum.crashes += r->crashes;
    for (size_t i = 0; i < SIM_FAULTS; i++)
        p->sum.faults[i] += r->faults[i];
    if (r->failure[0] == '\0')
        return;
    p->violations++;
    if (p->first_bad == 0)
        p->first_bad = p->seed;
    p->lost += strstr(r->failure, "is lost") != NULL || strstr(r->failure, "is gone") != NULL;
    p->applied_twice += strstr(r->failure, "applied twice") != NULL;
}

static void run_seed(const struct conf *conf, struct part *p, uint64_t seed)
{
    struct sim_result r;

    p->seed = seed;
    sim_run(seed, conf->events, conf->trace, &r);
    add_result(p, &r);
    if (r.failure[0] != '\0')
        printf("seed %llu: %s\n", (unsigned long long)seed, r.failure);
    else if (conf->verbose)
        printf("seed %llu: %llu events, %llu steps, %llu accepted, %llu finished, %llu ends of the "
               "broker\n",
               (unsigned long long)seed, (unsigned long long)r.acts, (unsigned long long)r.steps,
               (unsigned long long)r.accepted, (unsigned long long)r.finished,
               (unsigned long long)r.crashes);
    fflush(stdout);
}

static bool is_enough(const struct conf *conf, const struct part *parts)
{
    uint64_t violations = 0;

    for (uint64_t i = 0; i < conf->jobs; i++)
        violations += parts[i].violations;
    return violations >= (conf->find ? 1 : MAX_VIOLATIONS);
}

static void run_part(const struct conf *conf, struct part *parts, uint64_t k)
{
    for (uint64_t n = k; n < conf->seeds && !is_enough(conf, parts); n += conf->jobs)
        run_seed(conf, &parts[k], conf->from + n);
}

/* ---- several processes ---- */

static void judge_end(struct part *p, int status)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    printf("seed %llu: the process died of it (%s %d)\n", (unsigned long long)p->seed,
           WIFSIGNALED(status) ? "signal" : "exit code",
           WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    p->violations++;
    p->first_bad = p->first_bad == 0 ? p->seed : p->first_bad;
}

static void run_parts(const struct conf *conf, struct part *parts)
{
    pid_t pids[MAX_JOBS];

    fflush(stdout);
    for (uint64_t k = 0; k < conf->jobs; k++) {
        pids[k] = fork();
        if (pids[k] < 0)
            abort();
        if (pids[k] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            run_part(conf, parts, k);
            exit(0);
        }
    }
    for (uint64_t k = 0; k < conf->jobs; k++) {
        int status = 0;

        if (waitpid(pids[k], &status, 0) == pids[k])
            judge_end(&parts[k], status);
    }
}

/* ---- the summary ---- */

static void sum_up(const struct conf *conf, const struct part *parts, struct part *ret_all)
{
    *ret_all = (struct part){0};
    for (uint64_t k = 0; k < conf->jobs; k++) {
        const struct part *p = &parts[k];

        add_result(ret_all, &p->sum);
        ret_all->seeds += p->seeds - 1; /* which was counted as one */
        ret_all->violations += p->violations;
        ret_all->lost += p->lost;
        ret_all->applied_twice += p->applied_twice;
        if (p->first_bad != 0 && (ret_all->first_bad == 0 || p->first_bad < ret_all->first_bad))
            ret_all->first_bad = p->first_bad;
    }
}

static void print_summary(const struct part *all, double seconds)
{
    const struct sim_result *sum = &all->sum;
    uint64_t faults = 0;

    for (size_t i = 0; i < SIM_FAULTS; i++)
        faults += sum->faults[i];
    printf("{\"seeds\": %llu, \"events\": %llu, \"steps\": %llu, \"accepted\": %llu, "
           "\"finished\": %llu, \"lost\": %llu, \"applied_twice\": %llu, \"violations\": %llu, "
           "\"first_bad_seed\": %llu, \"broker_ends\": %llu, \"seconds\": %.1f, "
           "\"faults\": %llu, \"faults_by_kind\": {",
           (unsigned long long)all->seeds, (unsigned long long)sum->acts,
           (unsigned long long)sum->steps, (unsigned long long)sum->accepted,
           (unsigned long long)sum->finished, (unsigned long long)all->lost,
           (unsigned long long)all->applied_twice, (unsigned long long)all->violations,
           (unsigned long long)all->first_bad, (unsigned long long)sum->crashes, seconds,
           (unsigned long long)faults);
    for (size_t i = 0; i < SIM_FAULTS; i++)
        printf("%s\"%s\": %llu", i > 0 ? ", " : "", sim_fault_word((enum sim_fault)i),
               (unsigned long long)sum->faults[i]);
    printf("}}\n");
}

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run(const struct conf *conf)
{
    size_t bytes = conf->jobs * sizeof(struct part);
    struct part *parts =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double begin_s = now_s();
    struct part all;

    if (parts == MAP_FAILED)
        abort();
    if (conf->jobs == 1)
        run_part(conf, parts, 0);
    else
        run_parts(conf, parts);
    sum_up(conf, parts, &all);
    print_summary(&all, now_s() - begin_s);
    (void)munmap(parts, bytes);
    if (conf->find)
        printf(
            all.violations > 0 ? "found after %llu seeds\n" : "not found in %llu seeds\n",
            (unsigned long long)(all.violations > 0 ? all.first_bad - conf->from + 1 : all.seeds));
    return (all.violations > 0) != conf->find;
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
