/*
 * cmd_submit.h: `jobmill submit`.
 */
#ifndef CLIENT_TOOL_CMD_SUBMIT_H
#define CLIENT_TOOL_CMD_SUBMIT_H

int cmd_submit_run(int argc, char **argv);

#endif
