"""The collector's side of the eBPF maps: gets them from the loader, reads rows and events.

Offers: attach, loading, maps, records.
Imports: pbmond.config, pbmond.loader, pbmond.patience, pbmond.system, numpy.
"""
