// Intrusive doubly linked list: a head, and nodes that live inside the linked structures.
#pragma once

#include "base/base.h"

struct list {
    struct list *next, *prev;
};
#define LIST_INIT(l)                                                                               \
    {                                                                                              \
        &(l), &(l)                                                                                 \
    }
static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}
static inline void list_insert_before(struct list *at, struct list *n)
{
    n->next = at;
    n->prev = at->prev;
    at->prev->next = n;
    at->prev = n;
}
static inline void list_append(struct list *head, struct list *n)
{
    list_insert_before(head, n);
}
static inline void list_prepend(struct list *head, struct list *n)
{
    list_insert_before(head->next, n);
}
// Unlinks n and leaves it an empty list, so that removing twice is harmless.
static inline void list_remove(struct list *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}
#define list_entry(n, type, member) container_of(n, type, member)
#define list_for_each(it, head, member)                                                            \
    for (it = list_entry((head)->next, __typeof__(*it), member); &it->member != (head);            \
         it = list_entry(it->member.next, __typeof__(*it), member))
#define list_for_each_safe(it, tmp, head, member)                                                  \
    for (it = list_entry((head)->next, __typeof__(*it), member),                                   \
        tmp = list_entry(it->member.next, __typeof__(*it), member);                                \
         &it->member != (head);                                                                    \
         it = tmp, tmp = list_entry(it->member.next, __typeof__(*it), member))
