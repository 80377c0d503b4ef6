"""Messages that must be acknowledged: jobs on their way in, callbacks on their way out."""
