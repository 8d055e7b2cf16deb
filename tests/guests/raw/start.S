/* Entry of the bare-metal test guest, exception and interrupt stubs, start of other processors. */
	.section .text.start, "ax"
	.code64
	.globl	_start
_start:
	cli
	cld
	lea	boot_stack_top(%rip), %rsp
	xor	%ebp, %ebp
	mov	%rsi, %rdi		/* zero page */
	call	raw_main
1:	hlt
	jmp	1b

	.section .text, "ax"
/* One stub per vector: error code (or 0), vector, then the common part. */
	.altmacro
	.macro	stub n
	.balign	16
	.if !(\n == 8 || (\n >= 10 && \n <= 14) || \n == 17 || \n == 21 || \n == 29 || \n == 30)
	push	$0
	.endif
	push	$\n
	jmp	trap_common
	.endm

	.balign	16
	.globl	trap_stubs
trap_stubs:
	.set	i, 0
	.rept	256
	stub	%i
	.set	i, i + 1
	.endr

trap_common:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	push	%r12
	push	%r13
	push	%r14
	push	%r15
	mov	%rsp, %rdi
	cld
	mov	%rsp, %rbp
	and	$-16, %rsp
	call	trap
	mov	%rbp, %rsp
	pop	%r15
	pop	%r14
	pop	%r13
	pop	%r12
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/* Copied to AP_CODE, where a SIPI starts it in real mode. */
	.set	AP_CODE, 0x20000
	.globl	ap_start, ap_start_end
	.code16
	.balign	16
ap_start:
	cli
	mov	%cs, %ax
	mov	%ax, %ds
	lgdtl	ap_gdtr - ap_start
	mov	%cr0, %eax
	or	$1, %eax
	mov	%eax, %cr0
	ljmpl	$0x08, $(AP_CODE + ap_protected - ap_start)
	.code32
ap_protected:
	mov	$0x18, %eax
	mov	%eax, %ds
	mov	%eax, %ss
	mov	$0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	mov	%eax, %cr4
	mov	(AP_CODE + ap_cr3 - ap_start), %eax
	mov	%eax, %cr3
	mov	$0xc0000080, %ecx
	rdmsr
	or	$0x100, %eax
	wrmsr
	mov	$0x80000033, %eax
	mov	%eax, %cr0
	ljmpl	$0x10, $(AP_CODE + ap_long - ap_start)
	.code64
ap_long:
	mov	$ap_stack_top, %rsp
	mov	$ap_main, %rax
	call	*%rax
1:	hlt
	jmp	1b
	.balign	8
ap_gdt:	.quad	0
	.quad	0x00cf9b000000ffff	/* 0x08 32-bit code */
	.quad	0x00af9b000000ffff	/* 0x10 64-bit code */
	.quad	0x00cf93000000ffff	/* 0x18 data */
ap_gdtr: .word	31
	.long	AP_CODE + ap_gdt - ap_start
	.balign	4
	.globl	ap_cr3
ap_cr3:	.long	0
ap_start_end:

	.section .bss
	.balign	16
	.skip	16384
boot_stack_top:
	.skip	16384
ap_stack_top:

	.section .note.GNU-stack, "", @progbits
