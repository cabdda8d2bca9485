// A 64-bit program, for a CPU that has none.
void _start(void);
void _start(void) {}
