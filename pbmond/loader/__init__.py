"""Compiles, loads and attaches the eBPF programs, under whatever interpreter has bcc, and exits.

Offers: bpf, refusals, trials.
Imports: bcc.
"""
