"""pbmond: the root-owned daemon that counts bytes in the kernel and publishes snapshots."""

__version__ = "0.1.0"
