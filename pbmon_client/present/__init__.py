"""What there is to show, as rows, groups, order and text, whatever shows it.

Offers: arrange, cells, completeness, facts, grouped, listing, numbers, row_lines, search, selected,
    view_columns, views.
Imports: pbmon_client.data, pbmond.fields.
"""
