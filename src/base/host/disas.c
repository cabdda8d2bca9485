// Capstone, loaded when first wanted and kept. dlopen is a weak reference, so that a static
// program, which has none, links and says that there is no disassembler.
#include "base/host/disas.h"

#ifdef HAVE_CAPSTONE
#include "base/thread.h"
#include <capstone/capstone.h>
#include <dlfcn.h>
#include <stdio.h>

#pragma weak dlopen
#pragma weak dlsym

#define STRINGIFY_(x) #x
#define STRINGIFY(x)  STRINGIFY_(x)

static struct {
    pthread_once_t once;
    pthread_mutex_t lock; // a handle serves one thread at a time
    csh handle;           // 0: not to be had
    size_t (*disasm)(csh, const uint8_t *, size_t, uint64_t, size_t, cs_insn **);
    void (*free)(cs_insn *, size_t);
} capstone = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

static void load(void)
{
    void *library = dlopen ? dlopen("libcapstone.so." STRINGIFY(CS_API_MAJOR), RTLD_NOW) : NULL;
    if (!library)
        return;
    cs_err (*open)(cs_arch, cs_mode, csh *) =
        (cs_err(*)(cs_arch, cs_mode, csh *))dlsym(library, "cs_open");
    capstone.disasm = (size_t(*)(csh, const uint8_t *, size_t, uint64_t, size_t, cs_insn **))dlsym(
        library, "cs_disasm");
    capstone.free = (void (*)(cs_insn *, size_t))dlsym(library, "cs_free");
    if (!open || !capstone.disasm || !capstone.free ||
        open(CS_ARCH_X86, CS_MODE_64, &capstone.handle) != CS_ERR_OK)
        capstone.handle = 0;
}

bool disas_x86_available(void)
{
    pthread_once(&capstone.once, load);
    return capstone.handle != 0;
}

unsigned disas_x86(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n)
{
    cs_insn *insn;
    unsigned length = 0;
    if (!disas_x86_available())
        return 0;
    mutex_lock(&capstone.lock);
    if (capstone.disasm(capstone.handle, code, avail, pc, 1, &insn) == 1) {
        length = insn->size;
        snprintf(out, n, "%s%s%s", insn->mnemonic, *insn->op_str ? " " : "", insn->op_str);
        capstone.free(insn, 1);
    }
    mutex_unlock(&capstone.lock);
    return length;
}
#else
bool disas_x86_available(void)
{
    return false;
}

unsigned disas_x86(const uint8_t *code, unsigned avail, uint64_t pc, char *out, size_t n)
{
    return 0;
}
#endif
