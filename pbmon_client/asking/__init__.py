"""The past on the command line: which times are asked for, and the snapshots that answer.

Offers: answers, options.
Imports: pbmon_client.command_line, pbmon_client.data, pbmon_client.history, pbmon_client.present,
    pbmond.fields, pbmond.wire.
"""
