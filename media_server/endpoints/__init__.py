"""The HTTP edge: one thin file per resource, and what every request passes on its way there and back."""
