// -nic BACKEND,model=,mac=,… makes a NIC and its back end at once. -net nic and -net BACKEND are
// halves that all meet on hub 0.
#include "net/legacy.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const nic_properties[] = {"addr", "mac", "macaddr", "model", "vectors", NULL};

static void free_item(struct net_nic *n)
{
    opts_free(&n->netdev);
    opts_free(&n->nic);
}

void net_legacy_free(struct net_legacy *l)
{
    for (size_t i = 0; i < l->items.len; i++)
        free_item(&l->items.data[i]);
    for (size_t i = 0; i < l->pending.len; i++)
        free_item(&l->pending.data[i]);
    vec_free(&l->items);
    vec_free(&l->pending);
}

static bool is_nic_property(const char *key)
{
    for (size_t i = 0; nic_properties[i]; i++)
        if (!strcmp(key, nic_properties[i]))
            return true;
    return false;
}

static void set_nic_property(struct net_nic *n, const char *key, const char *val)
{
    opts_set(&n->nic, strcmp(key, "macaddr") ? key : "mac", val);
}

// Moves options one by one, so that repeated ones (hostfwd) stay repeated.
static void append(struct opts *o, const struct opt *from)
{
    vec_push(
        o, (struct opt){.key = xstrdup(from->key), .val = xstrdup(from->val), .bare = from->bare});
}

static void set_id(struct net_nic *n, const char *id, size_t number)
{
    char made[32];
    snprintf(made, sizeof made, "#net%zu", number);
    id = id ? id : made;
    opts_set(&n->netdev, "id", id);
    if (n->has_nic)
        opts_set(&n->nic, "netdev", id);
}

int net_legacy_nic(struct net_legacy *l, const char *text, struct err *e)
{
    struct opts o = {0};
    struct net_nic n = {.has_nic = true, .has_netdev = true, .option = "-nic"};
    if (opts_parse(&o, text, "type", e)) {
        opts_free(&o);
        return -1;
    }
    const char *type = opts_get(&o, "type");
    if (type && !strcmp(type, "none")) {
        l->none = true;
        opts_free(&o);
        return 0;
    }
    if (!type)
        opts_set(&n.netdev, "type", "user");
    for (size_t i = 0; i < o.len; i++) {
        if (is_nic_property(o.data[i].key))
            set_nic_property(&n, o.data[i].key, o.data[i].val);
        else if (strcmp(o.data[i].key, "id"))
            append(&n.netdev, &o.data[i]);
    }
    set_id(&n, opts_get(&o, "id"), l->items.len + l->pending.len);
    vec_push(&l->items, n);
    opts_free(&o);
    return 0;
}

// "-net nic": what it may say beyond device properties.
static int net_nic_half(struct net_nic *n, struct opts *o, struct err *e)
{
    n->has_nic = true;
    for (size_t i = 0; i < o->len; i++) {
        const char *key = o->data[i].key;
        if (is_nic_property(key) || !strcmp(key, "netdev"))
            set_nic_property(n, key, o->data[i].val);
        else if (!strcmp(key, "name"))
            opts_set(&n->nic, "id", o->data[i].val);
        else if (strcmp(key, "type")) {
            err_set(e, "-net nic: unknown option '%s'", key);
            return err_did_you_mean(e, key, nic_properties);
        }
    }
    return 0;
}

int net_legacy_net(struct net_legacy *l, const char *text, struct err *e)
{
    struct opts o = {0};
    struct net_nic n = {.option = "-net"};
    int r = opts_parse(&o, text, "type", e);
    const char *type = r ? NULL : opts_get(&o, "type");
    if (!r && !type)
        r = err_set(e, "-net: give nic, none or a back end such as user");
    if (!r && !strcmp(type, "none")) {
        l->none = true;
    } else if (!r && !strcmp(type, "nic")) {
        r = net_nic_half(&n, &o, e);
        bool direct = n.has_nic && opts_has(&n.nic, "netdev");
        if (!r && direct)
            vec_push(&l->items, n);
        else if (!r)
            vec_push(&l->pending, n);
        else
            free_item(&n);
    } else if (!r) {
        n.has_netdev = true;
        for (size_t i = 0; i < o.len; i++)
            if (strcmp(o.data[i].key, "id") && strcmp(o.data[i].key, "name"))
                append(&n.netdev, &o.data[i]);
        const char *id = opts_get(&o, "id");
        set_id(&n, id ? id : opts_get(&o, "name"), l->items.len + l->pending.len);
        vec_push(&l->pending, n);
    }
    opts_free(&o);
    return r;
}

// A port of hub 0 with the id "hub0portN".
static struct net_nic hub_port(unsigned number, const char *netdev)
{
    struct net_nic n = {.has_netdev = true, .option = "-net"};
    char id[32];
    snprintf(id, sizeof id, "hub0port%u", number);
    opts_set(&n.netdev, "type", "hubport");
    opts_set(&n.netdev, "hubid", "0");
    opts_set(&n.netdev, "id", id);
    if (netdev)
        opts_set(&n.netdev, "netdev", netdev);
    return n;
}

void net_legacy_finish(struct net_legacy *l)
{
    size_t nics = 0, backs = 0;
    for (size_t i = 0; i < l->pending.len; i++) {
        nics += l->pending.data[i].has_nic;
        backs += l->pending.data[i].has_netdev;
    }
    bool direct = nics == 1 && backs == 1;
    unsigned port = 0;
    const char *only = NULL;
    for (size_t i = 0; i < l->pending.len; i++) {
        struct net_nic *n = &l->pending.data[i];
        if (!n->has_netdev)
            continue;
        only = opts_get(&n->netdev, "id");
        vec_push(&l->items, *n);
        if (!direct && nics)
            vec_push(&l->items, hub_port(port++, only));
    }
    for (size_t i = 0; i < l->pending.len; i++) {
        struct net_nic n = l->pending.data[i];
        if (!n.has_nic)
            continue;
        if (direct) {
            opts_set(&n.nic, "netdev", only);
        } else if (backs || nics > 1) {
            struct net_nic p = hub_port(port++, NULL);
            opts_set(&n.nic, "netdev", opts_get(&p.netdev, "id"));
            vec_push(&l->items, p);
        }
        vec_push(&l->items, n);
    }
    l->pending.len = 0; // handed over
}
