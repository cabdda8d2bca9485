// Every system call, family by family: included with CALL defined, as often as it is needed.
#include "user/calls/file.def"
#include "user/calls/ipc.def"
#include "user/calls/mem.def"
#include "user/calls/net.def"
#include "user/calls/proc.def"
#include "user/calls/signal.def"
#include "user/calls/system.def"
#include "user/calls/time.def"
