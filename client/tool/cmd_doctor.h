/*
 * cmd_doctor.h: `jobmill doctor`. The doctor knows the database and so is a part of the broker's
 * program; this one only finds that and becomes it.
 */
#ifndef CLIENT_TOOL_CMD_DOCTOR_H
#define CLIENT_TOOL_CMD_DOCTOR_H

int cmd_doctor_run(int argc, char **argv);

#endif
