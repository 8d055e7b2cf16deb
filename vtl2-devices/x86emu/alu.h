/* Integer results and flags; private to x86emu. */
#ifndef PARAPET_VTL2_DEVICES_X86EMU_ALU_H
#define PARAPET_VTL2_DEVICES_X86EMU_ALU_H

#include "common/types.h"

enum x86_alu_op { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR };
enum x86_shift_op { SHIFT_ROL, SHIFT_ROR, SHIFT_RCL, SHIFT_RCR, SHIFT_SHL, SHIFT_SHR, SHIFT_SAR };

/* All take operands masked to bits (8, 16, 32, 64), return the masked result and update *flags. */
u64 x86_alu(enum x86_alu_op op, u64 a, u64 b, unsigned bits, u64 *flags);
/* INC and DEC: step is 1 or -1; CF stays. */
u64 x86_alu_step(u64 a, int step, unsigned bits, u64 *flags);
/* count as in the instruction, not yet masked. */
u64 x86_alu_shift(enum x86_shift_op op, u64 a, unsigned count, unsigned bits, u64 *flags);

/* Condition in the low four bits of Jcc, SETcc and CMOVcc opcodes. */
bool x86_condition(unsigned cc, u64 flags);

#endif
