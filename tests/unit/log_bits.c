// SPDX-License-Identifier: MIT
// ctest: timeout=900
//
// Bits: a log of 1 MiB and its index, every bit of both turned over, one at a time. Each is
// noticed, costs at most the event it belongs to, and hides no other.
//
// To read all of the log for each of eight million bits would take hours. But whoever reads a log
// goes from record to record, and what he knows between two of them is little: the position that
// comes next, and what is synced. So it is enough to begin at the event before the bit, and to see
// that two events behind it he knows what he knows without it. What is judged in that way, in
// memory, is the scan, on which opening, reading and verifying stand. Of the ways on top of it each
// event and each byte is judged once: reading one event, and all that a store does.
//
// All of them take half a minute. Where a sanitizer or PEAL_EFFORT says so, it is every so-many-th
// bit, from PEAL_SEED on.
#include "support/annals.h"

#include "support/shelf.h"
#include "support/sweep.h"

#include "log/index_inside.h"

#define IMAGE_MAX   (2 << 20)
#define PIECES_MAX  8192
#define IMAGE_BYTES (1 << 20)
#define ENOUGH      PEAL_EAGAIN

// A record of the image.
struct piece {
    uint64_t offset, length;
    uint64_t event; // its position; 0: it is none
    uint32_t type;
};

// A closed log of one file, and the same bytes as a file in memory.
struct image {
    struct shelf shelf;
    struct pl_files files;
    uint64_t seed[2];
    uint64_t events;
    size_t size, tail; // of the file; where its last two events begin
    struct piece pieces[PIECES_MAX];
    size_t count;
    char bytes[IMAGE_MAX], whole[IMAGE_MAX]; // with a bit turned over, and without
};

static int64_t read_image(void *world, struct pl_file file, void *out, size_t size, uint64_t offset)
{
    const struct image *image = world;
    (void)file;
    if (offset >= image->size) {
        return 0;
    }
    size = size < image->size - offset ? size : image->size - offset;
    memcpy(out, image->bytes + offset, size);
    return (int64_t)size;
}

static size_t size_of_event(uint64_t position)
{
    return 160 + position % 97;
}

#define IMAGE_PATH SHELF_PATH "/00000000000000000001.seg"

static void load_image(struct image *image)
{
    const struct pl_files *files = image->shelf.config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, IMAGE_PATH, PL_FILE_READ), 0);
    int64_t count = files->pread(files->world, file, image->bytes, sizeof image->bytes, 0);
    files->close(files->world, &file);
    assert_in_range(count, IMAGE_BYTES, IMAGE_MAX - 1);
    image->size = (size_t)count;
    memcpy(image->whole, image->bytes, image->size);
    for (size_t at = PL_SEGFILE_HEADER; at < image->size;) {
        struct pl_frame head;
        memcpy(&head, image->bytes + at, sizeof head);
        assert_true(image->count < PIECES_MAX && pl_record_begins(&head));
        image->pieces[image->count++] =
            (struct piece){ .offset = at,
                            .length = head.length,
                            .event = pl_record_is_event(&head) ? head.position : 0,
                            .type = head.type };
        at += head.length;
    }
    unsigned last = 0;
    for (size_t i = image->count; last < 2; last += image->pieces[i].event != 0) {
        image->tail = image->pieces[--i].offset;
    }
}

// Single events and batches, some of them synced, until there is enough.
static void make_image(struct image *image)
{
    struct shelf *shelf = &image->shelf;
    shelf_init(shelf, 5);
    shelf->config.file_bytes = IMAGE_MAX;
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    for (unsigned i = 0; shelf->store->offset < IMAGE_BYTES; i++) {
        if (i % 10 == 9) {
            shelf_batch(shelf, 5, 100);
        } else {
            (void)shelf_append(shelf, size_of_event(pl_log_end(&shelf->ledger.log)));
        }
        assert_int_equal(shelf_settle(shelf, i % 50 ? PEAL_DURABILITY_OS : PEAL_DURABILITY_DISK),
                         PEAL_OK);
    }
    image->events = pl_log_end(&shelf->ledger.log) - 1;
    memcpy(image->seed, pl_store_seed(shelf->store), sizeof image->seed);
    assert_int_equal(shelf_close(shelf), PEAL_OK);
    image->files = (struct pl_files){ .world = image, .pread = read_image };
    load_image(image);
}

static void turn(struct image *image, uint64_t bit)
{
    image->bytes[bit / 8] = (char)(image->bytes[bit / 8] ^ 1 << bit % 8);
}

// Bits that are judged: one in so many, from `first` on.
struct share {
    uint64_t first, step;
};

static struct share share_of_bits(void)
{
    uint64_t effort = sweep_seeds(100);                   // percent
    uint64_t step = effort >= 100 ? 1 : 100 / effort | 1; // odd, so that all bits of a byte come
    return (struct share){ sweep_setting("PEAL_SEED", 0) % step, step };
}

// ---- the header ---------------------------------------------------------------------------------

static void a_bit_of_the_header_is_noticed_and_costs_nothing(void **state)
{
    struct image *image = *state;
    const struct share share = share_of_bits();
    struct pl_segfile_header whole, header;
    const struct pl_file file = { 1 };
    memset(&whole, 0, sizeof whole);
    assert_int_equal(pl_segfile_verify_header(&image->files, file, "f"), PEAL_OK);
    assert_int_equal(pl_segfile_read_header(&whole, &image->files, file, "f"), PEAL_OK);
    for (uint64_t bit = share.first; bit < 8ULL * PL_SEGFILE_HEADER; bit += share.step) {
        turn(image, bit);
        memset(&header, 0, sizeof header);
        assert_int_equal(pl_segfile_verify_header(&image->files, file, "f"), PEAL_ECORRUPT);
        assert_int_equal(pl_segfile_read_header(&header, &image->files, file, "f"), PEAL_OK);
        whole.crc = header.crc;
        assert_memory_equal(&header, &whole, sizeof header);
        turn(image, bit);
    }
}

// ---- records ------------------------------------------------------------------------------------

// A scan from the event before a bit to the second one behind it.
struct judging {
    const struct image *image;
    uint64_t bit;        // that is turned over
    uint64_t lost;       // the event it belongs to; 0: none
    uint64_t next, last; // positions: that must come next; where it is enough
    unsigned damages;
};

static enum peal_err judge_event(void *context, const struct pl_frame *record, uint64_t offset)
{
    struct judging *judging = context;
    judging->next += judging->next == judging->lost;
    assert_int_equal(record->position, judging->next);
    if (memcmp(record, judging->image->whole + offset, record->length) != 0) {
        fail_msg("bit %llu changes the event at %llu", (unsigned long long)judging->bit,
                 (unsigned long long)record->position);
    }
    judging->next++;
    return record->position >= judging->last ? ENOUGH : PEAL_OK;
}

static enum peal_err judge_damage(void *context, const struct pl_damage *damage)
{
    struct judging *judging = context;
    judging->damages++;
    assert_true(judging->bit / 8 - damage->offset < damage->bytes);
    assert_int_equal(damage->end - damage->first, judging->lost ? 1 : 0);
    assert_true(!judging->lost || damage->first == judging->lost);
    return PEAL_OK;
}

// The event before a piece, or the piece; and the second one behind it.
static const struct piece *event_before(const struct image *image, const struct piece *piece)
{
    while (piece > image->pieces && !(--piece)->event) {
    }
    return piece;
}

static const struct piece *second_behind(const struct piece *piece)
{
    for (unsigned events = 0; events < 2; events += piece->event != 0) {
        piece++;
    }
    return piece;
}

static void judge_piece(struct image *image, const struct piece *piece, const struct share *share)
{
    static const struct pl_scan_ops ops = { .event = judge_event, .damage = judge_damage };
    const struct piece *first = event_before(image, piece);
    const struct piece *last = second_behind(piece);
    struct pl_scan scan = { .seams = &pl_seams_real,
                            .files = &image->files,
                            .file = { 1 },
                            .path = "f",
                            .salt = pl_record_salt(image->seed, 1),
                            .base = first->event ? first->event : 1,
                            .from = first->offset };
    uint64_t from = piece->offset * 8;
    from += (share->step - (from - share->first) % share->step) % share->step;
    for (uint64_t bit = from; bit < (piece->offset + piece->length) * 8; bit += share->step) {
        struct judging judging = {
            .image = image, .bit = bit, .lost = piece->event, .next = scan.base, .last = last->event
        };
        // A length may lead anywhere.
        scan.until = bit / 8 - piece->offset < 4 ? image->size : last->offset + last->length;
        turn(image, bit);
        assert_int_equal(pl_scan_run(&scan, &ops, &judging), ENOUGH);
        turn(image, bit);
        assert_int_equal(judging.damages, 1);
        assert_int_equal(scan.next, last->event + 1);
        assert_int_equal(scan.offset, last->offset + last->length);
    }
}

static void a_bit_of_a_record_is_noticed_and_costs_its_event_at_most(void **state)
{
    struct image *image = *state;
    const struct share share = share_of_bits();
    for (size_t i = 0; image->pieces[i].offset < image->tail; i++) {
        judge_piece(image, &image->pieces[i], &share);
    }
}

// ---- by way of a store --------------------------------------------------------------------------

static void flip(const struct image *image, uint64_t bit)
{
    assert_int_equal(pl_disk_flip(image->shelf.disk, IMAGE_PATH, bit), 0);
}

// What pl_store_get gives; 0: nothing.
static size_t get(struct image *image, uint64_t position, char room[PL_STORE_GET_LEAST])
{
    size_t size = PL_STORE_GET_LEAST;
    const struct pl_frame *frame = NULL;
    assert_int_equal(pl_store_get(&frame, image->shelf.store, position, room, &size), PEAL_OK);
    return frame ? frame->length : 0;
}

static void judge_events(struct image *image, const struct piece *piece, uint64_t step)
{
    _Alignas(8) char before[2][PL_STORE_GET_LEAST], room[PL_STORE_GET_LEAST];
    const uint64_t around[2] = { piece->event - 1, piece->event + 1 };
    size_t sizes[2];
    for (int i = 0; i < 2; i++) {
        sizes[i] = get(image, around[i], before[i]);
        assert_true(sizes[i] > 0);
    }
    // The header's bits, then one of each byte.
    const uint64_t header = 8 * sizeof(struct pl_frame);
    for (uint64_t at = 0; at < piece->length * 8; at += at < header ? step : 8 * step + 1) {
        flip(image, piece->offset * 8 + at);
        assert_int_equal(get(image, piece->event, room), 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(get(image, around[i], room), sizes[i]);
            assert_memory_equal(room, before[i], sizes[i]);
        }
        flip(image, piece->offset * 8 + at);
    }
}

static void an_event_that_is_damaged_is_not_given_and_those_beside_it_are(void **state)
{
    struct image *image = *state;
    const struct share share = share_of_bits();
    assert_int_equal(shelf_open(&image->shelf), PEAL_OK);
    for (size_t i = 0; image->pieces[i].offset < image->tail; i++) {
        if (image->pieces[i].event > 1) {
            judge_events(image, &image->pieces[i], share.step);
        }
    }
    assert_int_equal(shelf_close(&image->shelf), PEAL_OK);
}

struct verified {
    uint64_t damages, lost, first;
};

static void meet_damage(void *context, const char *path, const struct pl_damage *damage)
{
    struct verified *verified = context;
    (void)path;
    verified->damages++;
    verified->lost += damage->end - damage->first;
    verified->first = damage->first;
}

static void count_frame(void *context, const struct pl_frame *frame)
{
    uint64_t *next = context;
    *next += frame->position != *next; // one may be lost
    assert_int_equal(frame->position, *next);
    ++*next;
}

// Opens it as if nothing were, verifies it, and reads all of it.
static void judge_store(struct image *image, uint64_t bit, uint64_t lost)
{
    static const struct pl_verify_ops ops = { .damage = meet_damage };
    struct shelf *shelf = &image->shelf;
    struct verified verified = { 0 };
    uint64_t next = 1;
    flip(image, bit);
    assert_int_equal(shelf_open(shelf), PEAL_OK);
    assert_int_equal(pl_store_end(shelf->store), image->events + 1);
    assert_int_equal(pl_store_verify(shelf->store, &ops, &verified), PEAL_OK);
    assert_int_equal(verified.lost, lost ? 1 : 0);
    assert_true(!lost || verified.first == lost);
    uint64_t read = shelf_walk(shelf, 1, count_frame, &next);
    assert_int_equal(read, image->events - (lost ? 1 : 0));
    assert_int_equal(shelf_close(shelf), PEAL_OK);
}

static void restore(const struct image *image)
{
    const struct pl_files *files = image->shelf.config.files;
    struct pl_file file = { 0 };
    assert_int_equal(files->open(files->world, &file, IMAGE_PATH, PL_FILE_WRITE), 0);
    assert_int_equal(files->truncate(files->world, file, image->size), 0);
    assert_int_equal(pl_files_write(files, file, image->whole, image->size, 0), 0);
    files->close(files->world, &file);
}

static void a_store_with_a_bit_turned_over_has_all_but_its_event(void **state)
{
    struct image *image = *state;
    const struct share share = share_of_bits();
    uint64_t chance = share.first;
    for (size_t i = 0; i < image->count; i += 3 * share.step) {
        const struct piece *piece = &image->pieces[i];
        uint64_t bit = piece->offset * 8 + failing_random(&chance) % (piece->length * 8);
        judge_store(image, bit, piece->event);
        restore(image);
    }
}

// The last events, the summary and the end.
static void a_bit_of_the_end_costs_its_event_at_most(void **state)
{
    struct image *image = *state;
    const struct share share = share_of_bits();
    const struct piece *piece = image->pieces;
    for (uint64_t bit = image->tail * 8; bit < image->size * 8; bit += share.step) {
        while (piece->offset + piece->length <= bit / 8) {
            piece++;
        }
        judge_store(image, bit, piece->event);
        restore(image);
    }
}

// ---- the index ----------------------------------------------------------------------------------

#define INDEX_EVENTS 4000

static void a_bit_of_the_index_is_noticed_wherever_it_is(void **state)
{
    (void)state;
    static struct image index;
    struct annals annals;
    annals_init(&annals, INDEX_EVENTS);
    annals_index(&annals, 1, INDEX_EVENTS + 1);
    char path[128];
    annals_name(path, 1, INDEX_EVENTS);
    char *bytes = annals_load(&annals, path, &index.size);
    assert_in_range(index.size, INDEX_EVENTS * 4, sizeof index.bytes);
    memcpy(index.bytes, bytes, index.size);
    free(bytes);
    struct pl_index_source source = { .base = 1 };
    memcpy(source.seed, annals.config.seed, sizeof source.seed);
    struct pl_index *opened = NULL;
    assert_int_equal(pl_index_open(&opened, &annals.seams, annals.config.files, path, &source),
                     PEAL_OK);
    struct pl_blocks blocks = pl_sealed_of(opened)->blocks;
    const struct pl_files files = { .world = &index, .pread = read_image };
    blocks.files = &files;
    const struct share share = share_of_bits();
    for (uint64_t bit = share.first; bit < index.size * 8; bit += share.step) {
        char room[PL_BLOCK_ROOM];
        uint64_t at = bit / 8 / PL_BLOCK * PL_BLOCK_ROOM;
        turn(&index, bit);
        assert_int_equal(pl_blocks_read(&blocks, at, room, sizeof room), PEAL_ECORRUPT);
        turn(&index, bit);
        assert_int_equal(pl_blocks_read(&blocks, at, room, sizeof room), PEAL_OK);
    }
    pl_index_unref(opened);
    annals_close(&annals);
}

static void ask_everything(struct annals *annals)
{
    static const struct annals_question questions[] = {
        { .keys = { [PL_KEY_SUBJECT] = "s7" } },
        { .keys = { [PL_KEY_CORRELATION] = "c30" } },
        { .keys = { [PL_KEY_ID] = "i2000" } },
        { .keys = { [PL_KEY_CAUSATION] = "e3002" } },
        { .types = "usual.24" },
        { .earliest = 900000, .latest = 1000000 },
    };
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        (void)annals_ask(annals, &questions[i]);
    }
}

static void an_index_with_a_bit_turned_over_hides_no_event(void **state)
{
    (void)state;
    const struct share share = share_of_bits();
    struct annals annals;
    annals_init(&annals, INDEX_EVENTS);
    annals_index(&annals, 1, INDEX_EVENTS + 1);
    char path[128];
    annals_name(path, 1, INDEX_EVENTS);
    size_t size = 0;
    char *bytes = annals_load(&annals, path, &size);
    uint64_t chance = share.first;
    for (uint64_t at = 0; at < size; at += 64 * share.step) {
        annals_store(&annals, path, bytes, size);
        uint64_t bit = (at + failing_random(&chance) % 64) * 8 + failing_random(&chance) % 8;
        assert_int_equal(pl_disk_flip(annals.disk, path, bit), 0);
        assert_int_equal(annals_try(&annals), PEAL_OK);
        ask_everything(&annals);
        annals_rest(&annals);
    }
    free(bytes);
    annals_close(&annals);
}

// ---- the image ----------------------------------------------------------------------------------

static int open_image(void **state)
{
    static struct image image;
    make_image(&image);
    *state = &image;
    return 0;
}

static int close_image(void **state)
{
    struct image *image = *state;
    (void)printf("%llu bits of %llu events; one in %llu of them was turned over\n",
                 8ULL * image->size, (unsigned long long)image->events,
                 (unsigned long long)share_of_bits().step);
    shelf_finish(&image->shelf);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bit_of_the_header_is_noticed_and_costs_nothing),
        cmocka_unit_test(a_bit_of_a_record_is_noticed_and_costs_its_event_at_most),
        cmocka_unit_test(an_event_that_is_damaged_is_not_given_and_those_beside_it_are),
        cmocka_unit_test(a_store_with_a_bit_turned_over_has_all_but_its_event),
        cmocka_unit_test(a_bit_of_the_end_costs_its_event_at_most),
        cmocka_unit_test(a_bit_of_the_index_is_noticed_wherever_it_is),
        cmocka_unit_test(an_index_with_a_bit_turned_over_hides_no_event),
    };
    return cmocka_run_group_tests(tests, open_image, close_image);
}
