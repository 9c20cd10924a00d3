// SPDX-License-Identifier: MIT
// ctest: timeout=600
//
// The file of a sealed index: whatever happens to it, to the disk or to the memory, an answer is
// the right one, or there is none.
#include "support/indexed.h"

#include <errno.h>

#include "base/crc32c.h"
#include "log/index_inside.h"

static const struct indexed_shape little = {
    .count = 60, .keys = { 20, 5, 60, 9 }, .types = 7, .left_out = 9, .without = 5, .seed = 41
};

static const struct indexed_shape middle = {
    .count = 1000, .keys = { 100, 5, 1000, 9 }, .types = 300, .seed = 43
};

static const struct indexed_shape large = {
    .count = 9000, .keys = { 900, 5, 9000, 90 }, .types = 70, .favourite = 4, .seed = 42
};

// ---- asking for everything ----------------------------------------------------------------------

struct answer {
    struct pl_index *index;
    uint64_t digest;
};

static void note(struct answer *answer, uint64_t number)
{
    answer->digest = pl_hash_mix(answer->digest ^ number ^ PL_HASH_A, PL_HASH_C);
}

static enum peal_err ask_find(struct answer *answer, const struct pl_sought *wanted)
{
    struct pl_find find;
    enum peal_err err = pl_find_begin(&find, answer->index, wanted);
    uint64_t found = 1;
    while (!err && found) {
        err = pl_find_next(&find, &found);
        note(answer, err ? 0 : found);
    }
    return err;
}

static enum peal_err ask_type(void *context, const struct pl_index_type *type)
{
    struct answer *answer = context;
    uint32_t number = 0;
    uint32_t count = 0;
    note(answer, type->count);
    note(answer, pl_hash(type->name, type->size, 0));
    enum peal_err err = pl_index_find_type(answer->index, type->name, type->size, &number, &count);
    note(answer, number + (uint64_t)count * 1000);
    const struct pl_sought wanted = {
        .types = &type->number, .type_count = 1, .end = UINT64_MAX, .backwards = type->number % 2
    };
    return err ? err : ask_find(answer, &wanted);
}

static enum peal_err ask_places(struct answer *answer)
{
    struct pl_index_facts facts;
    struct pl_stretch stretch = { .end = UINT64_MAX, .latest = INT64_MAX };
    pl_index_facts(answer->index, &facts);
    note(answer, facts.events);
    enum peal_err err = pl_index_times(answer->index, true, &stretch);
    note(answer, stretch.end);
    for (uint64_t position = facts.base; position < facts.end && !err; position++) {
        uint64_t offset = 0;
        err = pl_index_offset(answer->index, position, &offset);
        note(answer, offset);
    }
    return err;
}

// All there is to be asked, so that every block of a file is read.
static enum peal_err ask_all(const struct indexed *indexed, struct pl_index *index, uint64_t *out)
{
    struct answer answer = { .index = index };
    enum peal_err err = ask_places(&answer);
    err = err ? err : pl_index_types(index, ask_type, &answer);
    for (unsigned kind = 0; kind < PL_KEYS; kind++) {
        for (uint32_t key = 1; key <= indexed->shape.keys[kind] && !err; key++) {
            const struct pl_sought wanted = { .key = (enum pl_index_key)kind,
                                              .hash = indexed_hash(indexed, kind, key),
                                              .end = UINT64_MAX,
                                              .backwards = key % 2 };
            err = ask_find(&answer, &wanted);
        }
    }
    *out = answer.digest;
    return err;
}

// Opens it and asks for everything.
static enum peal_err open_and_ask(struct indexed *indexed, uint64_t *out)
{
    enum peal_err err = indexed_try_open(indexed);
    err = err ? err : ask_all(indexed, indexed->sealed, out);
    indexed_put_away(indexed);
    return err;
}

// A file, and what it answers.
static uint64_t open_stand(struct indexed *indexed, const struct indexed_shape *shape)
{
    uint64_t digest = 0;
    indexed_open(indexed, shape);
    indexed_seal(indexed);
    assert_int_equal(ask_all(indexed, indexed->sealed, &digest), PEAL_OK);
    indexed_put_away(indexed);
    return digest;
}

static uint64_t file_size(const struct indexed *indexed)
{
    struct pl_file file = { 0 };
    assert_int_equal(indexed->files->open(indexed->files->world, &file, INDEXED_PATH, PL_FILE_READ),
                     0);
    int64_t size = indexed->files->size(indexed->files->world, file);
    indexed->files->close(indexed->files->world, &file);
    assert_true(size > 0);
    return (uint64_t)size;
}

static enum peal_err seal_again(struct indexed *indexed)
{
    return pl_index_seal(indexed->tail, indexed->files, INDEXED_PATH, indexed->bytes);
}

// ---- damage -------------------------------------------------------------------------------------

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    const uint64_t bits = file_size(&indexed) * 8;
    for (uint64_t bit = 0; bit < bits; bit++) {
        uint64_t digest = 0;
        assert_int_equal(pl_disk_flip(indexed.disk, INDEXED_PATH, bit), 0);
        assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
        assert_non_null(strstr(peal_error_sentence(), INDEXED_PATH));
        assert_int_equal(pl_disk_flip(indexed.disk, INDEXED_PATH, bit), 0);
    }
    indexed_close(&indexed);
}

// A look-up does not read what it does not need.
static void damage_elsewhere_does_no_harm(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &large);
    const uint64_t blocks = file_size(&indexed) / PL_BLOCK;
    struct indexed_question question = { .kind = PL_KEY_CAUSATION, .key = 2, .end = UINT64_MAX };
    unsigned fine = 0;
    for (uint64_t block = 1; block < blocks; block++) {
        assert_int_equal(pl_disk_flip(indexed.disk, INDEXED_PATH, block * 4096 + 77), 0);
        assert_int_equal(indexed_try_open(&indexed), PEAL_OK);
        struct pl_sought wanted = indexed_wanted(&indexed, indexed.sealed, &question, NULL);
        struct pl_find find;
        enum peal_err err = pl_find_begin(&find, indexed.sealed, &wanted);
        assert_true(err == PEAL_OK || err == PEAL_ECORRUPT);
        if (!err) {
            (void)indexed_ask(&indexed, indexed.sealed, &question);
            fine++;
        }
        indexed_put_away(&indexed);
        assert_int_equal(pl_disk_flip(indexed.disk, INDEXED_PATH, block * 4096 + 77), 0);
    }
    assert_true(fine > blocks * 9 / 10);
    uint64_t again = 0;
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
    assert_int_equal(again, digest);
    indexed_close(&indexed);
}

static void set_size(const struct indexed *indexed, uint64_t size)
{
    struct pl_file file = { 0 };
    const struct pl_files *files = indexed->files;
    assert_int_equal(files->open(files->world, &file, INDEXED_PATH, PL_FILE_WRITE), 0);
    assert_int_equal(files->truncate(files->world, file, size), 0);
    files->close(files->world, &file);
}

static void a_file_that_is_too_short_or_too_long_is_found(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    uint64_t digest = 0;
    uint64_t size = file_size(&indexed);
    set_size(&indexed, size + 1);
    assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
    set_size(&indexed, size + PL_BLOCK);
    assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
    while (size > 0) {
        size -= size > 100 ? 100 : size;
        set_size(&indexed, size);
        assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
    }
    indexed_close(&indexed);
}

// It is cut while it is open: what is read then is not there.
static void a_file_that_is_cut_under_our_hands_is_found(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    uint64_t digest = 0;
    assert_int_equal(indexed_try_open(&indexed), PEAL_OK);
    set_size(&indexed, PL_BLOCK + 10);
    assert_int_equal(ask_all(&indexed, indexed.sealed, &digest), PEAL_ECORRUPT);
    indexed_close(&indexed);
}

static void read_block(const struct indexed *indexed, uint64_t number, char out[PL_BLOCK])
{
    struct pl_file file = { 0 };
    const struct pl_files *files = indexed->files;
    assert_int_equal(files->open(files->world, &file, INDEXED_PATH, PL_FILE_READ), 0);
    assert_int_equal(files->pread(files->world, file, out, PL_BLOCK, number * PL_BLOCK), PL_BLOCK);
    files->close(files->world, &file);
}

static void write_block(const struct indexed *indexed, uint64_t number, const char block[PL_BLOCK])
{
    struct pl_file file = { 0 };
    const struct pl_files *files = indexed->files;
    assert_int_equal(files->open(files->world, &file, INDEXED_PATH, PL_FILE_WRITE), 0);
    assert_int_equal(pl_files_write(files, file, block, PL_BLOCK, number * PL_BLOCK), 0);
    files->close(files->world, &file);
}

static void a_block_that_stands_in_the_place_of_another_is_found(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &middle);
    const uint64_t blocks = file_size(&indexed) / PL_BLOCK;
    for (uint64_t to = 0; to < blocks; to++) {
        char block[PL_BLOCK];
        char kept[PL_BLOCK];
        uint64_t digest = 0;
        read_block(&indexed, to, kept);
        read_block(&indexed, (to + 1) % blocks, block);
        write_block(&indexed, to, block);
        assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
        write_block(&indexed, to, kept);
    }
    indexed_close(&indexed);
}

// A write that was lost leaves what was there before: a block of an index of the same events.
static void a_block_of_an_earlier_index_of_the_same_file_is_found(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &little);
    const uint64_t blocks = file_size(&indexed) / PL_BLOCK;
    char(*earlier)[PL_BLOCK] = calloc(blocks, PL_BLOCK);
    assert_non_null(earlier);
    for (uint64_t i = 0; i < blocks; i++) {
        read_block(&indexed, i, earlier[i]);
    }
    assert_int_equal(seal_again(&indexed), PEAL_OK);
    for (uint64_t i = 0; i < blocks; i++) {
        char kept[PL_BLOCK];
        uint64_t ignored = 0;
        read_block(&indexed, i, kept);
        write_block(&indexed, i, earlier[i]);
        assert_int_equal(open_and_ask(&indexed, &ignored), PEAL_ECORRUPT);
        write_block(&indexed, i, kept);
    }
    uint64_t again = 0;
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
    assert_int_equal(again, digest);
    free(earlier);
    indexed_close(&indexed);
}

static void an_index_that_is_damaged_is_made_again_from_the_events(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &large);
    uint64_t again = 0;
    assert_int_equal(pl_disk_flip(indexed.disk, INDEXED_PATH, 99), 0);
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_ECORRUPT);
    pl_index_reset(indexed.tail, indexed.shape.base);
    assert_int_equal(indexed_add(&indexed, indexed.tail, 0, indexed.count), PEAL_OK);
    assert_int_equal(seal_again(&indexed), PEAL_OK);
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
    assert_int_equal(again, digest);
    indexed_close(&indexed);
}

// ---- the wrong file -----------------------------------------------------------------------------

static enum peal_err open_as(struct indexed *indexed, const struct pl_index_source *source)
{
    struct pl_index *opened = NULL;
    enum peal_err err =
        pl_index_open(&opened, &indexed->seams, indexed->files, INDEXED_PATH, source);
    assert_true((err == PEAL_OK) == (opened != NULL));
    pl_index_unref(opened);
    return err;
}

static void an_index_of_another_file_is_not_taken_for_ours(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    const struct pl_index_source ours = indexed_source(&indexed);
    struct pl_index_source others[5] = { ours, ours, ours, ours, ours };
    others[0].seed[0]++;
    others[1].seed[1]++;
    others[2].base--;
    others[3].end++;
    others[4].bytes += 8;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(open_as(&indexed, &others[i]), PEAL_ECORRUPT);
    }
    struct pl_index_source any = ours;
    any.end = any.bytes = 0;
    assert_int_equal(open_as(&indexed, &any), PEAL_OK);
    assert_int_equal(open_as(&indexed, &ours), PEAL_OK);
    indexed_close(&indexed);
}

static void what_is_not_there_is_to_be_made_again(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    const struct pl_index_source ours = indexed_source(&indexed);
    const struct pl_files *files = indexed.files;
    assert_int_equal(files->unlink(files->world, INDEXED_PATH), 0);
    assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
    assert_int_equal(files->make_directory(files->world, INDEXED_PATH), 0);
    assert_int_equal(open_as(&indexed, &ours), PEAL_EIO);
    assert_int_equal(seal_again(&indexed), PEAL_EIO);
    assert_non_null(strstr(peal_error_sentence(), INDEXED_PATH));
    indexed_close(&indexed);
}

// ---- bytes that somebody made up ----------------------------------------------------------------

static void write_header(struct indexed *indexed, const struct pl_index_header *header)
{
    struct pl_block_writer *writer = calloc(1, sizeof *writer);
    assert_non_null(writer);
    writer->blocks.files = indexed->files;
    assert_int_equal(indexed->files->open(indexed->files->world, &writer->blocks.file, INDEXED_PATH,
                                          PL_FILE_WRITE),
                     0);
    pl_blocks_put(writer, header, sizeof *header);
    assert_int_equal(pl_blocks_flush(writer), 0);
    indexed->files->close(indexed->files->world, &writer->blocks.file);
    free(writer);
}

static struct pl_index_header read_header(const struct indexed *indexed)
{
    char block[PL_BLOCK];
    struct pl_index_header header;
    read_block(indexed, 0, block);
    memcpy(&header, block, sizeof header);
    return header;
}

static void a_later_version_is_refused_with_what_to_do(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    const struct pl_index_source ours = indexed_source(&indexed);
    const struct pl_index_header header = read_header(&indexed);
    struct pl_index_header changed = header;
    changed.version++;
    write_header(&indexed, &changed);
    assert_int_equal(open_as(&indexed, &ours), PEAL_EUNSUPPORTED);
    assert_non_null(strstr(peal_error_sentence(), "use a newer one"));
    changed = header;
    changed.flags = 4;
    write_header(&indexed, &changed);
    assert_int_equal(open_as(&indexed, &ours), PEAL_EUNSUPPORTED);
    changed = header;
    changed.magic[3] = 'x';
    write_header(&indexed, &changed);
    assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
    changed = header;
    changed.probe++; // hashes are others
    write_header(&indexed, &changed);
    assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
    write_header(&indexed, &header);
    assert_int_equal(open_as(&indexed, &ours), PEAL_OK);
    indexed_close(&indexed);
}

// Changes bytes as somebody would who can compute a checksum.
static void change(struct indexed *indexed, uint64_t at, const void *bytes, size_t size)
{
    const struct pl_index_header header = read_header(indexed);
    for (size_t i = 0; i < size; i++, at++) {
        char block[PL_BLOCK];
        uint32_t number = (uint32_t)(at / PL_BLOCK_ROOM);
        read_block(indexed, number, block);
        block[at % PL_BLOCK_ROOM] = ((const char *)bytes)[i];
        uint32_t crc = pl_crc32c(pl_index_salt(&header), &number, sizeof number);
        crc = pl_crc32c(crc, block, PL_BLOCK_ROOM);
        memcpy(block + PL_BLOCK_ROOM, &crc, sizeof crc);
        write_block(indexed, number, block);
    }
}

// A file with some bytes changed says PEAL_ECORRUPT when it is asked for everything.
static void check_change(uint64_t (*where)(const struct pl_index_header *header), const void *bytes,
                         size_t size)
{
    struct indexed indexed;
    uint64_t digest = 0;
    (void)open_stand(&indexed, &middle);
    const struct pl_index_header header = read_header(&indexed);
    change(&indexed, where(&header), bytes, size);
    assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
    assert_non_null(strstr(peal_error_sentence(), "make no sense"));
    indexed_close(&indexed);
}

static uint64_t first_postings(const struct pl_index_header *header)
{
    return header->postings_at;
}

static uint64_t second_of_directory(const struct pl_index_header *header)
{
    return header->directory_at + sizeof(struct pl_sealed_posting) +
           offsetof(struct pl_sealed_posting, postings);
}

static uint64_t last_of_directory(const struct pl_index_header *header)
{
    return header->directory_at + header->stripes[64] * sizeof(struct pl_sealed_posting) +
           offsetof(struct pl_sealed_posting, postings);
}

static uint64_t name_of_third(const struct pl_index_header *header)
{
    return header->types_at + 2 * sizeof(struct pl_sealed_type) +
           offsetof(struct pl_sealed_type, name);
}

static uint64_t size_of_third(const struct pl_index_header *header)
{
    return name_of_third(header) + 4;
}

static uint64_t entry_of_key(const struct pl_index_header *header)
{
    return header->columns[PL_KEY_CORRELATION].at +
           pl_summary_size(&header->columns[PL_KEY_CORRELATION]) + 80;
}

static void bytes_with_checksums_that_fit_are_not_believed_either(void **state)
{
    (void)state;
    const uint32_t much = 0xfffffff0;
    const uint32_t some = 300;
    const uint32_t none = 0;
    check_change(first_postings, "\xff\xff\x7f", 3); // a place behind the stripe
    check_change(first_postings, "\xff\xff\xff\xff\xff\xff", 6);
    check_change(second_of_directory, &none, 4); // ends before it begins
    check_change(last_of_directory, &much, 4);
    check_change(name_of_third, &much, 4);
    check_change(size_of_third, &some, 4);
    check_change(entry_of_key, &none, 4); // out of order
}

// A number that the postings of a stripe end in the middle of.
static void a_number_without_an_end_is_found(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = 0;
    (void)open_stand(&indexed, &middle);
    const struct pl_index_header header = read_header(&indexed);
    change(&indexed, (uint64_t)header.times_at - 1, "\x81", 1);
    assert_int_equal(open_and_ask(&indexed, &digest), PEAL_ECORRUPT);
    indexed_close(&indexed);
}

// Each number of the header, made as large as it can be.
static void numbers_of_a_header_that_make_no_sense_are_found(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &little);
    struct pl_index_source ours = indexed_source(&indexed);
    ours.end = ours.bytes = 0;
    const struct pl_index_header header = read_header(&indexed);
    const size_t places[] = {
        offsetof(struct pl_index_header, end),
        offsetof(struct pl_index_header, events),
        offsetof(struct pl_index_header, blocks),
        offsetof(struct pl_index_header, types),
        offsetof(struct pl_index_header, place_bits),
        offsetof(struct pl_index_header, types_at),
        offsetof(struct pl_index_header, names_at),
        offsetof(struct pl_index_header, times_at),
        offsetof(struct pl_index_header, marks_at),
        offsetof(struct pl_index_header, columns),
        offsetof(struct pl_index_header, directory_at),
        offsetof(struct pl_index_header, postings_at),
        offsetof(struct pl_index_header, stripes),
        offsetof(struct pl_index_header, stripes[64]),
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct pl_index_header changed = header;
        memset((char *)&changed + places[i], 0xff, 4);
        write_header(&indexed, &changed);
        assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
    }
    for (unsigned kind = 0; kind < PL_KINDS; kind++) {
        struct pl_index_header changed = header;
        changed.columns[kind].lines = 0;
        write_header(&indexed, &changed);
        assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
        changed.columns[kind] = header.columns[kind];
        changed.columns[kind].bucket_bits = 16;
        write_header(&indexed, &changed);
        assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
        changed.columns[kind] = header.columns[kind];
        changed.columns[kind].count = 10000;
        write_header(&indexed, &changed);
        assert_int_equal(open_as(&indexed, &ours), PEAL_ECORRUPT);
    }
    indexed_close(&indexed);
}

// The bits of a name's hash that an index keeps.
static uint32_t kept_bits(const struct indexed *indexed, const struct pl_index_header *header,
                          const char *name, size_t size)
{
    uint32_t hash = pl_index_short(pl_index_hash(indexed->seed, name, size));
    return hash >> (header->place_bits - header->columns[PL_KEY_TYPE].bucket_bits);
}

static void a_name_that_shares_the_bits_kept_of_a_hash_is_not_taken_for_the_other(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &(struct indexed_shape){ .seed = 12, .base = 1 });
    char name[32];
    for (uint32_t i = 0; i < 1000; i++) {
        struct pl_index_event event = { .position = 1 + i };
        size_t size = (size_t)snprintf(name, sizeof name, "type.%09u", i % 300);
        assert_int_equal(pl_index_number(indexed.tail, name, size, &event.type), PEAL_OK);
        assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_OK);
    }
    assert_int_equal(seal_again(&indexed), PEAL_OK);
    struct pl_index_source source = indexed_source(&indexed);
    source.end = 0;
    assert_int_equal(
        pl_index_open(&indexed.sealed, &indexed.seams, indexed.files, INDEXED_PATH, &source),
        PEAL_OK);
    const struct pl_index_header header = read_header(&indexed);
    const unsigned bits = 32U - header.place_bits + header.columns[PL_KEY_TYPE].bucket_bits;
    unsigned char *known = calloc((size_t)1 << bits, 1);
    assert_non_null(known);
    for (uint32_t i = 0; i < 300; i++) {
        size_t size = (size_t)snprintf(name, sizeof name, "type.%09u", i);
        known[kept_bits(&indexed, &header, name, size)] = 1;
    }
    unsigned alike = 0;
    for (uint32_t i = 300; alike < 400; i++) { // of which the filter lets some through
        size_t size = (size_t)snprintf(name, sizeof name, "type.%09u", i);
        if (known[kept_bits(&indexed, &header, name, size)]) {
            uint32_t number = 0;
            uint32_t count = 1;
            alike++;
            assert_int_equal(pl_index_find_type(indexed.sealed, name, size, &number, &count),
                             PEAL_OK);
            assert_int_equal(count, 0);
        }
    }
    free(known);
    indexed_close(&indexed);
}

// ---- no memory ----------------------------------------------------------------------------------

static void without_memory_a_tail_says_so_and_nothing_is_added(void **state)
{
    (void)state;
    size_t failures = 0;
    for (size_t fail_at = 1; fail_at < 12; fail_at++) {
        struct indexed indexed;
        indexed_set(&indexed, &large);
        indexed.memory.fail_at = fail_at;
        enum peal_err err =
            pl_index_create(&indexed.tail, &indexed.seams, indexed.seed, indexed.shape.base);
        if (err) {
            assert_int_equal(err, PEAL_ENOMEM);
            assert_null(indexed.tail);
        }
        for (uint32_t i = 0; i < indexed.count && indexed.tail; i++) {
            struct pl_index_facts facts;
            err = indexed_add(&indexed, indexed.tail, i, i + 1);
            pl_index_facts(indexed.tail, &facts);
            assert_int_equal(facts.events, i + (err == PEAL_OK));
            if (err) {
                assert_int_equal(err, PEAL_ENOMEM);
                failures++;
                i--; // again, which succeeds
            }
        }
        indexed_close(&indexed);
    }
    assert_true(failures >= 3); // the stripe, types, names
}

static void without_memory_nothing_is_sealed_and_what_was_there_stays(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &large);
    enum peal_err err = PEAL_ENOMEM;
    for (size_t fail_at = 1; err; fail_at++) {
        uint64_t again = 0;
        indexed.memory.calls = 0;
        indexed.memory.fail_at = fail_at;
        err = seal_again(&indexed);
        indexed.memory.fail_at = 0;
        assert_true(err == PEAL_ENOMEM || (err == PEAL_OK && fail_at > 4));
        assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
        assert_int_equal(again, digest);
    }
    indexed_close(&indexed);
}

static void without_memory_nothing_is_opened_or_found_and_the_next_call_does(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &large);
    enum peal_err err = PEAL_ENOMEM;
    size_t fail_at = 0;
    while (err) {
        uint64_t again = 0;
        indexed.memory.calls = 0;
        indexed.memory.fail_at = ++fail_at;
        err = indexed_try_open(&indexed);
        assert_true((err == PEAL_OK) == (indexed.sealed != NULL));
        err = err ? err : ask_all(&indexed, indexed.sealed, &again);
        assert_true(err == PEAL_ENOMEM || err == PEAL_OK);
        if (err && indexed.sealed) {
            assert_int_equal(ask_all(&indexed, indexed.sealed, &again), PEAL_OK);
        }
        assert_true(!indexed.sealed || again == digest);
        indexed_put_away(&indexed);
    }
    assert_int_equal(fail_at, 2 + 8 + 1); // opening, parts
    indexed_close(&indexed);
}

// ---- a bad disk ---------------------------------------------------------------------------------

static const int errors[] = { EIO, ENOSPC, EROFS, EINTR, EDQUOT };

#define ERRORS (sizeof errors / sizeof errors[0])

static void whichever_call_fails_the_old_index_or_the_new_one_is_there(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &large);
    uint64_t calls = pl_disk_calls(indexed.disk, 0);
    assert_int_equal(seal_again(&indexed), PEAL_OK);
    calls = pl_disk_calls(indexed.disk, 0) - calls;
    assert_true(calls > 6);
    unsigned failures = 0;
    for (uint64_t i = 0; i < calls * ERRORS * 2; i++) {
        const struct pl_disk_fault fault = { .nth = i % calls + 1,
                                             .error = errors[i / calls % ERRORS],
                                             .for_ever = i >= calls * ERRORS };
        uint64_t again = 0;
        pl_disk_inject(indexed.disk, &fault);
        enum peal_err err = seal_again(&indexed);
        pl_disk_heal(indexed.disk);
        assert_true(err == PEAL_OK || err == PEAL_EIO);
        failures += err != PEAL_OK;
        assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
        assert_int_equal(again, digest);
    }
    assert_true(failures >= (calls - 3) * ERRORS * 2); // removing and closing may fail
    assert_int_equal(seal_again(&indexed), PEAL_OK);
    indexed_close(&indexed);
}

static void a_write_that_takes_a_part_is_gone_on_with(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &large);
    uint64_t again = 0;
    const struct pl_disk_fault fault = { .calls = PL_DISK_WRITE, .trouble = PL_DISK_SHORT };
    pl_disk_inject(indexed.disk, &fault);
    assert_int_equal(seal_again(&indexed), PEAL_OK);
    pl_disk_heal(indexed.disk);
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
    assert_int_equal(again, digest);
    indexed_close(&indexed);
}

static void a_call_that_fails_while_looking_is_told_and_the_next_one_works(void **state)
{
    (void)state;
    struct indexed indexed;
    uint64_t digest = open_stand(&indexed, &little);
    uint64_t calls = pl_disk_calls(indexed.disk, 0);
    uint64_t again = 0;
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
    calls = pl_disk_calls(indexed.disk, 0) - calls;
    for (uint64_t i = 0; i < calls * 2; i++) {
        const struct pl_disk_fault fault = { .nth = i % calls + 1, .for_ever = i >= calls };
        pl_disk_inject(indexed.disk, &fault);
        assert_int_equal(open_and_ask(&indexed, &again), PEAL_EIO);
        assert_non_null(strstr(peal_error_sentence(), INDEXED_PATH));
        pl_disk_heal(indexed.disk);
    }
    assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
    assert_int_equal(again, digest);
    indexed_close(&indexed);
}

// A key of more events than are read at once.
static void a_read_that_fails_on_the_way_can_be_tried_again(void **state)
{
    (void)state;
    struct indexed indexed;
    (void)open_stand(&indexed, &large);
    assert_int_equal(indexed_try_open(&indexed), PEAL_OK);
    unsigned failures = 0;
    for (unsigned i = 0; i < 2; i++) {
        const struct pl_sought wanted = { .hash = indexed_hash(&indexed, 0, 1),
                                          .end = UINT64_MAX,
                                          .backwards = i };
        uint64_t found = 1;
        uint64_t last = i ? UINT64_MAX : 0;
        uint64_t count = 0;
        struct pl_find find;
        assert_int_equal(pl_find_begin(&find, indexed.sealed, &wanted), PEAL_OK);
        const struct pl_disk_fault fault = { .calls = PL_DISK_READ };
        while (found) {
            pl_disk_inject(indexed.disk, &fault);
            enum peal_err err = pl_find_next(&find, &found);
            pl_disk_heal(indexed.disk);
            failures += err == PEAL_EIO;
            err = err ? pl_find_next(&find, &found) : err;
            assert_int_equal(err, PEAL_OK);
            assert_true(found == 0 || (i ? found < last : found > last));
            last = found;
            count += found != 0;
        }
        assert_int_equal(count, pl_find_weight(&find));
    }
    assert_true(failures >= 2);
    indexed_close(&indexed);
}

static void a_disk_that_lies_is_found_out(void **state)
{
    (void)state;
    unsigned found = 0;
    for (uint64_t i = 0; i < 40; i++) {
        struct indexed indexed;
        uint64_t digest = open_stand(&indexed, &large);
        uint64_t again = 0;
        const struct pl_disk_fault fault = { .calls = PL_DISK_WRITE,
                                             .nth = i % 10 + 1,
                                             .trouble = i < 20 ? PL_DISK_MISPLACE : PL_DISK_LOSE };
        pl_disk_inject(indexed.disk, &fault);
        assert_int_equal(seal_again(&indexed), PEAL_OK);
        pl_disk_heal(indexed.disk);
        enum peal_err err = open_and_ask(&indexed, &again);
        assert_true(err == PEAL_ECORRUPT || (err == PEAL_OK && again == digest));
        found += err != PEAL_OK;
        indexed_close(&indexed);
    }
    assert_true(found > 4);
}

// The power goes before any of the calls; the disk keeps of the rest what it likes.
static void after_a_power_cut_an_index_is_whole_or_to_be_made_again(void **state)
{
    (void)state;
    unsigned whole = 0;
    unsigned gone = 0;
    for (uint64_t i = 0; i < 400; i++) {
        struct indexed indexed;
        struct indexed_shape shape = large;
        shape.seed = 500 + i;
        shape.count = 2000;
        indexed_open(&indexed, &shape);
        uint64_t digest = 0;
        uint64_t again = 0;
        assert_int_equal(ask_all(&indexed, indexed.tail, &digest), PEAL_OK);
        const struct pl_disk_fault fault = { .nth = i % 12 + 1, .for_ever = true };
        pl_disk_inject(indexed.disk, &fault);
        (void)seal_again(&indexed); // or not
        pl_disk_heal(indexed.disk);
        pl_disk_crash(indexed.disk);
        enum peal_err err = open_and_ask(&indexed, &again);
        assert_true(err == PEAL_OK || err == PEAL_ECORRUPT);
        whole += err == PEAL_OK;
        gone += err != PEAL_OK;
        assert_int_equal(seal_again(&indexed), PEAL_OK);
        assert_int_equal(open_and_ask(&indexed, &again), PEAL_OK);
        indexed_close(&indexed);
    }
    assert_true(whole > 10 && gone > 10);
}

// ---- limits -------------------------------------------------------------------------------------

static void positions_and_offsets_have_limits(void **state)
{
    (void)state;
    struct indexed indexed;
    indexed_open(&indexed, &little);
    struct pl_index_event event = { .position = indexed.shape.base + PL_INDEX_POSITIONS_MAX };
    assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_ELIMIT);
    event.position--;
    event.offset = PL_INDEX_OFFSET_MAX;
    assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_ELIMIT);
    event.offset -= 8;
    event.keys[PL_KEY_ID] = 7;
    event.type = indexed.events[0].type = 0;
    assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_OK);
    event.position++;
    assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_ELIMIT);
    assert_int_equal(pl_index_seal(indexed.tail, indexed.files, INDEXED_PATH, 1ULL << 34), PEAL_OK);
    struct pl_index_source source = indexed_source(&indexed);
    source.end = source.base + PL_INDEX_POSITIONS_MAX;
    source.bytes = 0;
    assert_int_equal(
        pl_index_open(&indexed.sealed, &indexed.seams, indexed.files, INDEXED_PATH, &source),
        PEAL_OK);
    struct pl_index *const indexes[] = { indexed.tail, indexed.sealed };
    for (size_t i = 0; i < 2; i++) {
        const struct pl_sought wanted = { .key = PL_KEY_ID, .hash = 7, .end = UINT64_MAX };
        struct pl_find find;
        uint64_t found = 0;
        assert_int_equal(pl_find_begin(&find, indexes[i], &wanted), PEAL_OK);
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
        assert_int_equal(found, event.position - 1);
        uint64_t offset = 0;
        assert_int_equal(pl_index_offset(indexes[i], event.position - 1, &offset), PEAL_OK);
        assert_int_equal(offset, PL_INDEX_OFFSET_MAX - 8);
        assert_int_equal(pl_index_offset(indexes[i], event.position - 500000, &offset), PEAL_OK);
        assert_int_equal(offset, PL_INDEX_OFFSET_MAX - 8); // all that is left out is before it
    }
    indexed_close(&indexed);
}

// As full as it can be: every event has a type and keys of its own.
static void a_full_index_answers_like_any_other(void **state)
{
    (void)state;
    struct indexed indexed;
    const uint32_t most = PL_INDEX_POSITIONS_MAX;
    indexed_open(&indexed, &(struct indexed_shape){ .seed = 6, .base = 1 });
    const uint64_t odd = pl_index_hash(indexed.seed, "odd", 3);
    const uint64_t even = pl_index_hash(indexed.seed, "even", 4);
    for (uint32_t i = 0; i < most; i++) {
        struct pl_index_event event = { .position = 1 + i, .offset = 4096 + i * 8ULL, .time = i };
        assert_int_equal(pl_index_number(indexed.tail, (const char *)&i, sizeof i, &event.type),
                         PEAL_OK);
        event.keys[PL_KEY_SUBJECT] = pl_index_hash(indexed.seed, &i, sizeof i);
        event.keys[PL_KEY_ID] = i % 2 ? odd : even;
        assert_int_equal(pl_index_add(indexed.tail, &event), PEAL_OK);
    }
    uint32_t number = 12;
    assert_int_equal(pl_index_number(indexed.tail, "more", 4, &number), PEAL_ELIMIT);
    assert_int_equal(number, 12);
    assert_int_equal(pl_index_seal(indexed.tail, indexed.files, INDEXED_PATH, 1 << 24), PEAL_OK);
    struct pl_index_source source = indexed_source(&indexed);
    source.end = source.bytes = 0;
    assert_int_equal(
        pl_index_open(&indexed.sealed, &indexed.seams, indexed.files, INDEXED_PATH, &source),
        PEAL_OK);
    for (uint32_t i = 7; i < most; i += 9999) {
        struct pl_find find;
        struct pl_sought wanted = { .hash = pl_index_hash(indexed.seed, &i, sizeof i),
                                    .end = UINT64_MAX,
                                    .backwards = true };
        uint64_t found = 0;
        assert_int_equal(pl_find_begin(&find, indexed.sealed, &wanted), PEAL_OK);
        while (found != 1 + i) {
            assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
            assert_int_not_equal(found, 0);
        }
        uint32_t count = 0;
        assert_int_equal(
            pl_index_find_type(indexed.sealed, (const char *)&i, sizeof i, &number, &count),
            PEAL_OK);
        assert_true(number == i && count == 1);
        wanted = (struct pl_sought){ .types = &number, .type_count = 1, .end = UINT64_MAX };
        assert_int_equal(pl_find_begin(&find, indexed.sealed, &wanted), PEAL_OK);
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
        assert_int_equal(found, 1 + i);
    }
    for (unsigned i = 0; i < 2; i++) { // a key that half of the events have
        const struct pl_sought wanted = {
            .key = PL_KEY_ID, .hash = odd, .end = UINT64_MAX, .backwards = i
        };
        struct pl_find find;
        assert_int_equal(pl_find_begin(&find, indexed.sealed, &wanted), PEAL_OK);
        assert_int_equal(pl_find_weight(&find), most / 2);
        uint64_t found = 0;
        for (uint32_t n = 0; n < most / 2; n++) {
            assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
            assert_int_equal(found, i ? most - 2 * n : 2 + 2 * n);
        }
        assert_int_equal(pl_find_next(&find, &found), PEAL_OK);
        assert_int_equal(found, 0);
    }
    indexed_close(&indexed);
}

static void a_name_that_is_too_long_is_refused(void **state)
{
    (void)state;
    struct indexed indexed;
    char path[5000];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    indexed_open(&indexed, &little);
    assert_int_equal(pl_index_seal(indexed.tail, indexed.files, path, indexed.bytes), PEAL_EIO);
    indexed_close(&indexed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(damage_elsewhere_does_no_harm),
        cmocka_unit_test(a_file_that_is_too_short_or_too_long_is_found),
        cmocka_unit_test(a_file_that_is_cut_under_our_hands_is_found),
        cmocka_unit_test(a_block_that_stands_in_the_place_of_another_is_found),
        cmocka_unit_test(a_block_of_an_earlier_index_of_the_same_file_is_found),
        cmocka_unit_test(an_index_that_is_damaged_is_made_again_from_the_events),
        cmocka_unit_test(an_index_of_another_file_is_not_taken_for_ours),
        cmocka_unit_test(what_is_not_there_is_to_be_made_again),
        cmocka_unit_test(a_later_version_is_refused_with_what_to_do),
        cmocka_unit_test(numbers_of_a_header_that_make_no_sense_are_found),
        cmocka_unit_test(bytes_with_checksums_that_fit_are_not_believed_either),
        cmocka_unit_test(a_number_without_an_end_is_found),
        cmocka_unit_test(a_name_that_shares_the_bits_kept_of_a_hash_is_not_taken_for_the_other),
        cmocka_unit_test(without_memory_a_tail_says_so_and_nothing_is_added),
        cmocka_unit_test(without_memory_nothing_is_sealed_and_what_was_there_stays),
        cmocka_unit_test(without_memory_nothing_is_opened_or_found_and_the_next_call_does),
        cmocka_unit_test(whichever_call_fails_the_old_index_or_the_new_one_is_there),
        cmocka_unit_test(a_write_that_takes_a_part_is_gone_on_with),
        cmocka_unit_test(a_call_that_fails_while_looking_is_told_and_the_next_one_works),
        cmocka_unit_test(a_read_that_fails_on_the_way_can_be_tried_again),
        cmocka_unit_test(a_disk_that_lies_is_found_out),
        cmocka_unit_test(after_a_power_cut_an_index_is_whole_or_to_be_made_again),
        cmocka_unit_test(positions_and_offsets_have_limits),
        cmocka_unit_test(a_full_index_answers_like_any_other),
        cmocka_unit_test(a_name_that_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
