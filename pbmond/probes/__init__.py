"""The command ``pbmond probes``: what each hook of a running daemon costs."""
