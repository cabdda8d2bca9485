// -readconfig: options out of a file in groups, as QEMU documents the format ("Device
// Configuration Files": [group "id"] and key = "value"); and -set, which changes one key of an
// option given before it.
#include "base/buf.h"
#include "control/cli/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct section {
    char group[64];
    struct buf text; // the option's value so far
    unsigned line;
};

// Groups whose option has another name.
static const struct {
    const char *group, *option;
} renamed[] = {{"boot-opts", "boot"}, {"memory", "m"}, {"smp-opts", "smp"}};

static const char *option_of(const char *group)
{
    for (size_t i = 0; i < ARRAY_SIZE(renamed); i++)
        if (!strcmp(renamed[i].group, group))
            return renamed[i].option;
    return group;
}

// The value goes on in an option's text, where a comma is written twice.
static void add_pair(struct section *s, const char *key, const char *val)
{
    buf_printf(&s->text, "%s%s=", s->text.len ? "," : "", key);
    for (; *val; val++) {
        if (*val == ',')
            buf_u8(&s->text, ',');
        buf_u8(&s->text, (uint8_t)*val);
    }
}

static int end_section(struct cmdline *c, struct section *s, struct err *e)
{
    const char *option = option_of(s->group);
    if (!s->group[0])
        return 0;
    if (!cmdline_has_option(option))
        return err_set(e, "there is no group '%s'", s->group);
    char *text = xstrdup(s->text.len ? buf_str(&s->text) : "");
    vec_push(&c->texts, text);
    buf_free(&s->text);
    int r = cmdline_apply(c, option, text, e);
    s->group[0] = 0;
    return r;
}

static int read_line(struct cmdline *c, struct section *s, const char *line, struct err *e)
{
    char id[256], key[256], val[4096];
    int used = 0;
    line += strspn(line, " \t");
    if (*line == '#' || *line == '\n' || !*line)
        return 0;
    if (*line == '[') {
        char group[64];
        bool named = sscanf(line, "[%63[^] \t\"] \"%255[^\"]\"]%n", group, id, &used) == 2 && used;
        if (!named && !(sscanf(line, "[%63[^] \t\"]]%n", group, &used) == 1 && used))
            return err_set(e, "a group is written [GROUP] or [GROUP \"ID\"]");
        if (end_section(c, s, e))
            return -1;
        snprintf(s->group, sizeof s->group, "%s", group);
        if (named)
            add_pair(s, "id", id);
        return 0;
    }
    if (!s->group[0])
        return err_set(e, "no group is open: begin with [GROUP]");
    val[0] = 0;
    if (sscanf(line, "%255[^ \t=] = \"%4095[^\"]\"%n", key, val, &used) != 2 &&
        sscanf(line, "%255[^ \t=] = \"\"%n", key, &used) != 1)
        used = 0;
    if (!used)
        return err_set(e, "an entry is written KEY = \"VALUE\"");
    add_pair(s, key, val);
    return 0;
}

OPTION_HANDLER(readconfig)
{
    struct section s = {0};
    char line[8192];
    unsigned number = 0;
    int r = 0;
    FILE *f = fopen(arg, "re");
    if (!f)
        return err_errno(e, errno, "-readconfig %s", arg);
    while (!r && fgets(line, sizeof line, f)) {
        number++;
        r = read_line(c, &s, line, e);
    }
    if (!r)
        r = end_section(c, &s, e);
    buf_free(&s.text);
    fclose(f);
    return r ? err_prefix(e, "-readconfig %s:%u", arg, number) : 0;
}

static struct cmdline_list *list_of(struct cmdline *c, const char *group)
{
    const struct {
        const char *name;
        struct cmdline_list *list;
    } lists[] = {{"chardev", &c->chardevs}, {"device", &c->devices}, {"drive", &c->drives},
                 {"mon", &c->mons},         {"netdev", &c->netdevs}, {"object", &c->objects}};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        if (!strcmp(lists[i].name, group))
            return lists[i].list;
    return NULL;
}

OPTION_HANDLER(set)
{
    char group[64], id[128], key[128];
    int used = 0;
    if (sscanf(arg, "%63[^.].%127[^.].%127[^=]=%n", group, id, key, &used) != 3 || !used)
        return err_set(e, "-set %s: write it GROUP.ID.KEY=VALUE", arg);
    struct cmdline_list *l = list_of(c, group);
    if (!l)
        return err_set(e, "-set %s: there is no group '%s'", arg, group);
    for (size_t i = l->len; i-- > 0;) {
        const char *own = opts_get(&l->data[i], "id");
        if (own && !strcmp(own, id)) {
            opts_set(&l->data[i], key, arg + used);
            return 0;
        }
    }
    return err_set(e, "-set %s: there is no %s \"%s\" defined", arg, group, id);
}
