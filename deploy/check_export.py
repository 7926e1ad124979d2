"""Checks what `turnlog export` has written: FILE [PUBLIC_KEY]. Needs nothing of Turnlog."""

import hashlib
import json
import sys

text = open(sys.argv[1], "rb").read().splitlines(keepends=True)
title, *commits, seal = map(json.loads, text)
head = None
for line in commits:
    follows = json.loads(line["payload"])["prev"]
    digest = hashlib.sha256(line["payload"].encode()).hexdigest()
    if (follows, digest) != (head, line["sha256"]):
        sys.exit(f"the chain is broken at {line['sequence']}")
    head = digest
whole = hashlib.sha256(b"".join(text[:-1])).hexdigest()
if (len(commits), head, whole) != (seal["commits"], seal["head"], seal["sha256"]):
    sys.exit("the file is not whole")
if len(sys.argv) > 2:  # whether this log has signed it: needs `pip install cryptography`
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(open(sys.argv[2], "rb").read())
    key.verify(bytes.fromhex(seal["signature"]), whole.encode())  # raises InvalidSignature
print(f"{title['conversation_id']}: {len(commits)} commits, whole")
