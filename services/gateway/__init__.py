"""Process: the HTTP door; a client of the queue and of the log, without rules of turns."""
