"""Metrics pushed elsewhere: `pbmon-client export`.

Offers: start.
Imports: google, opentelemetry, pbmon_client.command_line, pbmon_client.data, pbmon_client.metrics,
    pbmon_client.subscription, pbmond.wire, requests.
"""
