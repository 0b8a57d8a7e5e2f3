/*
 * attr.h: the few compiler attributes that the house uses, under plain names.
 */
#ifndef LIB_ATTR_H
#define LIB_ATTR_H

#include <stddef.h>

#define JM_MUST_CHECK __attribute__((warn_unused_result))
#define JM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define JM_COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The struct that embeds `ptr` as its `member`. */
#define JM_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
