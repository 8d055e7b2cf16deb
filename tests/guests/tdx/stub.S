/*
 * Start of a 64 KiB BIOS: brings the processor from real mode to the state in which TDX starts one
 * (protected mode, flat segments, paging off, EFER.LME and NXE set, ESI = index 0), then jumps to
 * the architectural reset vector.
 */
	.code16
bios:
	.org	0x1000		/* QEMU can set any program counter but 0 */
	cli
	lgdtl	%cs:(gdtr - bios)
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$8, $(0xffff0000 + protected - bios)
gdtr:
	.word	23
	.long	0xffff0000 + gdt - bios
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff

	.code32
protected:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0xc0000080, %ecx
	rdmsr
	orl	$0x900, %eax
	wrmsr
	xorl	%esi, %esi
	ljmp	$8, $0xfffffff0
