// SPDX-License-Identifier: MIT
//
// The checksum is the standard one, in pieces too, and touches nothing beside its bytes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"

// Bit by bit, as the polynomial says.
static uint32_t slow(const unsigned char *bytes, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

static void the_check_values_of_the_standards_come_out(void **state)
{
    (void)state;
    unsigned char bytes[32] = { 0 };
    assert_int_equal(pl_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(pl_crc32c(0, NULL, 0), 0);
    assert_int_equal(pl_crc32c(0, bytes, 32), 0x8a9136aa); // RFC 3720, B.4
    memset(bytes, 0xff, 32);
    assert_int_equal(pl_crc32c(0, bytes, 32), 0x62a8ab43);
}

static void pieces_give_the_same_as_the_whole(void **state)
{
    (void)state;
    unsigned char bytes[700];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)(i * i + 7);
    }
    uint32_t whole = pl_crc32c(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t first = pl_crc32c(0, bytes, cut);
        assert_int_equal(pl_crc32c(first, bytes + cut, sizeof bytes - cut), whole);
    }
}

static void no_byte_outside_is_read_at_any_size(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *map =
        mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!map || map == MAP_FAILED) {
        fail();
        return;
    }
    for (size_t i = 0; i < page; i++) {
        map[page + i] = (unsigned char)(i * 31);
    }
    assert_int_equal(mprotect(map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(map + 2 * page, page, PROT_NONE), 0);

    for (size_t size = 0; size <= 1000; size++) {
        const unsigned char *start = map + page;
        const unsigned char *end = map + 2 * page - size;
        assert_int_equal(pl_crc32c(0, start, size), slow(start, size));
        assert_int_equal(pl_crc32c(0, end, size), slow(end, size));
    }
    assert_int_equal(munmap(map, 3 * page), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_check_values_of_the_standards_come_out),
        cmocka_unit_test(pieces_give_the_same_as_the_whole),
        cmocka_unit_test(no_byte_outside_is_read_at_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
