#include "broker/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdlib.h>

#include "schema/errors.h"

/* The algorithm is looked up once; EVP_sha256() would be looked up again for each digest. */
struct digest {
    EVP_MD *algorithm;
    EVP_MD_CTX *ctx;
};

struct digest *digest_new(void)
{
    struct digest *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return NULL;
    d->algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);
    d->ctx = EVP_MD_CTX_new();
    if (d->algorithm == NULL || d->ctx == NULL)
        return digest_free(d);
    return d;
}

struct digest *digest_free(struct digest *d)
{
    if (d == NULL)
        return NULL;
    EVP_MD_CTX_free(d->ctx);
    EVP_MD_free(d->algorithm);
    free(d);
    return NULL;
}

static bool add_part(struct digest *d, struct span part)
{
    uint8_t head[8];

    for (int i = 0; i < 8; i++)
        head[i] = (uint8_t)((uint64_t)part.len >> (56 - 8 * i));
    return EVP_DigestUpdate(d->ctx, head, sizeof(head)) == 1 &&
           (part.len == 0 || EVP_DigestUpdate(d->ctx, part.data, part.len) == 1);
}

int digest_parts(struct digest *d, const struct span *parts, size_t count,
                 uint8_t ret_digest[DIGEST_BYTES])
{
    if (EVP_DigestInit_ex2(d->ctx, d->algorithm, NULL) != 1)
        return JM_EINTERNAL;
    for (size_t i = 0; i < count; i++)
        if (!add_part(d, parts[i]))
            return JM_EINTERNAL;
    return EVP_DigestFinal_ex(d->ctx, ret_digest, NULL) == 1 ? 0 : JM_EINTERNAL;
}
