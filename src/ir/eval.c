// The table of evaluation functions; ops without one have effects beyond their result.
#include "ir/eval.h"

ir_eval_fn *const ir_eval[IR_OPS] = {
#define ENTRY(name) [IR_##name] = ir_eval_##name,
    EVAL_INT(ENTRY) EVAL_MOVE(ENTRY) EVAL_VEC(ENTRY) EVAL_AES(ENTRY) EVAL_SHA(ENTRY) EVAL_FP(ENTRY)
#undef ENTRY
};
