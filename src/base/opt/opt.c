// Option lists: the comma syntax, and the typed accessors that remember what was asked for.
#include "base/opt.h"
#include "base/opt/json.h"
#include "base/vec.h"

#include <stdlib.h>

void opts_free(struct opts *o)
{
    for (size_t i = 0; i < o->len; i++) {
        free(o->data[i].key);
        free(o->data[i].val);
    }
    vec_free(o);
}

// Copies a value up to a single comma, with ",," standing for one; *s is left on the comma or NUL.
static char *take_value(const char **s)
{
    char *val = xalloc(strlen(*s) + 1);
    size_t n = 0;
    for (; **s; ++*s) {
        if (**s == ',' && *++*s != ',') {
            --*s;
            break;
        }
        val[n++] = **s;
    }
    val[n] = 0;
    return val;
}

static char *take_key(const char **s, size_t n)
{
    char *key = xalloc(n + 1);
    memcpy(key, *s, n);
    *s += n;
    return key;
}

int opts_parse(struct opts *o, const char *text, const char *implied, struct err *e)
{
    if (*text == '{')
        return opts_parse_json(o, text, e);
    bool first = true;
    for (const char *s = text; *s; first = false) {
        struct opt opt = {0};
        size_t n = strcspn(s, "=,");
        if (s[n] == '=') {
            if (!n)
                return err_set(e, "option without a name before '=' in '%s'", text);
            opt.key = take_key(&s, n);
            s++;
            opt.val = take_value(&s);
        } else if (first && implied) {
            opt.key = xstrdup(implied);
            opt.val = take_value(&s);
        } else {
            if (!n)
                return err_set(e, "empty option (stray comma) in '%s'", text);
            opt.key = take_key(&s, n);
            opt.val = xstrdup("on");
            opt.bare = true;
        }
        vec_push(o, opt);
        if (*s == ',')
            s++;
    }
    return 0;
}

void opts_drop(struct opts *o, const char *key)
{
    for (size_t i = 0; i < o->len;) {
        if (!strcmp(o->data[i].key, key)) {
            free(o->data[i].key);
            free(o->data[i].val);
            vec_remove(o, i);
        } else {
            i++;
        }
    }
}

void opts_set(struct opts *o, const char *key, const char *val)
{
    char *copy = xstrdup(val);
    opts_drop(o, key);
    vec_push(o, (struct opt){.key = xstrdup(key), .val = copy});
}

// A bare "nofoo" answers a question for "foo".
static bool negates(const struct opt *opt, const char *key)
{
    return opt->bare && !strncmp(opt->key, "no", 2) && !strcmp(opt->key + 2, key);
}

const char *opts_get(struct opts *o, const char *key)
{
    const char *val = NULL;
    for (size_t i = 0; i < o->len; i++) {
        struct opt *opt = &o->data[i];
        bool off = negates(opt, key);
        if (!off && strcmp(opt->key, key))
            continue;
        opt->used = true;
        val = off ? "off" : opt->val;
    }
    return val;
}

bool opts_has(const struct opts *o, const char *key)
{
    for (size_t i = 0; i < o->len; i++)
        if (!strcmp(o->data[i].key, key) || negates(&o->data[i], key))
            return true;
    return false;
}

int opts_get_bool(struct opts *o, const char *key, bool *v, struct err *e)
{
    const char *val = opts_get(o, key);
    if (!val || !parse_bool(val, v))
        return 0;
    return err_set(e, "%s=%s: expected 'on' or 'off'", key, val);
}

int opts_get_u64(struct opts *o, const char *key, uint64_t *v, struct err *e)
{
    const char *val = opts_get(o, key);
    if (!val || !parse_u64(val, v))
        return 0;
    return err_set(e, "%s=%s: expected a number", key, val);
}

int opts_get_size(struct opts *o, const char *key, uint64_t *v, uint64_t unit, struct err *e)
{
    const char *val = opts_get(o, key);
    if (!val || !parse_size(val, unit, v))
        return 0;
    return err_set(e, "%s=%s: expected a size such as 512M or 1.5G (suffixes b K M G T P E)", key,
                   val);
}

int opts_check_unused(struct opts *o, const char *what, const char *const *known, struct err *e)
{
    for (size_t i = 0; i < o->len; i++) {
        if (o->data[i].used)
            continue;
        err_set(e, "%s%sunknown option '%s'", what ? what : "", what ? ": " : "", o->data[i].key);
        return err_did_you_mean(e, o->data[i].key, known);
    }
    return 0;
}
