"""The command `pbmon-client history`: what is kept, and bundles of it.

Offers: start.
Imports: pbmon_client.command_line, pbmon_client.data, pbmon_client.history.
"""
