"""Where a track's files lie: one port, its adapters, and the readers that listeners' requests go through."""
