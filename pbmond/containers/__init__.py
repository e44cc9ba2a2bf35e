"""What people call a container: its name, image, pod and namespace, from the runtimes' own files.

A process of its own reads those files: ``helper``. The collector asks it, and never waits.

Offers: asking, names.
Imports: pbmond.host, pbmond.patience, pbmond.system.
"""
