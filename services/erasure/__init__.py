"""Conversations erased: of what they held nothing is left that anybody could read.

What is done, in this order, and again from the start if whoever does it dies:

1. `conversation_erased` is appended. From then on the rules refuse everything about it, so that
   whoever writes at the same time comes before, and is erased, or is refused.
2. Turns that run are ended, and requests that wait taken off the queue; their askers are told.
3. What turns said (DELTAS), claims and marks of requests, and parked messages are deleted.
4. The conversation's key is destroyed. All that was sealed with it is dark: in the log, where it
   stays, in views of the log that others made, and in backups without the stream of keys.
5. If any of its commits was not sealed, all of them are taken out of the log.

Views follow the log: rows go with the event, and views that were kept for a rollback go as a whole.

To delete a message here is to have NATS overwrite it on disk. Copies by raft (a cluster's own logs)
and by file systems are beyond that: there only the key helps, and it lies where it lay itself.

Forks are conversations of their own, and stay.
"""
