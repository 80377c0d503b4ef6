"""The stored life of audio: from an accepted job to a published track.

`submission` makes a job durable; `worker` takes it from the broker; `handler` sees it through: `fetch` brings
the source, `runner` starts the caged `child` that runs the pipeline and tells `events`, `assembly` names the
files, `publish` stores them and moves the pointer, `callback` tells the companion API. `fate` decides what an
error does to a job; `job` is its value and its transition table.
"""
