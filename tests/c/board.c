/* Start, output and clock of an emulated board: see tests/helpers/boards.py.
 *
 * The program ends by semihosting. On Arm the clock is SysTick at the processor's frequency, on RISC-V the
 * count of instructions. */
#include <stddef.h>
#include <stdint.h>

int main(void);
void board_print(const void *values, int count);
uint32_t board_clock(void);

extern uint32_t board_bss_begin[], board_bss_end[], board_stack_end[];

#ifdef __riscv

static int32_t semihosting(int32_t operation, const void *argument)
{
    register int32_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n.option norvc\n.balign 16\nslli zero, zero, 0x1f\nebreak\n"
                     "srai zero, zero, 7\n.option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
}

uint32_t board_clock(void)
{
    uint32_t count;
    __asm__ volatile("csrr %0, minstret" : "=r"(count) : : "memory");
    return count;
}

#else

static int32_t semihosting(int32_t operation, const void *argument)
{
    register int32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

#define SYSTICK ((volatile uint32_t *)0xe000e010)

/* Ticks so far; it counts down from 2^24 - 1. */
uint32_t board_clock(void)
{
    return 0xffffffu - SYSTICK[2];
}

#endif

/* Words in hexadecimal, one a line. */
void board_print(const void *values, int count)
{
    const uint32_t *words = values;
    for (int n = 0; n < count; ++n) {
        char line[10];
        for (int k = 0; k < 8; ++k) {
            line[k] = "0123456789abcdef"[(words[n] >> (28 - 4 * k)) & 15u];
        }
        line[8] = '\n';
        line[9] = '\0';
        semihosting(0x04, line);
    }
}

__attribute__((noreturn, used)) static void begin(void)
{
    static const uint32_t stopped[2] = {0x20026u, 0u};
    for (uint32_t *word = board_bss_begin; word < board_bss_end; ++word) {
        *word = 0;
    }
#ifndef __riscv
#ifdef __ARM_FP
    *(volatile uint32_t *)0xe000ed88 |= 0xfu << 20;
    __asm__ volatile("dsb\nisb");
#endif
    SYSTICK[1] = 0xffffffu;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
#endif
    main();
    semihosting(0x20, stopped);
    for (;;) {
    }
}

#ifdef __riscv
__attribute__((naked, section(".start"), used)) void board_start(void)
{
    __asm__ volatile("la sp, board_stack_end\n"
#ifdef __riscv_flen
                     "li t0, 0x2000\ncsrs mstatus, t0\n"
#endif
                     "j begin");
}
#else
__attribute__((section(".start"), used)) static const void *const board_vectors[2] = {
    board_stack_end,
    (const void *)begin,
};
#endif
