/*
 * record.c: a program as a task that leaves a line in ../runs (the tasks directory is where it
 * starts) when a run begins and one when it ends, each by one write to a file opened for appending:
 *
 *     b|e JOB ATTEMPT MONOTONIC_NS PID
 *
 * so that each run of a job can be asked to explain itself. Arguments: {"ms": how long, "fails":
 * how many attempts fail}. The result names the run: {"run": "PID-NS"}.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { INPUT_BYTES = 4096, LINE_BYTES = 128 };

static uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned long read_member(const char *text, const char *name)
{
    const char *at = strstr(text, name);

    return at == NULL ? 0 : strtoul(at + strlen(name), NULL, 10);
}

static void append(int fd, char mark, uint64_t ns)
{
    const char *job = getenv("JOBMILL_JOB_ID"), *attempt = getenv("JOBMILL_ATTEMPT");
    char line[LINE_BYTES];
    int len =
        snprintf(line, sizeof(line), "%c %s %s %" PRIu64 " %ld\n", mark, job == NULL ? "?" : job,
                 attempt == NULL ? "?" : attempt, ns, (long)getpid());

    if (len <= 0 || write(fd, line, (size_t)len) != len) {
        fprintf(stderr, "cannot write to ../runs\n");
        exit(2);
    }
}

int main(void)
{
    char input[INPUT_BYTES + 1];
    size_t len = fread(input, 1, INPUT_BYTES, stdin);
    int fd = open("../runs", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    const char *attempt = getenv("JOBMILL_ATTEMPT");
    uint64_t begun_ns = now_ns();
    unsigned long ms;

    input[len] = '\0';
    append(fd, 'b', begun_ns);
    ms = read_member(input, "\"ms\":");
    if (ms > 0)
        nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000) * 1000000}, NULL);
    if (attempt != NULL && strtoul(attempt, NULL, 10) <= read_member(input, "\"fails\":")) {
        fprintf(stderr, "as it was told\n");
        return 1;
    }
    append(fd, 'e', now_ns());
    printf("{\"run\":\"%ld-%" PRIu64 "\"}", (long)getpid(), begun_ns);
    return 0;
}
