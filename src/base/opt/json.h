// The JSON form of option lists; for opt.c.
#pragma once

#include "base/opt.h"

// Appends the members of the one JSON object in `text`, nested ones under dotted keys.
int opts_parse_json(struct opts *o, const char *text, struct err *e) MUST_CHECK;
