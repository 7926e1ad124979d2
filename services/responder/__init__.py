"""Process: turn requests in; admission, model call, events and deltas out."""
