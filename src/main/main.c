// Entry point: chooses the personality from the name the program was started under or its first
// argument.
#include "control/img/img.h"
#include <stdio.h>
#include <string.h>

static const struct {
    const char *link, *command; // the compatible name; the word after "myna"
    int (*run)(int argc, char **argv);
} personalities[] = {
    {"qemu-img", "img", img_main},
};

int main(int argc, char **argv)
{
    const char *slash = argc ? strrchr(argv[0], '/') : NULL;
    const char *name = slash ? slash + 1 : argc ? argv[0] : "";
    for (size_t i = 0; i < ARRAY_SIZE(personalities); i++) {
        if (!strcmp(name, personalities[i].link))
            return personalities[i].run(argc, argv);
        if (argc > 1 && !strcmp(argv[1], personalities[i].command))
            return personalities[i].run(argc - 1, argv + 1);
    }
    fputs("myna: no command\n", stderr);
    return 1;
}
