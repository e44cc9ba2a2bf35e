"""Compiles, loads and attaches the eBPF programs, under whatever interpreter has bcc, and exits.

Offers: bpf, kernel_maps, ownership, refusals, trials.
Imports: bcc.
"""
