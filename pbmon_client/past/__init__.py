"""The command `pbmon-client history`: serves what is recorded to those who may see it.

Offers: start.
Imports: pbmon_client.command_line.
"""
