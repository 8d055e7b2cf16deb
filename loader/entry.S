/*
 * First instructions in VTL2. 64-bit mode, identity map, interrupts off, no stack;
 * RSI = signed offset of the shim parameters from the shim's base.
 */
#define STACK_SIZE	0x8000
#define CR4_SSE		0x600		/* OSFXSR | OSXMMEXCPT */
#define R_X86_64_RELATIVE 8

	.code64
	.section .text.entry, "ax", @progbits
	.globl	_start
_start:
	cli
	cld
	mov	%rsi, %r12
	/* BSS is zero after a load, but not after a reboot into the same memory. */
	lea	__bss_start(%rip), %rdi
	lea	__bss_end(%rip), %rcx
	sub	%rdi, %rcx
	shr	$3, %rcx
	xor	%eax, %eax
	rep stosq

	lea	stack_top(%rip), %rsp
	mov	%cr4, %rax
	or	$CR4_SSE, %rax
	mov	%rax, %cr4

	/* Linked at 0, so each relocation adds the address of the first byte. */
	lea	__image_start(%rip), %rbx
	lea	__rela_start(%rip), %rdi
	lea	__rela_end(%rip), %rsi
1:	cmp	%rsi, %rdi
	jae	2f
	mov	(%rdi), %rax
	mov	16(%rdi), %rcx
	add	%rbx, %rcx
	mov	%rcx, (%rbx,%rax)
	add	$24, %rdi
	jmp	1b
2:
	lea	(%rbx,%r12), %rdi
	xor	%ebp, %ebp
	call	shim_main
	ud2

/* One 16-byte stub per exception: error code (0 where the processor has none), vector. */
	.balign	16
	.globl	exception_stubs
exception_stubs:
	.set	vector, 0
	.rept	32
	.balign	16
	.if	(vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
	.else
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception_common
	.set	vector, vector + 1
	.endr

exception_common:
	cld
	mov	%rsp, %rdi
	and	$-16, %rsp
	call	exception_panic
	ud2

	.section .stack, "aw", @nobits
	.balign	16
	.skip	STACK_SIZE
stack_top:

	.section .note.GNU-stack, "", @progbits
