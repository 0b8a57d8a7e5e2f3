/*
 * keys.h: the names of everything that jobmill keeps in Redis. PROTOCOL.md tells what each holds.
 * Keys that one command must take together share a hash tag (the part in braces), as Redis Cluster
 * wants it.
 */
#ifndef SCHEMA_KEYS_H
#define SCHEMA_KEYS_H

#include <stddef.h>
#include <stdint.h>

enum { KEYS_BYTES = 128 }; /* room for any key and its NUL */

#define KEYS_HOSTS "jm:hosts" /* hash: incarnation (16 hex digits) → heartbeat */
#define KEYS_EPOCH "jm:epoch" /* string: a random word; another word means another Redis */

/* "jm:{q:NAME}": the list of dispatched jobs of a queue: LPUSH by brokers, popped RIGHT. */
void keys_queue(char ret_key[KEYS_BYTES], const char *queue, size_t len);

/* "jm:{r:NODE}": the list of events for one broker: LPUSH by workers. */
void keys_results(char ret_key[KEYS_BYTES], unsigned node);

/* "jm:{r:NODE}:N": what was the results list until the broker took it as number N. */
void keys_taken(char ret_key[KEYS_BYTES], unsigned node, uint64_t number);

/* "jm:{c:HOST}": orders for one worker host: LPUSH by brokers, popped RIGHT by its parent. */
void keys_control(char ret_key[KEYS_BYTES], uint64_t host);

/* An incarnation as 16 hex digits: its field in KEYS_HOSTS and its name in answers. */
void keys_host_name(char ret_name[17], uint64_t host);

#endif
