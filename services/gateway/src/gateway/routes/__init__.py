"""The routes of the HTTP API: decode, ask or act, encode."""
