#include "schema/keys.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "lib/hex.h"
#include "schema/limits.h"

void keys_queue(char ret_key[KEYS_BYTES], const char *queue, size_t len)
{
    assert(len <= JM_QUEUE_NAME_BYTES);
    snprintf(ret_key, KEYS_BYTES, "jm:{q:%.*s}", (int)len, queue);
}

void keys_results(char ret_key[KEYS_BYTES], unsigned node)
{
    snprintf(ret_key, KEYS_BYTES, "jm:{r:%u}", node);
}

void keys_taken(char ret_key[KEYS_BYTES], unsigned node, uint64_t number)
{
    snprintf(ret_key, KEYS_BYTES, "jm:{r:%u}:%" PRIu64, node, number);
}

void keys_control(char ret_key[KEYS_BYTES], uint64_t host)
{
    snprintf(ret_key, KEYS_BYTES, "jm:{c:%016" PRIx64 "}", host);
}

void keys_host_name(char ret_name[17], uint64_t host)
{
    hex_format(host, ret_name);
}
