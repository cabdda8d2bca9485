// Option ROMs: romfile= names a file, looked for as given and then in the firmware packages'
// folders; the guest sees it through the ROM BAR.
#include "device/pci/pci.h"

#include "base/bits.h"
#include "base/buf.h"
#include "device/pci/regs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define ROM_MAX (16 * MiB)

static FILE *find(const char *name)
{
    static const char *const folders[] = {"/usr/lib/ipxe/qemu", "/usr/share/qemu",
                                          "/usr/share/seabios"};
    FILE *f = fopen(name, "rb");
    for (unsigned i = 0; !f && !strchr(name, '/') && i < ARRAY_SIZE(folders); i++) {
        char *path = xasprintf("%s/%s", folders[i], name);
        f = fopen(path, "rb");
        free(path);
    }
    return f;
}

static int read_all(FILE *f, const char *name, struct buf *out, struct err *e)
{
    uint8_t chunk[16384];
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0) {
        buf_put(out, chunk, n);
        if (out->len > ROM_MAX)
            return err_set(e, "romfile %s is larger than 16 MiB", name);
    }
    if (ferror(f) || !out->len)
        return err_set(e, "romfile %s is empty or cannot be read", name);
    return 0;
}

int pci_rom_load(struct pci_device *p, struct err *e)
{
    struct buf data = {0};
    FILE *f = find(p->romfile);
    if (!f)
        return err_errno(e, errno, "romfile %s", p->romfile);
    int r = read_all(f, p->romfile, &data, e);
    fclose(f);
    uint64_t size = 2048;
    while (size < data.len)
        size *= 2;
    p->rom = r ? NULL : ram_new(p->romfile, align_up(size, 4096), false, e);
    if (p->rom) {
        ram_write(p->rom, 0, data.data, data.len);
        size = ram_size(p->rom);
    }
    buf_free(&data);
    if (!p->rom)
        return -1;
    if (!p->rombar)
        return 0;
    st_le32(p->writable + PCI_ROM, (uint32_t)(~(size - 1)) | 1);
    struct pci_bar *b = &p->bars[PCI_ROM_SLOT];
    *b = (struct pci_bar){.kind = PCI_BAR_ROM, .size = size};
    b->region = space_map_ram(p->bus->root->mem, "rom", 0, p->rom, 0, size, true, -1);
    region_enable(b->region, false);
    return 0;
}
