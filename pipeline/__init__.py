"""Samples in, packets out: the sound of the media server, with no server in it.

The life of a track here: `probe` says what a file is, `decode` turns it into Blocks of PCM, `resample`
brings them to 48 kHz, `equalizer` shapes them, `analyze` measures them (loudness, true peak, waveform),
`normalize` decides one gain, and `transcode` takes the same Blocks again, applies it, and encodes every
Rendition once into Packets.

Stages are synchronous, own their state and do no I/O but reading the one source file. Nothing here logs,
reads settings or knows HTTP.
"""
