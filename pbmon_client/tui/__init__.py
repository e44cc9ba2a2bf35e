"""The terminal interface: a pure model that draws lines of text, and urwid, which shows them.

Everything but ``terminal`` is free of urwid, ``feed`` owns the only thread that talks to the
daemon, and times are passed in.
"""
