/*
 * up.h: `jobmill up`: a private Redis, a broker and a worker host, as children of this process.
 */
#ifndef CLIENT_TOOL_UP_H
#define CLIENT_TOOL_UP_H

int up_run(int argc, char **argv);

#endif
