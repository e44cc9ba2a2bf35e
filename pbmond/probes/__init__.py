"""The command ``pbmond probes``: what each hook of a running daemon costs.

Offers: nothing.
Imports: pbmond.cli, pbmond.config, pbmond.loader, pbmond.system.
"""
