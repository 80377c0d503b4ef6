"""A dedicated streaming and transcoding media server for music.

The life of a track: a submitted job waits in `broker`, a worker of `jobs` turns its source into segments and
puts them into `storage`, `state` remembers how it went, and `endpoints` answers listeners from what is
stored. `app` joins them; `pipeline` and `hls` know the sound and its packaging and nothing of all this.
"""
