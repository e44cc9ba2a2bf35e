"""The command `pbmon-client history`: what is recorded, and what is done with it.

Offers: start.
Imports: pbmon_client.command_line.
"""
