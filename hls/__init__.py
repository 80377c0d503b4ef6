"""Packets in, files and playlists out: HTTP Live Streaming with no server in it.

The life of a rendition here: a `cmaf.Track` says how its Packets are to be read and becomes the init
segment; the `segmenter` cuts the Packets on the grid into Segments (`cmaf` writes their boxes, `codecs`
knows what differs between coders, `boxes` the syntax). What was stored of them is `stored`; an `asset`
joins the renditions of a published track, is kept as JSON, and renders the text players ask for: one
`playlist` a rendition and, for each `family` of codecs, one `multivariant` over them. `packets` goes the
other way: coded packets out of stored segments, by index and by time, for transports that send packets.
One of these is `mpegts` (its frames wrapped by `adts`): a stored segment rendered for players that know no
fMP4; a `segment_format` says what it is called and how large it is before anyone renders it.

Everything is a value or a stage: no I/O, no clock, no settings; the same input gives the same bytes.
Durations are integer samples; seconds appear only where a playlist is printed.

Sources: ISO/IEC 14496-12 (ISO base media file format), ISO/IEC 23000-19 (CMAF),
draft-pantos-hls-rfc8216bis ("bis"), Apple's HLS Authoring Specification ("A").
"""
