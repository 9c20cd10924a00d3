// SPDX-License-Identifier: MIT
//
// Ingest: which kind of object a text is, and what the caller holds.
//
// A text is copied once, with the padding simdjson wants to read behind it, and `data` points into
// that copy. It is read as a CloudEvent first, if it may be one, and once more as a plain object if
// it turns out to be none. So a good event is read once, as a rule, and a bad one is refused as
// what it is: a broken CloudEvent is not taken for a plain object.
//
// The rest is in the files that ingest_inside.h names.
#include "net/ingest_inside.h"

#include <cstring>
#include <new>

extern "C" {
#include "base/rfc3339.h"
}

using namespace ingest_inside;

static bool begin(reading &in, struct ingest_text text)
{
    in.text = text.bytes;
    in.size = text.size;
    if (text.size > INGEST_TEXT_MAX) {
        return in.bad(text.bytes, "more than 128 MiB in one piece");
    }
    const char *copy = in.ingest->memory.keep(text.bytes, text.size, simdjson::SIMDJSON_PADDING);
    if (!copy) {
        return in.bad(text.bytes, "no memory");
    }
    in.text = copy;
    return true;
}

enum peal_err ingest_open(struct ingest **out)
{
    auto *ingest = new (std::nothrow) struct ingest;
    if (!ingest) {
        return PEAL_ENOMEM;
    }
    *out = ingest;
    return PEAL_OK;
}

void ingest_close(struct ingest *ingest)
{
    if (ingest) {
        ingest->memory.forget(true);
        delete ingest;
    }
}

void ingest_limit_depth(struct ingest *ingest, unsigned most)
{
    ingest->depth_max = most;
}

void ingest_forget(struct ingest *ingest)
{
    ingest->memory.forget(false);
}

char *ingest_keep(struct ingest *ingest, const void *bytes, size_t size)
{
    return ingest->memory.keep(bytes, size, 1);
}

bool ingest_event(struct peal_message *out, struct ingest *ingest, struct ingest_text text,
                  const struct ingest_plain *plain, struct ingest_fault *fault)
{
    reading in = { ingest, nullptr, 0, fault };
    event event = {};
    if (!begin(in, text)) {
        return false;
    }
    bool maybe = !plain || has_version(in);
    bool good = maybe && read_cloudevent(in, event);
    if (!good && plain && !is_cloudevent(in)) {
        event = {};
        good = read_plain(in, event, *plain);
    } else if (!good && plain) {
        event = {};
        good = read_cloudevent(in, event); // says once more what is wrong
    }
    if (!good) {
        return false;
    }
    if (event.message.metadata_count > 0) {
        size_t size = event.message.metadata_count * sizeof event.pairs[0];
        event.message.metadata =
            reinterpret_cast<struct peal_pair *>(ingest->memory.keep(event.pairs, size, 0));
        if (!event.message.metadata) {
            return in.bad(in.text, "no memory");
        }
    }
    *out = event.message;
    return true;
}

bool ingest_time(int64_t *out, const char *text, size_t size)
{
    return pl_rfc3339_parse(out, text, size) == PEAL_OK;
}
