// One instruction through the translator, for `myna explain --insn`. Private to control/front.
#pragma once

// argv: "--insn CODE", "--cpu MODEL", "--arch ARCH", in any order. The exit status.
int insn_main(int argc, char **argv);
