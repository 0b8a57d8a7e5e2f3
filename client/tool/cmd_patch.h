/*
 * cmd_patch.h: `jobmill patch`.
 */
#ifndef CLIENT_TOOL_CMD_PATCH_H
#define CLIENT_TOOL_CMD_PATCH_H

int cmd_patch_run(int argc, char **argv);

#endif
