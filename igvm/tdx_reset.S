/*
 * Reset page of TDX images: brings each processor from the 32-bit reset state at 0xfffffff0 to
 * 64-bit mode with the page tables and descriptor tables of the context at the page's start.
 * igvm/tdx.c includes this file and fills in the context (struct shim_tdx_reset in
 * common/abi/shim.h), so that no preprocessor sees it.
 *
 * State at entry (Intel TDX module, initial state of a TD's processors): protected mode with flat
 * segments, paging off, EFER.LME set, ESI = index of the virtual processor.
 */

	.set	RESET_PAGE, 0xfffff000
	.balign	16
tdx_reset_page:
	/* Context, 0xa8 bytes */
mailbox_command:	.word	0
			.word	0
mailbox_apic_id:	.long	0
mailbox_vector:		.quad	0
			.long	0
data_selector:		.word	0
static_gdtr:		.word	0		# limit
			.long	0		# base
task_selector:		.word	0
idtr:			.word	0
			.quad	0
initial_rip:		.quad	0		# with code_selector a far pointer
code_selector:		.word	0
			.word	0, 0
gdtr:			.word	0
			.quad	0
initial_rsp:		.quad	0
initial_rbp:		.quad	0
initial_rsi:		.quad	0
initial_r8:		.quad	0
initial_r9:		.quad	0
initial_r10:		.quad	0
initial_r11:		.quad	0
initial_cr0:		.quad	0
initial_cr3:		.quad	0
initial_cr4:		.quad	0
transition_cr3:		.long	0
			.long	0
static_gdt:		.quad	0
			.quad	0		# selector 8: 64-bit code

	.code32
start32:
	lgdtl	RESET_PAGE + (static_gdtr - tdx_reset_page)
	movl	RESET_PAGE + (initial_cr4 - tdx_reset_page), %eax
	movl	%eax, %cr4
	movl	RESET_PAGE + (transition_cr3 - tdx_reset_page), %eax
	movl	%eax, %cr3
	movl	RESET_PAGE + (initial_cr0 - tdx_reset_page), %eax
	movl	%eax, %cr0			# paging on: long mode is active
	.byte	0xea				# far jump
	.long	RESET_PAGE + (start64 - tdx_reset_page)
	.word	8

	.code64
start64:
	movq	initial_cr3(%rip), %rax		# all 64 bits of it
	movq	%rax, %cr3
	cmpw	$0, gdtr(%rip)			# no table: nothing to load from it
	je	2f
	lgdt	gdtr(%rip)
	cmpw	$0, idtr(%rip)
	je	1f
	lidt	idtr(%rip)
1:	movw	data_selector(%rip), %ax
	movw	%ax, %ss
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	task_selector(%rip), %ax
	testw	%ax, %ax
	jz	2f
	ltr	%ax
2:	testl	%esi, %esi
	jz	4f				# the boot processor

	/* All others wait until the mailbox names their APIC id (ACPI multiprocessor wakeup). */
	xorl	%eax, %eax			# TDG.VP.VMCALL...
	movl	$0x1c00, %ecx			# ...that passes r10, r11, r12:
	xorl	%r10d, %r10d
	movl	$0x1f, %r11d			# RDMSR
	movl	$0x802, %r12d			# of the x2APIC id, which comes in r11
	.byte	0x66, 0x0f, 0x01, 0xcc		# tdcall
	testq	%r10, %r10
	jnz	9f
3:	pause
	cmpw	$1, mailbox_command(%rip)
	jne	3b
	cmpl	%r11d, mailbox_apic_id(%rip)
	jne	3b
	movq	mailbox_vector(%rip), %rax
	movw	$0, mailbox_command(%rip)	# the mailbox is free for the next one
	jmp	5f

4:	movq	initial_rip(%rip), %rax
5:	movq	initial_rsp(%rip), %rsp
	movq	initial_rbp(%rip), %rbp
	movl	%esi, %ecx
	movq	initial_rsi(%rip), %rsi
	movq	initial_r8(%rip), %r8
	movq	initial_r9(%rip), %r9
	movq	initial_r10(%rip), %r10
	movq	initial_r11(%rip), %r11
	testl	%ecx, %ecx			# woken: the vector takes any 64-bit code segment
	jnz	6f
	cmpw	$0, code_selector(%rip)
	je	6f
	.byte	0x48, 0xff, 0x2d		# far jump to 64-bit address and selector at...
	.long	initial_rip - (. + 4)
6:	jmp	*%rax
9:	int3

	/* Where processors start */
	.org	tdx_reset_page + 0xff0, 0xcc
	.code32
	jmp	start32
	.org	tdx_reset_page + 0x1000, 0xcc
	.code64
