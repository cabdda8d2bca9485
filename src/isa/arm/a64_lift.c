// From a word of code to its lift function: decoding, and instructions the CPU model does not have.
#include "isa/arm/a64_lift.h"

void a64_lift(struct lift *l)
{
    struct a64_insn i;
    if (l->avail < 4) {
        l->length = 0;
        return;
    }
    l->length = 4;
    if (!a64_decode32(ld_le32(l->code), &i)) {
        arm_lift_undefined(l);
        return;
    }
    unsigned feature = a64_info[i.id].feature;
    if (feature && !a64_has(l, (enum arm_feature)(feature - 1)))
        arm_lift_undefined(l);
    else
        a64_lifts[i.id](l, &i);
}
