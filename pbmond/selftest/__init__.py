"""``pbmond selftest``: known traffic through every I/O path, held against a daemon of its own."""
