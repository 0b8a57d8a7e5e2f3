/*
 * shm.c: see shm.h for the moves. Fields of an entry are written before the move that publishes
 * them (release) and read behind a load of the word (acquire); shm_peek loads the word again after
 * the copy, as a sequence lock does, because the child may free and reuse the entry at any moment.
 */
#include "worker/shm.h"

#include <assert.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "schema/errors.h"

enum { SHM_PEEKS = 8 };

#define SHM_MAGIC (UINT64_C(0x6a6d736c6f740000) | 1)

static enum shm_state state_of(uint64_t word)
{
    return (enum shm_state)(word & 0xff);
}

static uint64_t with_state(uint64_t word, enum shm_state state)
{
    return (word & ~UINT64_C(0xff)) | (uint64_t)state;
}

static struct shm_job *job_at(struct shm *shm, uint64_t position)
{
    return &shm->jobs[position % SHM_JOBS];
}

int shm_create(struct shm **ret_shm, int *ret_fd)
{
    int fd = memfd_create("jobmill-slot", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *map = MAP_FAILED;

    if (fd < 0)
        return JM_EIO;
    if (ftruncate(fd, sizeof(struct shm)) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        map = mmap(NULL, sizeof(struct shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        (void)close(fd);
        return JM_EIO;
    }
    *ret_shm = map;
    (*ret_shm)->magic = SHM_MAGIC;
    *ret_fd = fd;
    return 0;
}

int shm_attach(int fd, struct shm **ret_shm)
{
    struct stat st;
    struct shm *shm;

    if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(struct shm))
        return JM_EINVAL;
    shm = mmap(NULL, sizeof(struct shm), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shm == MAP_FAILED)
        return JM_EIO;
    if (shm->magic != SHM_MAGIC) {
        shm_unmap(shm);
        return JM_EINVAL;
    }
    *ret_shm = shm;
    return 0;
}

void shm_unmap(struct shm *shm)
{
    if (shm != NULL)
        (void)munmap(shm, sizeof(*shm));
}

void shm_reset(struct shm *shm)
{
    memset(shm->jobs, 0, sizeof(shm->jobs));
    memset(&shm->progress, 0, sizeof(shm->progress)); /* it may have died while it wrote */
    atomic_store(&shm->client_id, 0);
    atomic_store(&shm->is_claiming, 0);
    atomic_store(&shm->claims, 0);
    atomic_store(&shm->steps, 0);
    atomic_store(&shm->tail, 0);
    atomic_store(&shm->head, 0);
    atomic_store(&shm->watch, SHM_WATCH_NONE);
}

static struct span out_of(struct shm *shm, const struct shm_job *job)
{
    uint32_t offset = job->out_offset, len = job->out_len;

    if (len > SHM_OUT_BYTES || offset > SHM_OUT_BYTES - len)
        return span_of(NULL, 0);
    return span_of(shm->out + offset, len);
}

/* One try: false if the entry is free, or was moved meanwhile (then *ret_is_moved). */
static bool peek_once(struct shm *shm, const struct shm_job *job, struct shm_held *ret_held,
                      bool *ret_is_moved)
{
    uint64_t word = atomic_load_explicit(&job->word, memory_order_acquire);
    struct shm_held held = {.word = word, .state = state_of(word)};

    *ret_is_moved = false;
    if (held.state == SHM_FREE || held.state > SHM_TAKEN)
        return false;
    held.node = job->node;
    held.id = job->id;
    held.attempt = job->attempt;
    held.timeout_ms = job->timeout_ms;
    held.grace_ms = job->grace_ms;
    held.begun_ns = job->begun_ns;
    held.begun_at_ms = job->begun_at_ms;
    if (held.state == SHM_DONE || held.state == SHM_SENDING)
        held.out = out_of(shm, job);
    atomic_thread_fence(memory_order_acquire);
    *ret_is_moved = atomic_load_explicit(&job->word, memory_order_relaxed) != word;
    if (*ret_is_moved)
        return false;
    *ret_held = held;
    return true;
}

/* A move beside the copy is followed: a heartbeat must not miss a job because it begins just now.
 */
bool shm_peek(struct shm *shm, uint64_t position, struct shm_held *ret_held)
{
    bool is_moved = true;

    for (int i = 0; i < SHM_PEEKS && is_moved; i++)
        if (peek_once(shm, job_at(shm, position), ret_held, &is_moved))
            return true;
    return false;
}

void shm_range(struct shm *shm, uint64_t *ret_tail, uint64_t *ret_head)
{
    uint64_t tail = atomic_load(&shm->tail);
    uint64_t head = atomic_load(&shm->head);

    if (head - tail > SHM_JOBS) /* read beside a change, or spoilt: look at all */
        head = tail + SHM_JOBS;
    *ret_tail = tail;
    *ret_head = head;
}

bool shm_read_progress(struct shm *shm, const struct shm_held *held,
                       struct shm_progress *ret_progress)
{
    struct shm_progress *from = &shm->progress;

    for (int i = 0; i < SHM_PEEKS && held->state == SHM_BEGUN; i++) {
        uint64_t turn = atomic_load_explicit(&from->turn, memory_order_acquire);
        struct shm_progress copy = {.word = from->word,
                                    .done = from->done,
                                    .total = from->total,
                                    .message_len = from->message_len};

        memcpy(copy.message, from->message, sizeof(copy.message));
        atomic_thread_fence(memory_order_acquire);
        if (turn % 2 != 0 || atomic_load_explicit(&from->turn, memory_order_relaxed) != turn)
            continue;
        if (copy.word != held->word || copy.message_len > sizeof(copy.message))
            return false;
        *ret_progress = copy;
        return true;
    }
    return false;
}

void shm_report(struct shm *shm, uint64_t position, uint64_t done, uint64_t total,
                struct span message)
{
    struct shm_progress *to = &shm->progress;
    uint64_t turn = atomic_load_explicit(&to->turn, memory_order_relaxed);
    size_t len = message.len < sizeof(to->message) ? message.len : sizeof(to->message);

    atomic_store_explicit(&to->turn, turn + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    to->word = with_state((position + 1) << 8, SHM_BEGUN);
    to->done = done;
    to->total = total;
    to->message_len = (uint32_t)len;
    if (len > 0)
        memcpy(to->message, message.data, len);
    atomic_store_explicit(&to->turn, turn + 2, memory_order_release);
}

static bool move(struct shm_job *job, uint64_t word, enum shm_state to)
{
    return atomic_compare_exchange_strong(&job->word, &word, with_state(word, to));
}

bool shm_take(struct shm *shm, uint64_t position, const struct shm_held *held)
{
    assert(held->state == SHM_CLAIMED || held->state == SHM_DONE);
    return move(job_at(shm, position), held->word, SHM_TAKEN);
}

uint64_t shm_free_count(struct shm *shm)
{
    return SHM_JOBS - (atomic_load(&shm->head) - atomic_load(&shm->tail));
}

uint64_t shm_claim(struct shm *shm, uint32_t node, uint64_t id, uint32_t attempt,
                   uint64_t timeout_ms, uint64_t grace_ms)
{
    uint64_t position = atomic_load_explicit(&shm->head, memory_order_relaxed);
    struct shm_job *job = job_at(shm, position);
    /* Positions never repeat, so no two jobs of a child have the same word. */
    uint64_t word = (position + 1) << 8;

    assert(state_of(atomic_load_explicit(&job->word, memory_order_relaxed)) == SHM_FREE);
    job->node = node;
    job->id = id;
    job->attempt = attempt;
    job->timeout_ms = timeout_ms;
    job->grace_ms = grace_ms;
    job->begun_ns = 0;
    job->begun_at_ms = 0;
    job->out_offset = 0;
    job->out_len = 0;
    atomic_store_explicit(&job->word, with_state(word, SHM_CLAIMED), memory_order_release);
    atomic_store_explicit(&shm->head, position + 1, memory_order_release);
    return position;
}

bool shm_begin(struct shm *shm, uint64_t position, uint64_t begun_ns, int64_t begun_at_ms)
{
    struct shm_job *job = job_at(shm, position);
    uint64_t word = atomic_load_explicit(&job->word, memory_order_relaxed);

    if (state_of(word) != SHM_CLAIMED)
        return false;
    job->begun_ns = begun_ns;
    job->begun_at_ms = begun_at_ms;
    return move(job, word, SHM_BEGUN);
}

void shm_end(struct shm *shm, uint64_t position, uint32_t out_offset, uint32_t out_len)
{
    struct shm_job *job = job_at(shm, position);
    uint64_t word = atomic_load_explicit(&job->word, memory_order_relaxed);

    assert(state_of(word) == SHM_BEGUN);
    job->out_offset = out_offset;
    job->out_len = out_len;
    atomic_store_explicit(&job->word, with_state(word, SHM_DONE), memory_order_release);
}

bool shm_send(struct shm *shm, uint64_t position)
{
    struct shm_job *job = job_at(shm, position);
    uint64_t word = atomic_load_explicit(&job->word, memory_order_relaxed);

    if (state_of(word) == SHM_SENDING)
        return true;
    return state_of(word) == SHM_DONE && move(job, word, SHM_SENDING);
}

void shm_free(struct shm *shm, uint64_t position)
{
    struct shm_job *job = job_at(shm, position);
    uint64_t word = atomic_load_explicit(&job->word, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&shm->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&shm->head, memory_order_relaxed);

    atomic_store_explicit(&job->word, with_state(word, SHM_FREE), memory_order_release);
    while (tail != head && state_of(atomic_load_explicit(&job_at(shm, tail)->word,
                                                         memory_order_relaxed)) == SHM_FREE)
        tail++;
    atomic_store_explicit(&shm->tail, tail, memory_order_release);
}
