"""Starts the unprivileged children when the collector itself no longer may.

Offers: starter.
Imports: pbmond.patience, pbmond.system.
"""
