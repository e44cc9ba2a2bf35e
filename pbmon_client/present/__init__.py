"""What there is to show, as rows, groups, order and text, whatever shows it.

Offers: arrange, cells, completeness, fields, listing, numbers, row_lines, search, selected,
    views.
Imports: pbmon_client.data, pbmond.fields.
"""
