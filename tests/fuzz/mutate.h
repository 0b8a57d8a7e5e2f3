/*
 * mutate.h: a mutator for targets whose input is msgpack, where a plain one mostly breaks a length.
 * Half of the time it takes one value out of the input, wherever it is nested, and puts another in
 * its place: one that is made up, or a copy of one that stands elsewhere; so the whole stays well
 * formed. Included by the one file of a target.
 */
#ifndef TESTS_FUZZ_MUTATE_H
#define TESTS_FUZZ_MUTATE_H

#include <stdint.h>
#include <string.h>

#include "lib/mp.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { MUTATE_VALUES = 256, MUTATE_BYTES = 64, MUTATE_DEPTH = 100 };

static inline unsigned mutate_next(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

/* Every value in the input, nested ones too, as far as it is well formed. */
static size_t mutate_find(struct span input, struct span *ret_values)
{
    struct mp_cursor c, from_here;
    struct mp_token token;
    size_t count = 0;

    mp_open(&c, input);
    while (count < MUTATE_VALUES && !mp_is_at_end(&c)) {
        from_here = c;
        if (!mp_skip(&from_here, MUTATE_DEPTH, &ret_values[count]) || !mp_next(&c, &token))
            break;
        count++;
    }
    return count;
}

/* A value of any type, with a tendency to what lies at a border. */
static size_t mutate_make(uint8_t *to, unsigned *seed)
{
    static const uint64_t numbers[] = {0,     1,          127,        128,       255,    256,
                                       65535, UINT32_MAX, UINT64_MAX, INT64_MAX, 100000, 1u << 31};
    uint64_t number = numbers[mutate_next(seed) % (sizeof(numbers) / sizeof(numbers[0]))];
    size_t len = mutate_next(seed) % 20;

    switch (mutate_next(seed) % 8) {
    case 0:
        to[0] = (uint8_t)mutate_next(seed) & 0x7f; /* a small number */
        return 1;
    case 1:
        to[0] = mutate_next(seed) % 2 == 0 ? 0xcf : 0xd3;
        for (int i = 0; i < 8; i++)
            to[1 + i] = (uint8_t)(number >> (56 - 8 * i));
        return 9;
    case 2:
        to[0] = (uint8_t)(0xc0 + mutate_next(seed) % 4); /* nil, none, false, true */
        return 1;
    case 3:
        to[0] = (uint8_t)(0xa0 + len);
        memset(to + 1, 'a' + (int)(mutate_next(seed) % 26), len);
        return 1 + len;
    case 4:
        to[0] = 0xc4;
        to[1] = (uint8_t)len;
        memset(to + 2, (int)(mutate_next(seed) & 0xff), len);
        return 2 + len;
    case 5:
        to[0] = (uint8_t)(0x90 + len % 4);
        memset(to + 1, 0xc0, len % 4);
        return 1 + len % 4;
    case 6:
        to[0] = 0x81;
        to[1] = 0xa1;
        to[2] = 'k';
        to[3] = (uint8_t)mutate_next(seed) & 0x7f;
        return 4;
    default:
        to[0] = (uint8_t)(0xe0 + mutate_next(seed) % 32); /* below zero */
        return 1;
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static uint8_t copy[1 << 16];
    struct span values[MUTATE_VALUES];
    uint8_t made[MUTATE_BYTES];
    struct span in, out;
    size_t count, at;

    if (mutate_next(&seed) % 2 == 0 || size > sizeof(copy))
        return LLVMFuzzerMutate(data, size, max_size);
    count = mutate_find(span_of(data, size), values);
    if (count == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    out = values[mutate_next(&seed) % count];
    if (mutate_next(&seed) % 3 == 0)
        in = values[mutate_next(&seed) % count];
    else
        in = span_of(made, mutate_make(made, &seed));
    if (size - out.len + in.len > max_size)
        return LLVMFuzzerMutate(data, size, max_size);
    at = (size_t)(out.data - data);
    if (in.len > 0)
        memcpy(copy, in.data, in.len);
    memmove(data + at + in.len, data + at + out.len, size - at - out.len);
    memcpy(data + at, copy, in.len);
    return size - out.len + in.len;
}

#endif
