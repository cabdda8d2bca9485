// What boards with a firmware configuration device put into it for firmware to find, and the
// operator's own device tree.
#pragma once

#include "board/board.h"
#include "board/boot/file.h"

// -kernel, -initrd and -append, for firmware to start.
int boot_offer_kernel(struct machine *m, struct device *fw_cfg, struct err *e) MUST_CHECK;
// -fw_cfg name=NAME,string=TEXT or file=PATH.
int boot_offer_user_files(struct machine *m, struct device *fw_cfg, struct err *e) MUST_CHECK;
// Sizes and counts every firmware asks for.
void boot_offer_facts(struct machine *m, struct device *fw_cfg);
// SMBIOS tables of a `virt` machine: its CPUs, RAM and the operator's -smbios and -uuid.
int boot_offer_smbios(struct machine *m, struct device *fw_cfg, struct err *e) MUST_CHECK;

// The file of -dtb, checked to be a device tree blob.
int boot_read_dtb(const char *path, struct boot_file *f, struct err *e) MUST_CHECK;
// -machine dumpdtb=PATH: writes the blob and asks the machine to end, that being all there was to
// do.
int boot_dump_dtb(struct machine *m, const char *path, const struct boot_file *f,
                  struct err *e) MUST_CHECK;
