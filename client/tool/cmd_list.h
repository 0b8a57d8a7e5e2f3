/*
 * cmd_list.h: the commands that print lists: jobs, queues, workers, tasks.
 */
#ifndef CLIENT_TOOL_CMD_LIST_H
#define CLIENT_TOOL_CMD_LIST_H

int cmd_list_jobs(int argc, char **argv);
int cmd_list_queues(int argc, char **argv);
int cmd_list_workers(int argc, char **argv);
int cmd_list_tasks(int argc, char **argv);

#endif
