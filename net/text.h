// SPDX-License-Identifier: MIT
//
// Text: bytes that grow, and JSON written into them.
//
//     struct net_text text = { 0 };
//     net_json_begin(&text, '{');
//     net_json_name(&text, "position");
//     net_json_number(&text, 7);
//     net_json_end(&text, '}');                       {"position":7}
//     net_text_finish(&text);
//
// Commas are put where they belong. Without memory a text is `failed` from then on, and takes
// nothing more; whoever uses it looks once, at the end.
//
// Threads: a text belongs to one at a time. Zero is an empty text.
#ifndef NET_TEXT_H
#define NET_TEXT_H

#include <peal/event.h>

struct net_text {
    char *bytes; // not ended by a zero byte, but for net_text_string
    size_t size, room;
    bool failed;
    bool comma; // JSON: what comes next is not the first
};

void net_text_finish(struct net_text *text); // fine on zeros; it is empty then
// Room for so many bytes more, *borrowed* until the next call; they count once they are taken.
char *net_text_room(struct net_text *text, size_t size); // NULL: failed
void net_text_took(struct net_text *text, size_t size);
void net_text_add(struct net_text *text, const void *bytes, size_t size);
void net_text_put(struct net_text *text, const char *string);
void net_text_format(struct net_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void net_text_number(struct net_text *text, uint64_t number); // in decimal
// Ended by a zero byte that does not count; "" if it failed. *Borrowed* until it changes.
const char *net_text_string(struct net_text *text);
// Are the bytes UTF-8, and nothing but characters?
bool net_text_is_utf8(const char *bytes, size_t size);

void net_json_begin(struct net_text *text, char bracket); // '{' or '['
void net_json_end(struct net_text *text, char bracket);   // '}' or ']'
void net_json_name(struct net_text *text, const char *name);
// Bytes that are not UTF-8 become U+FFFD. NULL is null.
void net_json_string(struct net_text *text, const char *string);
void net_json_bytes(struct net_text *text, const char *bytes, size_t size);
void net_json_number(struct net_text *text, uint64_t number);
void net_json_real(struct net_text *text, double number); // null where JSON has no word for it
void net_json_bool(struct net_text *text, bool is);
void net_json_time(struct net_text *text, int64_t ns);               // RFC 3339, or null for 0
void net_json_event(struct net_text *text, const peal_event *event); // CloudEvents
// A name and its value in one.
void net_json_say(struct net_text *text, const char *name, const char *string);
void net_json_count(struct net_text *text, const char *name, uint64_t number);

#endif
