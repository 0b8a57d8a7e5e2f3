/*
 * cmd_batch.h: `jobmill batch`.
 */
#ifndef CLIENT_TOOL_CMD_BATCH_H
#define CLIENT_TOOL_CMD_BATCH_H

int cmd_batch_run(int argc, char **argv);

#endif
