/*
 * redis_command.h: typed requests (carrier.h) as Redis commands. A part of the wrapper around
 * hiredis.
 */
#ifndef BROKER_REDIS_COMMAND_H
#define BROKER_REDIS_COMMAND_H

#include "broker/carrier.h"
#include "broker/redis_link.h"
#include "lib/attr.h"

/* What is called with the answer of a request that is one command, and, of one that is two, with
 * the first and the second answer. `data` is the request. */
struct redis_callbacks {
    redis_reply_cb on_reply;
    redis_reply_cb on_first;
    redis_reply_cb on_second;
};

/* The words of one command on their way to hiredis. */
struct redis_command {
    const char **words;
    size_t *lens;
    size_t count;
};

/* Allocates room for the longest command, to be used again and again; JM_ENOMEM. */
int redis_command_init(struct redis_command *c) JM_MUST_CHECK;
void redis_command_done(struct redis_command *c);

/* Sends the request's command or commands. JM_ECARRIER if nothing of it was sent. */
int redis_command_send(struct redis_command *c, struct redis_link *link, struct carrier_req *req,
                       const struct redis_callbacks *callbacks) JM_MUST_CHECK;

/* Sends words that end with NULL. */
int redis_command_send_words(struct redis_command *c, struct redis_link *link,
                             redis_reply_cb on_reply, void *data,
                             const char *const *words) JM_MUST_CHECK;

#define REDIS_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
