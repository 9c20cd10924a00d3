// SPDX-License-Identifier: MIT
//
// List: a ring of links that live inside the things they link, so that nothing here can fail.
//
//     struct thing {                              PL_LIST_EACH (thing, &things, link) {
//         struct pl_list link;                        use(thing);
//     };                                          }
//
// The head is a link in nobody: head ⇄ first ⇄ ... ⇄ last ⇄ head. A link is in one list at a time.
// A link that is all zero is in no list: it may be removed, and a head of zeros is empty and ready.
//
// Threads: none; whoever owns the list has a lock or does not need one.
#ifndef PL_BASE_LIST_H
#define PL_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct pl_list {
    struct pl_list *prev; // NULL: in no list
    struct pl_list *next;
};

// The struct around a member. A macro, because a type is its argument.
#define pl_container_of(pointer, type, member)                                                     \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

// A head with nothing behind it.
static inline void pl_list_init(struct pl_list *head)
{
    head->prev = head;
    head->next = head;
}

// Nothing in this list; asked of a link instead of a head: in no list.
static inline bool pl_list_empty(const struct pl_list *head)
{
    return head->next == head || !head->next;
}

static inline void pl_list_insert(struct pl_list *link, struct pl_list *prev, struct pl_list *next)
{
    link->prev = prev;
    link->next = next;
    prev->next = link; // NOLINT(clang-analyzer-core.NullDereference): a ring is whole
    next->prev = link;
}

static inline void pl_list_add_tail(struct pl_list *head, struct pl_list *link)
{
    if (!head->next) {
        pl_list_init(head);
    }
    pl_list_insert(link, head->prev, head);
}

static inline void pl_list_add_head(struct pl_list *head, struct pl_list *link)
{
    if (!head->next) {
        pl_list_init(head);
    }
    pl_list_insert(link, head, head->next);
}

// Takes the link out of its list, if it is in one.
static inline void pl_list_remove(struct pl_list *link)
{
    if (link->next) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
    }
    link->prev = NULL;
    link->next = NULL;
}

// The first link, taken out; NULL from an empty list.
static inline struct pl_list *pl_list_pop_head(struct pl_list *head)
{
    if (pl_list_empty(head)) {
        return NULL;
    }
    struct pl_list *first = head->next;
    pl_list_remove(first); // NOLINT(clang-analyzer-unix.Malloc): who frees one has taken it out
    return first;
}

static inline struct pl_list *pl_list_first(struct pl_list *head)
{
    return head->next ? head->next : head;
}

// The link in a thing, without touching the thing: at the end of a walk it is only the head,
// imagined to be in one, and need not even be aligned like one.
#define pl_list_link(thing, member)                                                                \
    ((struct pl_list *)(void *)((char *)(thing) + offsetof(__typeof__(*(thing)), member)))

// Every thing of the list, in order. The body must not remove `thing`; SAFE lets it, given the name
// of a second pointer of the same type, and nothing else may be removed meanwhile.
#define PL_LIST_EACH(thing, head, member)                                                          \
    for ((thing) = pl_container_of(pl_list_first(head), __typeof__(*(thing)), member);             \
         pl_list_link(thing, member) != (head);                                                    \
         (thing) =                                                                                 \
             pl_container_of(pl_list_link(thing, member)->next, __typeof__(*(thing)), member))

#define PL_LIST_EACH_SAFE(thing, after, head, member)                                              \
    for ((thing) = pl_container_of(pl_list_first(head), __typeof__(*(thing)), member);             \
         pl_list_link(thing, member) != (head) &&                                                  \
         ((after) =                                                                                \
              pl_container_of(pl_list_link(thing, member)->next, __typeof__(*(thing)), member),    \
         true);                                                                                    \
         (thing) = (after))

#endif
