#ifndef JOBMILL_H
#define JOBMILL_H

const char *jobmill_version(void);

#endif
