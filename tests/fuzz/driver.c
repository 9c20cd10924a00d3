// SPDX-License-Identifier: MIT
//
// Drives a fuzz target where libFuzzer is not at hand.
//
//     target [folder or file ...]
//
// runs every input named, then changes of them: PEAL_FUZZ_RUNS many (default 20,000, scaled by
// PEAL_EFFORT percent), chosen by PEAL_FUZZ_SEED (default 1). Change n depends on seed and n alone.
// If the target dies, the input it died of is written to `crash-<target>` in the working directory:
// give that file as the only argument to see it again.
//
// The process dies in many ways (assert, signal, a sanitizer's exit), so the input is kept in a
// static buffer, where the last breath finds it.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define INPUT_MAX   4096
#define CORPUS_MAX  1024
#define CHANGES_MAX 8

// Two names that others chose. The second is in every sanitizer, and nowhere else.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)

struct input {
    uint8_t *bytes;
    size_t size;
};

static struct input corpus[CORPUS_MAX];
static size_t corpus_count;

static struct input current; // what the target is looking at
static char crash_file[256];

static void say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text)); // nobody is left to hear of a failure
}

static void last_breath(void)
{
    int fd = open(crash_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, current.bytes, current.size) != (ssize_t)current.size) {
        say("the target died, and its input could not be written to ");
    } else {
        say("the target died; its input is in the working directory: ");
    }
    say(crash_file);
    say("\n");
}

static void on_signal(int number)
{
    last_breath();
    (void)signal(number, SIG_DFL); // it was valid a moment ago
    (void)raise(number);
}

// splitmix64: any seed is a good one.
static uint64_t chance(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15U;
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t limit)
{
    return (size_t)(chance(state) % limit);
}

// The target is given memory of exactly the input's size, so that a sanitizer sees the first byte
// read too far.
static void run(const uint8_t *bytes, size_t size)
{
    current = (struct input){ malloc(size ? size : 1), size };
    if (!current.bytes) {
        abort();
    }
    if (size) {
        memcpy(current.bytes, bytes, size);
    }
    (void)LLVMFuzzerTestOneInput(current.bytes, size); // libFuzzer ignores the result too
    free(current.bytes);
    current = (struct input){ 0 };
}

static void flip_bit(struct input *input, uint64_t *state)
{
    if (input->size) {
        uint8_t *byte = &input->bytes[below(state, input->size)];
        *byte = (uint8_t)(*byte ^ (1U << below(state, 8)));
    }
}

// A byte that means something to a grammar, or to nobody.
static uint8_t some_byte(uint64_t *state)
{
    static const char likely[] = ".*>$#+/:?&=%-_ \"\\\n\x7f\xff";
    bool any = below(state, 2) == 0;
    return any ? (uint8_t)chance(state) : (uint8_t)likely[below(state, sizeof likely)];
}

static void set_byte(struct input *input, uint64_t *state)
{
    if (input->size) {
        input->bytes[below(state, input->size)] = some_byte(state);
    }
}

static void insert_byte(struct input *input, uint64_t *state)
{
    if (input->size < INPUT_MAX) {
        uint8_t *place = input->bytes + below(state, input->size + 1);
        memmove(place + 1, place, (size_t)(input->bytes + input->size - place));
        *place = some_byte(state);
        input->size++;
    }
}

static void remove_range(struct input *input, uint64_t *state)
{
    if (input->size) {
        size_t at = below(state, input->size);
        size_t count = 1 + below(state, input->size - at);
        input->size -= count;
        memmove(input->bytes + at, input->bytes + at + count, input->size - at);
    }
}

static void repeat_range(struct input *input, uint64_t *state)
{
    if (input->size) {
        size_t at = below(state, input->size);
        size_t count = 1 + below(state, input->size - at);
        if (input->size + count <= INPUT_MAX) {
            memmove(input->bytes + at + count, input->bytes + at, input->size - at);
            input->size += count;
        }
    }
}

// The end of another input in place of our own.
static void cross_over(struct input *input, uint64_t *state)
{
    const struct input *other = &corpus[below(state, corpus_count)];
    size_t at = below(state, input->size + 1);
    size_t from = below(state, other->size + 1);
    size_t count = other->size - from;
    if (at + count <= INPUT_MAX) {
        memcpy(input->bytes + at, other->bytes + from, count);
        input->size = at + count;
    }
}

static void run_change(uint64_t seed, uint64_t number)
{
    static void (*const changes[])(struct input *, uint64_t *) = {
        flip_bit, set_byte, insert_byte, remove_range, repeat_range, cross_over,
    };
    uint64_t state = seed * 0x2545f4914f6cdd1dU + number;
    const struct input *start = &corpus[below(&state, corpus_count)];
    uint8_t bytes[INPUT_MAX];
    memcpy(bytes, start->bytes, start->size);
    struct input input = { bytes, start->size };

    size_t count = 1 + below(&state, CHANGES_MAX);
    for (size_t i = 0; i < count; i++) {
        changes[below(&state, sizeof changes / sizeof changes[0])](&input, &state);
    }
    run(input.bytes, input.size);
}

// Also keeps it, cut to INPUT_MAX, to be changed later.
static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || corpus_count == CORPUS_MAX) {
        (void)fprintf(stderr, "%s: %s\n", path,
                      file ? "more than 1024 inputs; raise CORPUS_MAX" : "cannot be read");
        exit(2); // NOLINT(concurrency-mt-unsafe): one thread
    }
    struct input *input = &corpus[corpus_count++];
    input->bytes = calloc(1, INPUT_MAX);
    if (!input->bytes) {
        abort();
    }
    input->size = fread(input->bytes, 1, INPUT_MAX, file);
    (void)fclose(file); // it was only read
    run(input->bytes, input->size);
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run_path(const char *path)
{
    struct dirent **entries = NULL;
    int count = scandir(path, &entries, visible, alphasort);
    if (count < 0) {
        run_file(path);
        return;
    }
    for (int i = 0; i < count; i++) {
        char file[1024];
        (void)snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name); // cut: no such file
        run_file(file);
        free(entries[i]);
    }
    free(entries);
}

static uint64_t setting(const char *name, uint64_t usual)
{
    const char *text = getenv(name); // NOLINT(concurrency-mt-unsafe): one thread
    return text && *text ? strtoull(text, NULL, 10) : usual;
}

static void watch_for_death(const char *program)
{
    const char *slash = strrchr(program, '/');
    (void)snprintf(crash_file, sizeof crash_file, "crash-%s", slash ? slash + 1 : program);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(last_breath);
    } else {
        (void)signal(SIGSEGV, on_signal); // a target without it dies all the same
        (void)signal(SIGBUS, on_signal);
        (void)signal(SIGFPE, on_signal);
    }
    (void)signal(SIGABRT, on_signal);
}

int main(int argc, char **argv)
{
    watch_for_death(argv[0]);
    for (int i = 1; i < argc; i++) {
        run_path(argv[i]);
    }
    size_t given = corpus_count;
    struct stat one;
    if (argc == 2 && stat(argv[1], &one) == 0 && S_ISREG(one.st_mode)) {
        (void)printf("%s: survived\n", argv[1]);
        free(corpus[0].bytes);
        return 0;
    }
    if (corpus_count < CORPUS_MAX) {
        corpus[corpus_count++] = (struct input){ calloc(1, 1), 0 }; // the empty input
    }

    uint64_t seed = setting("PEAL_FUZZ_SEED", 1);
    uint64_t runs = setting("PEAL_FUZZ_RUNS", 20000 * setting("PEAL_EFFORT", 100) / 100);
    for (uint64_t number = 0; number < runs; number++) {
        run_change(seed, number);
    }

    (void)printf("%zu inputs and %llu changes of them, seed %llu\n", given,
                 (unsigned long long)runs, (unsigned long long)seed);
    for (size_t i = 0; i < corpus_count; i++) {
        free(corpus[i].bytes);
    }
    return 0;
}
