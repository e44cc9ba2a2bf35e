"""The command `pbmon-client history`: what is kept, bundles of it, and a server that answers.

Offers: start.
Imports: pbmon_client.command_line, pbmon_client.data, pbmon_client.history, pbmond.group_members,
pbmond.wire.
"""
