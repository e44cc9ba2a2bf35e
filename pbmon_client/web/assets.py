"""The built page: its files, read once, with their types; or a word on how to get it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

#: What Vite builds (``packaging/quickstart``, and what wheels carry).
BUILT: Final = Path(__file__).parent / "page" / "dist"
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
}
_PACKED: Final = frozenset((".html", ".js", ".css", ".svg", ".json", ".webmanifest"))
#: Names below assets/ contain a hash of the content.
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_ABSENT: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>pbmon</title></head>
<body><h1>pbmon</h1>
<p>The page has not been built here. In a checkout, packaging/quickstart builds it; it needs Node,
or access to PyPI to get it for a moment. Packages bring the page with them.</p>
<p>Everything else works: <a href="api/v1/overview">overview</a>,
<a href="api/v1/processes?top=20">processes</a>, <a href="api/v1/fields">fields</a>,
<a href="openapi.json">the API's description</a>.</p>
</body></html>
"""


@dataclass(frozen=True, slots=True)
class _Asset:
    body: bytes
    packed: bytes | None
    media_type: str
    hashed: bool


class Assets:
    """Serves the files of a folder, as they were at the start; no other path leads anywhere."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._files: Final = {
            path.relative_to(folder).as_posix(): _read(path, folder)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in _TYPES
        }

    def page(self, request: Request) -> Response:
        """Answer with the page."""
        found = self.file("index.html", request)
        return found or Response(_ABSENT, media_type=_TYPES[".html"])

    def file(self, name: str, request: Request) -> Response | None:
        """Answer with a file; None if there is none of that name."""
        file = self._files.get(name)
        if file is None:
            return None
        headers = {"Cache-Control": _FOR_EVER if file.hashed else "no-cache"}
        body = file.body
        if file.packed is not None:
            headers["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                body = file.packed
                headers["Content-Encoding"] = "gzip"
        return Response(body, headers=headers, media_type=file.media_type)


def _read(path: Path, folder: Path) -> _Asset:
    body = path.read_bytes()
    packed = gzip.compress(body, mtime=0) if path.suffix in _PACKED else None
    hashed = path.relative_to(folder).parts[0] == "assets"
    return _Asset(body, packed, _TYPES[path.suffix], hashed)
