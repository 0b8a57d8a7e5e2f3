#include "tests/torture/starve.h"

#include <errno.h>
#include <stdlib.h>

static size_t seen, at; /* allocations since `once` was called, and the one that fails; 0: none */
static bool spares;

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static bool fails(void)
{
    if (at == 0 || spares || ++seen != at)
        return false;
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

bool starve_has_failed(void)
{
    return at != 0 && seen >= at;
}

bool starve_spare(bool is_spared)
{
    bool was_spared = spares;

    spares = is_spared;
    return was_spared;
}

size_t starve_every(void (*once)(void))
{
    size_t n = 0;
    bool was_met = true;

    while (was_met) {
        seen = 0;
        at = ++n;
        once();
        was_met = starve_has_failed();
        at = 0;
    }
    return n - 1;
}
