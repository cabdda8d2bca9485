// JSON option text (as -blockdev and -device take it), read by json-c and flattened to dotted keys:
// {"file": {"filename": "a"}, "hosts": ["x"]} becomes file.filename=a, hosts.0=x. Booleans become
// on/off, null the empty value.
#include "base/opt/json.h"
#include "base/vec.h"

#include <json-c/json.h>
#include <stdlib.h>

enum { DEEPEST = 32, LONGEST_KEY = 4096 };

static int flatten(struct opts *o, const char *key, struct json_object *v, struct err *e);

static int flatten_object(struct opts *o, const char *key, struct json_object *v, struct err *e)
{
    json_object_object_foreach(v, name, member)
    {
        if (!*name)
            return err_set(e, "JSON: empty member name in '%s'", key);
        char *path = *key ? xasprintf("%s.%s", key, name) : xstrdup(name);
        int rc = strlen(path) > LONGEST_KEY ? err_set(e, "JSON: member names are too long")
                                            : flatten(o, path, member, e);
        free(path);
        if (rc)
            return rc;
    }
    return 0;
}

static int flatten_array(struct opts *o, const char *key, struct json_object *v, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < json_object_array_length(v); i++) {
        char *path = xasprintf("%s.%zu", key, i);
        rc = flatten(o, path, json_object_array_get_idx(v, i), e);
        free(path);
    }
    return rc;
}

static int flatten(struct opts *o, const char *key, struct json_object *v, struct err *e)
{
    const char *val;
    switch (json_object_get_type(v)) {
    case json_type_object:
        return flatten_object(o, key, v, e);
    case json_type_array:
        return flatten_array(o, key, v, e);
    case json_type_boolean:
        val = json_object_get_boolean(v) ? "on" : "off";
        break;
    case json_type_null:
        val = "";
        break;
    case json_type_string:
        val = json_object_get_string(v);
        if (strlen(val) != (size_t)json_object_get_string_len(v))
            return err_set(e, "JSON: the value of '%s' contains a NUL character", key);
        break;
    default:
        val = json_object_to_json_string(v);
        break;
    }
    vec_push(o, (struct opt){.key = xstrdup(key), .val = xstrdup(val)});
    return 0;
}

int opts_parse_json(struct opts *o, const char *text, struct err *e)
{
    struct json_tokener *t = json_tokener_new_ex(DEEPEST);
    if (!t)
        host_out_of_memory(0);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    size_t len = strlen(text);
    int rc;
    struct json_object *v =
        len > INT32_MAX / 2 ? NULL : json_tokener_parse_ex(t, text, (int)len + 1);
    enum json_tokener_error why = json_tokener_get_error(t);
    if (!v)
        rc = err_set(e, "JSON: %s at character %zu",
                     why == json_tokener_continue ? "unexpected end" : json_tokener_error_desc(why),
                     json_tokener_get_parse_end(t));
    else if (!json_object_is_type(v, json_type_object))
        rc = err_set(e, "JSON: expected an object");
    else
        rc = flatten_object(o, "", v, e);
    json_object_put(v);
    json_tokener_free(t);
    return rc;
}
