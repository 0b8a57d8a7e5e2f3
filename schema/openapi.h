/*
 * openapi.h: the description of the HTTP interface, schema/openapi.json (made from openapi.yaml).
 */
#ifndef SCHEMA_OPENAPI_H
#define SCHEMA_OPENAPI_H

#include "lib/span.h"

/* Static. */
struct span openapi_json(void);

#endif
