/*
 * base64.h: bytes as text, RFC 4648 section 4: the standard alphabet, with padding. Pure.
 */
#ifndef LIB_BASE64_H
#define LIB_BASE64_H

#include "lib/buf.h"
#include "lib/span.h"

/* Appends four characters for every three bytes begun. */
void base64_encode(struct buf *out, struct span bytes);

#endif
