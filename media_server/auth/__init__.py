"""Who asks, and whether they may: tokens, signed URLs, and the decision who may hear a track.

Pure but for the clock, which is injected: nothing here stores, and only `jwks` waits, for the issuer's keys.
"""
