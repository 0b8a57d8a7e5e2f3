/*
 * replay.c: a fuzz target without its fuzzer, for valgrind, which does not go with the sanitizers
 * that libFuzzer needs: gives it each file of the directories named, whole and cut short at up to
 * CUTS places. Each input has a block of its own, so that a step beyond it is seen.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CUTS = 64, PATH_BYTES = 1024 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

/* What libFuzzer would bring for the mutators, which nobody calls here. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
    (void)data;
    return size < max_size ? size : max_size;
}

static void give(const uint8_t *bytes, size_t len)
{
    uint8_t *block = malloc(len > 0 ? len : 1);

    if (block == NULL)
        abort();
    memcpy(block, bytes, len);
    (void)LLVMFuzzerTestOneInput(block, len);
    free(block);
}

static void give_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    size_t len, step;

    if (file == NULL)
        abort();
    len = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    step = len / CUTS + 1;
    for (size_t cut = 0; cut < len; cut += step)
        give(bytes, cut);
    give(bytes, len);
}

static size_t give_all(const char *directory)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    char path[PATH_BYTES];
    size_t count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        give_file(path);
        count++;
    }
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

int main(int argc, char **argv)
{
    size_t count = 0;

    for (int i = 1; i < argc; i++)
        count += give_all(argv[i]);
    printf("%zu inputs\n", count);
    return count > 0 ? 0 : 1;
}
