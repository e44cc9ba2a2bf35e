/* The version arithmetic that bcc's helpers ask for; the loader defines LINUX_VERSION_CODE. */
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
