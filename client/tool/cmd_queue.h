/*
 * cmd_queue.h: the commands that see and steer one queue or one task: queue, pause, resume, task.
 */
#ifndef CLIENT_TOOL_CMD_QUEUE_H
#define CLIENT_TOOL_CMD_QUEUE_H

int cmd_queue_run(int argc, char **argv);
int cmd_queue_pause(int argc, char **argv);
int cmd_queue_resume(int argc, char **argv);
int cmd_queue_task(int argc, char **argv);

#endif
