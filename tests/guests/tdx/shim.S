/*
 * Stands for the boot shim in an image: tells on the debug console (port 0xe9) in which state the
 * reset page has started it, then plays a second processor on a copy of that page. Ends with the
 * debug exit device (port 0xf4).
 */
	.macro	tell value
	movq	\value, %rax
	.rept	8
	outb	%al, $0xe9
	shrq	$8, %rax
	.endr
	.endm

	.globl	_start
	.text
_start:
	movq	%rsp, %rbx
	movq	%rcx, %rdx
	tell	%cr0
	tell	%cr3
	tell	%cr4
	leaq	_start(%rip), %rax
	tell	%rax
	tell	%rsi
	tell	%rdx			/* index of the processor */
	movl	$0xc0000080, %ecx
	rdmsr
	tell	%rax
	leaq	table(%rip), %rdi
	sgdt	(%rdi)
	movzwl	(%rdi), %eax
	tell	%rax
	tell	2(%rdi)
	movl	%cs, %eax
	tell	%rax
	movl	%ss, %eax
	tell	%rax
	movl	%ds, %eax
	tell	%rax
	movl	%gs, %eax
	tell	%rax
	/* The parameters are where RSI says, from the program's own start on */
	leaq	__executable_start(%rip), %rdi
	addq	%rsi, %rdi
	tell	0x28(%rdi)		/* memory_start */
	tell	0x20(%rdi)		/* initrd_crc, isolation */

	/* A copy of the page in memory, as on the real platform, where it can be written */
	movl	$0xfffff000, %esi
	leaq	copy(%rip), %rdi
	movl	$4096, %ecx
	rep movsb
	leaq	copy(%rip), %rdi
	movw	$0, 0x36(%rdi)		/* no tables to load: as the shim prepares it for others */
	movw	$0, 0x30(%rdi)
	movq	$0x1234, 0x40(%rdi)	/* RSP */
	movq	$0x5678, 0x50(%rdi)	/* RSI */
	leaq	undefined(%rip), %rax	/* interrupt gate of #UD */
	leaq	idt(%rip), %rdi
	movw	%ax, 6 * 16(%rdi)
	movw	%cs, 6 * 16 + 2(%rdi)
	movw	$0x8e00, 6 * 16 + 4(%rdi)
	shrq	$16, %rax
	movq	%rax, 6 * 16 + 6(%rdi)
	movq	%rdi, table + 2(%rip)
	movw	$16 * 16 - 1, table(%rip)
	lidt	table(%rip)
	leaq	stack_end(%rip), %rsp
	movl	$7, %esi
	leaq	copy(%rip), %rax
	addq	start64(%rip), %rax
	jmp	*%rax

/* TDCALL ends here: tells what it asks for, answers, and puts the wake-up into the mailbox. */
undefined:
	movq	%rax, %rbx
	movq	(%rsp), %rdi
	movl	(%rdi), %eax
	tell	%rax			/* the instruction */
	tell	%rbx
	tell	%rcx
	tell	%r10
	tell	%r11
	tell	%r12
	addq	$4, (%rsp)
	xorl	%r10d, %r10d
	movl	$0x55, %r11d
	leaq	copy(%rip), %rdi
	leaq	woken(%rip), %rax
	movq	%rax, 8(%rdi)
	movl	$0x55, 4(%rdi)
	movw	$1, (%rdi)
	iretq

woken:
	movq	%rsp, %rbx
	tell	%rbx
	tell	%rsi
	tell	%rcx			/* index */
	movzwl	copy(%rip), %eax
	tell	%rax			/* the command, taken back */
	movl	$0x10, %eax
	outl	%eax, $0xf4
1:	hlt
	jmp	1b

	.data
	.balign	16
start64: .quad	0x1122334455667788	/* the test writes the offset of the 64-bit code here */
table:	.skip	16
idt:	.skip	256
	.balign	4096
copy:	.skip	4096
	.skip	4096
stack_end:
