/* bcc includes this first; its helpers refuse to compile without the option below. */
#define CONFIG_BPF_SYSCALL 1
