"""How a message says what it follows on its subject, and what the server says if it does not."""

EXPECTED = "Nats-Expected-Last-Subject-Sequence"
"""Header: sequence of the subject's newest message; 0: there is none."""

WRONG_LAST_SEQUENCE = 10071
"""JSStreamWrongLastSequenceErrF of nats-server."""
