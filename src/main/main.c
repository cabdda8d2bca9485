// Entry point: chooses the personality from the name the program was started under or its first
// argument.
#include <stdio.h>

int main(void)
{
    fputs("myna: no command\n", stderr);
    return 1;
}
