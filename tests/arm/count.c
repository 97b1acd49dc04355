/* A plugin of QEMU's user mode that counts the guest's instructions, of all its threads, and writes how many they are
   into a file, a line each time that the guest asks for more of its standard input, and at its end.

   gcc -shared -fPIC -O2 -DAPI=1 count.c -o count.so;  qemu-aarch64 -plugin count.so,out=FILE PROGRAM

   The declarations are those of QEMU's include/qemu/qemu-plugin.h that are needed here: QEMU's packages do not have the
   header. They have not changed since the first version of that interface; API is the version that is spoken. */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
typedef void (*tb_trans_cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);
typedef void (*vcpu_cb)(unsigned int vcpu, void *userdata);
typedef void (*syscall_cb)(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                           uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8);
typedef void (*udata_cb)(qemu_plugin_id_t id, void *userdata);
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, tb_trans_cb cb);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, vcpu_cb cb, enum qemu_plugin_cb_flags flags,
                                          void *userdata);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id, syscall_cb cb);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, udata_cb cb, void *userdata);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);

__attribute__((visibility("default"))) int qemu_plugin_version = API;

static uint64_t instructions;
static FILE *out;
enum { READ = 63 }; /* of 64-bit Arm Linux */

static void executed(unsigned int vcpu, void *count)
{
    __atomic_fetch_add(&instructions, (uint64_t)(uintptr_t)count, __ATOMIC_RELAXED);
}

/* A block of translated code runs from its first instruction to its last, but where one of them faults. */
static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    void *count = (void *)(uintptr_t)qemu_plugin_tb_n_insns(tb);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, count);
}

static void say(void)
{
    fprintf(out, "%" PRIu64 "\n", __atomic_load_n(&instructions, __ATOMIC_RELAXED));
    fflush(out);
}

static void called(qemu_plugin_id_t id, unsigned int vcpu, int64_t number, uint64_t a1, uint64_t a2, uint64_t a3,
                   uint64_t a4, uint64_t a5, uint64_t a6, uint64_t a7, uint64_t a8)
{
    if (number == READ && a1 == 0)
        say();
}

static void finished(qemu_plugin_id_t id, void *unused)
{
    say();
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc,
                                                               char **argv)
{
    if (argc != 1 || strncmp(argv[0], "out=", 4) || !(out = fopen(argv[0] + 4, "w"))) {
        fprintf(stderr, "count: say out=FILE, which must be writable\n");
        return -1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    qemu_plugin_register_atexit_cb(id, finished, NULL);
    return 0;
}
