/*
 * digest.h: SHA-256 (FIPS 180-4) by OpenSSL, with a context that is kept for reuse. One owner; not
 * thread-safe.
 */
#ifndef BROKER_DIGEST_H
#define BROKER_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/attr.h"
#include "lib/span.h"

enum { DIGEST_BYTES = 32 };

struct digest;

/* NULL without memory. */
struct digest *digest_new(void) JM_MUST_CHECK;
struct digest *digest_free(struct digest *d);

/* The digest of all parts, each with its length before it, so that no two lists of parts have the
 * same. 0 or JM_EINTERNAL. */
int digest_parts(struct digest *d, const struct span *parts, size_t count,
                 uint8_t ret_digest[DIGEST_BYTES]) JM_MUST_CHECK;

#endif
