#include "schema/id.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

uint64_t id_make(int64_t wall_ms, unsigned node)
{
    int64_t ms = wall_ms > ID_EPOCH_MS ? wall_ms - ID_EPOCH_MS : 0;

    return ((uint64_t)ms << (ID_NODE_BITS + ID_SEQUENCE_BITS) & ID_MAX) |
           ((uint64_t)node << ID_SEQUENCE_BITS);
}

int64_t id_wall_ms(uint64_t id)
{
    return (int64_t)(id >> (ID_NODE_BITS + ID_SEQUENCE_BITS)) + ID_EPOCH_MS;
}

unsigned id_node(uint64_t id)
{
    return (unsigned)(id >> ID_SEQUENCE_BITS) & ((1u << ID_NODE_BITS) - 1);
}

void id_format(uint64_t id, char ret_text[ID_TEXT_BYTES])
{
    for (int i = ID_TEXT_BYTES - 2; i >= 0; i--) {
        ret_text[i] = alphabet[id & 31];
        id >>= 5;
    }
    ret_text[ID_TEXT_BYTES - 1] = '\0';
}

static int digit_value(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        c = (uint8_t)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    for (int i = 0; i < 32; i++)
        if (alphabet[i] == c)
            return i;
    return -1;
}

bool id_parse(struct span text, uint64_t *ret_id)
{
    uint64_t id = 0;

    if (text.len != ID_TEXT_BYTES - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_value(text.data[i]);

        if (digit < 0 || id > ID_MAX >> 5)
            return false;
        id = id << 5 | (uint64_t)digit;
    }
    if (id == 0)
        return false;
    *ret_id = id;
    return true;
}
