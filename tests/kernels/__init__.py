"""The matrix: Debian's kernels booted in QEMU over this machine's root, and pbmon tried in each.

How it works, step by step, one module each:

- ``versions``: which build of Debian's kernel a series such as 6.1 means.
- ``apt``: Debian's package lists and packages, from bullseye to sid, apart from the system's own.
- ``builds``: a build's packages unpacked: an image, and modules that modprobe can load.
- ``initramfs``: the guest's first root: busybox, a few modules and ``init``.
- ``userland``: another root than this machine's: Debian 13, with Python 3.13 and bcc 0.31.
- ``foreign``: a root for another machine than this one: Debian 12's for arm64.
- ``machines``: what is emulated: x86-64, and arm64 with pages of 4 and of 16 KiB.
- ``qemu``: one guest, by emulation alone, so that no machine needs KVM.
- ``modes``: the ways of counting that are forced, one after the other, beside ``auto``.
- ``guest``: what runs in the guest: the daemon and a client, then the self-test under every mode.
- ``results``, ``tables``, ``publish``: what came of it, how it is shown, and the pages' parts.
- ``cache``: where kernels, roots and logs are kept: outside the checkout.

Nothing of the daemon runs on the host, and the guest sees the host's root read-only.
"""
