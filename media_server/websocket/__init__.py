"""Playback over a WebSocket: what is said, who decides, and what moves the bytes.

Owns: `messages` (the wire format), `timeline` (which segment holds which sample), `protocol` (the decisions,
pure), `session` (the waiting) and `wire` (the bounds that the server library does not have). The protocol as
client developers read it stands in config/contract/websocket.md.
"""
