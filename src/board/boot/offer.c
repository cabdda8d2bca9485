// Filling a firmware configuration device, and the operator's device tree.
#include "board/boot/offer.h"
#include "base/bits.h"
#include "board/boot/smbios.h"
#include "device/firmware/fw_cfg.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void boot_offer_facts(struct machine *m, struct device *fw_cfg)
{
    const struct machine_config *c = &m->config;
    static const uint8_t no_uuid[16];
    fw_cfg_set(fw_cfg, FW_CFG_UUID, c->uuid ? c->uuid : no_uuid, 16);
    fw_cfg_set_u64(fw_cfg, FW_CFG_RAM_SIZE, c->ram_size);
    fw_cfg_set_u16(fw_cfg, FW_CFG_NB_CPUS, (uint16_t)c->cpus);
    fw_cfg_set_u16(fw_cfg, FW_CFG_MAX_CPUS, (uint16_t)c->max_cpus);
    fw_cfg_set_u16(fw_cfg, FW_CFG_NOGRAPHIC, 1);
    fw_cfg_set_u16(fw_cfg, FW_CFG_BOOT_MENU, 0);
}

int boot_offer_smbios(struct machine *m, struct device *fw_cfg, struct err *e)
{
    const struct machine_config *c = &m->config;
    const struct smbios_config smbios = {
        .product = "QEMU Virtual Machine",
        .version = "virt",
        .uuid = c->uuid,
        .sockets = c->sockets,
        .cores = c->cores * c->clusters,
        .threads = c->threads,
        .ram_base = m->ram_base,
        .ram_size = c->ram_size,
        .overrides = c->smbios,
        .n_overrides = c->n_smbios,
    };
    return smbios_build(&smbios, fw_cfg, e);
}

int boot_offer_kernel(struct machine *m, struct device *fw_cfg, struct err *e)
{
    const struct machine_config *c = &m->config;
    struct boot_file f;
    if (c->kernel) {
        if (boot_file_read("kernel", c->kernel, UINT32_MAX, &f, e))
            return -1;
        fw_cfg_set_u32(fw_cfg, FW_CFG_KERNEL_SIZE, (uint32_t)f.len);
        fw_cfg_set(fw_cfg, FW_CFG_KERNEL_DATA, f.data, f.len);
        boot_file_free(&f);
    }
    if (c->initrd) {
        if (boot_file_read("initrd", c->initrd, UINT32_MAX, &f, e))
            return -1;
        fw_cfg_set_u32(fw_cfg, FW_CFG_INITRD_SIZE, (uint32_t)f.len);
        fw_cfg_set(fw_cfg, FW_CFG_INITRD_DATA, f.data, f.len);
        boot_file_free(&f);
    }
    if (c->append) {
        fw_cfg_set_u32(fw_cfg, FW_CFG_CMDLINE_SIZE, (uint32_t)strlen(c->append) + 1);
        fw_cfg_set(fw_cfg, FW_CFG_CMDLINE_DATA, c->append, strlen(c->append) + 1);
    }
    return 0;
}

int boot_offer_user_files(struct machine *m, struct device *fw_cfg, struct err *e)
{
    static const char *const known[] = {"name", "string", "file", NULL};
    for (unsigned i = 0; i < m->config.n_fw_cfg; i++) {
        struct opts *o = &m->config.fw_cfg[i];
        const char *name = opts_get(o, "name"), *text = opts_get(o, "string");
        const char *path = opts_get(o, "file");
        struct boot_file f = {0};
        if (opts_check_unused(o, "-fw_cfg", known, e))
            return -1;
        if (!name || !*name || !text == !path)
            return err_set(e, "-fw_cfg: needs name=NAME and one of string=TEXT and file=PATH");
        if (strncmp(name, "opt/", 4) && strncmp(name, "genroms/", 8))
            log_warn("-fw_cfg: '%s' does not begin with opt/, which is for user-defined files",
                     name);
        if (path && boot_file_read("-fw_cfg file", path, UINT32_MAX, &f, e))
            return -1;
        int r = fw_cfg_add_file(fw_cfg, name, text ? text : (const char *)f.data,
                                text ? strlen(text) : f.len, e);
        boot_file_free(&f);
        if (r)
            return -1;
    }
    return 0;
}

static int write_file(const char *path, const uint8_t *data, size_t len, struct err *e)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_errno(e, errno, "dumpdtb %s", path);
    ssize_t n = write(fd, data, len);
    int error = errno;
    close(fd);
    return n == (ssize_t)len ? 0 : err_errno(e, n < 0 ? error : ENOSPC, "dumpdtb %s", path);
}

int boot_dump_dtb(struct machine *m, const char *path, const struct boot_file *f, struct err *e)
{
    if (write_file(path, f->data, f->len, e))
        return -1;
    m->env.request_shutdown(m->env.opaque, "dumpdtb", 0);
    return 0;
}

int boot_read_dtb(const char *path, struct boot_file *f, struct err *e)
{
    if (boot_file_read("dtb", path, 2 * MiB, f, e))
        return -1;
    if (f->len >= 40 && ld_be32(f->data) == 0xd00dfeed && ld_be32(f->data + 4) <= f->len)
        return 0;
    boot_file_free(f);
    return err_set(e, "dtb %s: not a device tree blob, or truncated", path);
}
