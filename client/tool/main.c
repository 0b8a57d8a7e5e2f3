/*
 * jobmill: the command-line tool. This file is the table of commands and what `help` prints; each
 * command is a function in a file of its own or with its kin.
 */
#include <stdio.h>
#include <string.h>

#include "client/tool/cmd_batch.h"
#include "client/tool/cmd_change.h"
#include "client/tool/cmd_doctor.h"
#include "client/tool/cmd_job.h"
#include "client/tool/cmd_list.h"
#include "client/tool/cmd_patch.h"
#include "client/tool/cmd_queue.h"
#include "client/tool/cmd_submit.h"
#include "client/tool/cmd_wait.h"
#include "client/tool/tool.h"
#include "client/tool/up.h"

static int run_help(int argc, char **argv);
static int run_version(int argc, char **argv);

static const struct tool_command commands[] = {
    {"up", "", "start a private Redis, a broker and a worker here", up_run,
     "Starts a private Redis, a broker and a worker host, and runs until Ctrl-C. Prints one line\n"
     "`ready URL` on stdout when all are ready. A part that dies is started again."},
    {"submit", "TASK [NAME=VALUE …] ", "submit a job", cmd_submit_run,
     "Submits a job and prints its id; with --wait, its result. A VALUE that is valid JSON is\n"
     "that, anything else is a string."},
    {"batch", "FILE ", "submit many jobs at once", cmd_batch_run,
     "Submits the jobs that FILE (`-`: stdin) holds, a JSON object a line, as POST /v1/jobs takes\n"
     "them; `idempotency_key` may be a member. Prints an id for each, as they come, and tells on\n"
     "stderr which items were refused. A batch has at most 100,000 items; those behind are not\n"
     "submitted, and exit status 4 says so."},
    {"get", "ID ", "show a job", cmd_job_get,
     "Shows a job as it is now, and the attempts that have ended."},
    {"result", "ID ", "print a job's result", cmd_job_result,
     "Prints the result of a job that succeeded, as JSON."},
    {"wait", "ID ", "wait for a job and print its result", cmd_wait_run,
     "Waits until a job has finished and prints its result, as `submit --wait` does. On a "
     "terminal\n"
     "it shows what the job tells of its progress."},
    {"explain", "ID ", "tell why a job is not running", cmd_job_explain,
     "Tells in sentences why a job is where it is, and how many go before it."},
    {"patch", "ID ", "change a job that waits", cmd_patch_run,
     "Changes a job that does not run, and shows it."},
    {"retry", "[ID …] ", "try finished jobs again", cmd_change_retry,
     "Gives finished jobs a new attempt and their budget anew: those with the given ids, or all\n"
     "that match a filter."},
    {"cancel", "[ID …] ", "cancel jobs", cmd_change_cancel,
     "Cancels jobs that have not finished: those with the given ids, or all that match a filter."},
    {"delete", "[ID …] ", "delete finished jobs", cmd_change_delete,
     "Deletes finished jobs and their results: those with the given ids, or all that match a\n"
     "filter."},
    {"jobs", "", "list jobs", cmd_list_jobs, "Lists jobs, newest first."},
    {"queues", "", "list queues", cmd_list_queues, "Lists the queues and what is in them."},
    {"queue", "NAME ", "show or set a queue's limits", cmd_queue_run,
     "Shows a queue, after setting what the options say; they outlast a restart. A queue that is\n"
     "not there is made."},
    {"pause", "QUEUE … ", "let no job of a queue begin", cmd_queue_pause,
     "Pauses queues: no job of theirs begins; those that run go on."},
    {"resume", "QUEUE … ", "let jobs of a queue begin again", cmd_queue_resume,
     "Ends the pause of queues."},
    {"workers", "", "list worker hosts", cmd_list_workers,
     "Lists the worker hosts and what they run."},
    {"tasks", "", "list tasks", cmd_list_tasks, "Lists the tasks that worker hosts serve."},
    {"task", "NAME ", "set a task's limits", cmd_queue_task,
     "Sets a task's limits and defaults, and shows it; they outlast a restart."},
    {"doctor", "", "look at a database that no broker uses, and mend it", cmd_doctor_run,
     "Looks at every page and row of a broker's database, tells in sentences what is wrong, and\n"
     "with --repair mends what can be mended, after a copy of the files. The broker has to be\n"
     "stopped. Exit status: 0 healthy, or mended; 1 something is wrong; 2 it could not look."},
    {"version", "", "print the version", run_version, "Prints the version of this program."},
    {"help", "[COMMAND] ", "explain a command", run_help, "Explains a command."},
    {0},
};

static const char exits[] =
    "Exit status:\n"
    "  0  done; a job that was waited for succeeded\n"
    "  1  the job failed, was cancelled or expired; `up`: a part kept dying\n"
    "  2  the command line is wrong\n"
    "  3  the broker cannot be reached; nothing was done\n"
    "  4  the broker refused (there is no such job, a field is wrong, …) or failed; of several "
    "jobs,\n"
    "     it refused at least one\n"
    "  5  the job had not finished when the time was over\n"
    "  6  sent, but no answer came: it may or may not have been done\n"
    "  7  anything else\n";

const struct tool_command *tool_commands(void)
{
    return commands;
}

const struct tool_command *tool_find_command(const char *name)
{
    for (const struct tool_command *c = commands; c->name != NULL; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

static int print_help(void)
{
    fputs("Usage: jobmill COMMAND [options]\n"
          "The command-line tool of jobmill, a job queue with compute workers.\n\nCommands:\n",
          stdout);
    for (const struct tool_command *c = commands; c->name != NULL; c++)
        printf("  %-8s %s\n", c->name, c->summary);
    printf("\n`jobmill help COMMAND` shows its options.\n"
           "JOBMILL_URL or --url is the broker (http://127.0.0.1:7878 unless told).\n\n%s",
           exits);
    return tool_end(TOOL_OK);
}

static int refuse_command(const char *name)
{
    return tool_say(TOOL_USAGE, "there is no command '%s'; see `jobmill help`", name);
}

static int run_help(int argc, char **argv)
{
    const struct tool_command *command;
    char help[] = "--help";

    if (argc < 2 || strcmp(argv[1], "--help") == 0)
        return print_help();
    command = tool_find_command(argv[1]);
    if (command == NULL)
        return refuse_command(argv[1]);
    return command->run == run_help ? print_help()
                                    : command->run(2, (char *[]){argv[1], help, NULL});
}

static int run_version(int argc, char **argv)
{
    struct opt_rest rest;
    int exit = tool_read_options(argc, argv, NULL, 0, 0, 0, NULL, &rest);

    opt_done(&rest);
    if (exit >= 0)
        return exit;
    printf("jobmill %s\n", jobmill_version());
    return tool_end(TOOL_OK);
}

int main(int argc, char **argv)
{
    static char version[] = "version";
    const struct tool_command *command;

    if (argc < 2) {
        fputs("Usage: jobmill COMMAND [options]; see `jobmill help`\n", stderr);
        return TOOL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
        return print_help();
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        argv[1] = version;
    command = tool_find_command(argv[1]);
    return command == NULL ? refuse_command(argv[1]) : command->run(argc - 1, argv + 1);
}
