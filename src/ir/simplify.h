// Between the builder's files.
#pragma once

#include "ir/build.h"

// A value equal to the operation, found without emitting it as it stands; IR_NONE: none. Constants
// of commutative operations are in y already. May emit cheaper operations.
ir_ref ir_simplify(struct ir_build *b, unsigned op, unsigned type, unsigned aux, ir_ref x, ir_ref y,
                   ir_ref z);
