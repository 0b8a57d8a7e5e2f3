/*
 * sha256.c: of bytes that are given, or of a file. A path is resolved by the kernel below the file
 * root (openat2(2) with RESOLVE_BENEATH), so that neither "..", nor an absolute path, nor a link
 * leads out of it, however the tree changes meanwhile.
 */
#include "worker/tasks/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SHA256_BYTES = 32, SHA256_CHUNK_BYTES = 64 << 10 };

static int open_beneath(const char *root, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd, error;

    if (dir < 0)
        return -1;
    do
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN); /* a rename went on beside the look-up of ".." */
    error = errno;
    (void)close(dir);
    errno = error;
    return fd;
}

static int open_file(struct task_call *call, int *ret_fd, uint64_t *ret_size)
{
    char path[PATH_MAX];
    struct stat st;
    int error = task_arg_text(call, "path", path, sizeof(path));
    int fd;

    if (error != 0)
        return error;
    if (task_file_root(call) == NULL)
        return task_refuse(call, "parameter 'path': this worker has no --file-root");
    fd = open_beneath(task_file_root(call), path);
    if (fd < 0 && errno == EXDEV)
        return task_refuse(call, "parameter 'path' leads out of the file root");
    if (fd < 0)
        return task_fail(call, "no_such_file", "cannot open '%s': %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return task_refuse(call, "parameter 'path' must name a regular file");
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

/* `size` is what the file has now; it may grow meanwhile. Returns 0 or an errno. */
static int digest_file(struct task_call *call, EVP_MD_CTX *ctx, int fd, uint64_t size,
                       uint64_t *ret_len)
{
    uint8_t chunk[SHA256_CHUNK_BYTES];
    uint64_t len = 0;
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (EVP_DigestUpdate(ctx, chunk, (size_t)n) != 1)
            return ENOMEM;
        len += (uint64_t)n;
        task_progress(call, len, size, "bytes");
    }
    *ret_len = len;
    return 0;
}

static void pack_digest(struct task_call *call, const uint8_t digest[SHA256_BYTES], uint64_t len)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * SHA256_BYTES];
    msgpack_packer *pk = task_result(call);

    for (size_t i = 0; i < SHA256_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    msgpack_pack_map(pk, 2);
    msgpack_pack_str_with_body(pk, "sha256", 6);
    msgpack_pack_str_with_body(pk, hex, sizeof(hex));
    msgpack_pack_str_with_body(pk, "bytes", 5);
    msgpack_pack_uint64(pk, len);
}

static int digest_source(struct task_call *call, EVP_MD_CTX *ctx, uint64_t *ret_len)
{
    struct span data;
    uint64_t size;
    int fd, error;

    if (!task_has_arg(call, "path")) {
        error = task_arg_bytes(call, "data", &data);
        if (error != 0)
            return error;
        *ret_len = data.len;
        return EVP_DigestUpdate(ctx, data.data, data.len) == 1 ? 0 : -1;
    }
    error = open_file(call, &fd, &size);
    if (error != 0)
        return error;
    error = digest_file(call, ctx, fd, size, ret_len);
    (void)close(fd);
    return error == 0 ? 0 : task_fail(call, "read_failed", "cannot read: %s", strerror(error));
}

static int run(struct task_call *call)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t digest[SHA256_BYTES];
    uint64_t len = 0;
    int error = -1;

    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1)
        error = digest_source(call, ctx, &len);
    if (error == 0 && EVP_DigestFinal_ex(ctx, digest, NULL) == 1)
        pack_digest(call, digest, len);
    EVP_MD_CTX_free(ctx);
    return error;
}

const struct task task_is_sha256 = {
    .name = "sha256",
    .doc = "The SHA-256 of `data` (a string or bytes) or of the file at `path` below the worker's "
           "file root: {sha256, bytes}.",
    .run = run,
};
