// For an arm64 guest with /dev/kvm: the smallest user of KVM, static, to be run as a process of
// that guest. It makes a machine of one vCPU with a GICv3, whose program runs at EL1 with its MMU
// off: it adds numbers, reads and writes a register that is not there (an exit to us), takes a
// virtual timer interrupt through the virtual CPU interface, and switches itself off by PSCI.
// Prints one line per step; the last is KVM-GUEST-DONE.
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MMIO = 0x09000000, // nothing is mapped here
    DIST = 0x08000000,
    REDIST = 0x080a0000,
    RAM = 0x40000000,
    RAM_SIZE = 0x100000,
    TIMER = 27, // the virtual timer's interrupt
};

// The guest's program. It reports by 32-bit stores to MMIO + n.
__asm__(".pushsection .rodata\n"
        ".globl program, program_end\n"
        ".arch armv8-a\n"
        "program:\n"
        "    mov x20, #0x09000000\n"
        "    ldr x1, =100000\n"
        "    mov x0, #0\n"
        "1:  add x0, x0, x1\n"
        "    subs x1, x1, #1\n"
        "    b.ne 1b\n"
        "    str w0, [x20]\n"     // the sum's low half
        "    ldr w0, [x20, #4]\n" // a read that user space answers
        "    add w0, w0, #1\n"
        "    str w0, [x20, #8]\n"
        "    ldr x2, =0x08000000\n" // GICD_CTLR: ARE, group 1
        "    mov w0, #0x12\n"
        "    str w0, [x2]\n"
        "    ldr x2, =0x080a0000\n" // redistributor: awake, interrupt 27 in group 1 and enabled
        "    ldr w0, [x2, #0x14]\n"
        "    bic w0, w0, #2\n"
        "    str w0, [x2, #0x14]\n"
        "    add x2, x2, #0x10000\n"
        "    mov w0, #0x08000000\n"
        "    str w0, [x2, #0x80]\n"
        "    str w0, [x2, #0x100]\n"
        "    mov x0, #1\n"
        "    msr S3_0_C12_C12_5, x0\n" // ICC_SRE_EL1
        "    isb\n"
        "    mov x0, #0xff\n"
        "    msr S3_0_C4_C6_0, x0\n" // ICC_PMR_EL1
        "    mov x0, #1\n"
        "    msr S3_0_C12_C12_7, x0\n" // ICC_IGRPEN1_EL1
        "    isb\n"
        "    mov x0, #1000\n"
        "    msr cntv_tval_el0, x0\n"
        "    mov x0, #1\n"
        "    msr cntv_ctl_el0, x0\n"
        "    isb\n"
        "2:  wfi\n"
        "    mrs x0, S3_0_C12_C12_0\n" // ICC_IAR1_EL1
        "    cmp x0, #1020\n"
        "    b.hs 2b\n"
        "    str w0, [x20, #12]\n"
        "    msr cntv_ctl_el0, xzr\n"
        "    msr S3_0_C12_C12_1, x0\n" // ICC_EOIR1_EL1
        "    ldr x0, =0x84000008\n"    // PSCI SYSTEM_OFF
        "    hvc #0\n"
        "3:  b 3b\n"
        "    .ltorg\n"
        "program_end:\n"
        ".popsection\n");
extern const char program[], program_end[];

static int must(int result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static void set_reg(int cpu, uint64_t id, uint64_t val)
{
    struct kvm_one_reg r = {.id = id, .addr = (uintptr_t)&val};
    must(ioctl(cpu, KVM_SET_ONE_REG, &r), "KVM_SET_ONE_REG");
}

static void gic(int vm)
{
    struct kvm_create_device d = {.type = KVM_DEV_TYPE_ARM_VGIC_V3};
    must(ioctl(vm, KVM_CREATE_DEVICE, &d), "KVM_CREATE_DEVICE");
    uint64_t dist = DIST, redist = REDIST;
    struct kvm_device_attr a = {.group = KVM_DEV_ARM_VGIC_GRP_ADDR,
                                .attr = KVM_VGIC_V3_ADDR_TYPE_DIST,
                                .addr = (uintptr_t)&dist};
    must(ioctl(d.fd, KVM_SET_DEVICE_ATTR, &a), "the distributor's address");
    a.attr = KVM_VGIC_V3_ADDR_TYPE_REDIST;
    a.addr = (uintptr_t)&redist;
    must(ioctl(d.fd, KVM_SET_DEVICE_ATTR, &a), "the redistributors' address");
    a = (struct kvm_device_attr){.group = KVM_DEV_ARM_VGIC_GRP_CTRL,
                                 .attr = KVM_DEV_ARM_VGIC_CTRL_INIT};
    must(ioctl(d.fd, KVM_SET_DEVICE_ATTR, &a), "the interrupt controller");
}

static void on_mmio(struct kvm_run *run)
{
    uint32_t val;
    if (run->mmio.phys_addr == MMIO + 4 && !run->mmio.is_write) {
        val = 41;
        memcpy(run->mmio.data, &val, 4);
        return;
    }
    memcpy(&val, run->mmio.data, 4);
    printf("KVM-GUEST %llu %u\n", (unsigned long long)run->mmio.phys_addr - MMIO, val);
}

int main(void)
{
    int kvm = must(open("/dev/kvm", O_RDWR), "/dev/kvm");
    int vm = must(ioctl(kvm, KVM_CREATE_VM, 0ul), "KVM_CREATE_VM");
    void *ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memcpy(ram, program, program_end - program);
    struct kvm_userspace_memory_region r = {
        .guest_phys_addr = RAM, .memory_size = RAM_SIZE, .userspace_addr = (uintptr_t)ram};
    must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &r), "KVM_SET_USER_MEMORY_REGION");
    int cpu = must(ioctl(vm, KVM_CREATE_VCPU, 0ul), "KVM_CREATE_VCPU");
    gic(vm);
    struct kvm_vcpu_init init;
    must(ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
    init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
    must(ioctl(cpu, KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
    set_reg(cpu,
            KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc),
            RAM);
    size_t size = (size_t)must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
    struct kvm_run *run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    for (;;) {
        must(ioctl(cpu, KVM_RUN, 0), "KVM_RUN");
        if (run->exit_reason == KVM_EXIT_MMIO) {
            on_mmio(run);
        } else if (run->exit_reason == KVM_EXIT_SYSTEM_EVENT) {
            puts(run->system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? "KVM-GUEST-DONE"
                                                                     : "KVM-GUEST-LOST");
            return 0;
        } else {
            printf("KVM-GUEST exit %u\n", run->exit_reason);
            return 1;
        }
    }
}
