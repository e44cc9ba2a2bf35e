"""The command `pbmon-client history`: says what is kept, exports, imports, and serves it.

Offers: start.
Imports: pbmon_client.command_line, pbmon_client.data, pbmon_client.history.
"""
