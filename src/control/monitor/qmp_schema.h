// The types of QMP's arguments and results: one table by which arguments are checked and from which
// query-qmp-schema is made, so that what is published is what works. Private to control/monitor.
//
// A member list is text: "name:type name:type?", where '?' marks an optional member and a type is
// str, int, bool, any, [type] for an array, or a name of qmp_types.def. A "*" at its end admits
// members that are not listed. Where a list is expected, the name of a type stands for its members.
#pragma once

#include "control/monitor/internal.h"

// Do the arguments (NULL: none) fit the list? False with *e filled.
bool qmp_check_members(const char *list, struct json_object *args, struct qmp_error *e);
