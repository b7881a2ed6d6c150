"""The real application killed again and again among vendors that fail; afterwards everything is counted."""
