/*
 * cmd_change.h: the commands that change jobs, by their ids or by a filter: cancel, retry, delete.
 */
#ifndef CLIENT_TOOL_CMD_CHANGE_H
#define CLIENT_TOOL_CMD_CHANGE_H

int cmd_change_cancel(int argc, char **argv);
int cmd_change_retry(int argc, char **argv);
int cmd_change_delete(int argc, char **argv);

#endif
