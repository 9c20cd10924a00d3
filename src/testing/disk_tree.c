// SPDX-License-Identifier: MIT
//
// Of the changes that wait, a power cut keeps any subset in which those of one name are in order:
// once a change of a name is lost, so are the later ones of that name. Otherwise a file that was
// renamed and whose old name was taken by another could vanish, which no file system in use does.
//
// Nodes are not counted. Whenever one may have lost its last name, everything is marked from the
// open files and from every name, and what was not marked is freed.
#include "testing/disk_tree.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "testing/disk.h"

struct entry {
    struct pl_list link;
    struct pl_disk_node *now;  // NULL: the program sees no such name
    struct pl_disk_node *kept; // NULL: after a power cut there is none
    bool marked;
    bool stuck; // a change of this name was lost; only while changes are settled
    char name[PL_DISK_NAME_MAX + 1];
};

struct change {
    struct pl_list link;
    struct entry *from; // loses the node; NULL: the node is new
    struct entry *to;   // gets it; NULL: it is removed
    struct pl_disk_node *node;
};

static struct pl_disk_node *new_node(struct pl_disk_tree *tree, bool directory)
{
    struct pl_disk_node *node = pl_new(tree->seams, sizeof *node);
    if (!node) {
        return NULL;
    }
    node->directory = directory;
    node->bytes.seams = tree->seams;
    node->bytes.chance = tree->chance;
    pl_list_init(&node->entries);
    pl_list_init(&node->changes);
    pl_list_add_tail(&tree->nodes, &node->link);
    return node;
}

static void free_list(const struct pl_disk_tree *tree, struct pl_list *list, size_t link_offset)
{
    struct pl_list *link = pl_list_pop_head(list);
    for (; link; link = pl_list_pop_head(list)) {
        pl_release(tree->seams, (char *)link - link_offset);
    }
}

static void free_node(const struct pl_disk_tree *tree, struct pl_disk_node *node)
{
    pl_list_remove(&node->link);
    pl_disk_bytes_finish(&node->bytes);
    free_list(tree, &node->entries, offsetof(struct entry, link));
    free_list(tree, &node->changes, offsetof(struct change, link));
    pl_release(tree->seams, node);
}

// Marks what a marked directory leads to; true when that is news.
static bool mark_from(struct pl_disk_node *directory)
{
    bool news = false;
    struct entry *entry;
    struct change *change;
    PL_LIST_EACH (entry, &directory->entries, link) {
        entry->marked = entry->now || entry->kept;
        struct pl_disk_node *both[] = { entry->now, entry->kept };
        for (size_t i = 0; i < 2; i++) {
            news = news || (both[i] && !both[i]->marked);
            if (both[i]) {
                both[i]->marked = true;
            }
        }
    }
    PL_LIST_EACH (change, &directory->changes, link) {
        news = news || !change->node->marked;
        change->node->marked = true;
        if (change->from) {
            change->from->marked = true;
        }
        if (change->to) {
            change->to->marked = true;
        }
    }
    return news;
}

static void sweep_entries(const struct pl_disk_tree *tree, struct pl_disk_node *directory)
{
    struct entry *entry;
    struct entry *after;
    PL_LIST_EACH_SAFE (entry, after, &directory->entries, link) {
        if (!entry->marked) {
            pl_list_remove(&entry->link);
            pl_release(tree->seams, entry);
        }
    }
}

void pl_disk_tree_collect(struct pl_disk_tree *tree)
{
    struct pl_disk_node *node;
    struct pl_disk_node *after;
    PL_LIST_EACH (node, &tree->nodes, link) {
        node->marked = node == tree->root || node->opened > 0;
    }
    for (bool news = true; news;) {
        news = false;
        PL_LIST_EACH (node, &tree->nodes, link) {
            news = (node->marked && mark_from(node)) || news;
        }
    }
    PL_LIST_EACH_SAFE (node, after, &tree->nodes, link) {
        if (node->marked) {
            sweep_entries(tree, node);
        } else {
            free_node(tree, node);
        }
    }
}

static struct entry *find_entry(struct pl_disk_node *directory, const char *name, size_t size)
{
    struct entry *entry;
    PL_LIST_EACH (entry, &directory->entries, link) {
        if (strncmp(entry->name, name, size) == 0 && entry->name[size] == 0) {
            return entry;
        }
    }
    return NULL;
}

// The last part of a path and the directory it is in. "/" and "." have an empty last part.
struct place {
    struct pl_disk_node *directory;
    const char *name; // borrowed from the path
    size_t size;
};

static int walk(const struct pl_disk_tree *tree, struct place *out, const char *path)
{
    struct place place = { .directory = tree->root, .name = "" };
    for (const char *next = path + strspn(path, "/"); *next; next += strspn(next, "/")) {
        size_t size = strcspn(next, "/");
        if (size == 1 && next[0] == '.') {
            next += size;
            continue;
        }
        if (size > PL_DISK_NAME_MAX) {
            return -ENAMETOOLONG;
        }
        if (place.size > 0) {
            struct entry *entry = find_entry(place.directory, place.name, place.size);
            if (!entry || !entry->now) {
                return -ENOENT;
            }
            if (!entry->now->directory) {
                return -ENOTDIR;
            }
            place.directory = entry->now;
        }
        place.name = next;
        place.size = size;
        next += size;
    }
    *out = place;
    return 0;
}

int pl_disk_tree_find(const struct pl_disk_tree *tree, struct pl_disk_node **out, const char *path)
{
    struct place place;
    int result = walk(tree, &place, path);
    if (result) {
        return result;
    }
    if (place.size == 0) {
        *out = tree->root;
        return 0;
    }
    const struct entry *entry = find_entry(place.directory, place.name, place.size);
    if (!entry || !entry->now) {
        return -ENOENT;
    }
    *out = entry->now;
    return 0;
}

static int find_directory(const struct pl_disk_tree *tree, struct pl_disk_node **out,
                          const char *path)
{
    struct pl_disk_node *node = NULL;
    int result = pl_disk_tree_find(tree, &node, path);
    if (result == 0 && !node->directory) {
        result = -ENOTDIR;
    }
    if (result == 0) {
        *out = node;
    }
    return result;
}

// The entry for a name, made if need be; NULL without memory.
static struct entry *need_entry(const struct pl_disk_tree *tree, const struct place *place)
{
    struct entry *entry = find_entry(place->directory, place->name, place->size);
    if (!entry) {
        entry = pl_new(tree->seams, sizeof *entry);
        if (!entry) {
            return NULL;
        }
        memcpy(entry->name, place->name, place->size);
        pl_list_add_tail(&place->directory->entries, &entry->link);
    }
    return entry;
}

// Moves the node from one name to another, for the program at once and for the disk later.
static int change_names(const struct pl_disk_tree *tree, struct pl_disk_node *directory,
                        const struct change *wanted)
{
    struct change *change = pl_alloc(tree->seams, sizeof *change);
    if (!change) {
        return -ENOMEM;
    }
    *change = *wanted;
    pl_list_add_tail(&directory->changes, &change->link);
    if (change->from) {
        change->from->now = NULL;
    }
    if (change->to) {
        change->to->now = change->node;
    }
    return 0;
}

// Which of the waiting changes reach the disk. THE_FIRST: as from a journal that lost its end.
enum survival { NOTHING, EVERYTHING, THE_FIRST, ANY, SURVIVALS };

// Carries a change out on the disk, if no change of its names was lost before.
static void keep_change(struct pl_disk_node *directory, const struct change *change, bool wanted)
{
    bool stuck = (change->from && change->from->stuck) || (change->to && change->to->stuck);
    if (!wanted || stuck) {
        if (change->from) {
            change->from->stuck = true;
        }
        if (change->to) {
            change->to->stuck = true;
        }
        return;
    }
    struct entry *entry;
    PL_LIST_EACH (entry, &directory->entries, link) {
        entry->kept = entry->kept == change->node ? NULL : entry->kept;
    }
    if (change->to) {
        change->to->kept = change->node;
    }
}

// Ends all changes of a directory: each is on the disk, or never will be.
static void settle_changes(const struct pl_disk_tree *tree, struct pl_disk_node *directory,
                           enum survival some)
{
    struct entry *entry;
    PL_LIST_EACH (entry, &directory->entries, link) {
        entry->stuck = false;
    }
    bool wanted = some != NOTHING;
    struct change *change;
    struct change *after;
    PL_LIST_EACH_SAFE (change, after, &directory->changes, link) {
        if (some == THE_FIRST) {
            wanted = wanted && pl_disk_draw(tree->chance, 4) != 0;
        } else if (some == ANY) {
            wanted = pl_disk_draw(tree->chance, 2) != 0;
        }
        keep_change(directory, change, wanted);
        pl_list_remove(&change->link);
        pl_release(tree->seams, change);
    }
}

int pl_disk_tree_init(struct pl_disk_tree *tree, const struct pl_seams *seams, uint64_t *chance)
{
    tree->seams = seams;
    tree->chance = chance;
    pl_list_init(&tree->nodes);
    tree->root = new_node(tree, true);
    return tree->root ? 0 : -ENOMEM;
}

void pl_disk_tree_finish(struct pl_disk_tree *tree)
{
    struct pl_disk_node *node;
    struct pl_disk_node *after;
    PL_LIST_EACH_SAFE (node, after, &tree->nodes, link) {
        free_node(tree, node);
    }
}

int pl_disk_tree_create(struct pl_disk_tree *tree, struct pl_disk_node **out, const char *path,
                        bool directory)
{
    struct place place;
    int result = walk(tree, &place, path);
    if (result) {
        return result;
    }
    struct entry *entry = place.size ? need_entry(tree, &place) : NULL;
    if (place.size == 0 || (entry && entry->now)) {
        return -EEXIST;
    }
    struct pl_disk_node *node = entry ? new_node(tree, directory) : NULL;
    result = -ENOMEM;
    if (node) {
        struct change change = { .to = entry, .node = node };
        result = change_names(tree, place.directory, &change);
    }
    if (result) {
        pl_disk_tree_collect(tree);
        return result;
    }
    *out = node;
    return 0;
}

// May `source` take the place of `target`, in one directory?
static int check_rename(const struct entry *source, const struct entry *target)
{
    if (!target->now || target == source) {
        return 0;
    }
    if (target->now->directory) {
        return -EISDIR;
    }
    return source->now->directory ? -ENOTDIR : 0;
}

int pl_disk_tree_rename(struct pl_disk_tree *tree, const char *from, const char *to)
{
    struct place old;
    struct place new;
    int result = walk(tree, &old, from);
    result = result ? result : walk(tree, &new, to);
    if (result) {
        return result;
    }
    struct entry *source = find_entry(old.directory, old.name, old.size);
    if (!source || !source->now) {
        return -ENOENT;
    }
    if (old.directory != new.directory || new.size == 0) {
        return -EXDEV;
    }
    struct entry *target = need_entry(tree, &new);
    result = target ? check_rename(source, target) : -ENOMEM;
    if (result == 0 && target != source) {
        struct change change = { .from = source, .to = target, .node = source->now };
        result = change_names(tree, old.directory, &change);
    }
    pl_disk_tree_collect(tree);
    return result;
}

int pl_disk_tree_unlink(struct pl_disk_tree *tree, const char *path)
{
    struct place place;
    int result = walk(tree, &place, path);
    if (result) {
        return result;
    }
    struct entry *entry = find_entry(place.directory, place.name, place.size);
    if (!entry || !entry->now) {
        return place.size ? -ENOENT : -EISDIR;
    }
    if (entry->now->directory) {
        return -EISDIR;
    }
    struct change change = { .from = entry, .node = entry->now };
    return change_names(tree, place.directory, &change);
}

int pl_disk_tree_list(const struct pl_disk_tree *tree, const char *path,
                      int (*each)(void *context, const char *name), void *context)
{
    struct pl_disk_node *directory = NULL;
    int result = find_directory(tree, &directory, path);
    if (result) {
        return result;
    }
    const struct entry *entry;
    PL_LIST_EACH (entry, &directory->entries, link) {
        result = entry->now ? each(context, entry->name) : 0;
        if (result) {
            return result;
        }
    }
    return 0;
}

int pl_disk_tree_sync(struct pl_disk_tree *tree, const char *path, bool fails)
{
    struct pl_disk_node *directory = NULL;
    int result = find_directory(tree, &directory, path);
    if (result) {
        return result;
    }
    settle_changes(tree, directory, fails ? ANY : EVERYTHING);
    pl_disk_tree_collect(tree);
    return 0;
}

static void crash_names(const struct pl_disk_tree *tree, struct pl_disk_node *directory)
{
    settle_changes(tree, directory, (enum survival)pl_disk_draw(tree->chance, SURVIVALS));
    struct entry *entry;
    PL_LIST_EACH (entry, &directory->entries, link) {
        entry->now = entry->kept;
    }
}

void pl_disk_tree_crash(struct pl_disk_tree *tree)
{
    struct pl_disk_node *node;
    PL_LIST_EACH (node, &tree->nodes, link) {
        assert(node->opened == 0);
        if (node->directory) {
            crash_names(tree, node);
        } else {
            pl_disk_bytes_crash(&node->bytes);
        }
    }
    pl_disk_tree_collect(tree);
}

uint64_t pl_disk_tree_used(struct pl_disk_tree *tree)
{
    struct pl_disk_node *node;
    struct entry *entry;
    PL_LIST_EACH (node, &tree->nodes, link) {
        node->marked = node->opened > 0;
    }
    PL_LIST_EACH (node, &tree->nodes, link) {
        PL_LIST_EACH (entry, &node->entries, link) {
            if (entry->now) {
                entry->now->marked = true;
            }
        }
    }
    uint64_t pages = 0;
    PL_LIST_EACH (node, &tree->nodes, link) {
        pages += node->marked ? node->bytes.charged : 0;
    }
    return pages;
}
