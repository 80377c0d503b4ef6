"""Packets to RTP: a listener's session from its offer to its end. Knows packets, not HTTP, tracks or storage.

`sdp` reads the offer, `answer` says what is taken of it, `reach` which addresses two peers may tell each
other, `sockets` where a session's UDP sockets are, `track` when a packet is due; `session` joins them around
aiortc, which does ICE, DTLS and SRTP.
"""
