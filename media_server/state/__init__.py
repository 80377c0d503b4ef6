"""What is known of jobs and tracks beside their bytes: status, progress, the list."""
