"""A snapshot printed: JSON, CSV, a table, a view as text.

Offers: csvout, jsonout, once, table.
Imports: pbmon_client.data, pbmon_client.present, pbmond.fields.
"""
