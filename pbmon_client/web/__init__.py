"""The same view in a browser, and an API: `pbmon-client web`.

Offers: start.
Imports: anyio, fastapi, msgpack, pbmon_client.command_line, pbmon_client.data,
    pbmon_client.history, pbmon_client.metrics, pbmon_client.output, pbmon_client.present,
    pbmon_client.subscription, pbmond.fields, pbmond.given_file, pbmond.wire, prometheus_client,
    pydantic, re2, starlette, uvicorn, websockets.
"""
