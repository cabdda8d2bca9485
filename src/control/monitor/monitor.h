// Monitors: how an operator or a client talks to a running machine. One front end on a chardev
// each, in control mode (QMP, JSON) or readline mode (HMP, for people and for scripts that type).
// Main loop thread.
#pragma once

#include "control/vm.h"

struct monitor;

// A monitor on a character device: `control` speaks QMP, otherwise the human monitor. NULL when the
// device is taken. Main loop thread, as is monitor_free.
struct monitor *monitor_new(struct vm *vm, struct chardev *c, bool control, struct err *e);
void monitor_free(struct monitor *m);
// To every monitor in control mode that has finished its negotiation; main loop thread.
void monitor_broadcast(struct vm *vm, const char *name, const char *json_data);

// Run one HMP line and collect its output (QMP's human-monitor-command).
void hmp_run(struct vm *vm, const char *line, struct buf *out);
